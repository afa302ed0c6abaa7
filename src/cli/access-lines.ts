import type { AccessLine } from "../proxy/access-log.ts";
import type { Log } from "./log.ts";

/** Writes a worker's lines of the access log to the log. */
export function logAccess(lines: readonly AccessLine[], log: Log): void {
  for (const { kind, ...fields } of lines) log.info(fields, messages[kind]);
}

const messages = {
  start: "session start",
  end: "session end",
  lost: "session end",
  drop: "packet dropped",
  refused: "connection refused",
  left_out: "access log lines left out",
} as const satisfies Readonly<Record<AccessLine["kind"], string>>;
