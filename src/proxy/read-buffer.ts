import type { OnReadOpts } from "node:net";

/** What an idle connection holds, and one that is read in large pieces. */
const smallBytes = 8 * 1024;
const largeBytes = 64 * 1024;
/** After as many small reads one by one a large buffer is given up. */
const smallReads = 16;

/** Small buffers of connections that are over, for the next: making one costs more than reading it full. */
const spares: Buffer[] = [];
const maxSpares = 256;

/**
 * The memory that a dialled socket is read into, again and again: Node would make 64 KiB for each
 * read. Where the bytes of a read have not all left when it is looked at, the buffer is theirs, and
 * the next read gets another.
 */
export class ReadBuffer {
  #buffer = spares.pop() ?? Buffer.allocUnsafeSlow(smallBytes);
  #small = 0;
  /** Takes a chunk; false where its bytes are still needed. */
  onChunk: ((chunk: Buffer) => boolean) | undefined;

  /** For `net.connect`. */
  readonly options: OnReadOpts = {
    buffer: () => this.#buffer,
    callback: (bytes) => {
      this.#onRead(bytes);
      return true;
    },
  };

  /** The socket has closed: it reads no more. */
  release(): void {
    // Bytes that still wait to be written lie in no buffer that is kept here: see `onChunk`.
    if (this.#buffer.length === smallBytes && spares.length < maxSpares) spares.push(this.#buffer);
    this.#buffer = Buffer.alloc(0);
  }

  #onRead(bytes: number): void {
    const size = this.#buffer.length;
    const isFree = this.onChunk?.(this.#buffer.subarray(0, bytes)) ?? true;
    this.#small = bytes <= smallBytes ? this.#small + 1 : 0;
    const grows = bytes === size && size < largeBytes;
    const shrinks = size > smallBytes && this.#small >= smallReads;
    if (isFree && !grows && !shrinks) return;
    const isLarge = grows || (size > smallBytes && !shrinks);
    this.#buffer = Buffer.allocUnsafeSlow(isLarge ? largeBytes : smallBytes);
  }
}
