import type { DropReason } from "../common/drop-reason.ts";
import type { Counters } from "../filter/counters.ts";
import type { Direction, Verdict } from "../filter/verdict.ts";

/** What a packet that was not dropped became. */
export type Forwarded = "pass" | "redirect" | "tx";

/** Who counts the packets of one direction: a listener's own tally, or one that also keeps a log. */
export type PacketTally = Pick<Tally, "forwarded" | "passedUnseen" | "ended" | "dropped" | "lost">;

/**
 * Counts one direction of a listener. Each packet is counted once, when its fate is known: as
 * what became of it, or as dropped with the one reason why. Bytes are the frame's as it came.
 */
export class Tally {
  #counters: Counters;
  #listener: number;
  readonly #direction: Direction;

  constructor(counters: Counters, listener: number, direction: Direction) {
    this.#counters = counters;
    this.#listener = listener;
    this.#direction = direction;
  }

  /** Counts for number `listener` of another plan from now on. */
  follow(counters: Counters, listener: number): void {
    this.#counters = counters;
    this.#listener = listener;
  }

  forwarded(kind: Forwarded, frameBytes: number): void {
    this.#counters.packet(this.#listener, this.#direction, kind, frameBytes);
  }

  /** `packets` segments of `frameBytes` altogether, passed with no filter to ask. */
  passedUnseen(packets: number, frameBytes: number): void {
    this.#counters.packets(this.#listener, this.#direction, "pass", packets, frameBytes);
  }

  /** A packet that its verdict, or what the proxy made of it, ended here. */
  ended(verdict: Verdict & { reason: DropReason }, frameBytes: number): void {
    this.#counters.packet(this.#listener, this.#direction, verdict.kind, frameBytes);
    this.#counters.drop(this.#listener, this.#direction, verdict.reason);
  }

  dropped(reason: DropReason, frameBytes: number): void {
    this.#counters.packet(this.#listener, this.#direction, "drop", frameBytes);
    this.#counters.drop(this.#listener, this.#direction, reason);
  }

  /**
   * A packet that had been sent, and counted so, was lost after all: the kernel reports refused
   * datagrams later. It adds its reason and no packet.
   */
  lost(reason: DropReason): void {
    this.#counters.drop(this.#listener, this.#direction, reason);
  }
}
