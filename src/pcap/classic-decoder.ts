import { u16be, u16le, u32be, u32le } from "../common/bytes.ts";
import type { ByteQueue } from "./byte-queue.ts";
import { type CapturedPacket, CaptureError, maxPacketBytes } from "./captured-packet.ts";
import { classicHeader, classicRecord } from "./classic-format.ts";
import type { FormatDecoder } from "./format-decoder.ts";

/** The link type's upper bits tell of frame check sequences. draft-ietf-opsawg-pcap §4. */
const linkTypeMask = 0x03ff_ffff;

const noComments: readonly string[] = [];

/** Classic pcap, versions 2.0 to 2.4, in either byte order. */
export class ClassicDecoder implements FormatDecoder {
  readonly #name: string;
  readonly #bigEndian: boolean;
  readonly #u32: (bytes: Uint8Array, at: number) => number;
  readonly #u16: (bytes: Uint8Array, at: number) => number;
  /** Units of the fraction field in a second, and nanoseconds in a unit. */
  readonly #unitsPerSecond: number;
  readonly #unitNanoseconds: number;
  #hasHeader = false;
  #linkType = 0;
  #snapLength = 0;
  #minorVersion = 0;
  #index = 0;

  constructor(name: string, bigEndian: boolean, nanoseconds: boolean) {
    this.#name = name;
    this.#bigEndian = bigEndian;
    this.#u32 = bigEndian ? u32be : u32le;
    this.#u16 = bigEndian ? u16be : u16le;
    this.#unitsPerSecond = nanoseconds ? 1_000_000_000 : 1_000_000;
    this.#unitNanoseconds = nanoseconds ? 1 : 1000;
  }

  next(queue: ByteQueue): CapturedPacket | CaptureError | undefined {
    if (!this.#hasHeader) {
      if (queue.available < classicHeader.bytes) return undefined;
      const fault = this.#readHeader(queue);
      if (fault !== undefined) return fault;
    }
    if (queue.available < classicRecord.bytes) return undefined;
    const { bytes, at } = queue;
    let captured = this.#u32(bytes, at + classicRecord.capturedLength);
    let original = this.#u32(bytes, at + classicRecord.originalLength);
    if (this.#minorVersion < 3 || (this.#minorVersion === 3 && captured > original)) {
      // Before 2.4 the two lengths were the other way round; 2.3 has files of both kinds.
      [captured, original] = [original, captured];
    }
    if (captured > maxPacketBytes)
      return new CaptureError(
        "CAPTURE_BAD_LENGTH",
        this.#name,
        queue.offset,
        `packet ${this.#index} claims ${captured} bytes; at most ${maxPacketBytes} are read`,
        "the file is damaged from here on",
      );
    if (queue.available < classicRecord.bytes + captured) return undefined;
    const fraction = this.#u32(bytes, at + classicRecord.fraction);
    const carry = Math.floor(fraction / this.#unitsPerSecond);
    const packet: CapturedPacket = {
      index: this.#index++,
      offset: queue.offset,
      linkType: this.#linkType,
      interfaceId: 0,
      bigEndian: this.#bigEndian,
      seconds: this.#u32(bytes, at + classicRecord.seconds) + carry,
      nanoseconds: (fraction - carry * this.#unitsPerSecond) * this.#unitNanoseconds,
      originalLength: original,
      data: new Uint8Array(
        bytes.buffer,
        bytes.byteOffset + at + classicRecord.bytes,
        Math.min(captured, this.#snapLength),
      ),
      comments: noComments,
    };
    queue.consume(classicRecord.bytes + captured);
    return packet;
  }

  unfinished(queue: ByteQueue): string | undefined {
    if (!this.#hasHeader) return `the file header (${queue.available} of 24 bytes)`;
    if (queue.available === 0) return undefined;
    return `packet ${this.#index} (${queue.available} bytes of its record are there)`;
  }

  #readHeader(queue: ByteQueue): CaptureError | undefined {
    const { bytes, at } = queue;
    const major = this.#u16(bytes, at + classicHeader.majorVersion);
    const minor = this.#u16(bytes, at + classicHeader.minorVersion);
    if (major !== 2 || minor > 4)
      return new CaptureError(
        "CAPTURE_FORMAT",
        this.#name,
        classicHeader.majorVersion,
        `this is pcap version ${major}.${minor}; 2.0 to 2.4 are read`,
      );
    this.#minorVersion = minor;
    const snapLength = this.#u32(bytes, at + classicHeader.snapLength);
    // 0 and what is no positive int mean "no limit", as in libpcap.
    this.#snapLength = snapLength === 0 || snapLength > 0x7fff_ffff ? maxPacketBytes : snapLength;
    this.#linkType = this.#u32(bytes, at + classicHeader.linkType) & linkTypeMask;
    this.#hasHeader = true;
    queue.consume(classicHeader.bytes);
    return undefined;
  }
}
