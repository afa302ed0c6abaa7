import type { XlatedRow } from "../admin/xlated.ts";
import type { Terminal } from "./terminal.ts";

/** Prints a program as `bpftool prog dump xlated` does. */
export async function printListing(
  rows: AsyncIterable<XlatedRow> | Iterable<XlatedRow>,
  forms: readonly string[],
  json: boolean,
  terminal: Terminal,
): Promise<void> {
  const opcodes = forms.includes("opcodes");
  const linum = forms.includes("linum");
  if (json) terminal.out("[");
  let first = true;
  for await (const row of rows) {
    if (json) {
      const { opcodes: bytes, ...others } = row;
      terminal.out(`${first ? "" : ","}${JSON.stringify(opcodes ? row : others)}`);
      first = false;
      continue;
    }
    terminal.out(rowText(row, opcodes, linum));
  }
  if (json) terminal.out("]\n");
}

function rowText(row: XlatedRow, opcodes: boolean, linum: boolean): string {
  const { line } = row;
  let text = row.function === undefined ? "" : `${row.function}:\n`;
  if (line !== undefined)
    text += `; ${line.text.trim()}${linum ? ` [file:${line.file} line_num:${line.line} line_col:${line.column}]` : ""}\n`;
  text += `${listedText(row)}\n`;
  if (opcodes) text += `       ${(row.opcodes.match(/../g) ?? []).join(" ")}\n`;
  return text;
}

/** `   3: (bf) r2 = r7`. */
export function listedText(row: XlatedRow): string {
  return `${String(row.slot).padStart(4)}: (${row.opcodes.slice(0, 2)}) ${row.text}`;
}
