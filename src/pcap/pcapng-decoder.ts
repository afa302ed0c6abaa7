import { u8, u16be, u16le, u32be, u32le } from "../common/bytes.ts";
import type { ByteQueue } from "./byte-queue.ts";
import {
  type CapturedPacket,
  CaptureError,
  type CaptureFault,
  maxPacketBytes,
} from "./captured-packet.ts";
import type { FormatDecoder } from "./format-decoder.ts";
import { isResolution, TimestampClock } from "./pcapng-clock.ts";
import {
  blockOverheadBytes,
  blockTypes,
  byteOrderMagic,
  optionCodes,
  padded,
} from "./pcapng-format.ts";

/** Blocks that are read hold one packet and its options; what is skipped may be of any length. */
const maxBlockBytes = 4 * maxPacketBytes;

/** Each takes memory until the section ends. */
const maxInterfaces = 65_536;

/** The shortest section header: byte-order magic, version, section length. */
const sectionHeaderBytes = blockOverheadBytes + 16;

const noComments: readonly string[] = [];

interface Interface {
  readonly linkType: number;
  readonly snapLength: number;
  readonly clock: TimestampClock;
}

/**
 * pcapng, version 1.0 (and the equal 1.2): sections in either byte order, several interfaces,
 * enhanced, simple and obsolete packet blocks. Blocks of other types are skipped as they come.
 * draft-ietf-opsawg-pcapng.
 */
export class PcapngDecoder implements FormatDecoder {
  readonly #name: string;
  readonly #text = new TextDecoder();
  #big = false;
  #interfaces: Interface[] = [];
  #index = 0;
  /** Bytes left of the body of a block that is being skipped, and the block's whole length. */
  #skip = 0;
  #skippedTotal = 0;

  constructor(name: string) {
    this.#name = name;
  }

  next(queue: ByteQueue): CapturedPacket | CaptureError | undefined {
    for (;;) {
      if (this.#skippedTotal !== 0) {
        const fault = this.#goOnSkipping(queue);
        if (fault !== undefined) return fault;
        if (this.#skippedTotal !== 0) return undefined;
      }
      if (queue.available < 8) return undefined;
      const isSection = u32be(queue.bytes, queue.at) === blockTypes.sectionHeader;
      if (isSection) {
        if (queue.available < 12) return undefined;
        const fault = this.#readByteOrder(queue);
        if (fault !== undefined) return fault;
      }
      const type = isSection ? blockTypes.sectionHeader : this.#u32(queue.bytes, queue.at);
      const total = this.#u32(queue.bytes, queue.at + 4);
      if (total < blockOverheadBytes || total % 4 !== 0)
        return this.#fault("CAPTURE_BAD_LENGTH", queue, `a block of ${total} bytes cannot be`);
      if (!isRead(type)) {
        queue.consume(8);
        this.#skip = total - blockOverheadBytes;
        this.#skippedTotal = total;
        continue;
      }
      if (total > maxBlockBytes)
        return this.#fault(
          "CAPTURE_BAD_LENGTH",
          queue,
          `a block of type ${type} claims ${total} bytes; at most ${maxBlockBytes} are read`,
        );
      if (queue.available < total) return undefined;
      const result = this.#readBlock(queue, type, total);
      if (result instanceof CaptureError) return result;
      queue.consume(total);
      if (result !== undefined) return result;
    }
  }

