import type { OnReadOpts } from "node:net";
import { maximumSegmentSizes } from "../packet/tcp-conversation.ts";

/**
 * What a buffer may be: large enough for a request, for an answer, for a stream. One that a read fills
 * is followed by one of the next size. Whole segments, so that full reads end with no small one.
 */
const sizes = [2, 6, 45].map((segments) => segments * maximumSegmentSizes[4]);
/** After as many reads, one by one, that the size below had held, that size is enough. */
const smallReads = 16;

/** Where a client's requests are read into at first, and an upstream's answers. */
export const firstSizes = { client: 0, upstream: 1 } as const;

/**
 * Buffers of connections that are over, for the next, by size: making one costs more than reading it
 * full. None of the largest.
 */
const spares: Buffer[][] = sizes.map(() => []);
const maxSpares = [256, 256, 0];

/**
 * The memory that a socket is read into, again and again: Node would make some for each read. Where
 * the bytes of a read have not all left when it is looked at, the buffer is theirs, and the next read
 * gets another.
 */
export class ReadBuffer {
  #size: number;
  #buffer: Buffer;
  #small = 0;
  /** Takes a chunk; false where its bytes are still needed. */
  onChunk: ((chunk: Buffer) => boolean) | undefined;

  /** For `net.connect`, or `readAccepted`. */
  readonly options: OnReadOpts = {
    buffer: () => this.#buffer,
    callback: (bytes) => {
      this.#onRead(bytes);
      return true;
    },
  };

  /** Begins with this one of the sizes. */
  constructor(first: (typeof firstSizes)[keyof typeof firstSizes]) {
    this.#size = first;
    this.#buffer = spares[first]!.pop() ?? Buffer.allocUnsafeSlow(sizes[first]!);
  }

  /** The socket has closed: it reads no more. */
  release(): void {
    // Bytes that still wait to be written lie in no buffer that is kept here: see `onChunk`.
    const kept = spares[this.#size]!;
    if (this.#buffer.length > 0 && kept.length < maxSpares[this.#size]!) kept.push(this.#buffer);
    this.#buffer = Buffer.alloc(0);
  }

  #onRead(bytes: number): void {
    const isFull = bytes === this.#buffer.length;
    const isFree = this.onChunk?.(this.#buffer.subarray(0, bytes)) ?? true;
    this.#small = bytes <= (sizes[this.#size - 1] ?? 0) ? this.#small + 1 : 0;
    const before = this.#size;
    if (isFull && before < sizes.length - 1) this.#size++;
    else if (this.#small >= smallReads) {
      this.#size--;
      this.#small = 0;
    }
    if (isFree && this.#size === before) return;
    this.#buffer = Buffer.allocUnsafeSlow(sizes[this.#size]!);
  }
}
