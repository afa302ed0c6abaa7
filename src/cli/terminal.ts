/** Where commands write: injected, so that tests read what a user would see. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  /** Standard output is a terminal: people are reading. */
  readonly interactive: boolean;
  /** Standard input as text, for `-`. */
  readonly input: () => AsyncIterable<string>;
  /** Environment variables, for configs. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** 0 done, 1 refused or failed, 2 wrong usage or config. */
export const exitCodes = { done: 0, failed: 1, usage: 2 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Rows as left-aligned columns, two spaces apart, headings first. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