  unfinished(queue: ByteQueue): string | undefined {
    if (this.#skippedTotal !== 0) return `a block of ${this.#skippedTotal} bytes`;
    if (queue.available === 0) return undefined;
    return `a block (${queue.available} bytes of it are there, before packet ${this.#index})`;
  }

  #goOnSkipping(queue: ByteQueue): CaptureError | undefined {
    const passed = Math.min(this.#skip, queue.available);
    queue.consume(passed);
    this.#skip -= passed;
    if (this.#skip > 0 || queue.available < 4) return undefined;
    const fault = this.#checkTrailer(queue, queue.at, this.#skippedTotal);
    if (fault !== undefined) return fault;
    queue.consume(4);
    this.#skippedTotal = 0;
    return undefined;
  }

  #readByteOrder(queue: ByteQueue): CaptureError | undefined {
    const at = queue.at + 8;
    if (u32le(queue.bytes, at) === byteOrderMagic) this.#big = false;
    else if (u32be(queue.bytes, at) === byteOrderMagic) this.#big = true;
    else return this.#fault("CAPTURE_FORMAT", queue, "the section has no byte-order magic");
    return undefined;
  }

  /** A whole block is in the queue. Undefined: read, and no packet. */
  #readBlock(
    queue: ByteQueue,
    type: number,
    total: number,
  ): CapturedPacket | CaptureError | undefined {
    const end = queue.at + total - 4;
    const fault = this.#checkTrailer(queue, end, total);
    if (fault !== undefined) return fault;
    switch (type) {
      case blockTypes.sectionHeader:
        return this.#readSection(queue, total);
      case blockTypes.interfaceDescription:
        return this.#readInterface(queue, end);
      case blockTypes.simplePacket:
        return this.#readSimplePacket(queue, end);
      default:
        return this.#readPacket(queue, end, type === blockTypes.packet);
    }
  }

