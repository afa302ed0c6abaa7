import { UserError } from "../common/user-error.ts";
import type { SourceLine } from "../object/object-spec.ts";

/** Why a program was refused: the first fault found, with all that a person needs to mend it. */
export interface Rejection {
  /** Stable: `PACKET_BOUNDS`, or `PROGRAM_*` from the structural check. */
  readonly code: string;
  /** The object file, and the program in it. */
  readonly object: string;
  readonly program: string;
  /** The section that the program is in, where the object is one. */
  readonly section: string | undefined;
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
  const where = `${parts.object}, ${placeText(parts)}`;
  return { ...parts, message: `${where}: ${parts.cause}; ${parts.fix}` };
}

/** The error of a load that a rejection ends: what is wrong in one line, with the rest as its detail. */
export function rejectionError(one: Rejection): UserError {
  const { code, object, program, source, registers, cause, fix } = one;
  const text = source === undefined ? [] : [sourceText(source)];
  // A program that came alone has no other name.
  const file = object === program ? "" : `${object}, `;
  return new UserError(code, `${file}${placeText(one)}`, cause, fix, [...text, ...registers]);
}

/** Which instruction of which program: `program p, section "xdp", instruction 3 (r0 = 0, p.c:5)`. */
function placeText({
  program,
  section,
  slot,
  instruction,
  source,
}: Omit<Rejection, "message">): string {
  const line = source === undefined ? "" : `, ${source.file}:${source.line}`;
  return `program ${program}${sectionText(section)}, instruction ${slot} (${instruction}${line})`;
}

function sectionText(section: string | undefined): string {
  return section === undefined ? "" : `, section ${JSON.stringify(section)}`;
}

/** A rejection for people, over several lines, without an end of line. */
export function formatRejection(one: Rejection): string {
  const { object, program, section, slot, instruction, source, registers, cause, fix } = one;
  const lines = [`${object}: program ${program}${sectionText(section)} is refused (${one.code})`];
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
