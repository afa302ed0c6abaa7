import type { UserError } from "../common/user-error.ts";

/** Where commands write: injected, so that tests read what a user would see. */
export interface Terminal {
  readonly out: (text: string) => void;
  /** The same, before it returns, however slow the reader: for what is long. Absent: `out` does that. */
  readonly outWhole?: (text: string) => void;
  readonly error: (text: string) => void;
  /** Standard output is a terminal: people are reading. */
  readonly interactive: boolean;
  /** Standard input as text, for `-`. */
  readonly input: () => AsyncIterable<string>;
  /** Environment variables, for configs. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Absent: none was listened for. */
  readonly early?: EarlySignals | undefined;
}

/** Signals that came while the command was still being loaded: bin/weir.js listens for those to `weir run`. */
export interface EarlySignals {
  /** What came, in order. From now on nobody listens here. */
  take(): readonly ("SIGTERM" | "SIGINT" | "SIGHUP")[];
}

/** 0 done, 1 refused or failed, 2 wrong usage or config. */
export const exitCodes = { done: 0, failed: 1, usage: 2 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** A value as a command prints it with `--json`; `--pretty` spreads it over lines, as bpftool does. */
export function jsonText(value: unknown, { pretty }: { readonly pretty?: boolean }): string {
  return `${JSON.stringify(value, undefined, pretty === true ? "\t" : undefined)}\n`;
}

/** A JSON array, an element at a time as they come, however many there are. */
export async function printJsonRows(
  rows: AsyncIterable<unknown> | Iterable<unknown>,
  options: { readonly pretty?: boolean },
  terminal: Terminal,
): Promise<void> {
  const isPretty = options.pretty === true;
  let before = isPretty ? "\n\t" : "";
  terminal.out("[");
  for await (const row of rows) {
    // Within text line ends are escaped: those there are belong to the layout.
    terminal.out(before + jsonText(row, options).trimEnd().replaceAll("\n", "\n\t"));
    before = isPretty ? ",\n\t" : ",";
  }
  terminal.out(isPretty ? "\n]\n" : "]\n");
}

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