  #checkTrailer(queue: ByteQueue, at: number, total: number): CaptureError | undefined {
    const trailer = this.#u32(queue.bytes, at);
    if (trailer === total) return undefined;
    return this.#fault(
      "CAPTURE_BAD_LENGTH",
      queue,
      `a block's two lengths differ: ${total} in front, ${trailer} behind`,
    );
  }

  #readSection(queue: ByteQueue, total: number): CaptureError | undefined {
    if (total < sectionHeaderBytes)
      return this.#fault("CAPTURE_BAD_LENGTH", queue, `a section header of ${total} bytes`);
    const major = this.#u16(queue.bytes, queue.at + 12);
    const minor = this.#u16(queue.bytes, queue.at + 14);
    if (major !== 1 || (minor !== 0 && minor !== 2))
      return this.#fault(
        "CAPTURE_FORMAT",
        queue,
        `this is pcapng version ${major}.${minor}; 1.0 is read`,
      );
    this.#interfaces = [];
    return undefined;
  }

  #readInterface(queue: ByteQueue, end: number): CaptureError | undefined {
    const body = queue.at + 8;
    if (end - body < 8)
      return this.#fault("CAPTURE_BAD_LENGTH", queue, "an interface block without its fields");
    if (this.#interfaces.length === maxInterfaces)
      return this.#fault("CAPTURE_BAD_BLOCK", queue, `more than ${maxInterfaces} interfaces`);
    let resolution = 6;
    let offsetSeconds = 0;
    const { bytes } = queue;
    this.#eachOption(bytes, body + 8, end, (code, at, length) => {
      if (code === optionCodes.timestampResolution && length === 1) resolution = u8(bytes, at);
      else if (code === optionCodes.timestampOffset && length === 8)
        offsetSeconds = this.#i64(bytes, at);
    });
    if (!isResolution(resolution))
      return this.#fault(
        "CAPTURE_BAD_BLOCK",
        queue,
        `interface ${this.#interfaces.length} counts time in units of ${(resolution & 0x80) === 0 ? 10 : 2} to the power of -${resolution & 0x7f} seconds`,
      );
    const snapLength = this.#u32(bytes, body + 4);
    this.#interfaces.push({
      linkType: this.#u16(bytes, body),
      snapLength: snapLength === 0 ? maxPacketBytes : snapLength,
      clock: new TimestampClock(resolution, offsetSeconds),
    });
    return undefined;
  }

  #readPacket(queue: ByteQueue, end: number, obsolete: boolean): CapturedPacket | CaptureError {
    const body = queue.at + 8;
    const { bytes } = queue;
    if (end - body < 20)
      return this.#fault("CAPTURE_BAD_LENGTH", queue, "a packet block without its fields");
    const id = obsolete ? this.#u16(bytes, body) : this.#u32(bytes, body);
    const from = this.#interfaces[id];
    if (from === undefined)
      return this.#fault(
        "CAPTURE_BAD_BLOCK",
        queue,
        `packet ${this.#index} is of interface ${id}; the section has ${this.#interfaces.length}`,
      );
    const captured = this.#u32(bytes, body + 12);
    const dataAt = body + 20;
    if (captured > maxPacketBytes || captured > end - dataAt)
      return this.#fault(
        "CAPTURE_BAD_LENGTH",
        queue,
        `packet ${this.#index} claims ${captured} bytes; its block has room for ${end - dataAt}`,
      );
    let comments = noComments;
    const optionsAt = dataAt + padded(captured);
    if (optionsAt < end) {
      const found: string[] = [];
      this.#eachOption(bytes, optionsAt, end, (code, at, length) => {
        if (code === optionCodes.comment)
          found.push(this.#text.decode(bytes.subarray(at, at + length)));
      });
      if (found.length > 0) comments = found;
    }
    from.clock.set(this.#u32(bytes, body + 4), this.#u32(bytes, body + 8));
    return {
      index: this.#index++,
      offset: queue.offset,
      linkType: from.linkType,
      interfaceId: id,
      bigEndian: this.#big,
      seconds: from.clock.seconds,
      nanoseconds: from.clock.nanoseconds,
      originalLength: this.#u32(bytes, body + 16),
      data: new Uint8Array(bytes.buffer, bytes.byteOffset + dataAt, captured),
      comments,
    };
  }

  #readSimplePacket(queue: ByteQueue, end: number): CapturedPacket | CaptureError {
    const body = queue.at + 8;
    const { bytes } = queue;
    if (end - body < 4)
      return this.#fault("CAPTURE_BAD_LENGTH", queue, "a simple packet block without its field");
    const from = this.#interfaces[0];
    if (from === undefined)
      return this.#fault(
        "CAPTURE_BAD_BLOCK",
        queue,
        `packet ${this.#index} is a simple packet block; the section has no interface`,
      );
    const original = this.#u32(bytes, body);
    const captured = Math.min(original, from.snapLength);
    const dataAt = body + 4;
    if (captured > maxPacketBytes || captured > end - dataAt)
      return this.#fault(
        "CAPTURE_BAD_LENGTH",
        queue,
        `packet ${this.#index} claims ${captured} bytes; its block has room for ${end - dataAt}`,
      );
    return {
      index: this.#index++,
      offset: queue.offset,
      linkType: from.linkType,
      interfaceId: 0,
      bigEndian: this.#big,
      seconds: 0,
      nanoseconds: 0,
      originalLength: original,
      data: new Uint8Array(bytes.buffer, bytes.byteOffset + dataAt, captured),
      comments: noComments,
    };
  }

  /**
   * Calls `use` with code, index and length of each option between `at` and `end`. One that claims
   * more than its block has ends the list: the block itself is whole, its length says so twice.
   */
  #eachOption(
    bytes: Uint8Array,
    at: number,
    end: number,
    use: (code: number, at: number, length: number) => void,
  ): void {
    let position = at;
    while (position + 4 <= end) {
      const code = this.#u16(bytes, position);
      if (code === optionCodes.end) return;
      const length = this.#u16(bytes, position + 2);
      if (length > end - position - 4) return;
      use(code, position + 4, length);
      position += 4 + padded(length);
    }
  }

  #u16(bytes: Uint8Array, at: number): number {
    return this.#big ? u16be(bytes, at) : u16le(bytes, at);
  }

  #u32(bytes: Uint8Array, at: number): number {
    return this.#big ? u32be(bytes, at) : u32le(bytes, at);
  }

  /** Signed; exact to ±2⁵³. */
  #i64(bytes: Uint8Array, at: number): number {
    const high = this.#u32(bytes, this.#big ? at : at + 4) | 0;
    return high * 2 ** 32 + this.#u32(bytes, this.#big ? at + 4 : at);
  }

  #fault(code: CaptureFault, queue: ByteQueue, what: string): CaptureError {
    return new CaptureError(code, this.#name, queue.offset, what);
  }
}

function isRead(type: number): boolean {
  switch (type) {
    case blockTypes.sectionHeader:
    case blockTypes.interfaceDescription:
    case blockTypes.packet:
    case blockTypes.simplePacket:
    case blockTypes.enhancedPacket:
      return true;
    default:
      return false;
  }
}
