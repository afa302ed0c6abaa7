import { hrtime } from "node:process";
import type { Clock } from "../engine/engine.ts";

/**
 * Time as packets see it: read once for all that one turn of the event loop delivers. The low and
 * high words are nanoseconds of CLOCK_MONOTONIC for `bpf_ktime_get_ns`, the same on every worker;
 * `nowMs()` is the same instant for timeouts.
 */
export class TurnClock implements Clock {
  low = 0;
  high = 0;
  #nowMs = 0;
  #current = false;
  readonly #turnOver = (): void => {
    this.#current = false;
  };

  /**
   * Called before each packet; reads the time if this turn has not. The turn ends with its
   * immediates, and a pending one keeps the loop from waiting: the time never grows old.
   */
  refresh(): void {
    if (this.#current) return;
    this.#read();
    this.#current = true;
    setImmediate(this.#turnOver);
  }

  /** Milliseconds of this turn. */
  nowMs(): number {
    this.refresh();
    return this.#nowMs;
  }

  #read(): void {
    const ns = hrtime.bigint();
    this.low = Number(ns & 0xffff_ffffn);
    this.high = Number(ns >> 32n);
    this.#nowMs = Number(ns / 1_000_000n);
  }
}
