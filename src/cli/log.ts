import pino, { type Logger, type LoggerOptions } from "pino";

export type Log = Logger;

/** Where the log goes: standard error, or what stands in for it in tests. */
export type LogStream = Pick<NodeJS.WriteStream, "isTTY" | "writableLength" | "once"> & {
  write(text: string): boolean;
};

/**
 * So many characters may wait for a reader that does not keep up. Lines beyond are left out: a pipe's
 * writer holds all that waits in memory, and an access log is as fast as its clients make it.
 */
const mostWaiting = 4 * 2 ** 20;

/** Weir's log on standard error: JSON lines for machines, one readable line an event on a terminal. */
export function createLog(level: string, destination: LogStream = process.stderr): Log {
  const options: LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  const write = boundedWriter(destination, (lines) => log.warn({ lines }, "log lines left out"));
  const log = pino(options, { write });
  return log;
}

/** Writes lines, unless too much waits. Once all that did is read, `onLeftOut` takes how many were left out. */
function boundedWriter(
  destination: LogStream,
  onLeftOut: (lines: number) => void,
): (line: string) => void {
  let leftOut = 0;
  const onRead = (): void => {
    const lines = leftOut;
    leftOut = 0;
    onLeftOut(lines);
  };
  return (line) => {
    if (leftOut === 0 && destination.writableLength <= mostWaiting)
      destination.write(destination.isTTY ? readable(line) : line);
    else if (leftOut++ === 0) destination.once("drain", onRead);
  };
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
