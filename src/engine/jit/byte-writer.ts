const encoder = new TextEncoder();

/**
 * A growing array of bytes, with the integers of the WebAssembly binary format. Who writes very often
 * may do so by itself: into `buffer` from `length` on, within the buffer's length.
 */
export class ByteWriter {
  buffer: Uint8Array;
  length = 0;

  /** `capacity`: bytes that are likely to be written. */
  constructor(capacity = 64) {
    this.buffer = new Uint8Array(capacity);
  }

  /** What has been written: a view that the next write may leave behind. */
  get bytes(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  byte(value: number): void {
    if (this.length === this.buffer.length) this.#grow(1);
    this.buffer[this.length++] = value;
  }

  append(bytes: Uint8Array | readonly number[]): void {
    if (this.length + bytes.length > this.buffer.length) this.#grow(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Unsigned LEB128 of 0 to 2³² - 1. */
  unsigned(value: number): void {
    if ((value & 0x7f) === value) this.byte(value);
    else this.#longUnsigned(value);
  }

  #longUnsigned(value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
      throw new RangeError(`${value} is not an unsigned 32-bit integer`);
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Signed LEB128 of a 32-bit integer. */
  signed(value: number): void {
    if ((value << 25) >> 25 === value) this.byte(value & 0x7f);
    else this.#longSigned(value);
  }

  #longSigned(value: number): void {
    if ((value | 0) !== value) throw new RangeError(`${value} is not a signed 32-bit integer`);
    let rest = value;
    while (rest < -64 || rest > 63) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>= 7;
    }
    this.byte(rest & 0x7f);
  }

  /** Signed LEB128 of a 64-bit integer, which may be given as unsigned. */
  signed64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    while (rest < -64n || rest > 63n) {
      this.byte(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.byte(Number(rest & 0x7fn));
  }

  /** A length, then that many bytes of UTF-8. */
  name(text: string): void {
    const bytes = encoder.encode(text);
    this.unsigned(bytes.length);
    this.append(bytes);
  }

  #grow(by: number): void {
    const grown = new Uint8Array(Math.max(this.buffer.length * 2, this.length + by));
    grown.set(this.bytes);
    this.buffer = grown;
  }
}
