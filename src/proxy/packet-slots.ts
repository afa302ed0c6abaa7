import { SLOT_BYTES } from "../runtime/wasm/layout.ts";

/**
 * A worker's packet slots: which of them are free. Sockets are never given a slot's bytes to send
 * (libuv keeps what the kernel will not take yet, and would send what the next packet left there),
 * so a slot is free again as soon as its packet has been judged.
 */
export class PacketSlots {
  readonly #free: number[] = [];

  /** `count` slots that lie one after another from arena offset `first`. */
  constructor(first: number, count: number) {
    for (let i = count - 1; i >= 0; i--) this.#free.push(first + i * SLOT_BYTES);
  }

  /** Offset of a slot that no one else uses until it is released; undefined if there is none. */
  acquire(): number | undefined {
    return this.#free.pop();
  }

  release(slot: number): void {
    this.#free.push(slot);
  }
}
