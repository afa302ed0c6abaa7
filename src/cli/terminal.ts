import type { UserError } from "../common/user-error.ts";

/** Where commands write: injected, so that tests read what a user would see. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  /** Standard output is a terminal: people are reading. */
  readonly interactive: boolean;
  /** Standard input as text, for `-`. */
  readonly input: () => AsyncIterable<string>;
}

/** 0 done, 1 refused or failed, 2 wrong usage or config. */
export const exitCodes = { done: 0, failed: 1, usage: 2 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** An error for people: its message, with its detail indented below, each on lines that end. */
export function errorText({ message, detail }: UserError): string {
  return [message, ...detail.map((line) => `    ${line}`), ""].join("\n");
}

/** An error for scripts. */
export function errorObject({ code, where, what, fix, detail }: UserError): object {
  return { code, where, what, fix, ...(detail.length === 0 ? {} : { detail }) };
}

/** Rows as columns, two spaces apart, headings first; left-aligned, but for those in `right`. */
export function table(
  rows: readonly (readonly string[])[],
  right: ReadonlySet<number> = new Set(),
): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) =>
      row
        .map((cell, i) => {
          const width = widths[i] ?? 0;
          return right.has(i) ? cell.padStart(width) : cell.padEnd(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
