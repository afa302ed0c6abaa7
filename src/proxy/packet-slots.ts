import { SLOT_BYTES } from "../runtime/wasm/layout.ts";

/**
 * A worker's packet slots: which of them are free. Node's sockets are never given a slot's bytes to
 * send (libuv keeps what the kernel will not take yet, and would send what the next packet left there),
 * so a slot is free again as soon as its packet has been judged. Those that `BatchSockets` reserves
 * hold datagrams from their receipt until they are sent.
 */
export class PacketSlots {
  readonly #free: number[] = [];
  readonly #first: number;

  /** `count` slots that lie one after another from arena offset `first`. */
  constructor(first: number, count: number) {
    this.#first = first;
    for (let i = count - 1; i >= 0; i--) this.#free.push(first + i * SLOT_BYTES);
  }

  /**
   * Takes `count` slots that lie one after another, for good; the offset of the first. Between packets:
   * none may be in use.
   */
  reserve(count: number): number {
    const free = this.#free.sort((a, b) => b - a);
    const first = free.at(-1);
    if (first === undefined || free[free.length - count] !== first + (count - 1) * SLOT_BYTES)
      throw new RangeError(`${count} of ${free.length} packet slots`);
    free.length -= count;
    return first;
  }

  /** Offset of a slot that no one else uses until it is released; undefined if there is none. */
  acquire(): number | undefined {
    return this.#free.pop();
  }

  /** The slot that arena offset `at`, which is in one of them, lies in. */
  slotAt(at: number): number {
    return at - ((at - this.#first) % SLOT_BYTES);
  }

  release(slot: number): void {
    this.#free.push(slot);
  }
}
