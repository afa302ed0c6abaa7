/** Room beyond what is asked for, so that small chunks are copied once and not once each. */
const growthBytes = 65_536;

/**
 * The bytes of a stream that have come and are not consumed yet. Records are read in place, and
 * what was handed out is never written again: new bytes go behind it or into a new buffer.
 *
 * Appending costs time in proportion to the bytes, however small the chunks.
 */
export class ByteQueue {
  /** Read between `at` and `end`. Both change with `push` and `consume`. */
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  end = 0;
  /** Bytes of the stream in front of `at`. */
  offset = 0;

  get available(): number {
    return this.end - this.at;
  }

  /** The chunk must not change afterwards: packets are read from it in place. */
  push(chunk: Uint8Array): void {
    const left = this.available;
    if (left === 0) {
      this.bytes = chunk;
      this.at = 0;
      this.end = chunk.length;
      return;
    }
    // A chunk that is read in place has no room behind its end, and so is never written to.
    if (this.bytes.length - this.end < chunk.length) {
      const grown = new Uint8Array(2 * left + chunk.length + growthBytes);
      grown.set(this.bytes.subarray(this.at, this.end));
      this.bytes = grown;
      this.at = 0;
      this.end = left;
    }
    this.bytes.set(chunk, this.end);
    this.end += chunk.length;
  }

  /** Passes over `count` bytes that are available. */
  consume(count: number): void {
    this.at += count;
    this.offset += count;
  }
}
