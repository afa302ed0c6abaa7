import { err, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { ClassicInstruction, ClassicProgram } from "./instruction.ts";
import { validateClassic } from "./validate.ts";

/** More text than any listing of a valid program has. */
const maxListingChars = 1_048_576;

const fieldMaxima = [0xffff, 0xff, 0xff, 0xffff_ffff] as const;

/**
 * Reads `tcpdump -ddd` (a line with the count, then `code jt jf k` a line; `iptables -m bpf` joins
 * the lines by commas, which is read too) or `tcpdump -dd` (`{ 0x28, 0, 0, 0x0000000c },`), and
 * checks the program as the kernel would. `where` names the text in errors.
 */
export function parseListing(text: string, where: string): Result<ClassicProgram, UserError> {
  if (text.length > maxListingChars)
    return refuse(where, `${text.length} characters`, `a listing has at most ${maxListingChars}`);
  const lines = text
    .split("\n")
    .map((line, i) => ({ text: line.trim(), where: `${where}:${i + 1}` }))
    .filter((line) => line.text !== "");
  const first = lines[0];
  if (first === undefined)
    return refuse(where, "no instructions", "give the output of tcpdump -ddd");
  const isC = first.text.startsWith("{");
  const program: ClassicInstruction[] = [];
  const rows = isC ? lines : lines.slice(1).flatMap(splitRow);
  const announced = isC ? undefined : splitRow(first);
  if (announced !== undefined) rows.unshift(...announced.slice(1));
  for (const row of rows) {
    const instruction = isC ? parseCRow(row.text) : parseNumbers(row.text.split(/\s+/), /^\d+$/);
    if (instruction === undefined)
      return refuse(
        row.where,
        `"${row.text.slice(0, 60)}" is no instruction`,
        isC ? "expected { code, jt, jf, k }," : "expected four numbers: code jt jf k",
      );
    program.push(instruction);
  }
  const count = announced?.[0]?.text;
  if (count !== undefined && count !== String(program.length))
    return refuse(
      first.where,
      `announces ${count.slice(0, 60)} instructions, but there are ${program.length}`,
      "begin with the number of instructions",
    );
  return validateClassic(program, where);
}

interface Row {
  readonly text: string;
  readonly where: string;
}

function splitRow(row: Row): Row[] {
  return row.text
    .split(",")
    .map((text) => ({ text: text.trim(), where: row.where }))
    .filter(({ text }) => text !== "");
}

function parseCRow(row: string): ClassicInstruction | undefined {
  const inside = /^\{([^{}]*)\},?$/.exec(row)?.[1];
  if (inside === undefined) return undefined;
  return parseNumbers(
    inside.split(",").map((field) => field.trim()),
    /^(?:0x[0-9a-fA-F]+|\d+)$/,
  );
}

function parseNumbers(fields: readonly string[], shape: RegExp): ClassicInstruction | undefined {
  if (fields.length !== fieldMaxima.length) return undefined;
  const numbers = fields.map((field) => (shape.test(field) ? Number(field) : Number.NaN));
  if (!numbers.every((value, i) => value <= fieldMaxima[i]!)) return undefined;
  const [code, jt, jf, k] = numbers as [number, number, number, number];
  return { code, jt, jf, k };
}

function refuse(where: string, what: string, fix: string): Result<never, UserError> {
  return err(new UserError("CBPF_LISTING", where, what, fix));
}
