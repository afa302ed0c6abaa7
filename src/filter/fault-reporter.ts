import type { Fault } from "../engine/engine.ts";

/** A run that ended before `exit`, for the log. Plain data: it crosses threads. */
export interface FaultReport {
  /** As metrics label it. */
  readonly filter: string;
  readonly program: string;
  readonly code: Fault["code"];
  /** The instruction that could not be done: an index of 8-byte slots. */
  readonly slot: number;
  readonly message: string;
  /** Faults of the same filter since its last report that were counted but not reported. */
  readonly suppressed: number;
}

const reportEveryMs = 1000;

/**
 * Reports faults, at most one a filter and second: a hostile packet can make a filter fault as
 * often as it likes, and a log line each would be the greater harm. Counters have every one.
 */
export class FaultReporter {
  readonly #report: (report: FaultReport) => void;
  readonly #nowMs: () => number;
  readonly #last = new Map<string, { atMs: number; suppressed: number }>();

  constructor(report: (report: FaultReport) => void, nowMs: () => number) {
    this.#report = report;
    this.#nowMs = nowMs;
  }

  faulted(filter: string, program: string, fault: Fault): void {
    const nowMs = this.#nowMs();
    const last = this.#last.get(filter);
    if (last !== undefined && nowMs - last.atMs < reportEveryMs) {
      last.suppressed++;
      return;
    }
    this.#last.set(filter, { atMs: nowMs, suppressed: 0 });
    this.#report({
      filter,
      program,
      code: fault.code,
      slot: fault.slot,
      message: fault.message,
      suppressed: last?.suppressed ?? 0,
    });
  }
}
