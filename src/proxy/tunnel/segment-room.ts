import type { Arena } from "../../runtime/arena.ts";
import type { BatchSockets } from "../batch-sockets.ts";

/** Where the segments of a super-frame are written, each to be sent before there is room for another. */
export interface SegmentRoom {
  /** Room for a segment of at most `bytes` bytes, of which `left` are still to come, this one included. */
  take(bytes: number, left: number): Uint8Array;
}

/** New memory for each super-frame: Node's sockets may keep it. */
export class HeapRoom implements SegmentRoom {
  #bytes = new Uint8Array(0);
  #at = 0;

  take(bytes: number, left: number): Uint8Array {
    if (this.#bytes.length - this.#at < bytes * left) {
      this.#bytes = Buffer.allocUnsafeSlow(bytes * left);
      this.#at = 0;
    }
    const from = this.#at;
    this.#at += bytes;
    return this.#bytes.subarray(from, this.#at);
  }
}

/** The send queue's: segments lie side by side there until the kernel takes them together. */
export class QueueRoom implements SegmentRoom {
  readonly #arena: Arena;
  readonly #batches: BatchSockets;

  constructor(arena: Arena, batches: BatchSockets) {
    this.#arena = arena;
    this.#batches = batches;
  }

  take(bytes: number): Uint8Array {
    return this.#arena.viewOf(this.#batches.queue.room(bytes), bytes);
  }
}
