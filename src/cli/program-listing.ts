import type { XlatedRow } from "../admin/xlated.ts";
import { printJsonRows, type Terminal } from "./terminal.ts";

/** Prints a program as `bpftool prog dump xlated` does. */
export async function printListing(
  rows: AsyncIterable<XlatedRow> | Iterable<XlatedRow>,
  forms: readonly string[],
  options: { readonly json?: boolean; readonly pretty?: boolean },
  terminal: Terminal,
): Promise<void> {
  const opcodes = forms.includes("opcodes");
  const linum = forms.includes("linum");
  if (options.json === true)
    return printJsonRows(opcodes ? rows : unwritten(rows), options, terminal);
  for await (const row of rows) terminal.out(rowText(row, opcodes, linum));
}

/** Without the bytes of instructions. */
async function* unwritten(
  rows: AsyncIterable<XlatedRow> | Iterable<XlatedRow>,
): AsyncGenerator<Omit<XlatedRow, "opcodes">> {
  for await (const { opcodes: _bytes, ...row } of rows) yield row;
}

function rowText(row: XlatedRow, opcodes: boolean, linum: boolean): string {
  const { line } = row;
  let text = row.function === undefined ? "" : `${row.function}:\n`;
  if (line !== undefined) text += `; ${lineText(line, linum)}\n`;
  text += `${listedText(row)}\n`;
  if (opcodes) text += `       ${(row.opcodes.match(/../g) ?? []).join(" ")}\n`;
  return text;
}

/** Objects built away from their sources know where a line is, and not its text. */
function lineText(line: NonNullable<XlatedRow["line"]>, linum: boolean): string {
  const { file, line: number, column } = line;
  const text = line.text.trim();
  if (!linum) return text === "" ? `${file}:${number}` : text;
  const place = `[file:${file} line_num:${number} line_col:${column}]`;
  return text === "" ? place : `${text} ${place}`;
}

/** `   3: (bf) r2 = r7`. */
export function listedText(row: XlatedRow): string {
  return `${String(row.slot).padStart(4)}: (${row.opcodes.slice(0, 2)}) ${row.text}`;
}
