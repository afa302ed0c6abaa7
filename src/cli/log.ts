import pino, { type Logger, type LoggerOptions } from "pino";

export type Log = Logger;

/**
 * Weir's log on standard error: JSON lines for machines, one readable line an event on a terminal.
 * `destination` stands in for the stream in tests.
 */
export function createLog(level: string, destination = process.stderr): Log {
  const options: LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  return destination.isTTY
    ? pino(options, { write: (line) => void destination.write(readable(line)) })
    : pino(options, destination);
}

/** `16:49:01 warn  filter faulted  filter=blocklist slot=12`. */
export function readable(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const shown = Object.entries(fields)
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
  const clock = String(time).slice(11, 19);
  return `${clock} ${String(level).padEnd(5)} ${String(msg)}${shown === "" ? "" : `  ${shown}`}\n`;
}
