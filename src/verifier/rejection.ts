import { UserError } from "../common/user-error.ts";
import type { SourceLine } from "../object/object-spec.ts";

/** Why a program was refused: the first fault found, with all that a person needs to mend it. */
export interface Rejection {
  /** Stable: `PACKET_BOUNDS`, or `PROGRAM_*` from the structural check. */
  readonly code: string;
  /** The object file, and the program in it. */
  readonly object: string;
  readonly program: string;
  /** Number of the instruction, and its text. */
  readonly slot: number;
  readonly instruction: string;
  /** The line of C it comes from, where the object tells. */
  readonly source: SourceLine | undefined;
  /** What the registers that matter hold, as `r2: packet data, 14 bytes known to be there`. */
  readonly registers: readonly string[];
  /** What is wrong, in a sentence without a full stop. */
  readonly cause: string;
  /** What would mend it. */
  readonly fix: string;
  /** For `Result`: all of it in one line. */
  readonly message: string;
}

/** A rejection without its `message`, which follows from the rest. */
export function rejection(parts: Omit<Rejection, "message">): Rejection {
  const { object, program, slot, instruction, source, cause, fix } = parts;
  const line = source === undefined ? "" : `, ${source.file}:${source.line}`;
  const where = `${object}, program ${program}, instruction ${slot} (${instruction}${line})`;
  return { ...parts, message: `${where}: ${cause}; ${fix}` };
}

/** The error of a load that a rejection ends: what is wrong in one line, with the rest as its detail. */
export function rejectionError(one: Rejection): UserError {
  const { code, object, program, slot, instruction, source, registers, cause, fix } = one;
  const line = source === undefined ? "" : `, ${source.file}:${source.line}`;
  const text = source === undefined ? [] : [sourceText(source)];
  // A program that came alone has no other name.
  const file = object === program ? "" : `${object}, `;
  const where = `${file}program ${program}, instruction ${slot} (${instruction}${line})`;
  return new UserError(code, where, cause, fix, [...text, ...registers]);
}

/** A rejection for people, over several lines, without an end of line. */
export function formatRejection(one: Rejection): string {
  const { object, program, slot, instruction, source, registers, cause, fix } = one;
  const lines = [`${object}: program ${program} is refused (${one.code})`];
  if (source !== undefined) lines.push(`  ${sourceText(source)}`);
  lines.push(`  instruction ${slot}: ${instruction}`);
  for (const register of registers) lines.push(`    ${register}`);
  lines.push(`  ${sentence(cause)}`);
  lines.push(`  To mend it: ${fix}.`);
  return lines.join("\n");
}

/** `filter.c:14: return eth->h_proto;`; generated code may have lines without text. */
function sourceText({ file, line, text }: SourceLine): string {
  const code = text.trim();
  return code === "" ? `${file}:${line}` : `${file}:${line}: ${code}`;
}

function sentence(text: string): string {
  // Names stay as they are.
  return /^(r\d|\w+[._])/.test(text)
    ? `${text}.`
    : `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
