import { epochHighWord, epochLowWord } from "../common/epoch.ts";
import { TurnClock } from "./turn-clock.ts";

/**
 * The time of captured packets, for filters that judge them later: a rate limit then does what it
 * would have done. Nanoseconds since 1970, and never going back: `bpf_ktime_get_ns` is monotonic,
 * the packets of several interfaces need not be.
 */
export class CaptureClock extends TurnClock {
  #seconds = 0;
  #nanoseconds = 0;

  /** A packet came at this time. Earlier ones, and packets without a time (0), leave the clock as it is. */
  advance(seconds: number, nanoseconds: number): void {
    if (seconds < this.#seconds) return;
    if (seconds === this.#seconds && nanoseconds <= this.#nanoseconds) return;
    this.#seconds = seconds;
    this.#nanoseconds = nanoseconds;
    this.low = epochLowWord(seconds, nanoseconds);
    this.high = epochHighWord(seconds, nanoseconds);
  }

  override refresh(): void {}

  override nowMs(): number {
    return this.#seconds * 1000 + Math.floor(this.#nanoseconds / 1_000_000);
  }
}
