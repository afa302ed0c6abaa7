import type { SourceLine } from "../object/object-spec.ts";
import type { VerifiableProgram } from "./program.ts";

/** The source line an instruction comes from. */
export function lineAt(lines: readonly SourceLine[], slot: number): SourceLine | undefined {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (lines[middle]!.slot <= slot) low = middle + 1;
    else high = middle;
  }
  return lines[low - 1];
}

/** An instruction, for messages: `instruction 12 (filter.c:40)`. */
export function whereText({ lines }: Pick<VerifiableProgram, "lines">, slot: number): string {
  const line = lineAt(lines, slot);
  if (line === undefined) return `instruction ${slot}`;
  const { file } = line;
  return `instruction ${slot} (${file.slice(file.lastIndexOf("/") + 1)}:${line.line})`;
}

/** The function that begins at a slot, for messages: its name, or where it is. */
export function functionText({ functions }: Pick<VerifiableProgram, "functions">, entry: number) {
  return (
    functions.find(({ slot }) => slot === entry)?.name ?? `the function at instruction ${entry}`
  );
}

/** `1 byte`, `8 bytes`. */
export function bytesText(size: number): string {
  return size === 1 ? "1 byte" : `${size} bytes`;
}

/** The subject of a sentence: `byte 12 is`, `bytes 12 to 15 are`. */
export function bytesAre(first: number | bigint, last: number | bigint): string {
  return first === last ? `byte ${first} is` : `bytes ${first} to ${last} are`;
}
