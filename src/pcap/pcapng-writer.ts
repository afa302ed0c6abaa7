import { putU32le } from "../common/bytes.ts";
import { epochHighWord, epochLowWord } from "../common/epoch.ts";
import { maxPacketBytes, type PacketRecord } from "./captured-packet.ts";
import {
  blockOverheadBytes,
  blockTypes,
  byteOrderMagic,
  enhancedPacket,
  optionCodes,
  padded,
} from "./pcapng-format.ts";

/** An interface that packets name by its place in the list. */
export interface CaptureInterface {
  /** LINKTYPE_ number: 1 is Ethernet. */
  readonly linkType: number;
  /** As Wireshark shows it. */
  readonly name?: string;
}

/** An option's length field has 16 bits. */
const maxOptionBytes = 65_535;

/** All comments of a packet together: the block stays within what `readCapture` reads. */
const maxCommentsBytes = 2 * maxPacketBytes;

/** Comments of so many characters are kept encoded, and so many of them. */
const maxKeptComment = 256;
const maxKeptComments = 64;

/**
 * Writes pcapng 1.0: `header` first (section and interfaces), then `record` of each packet. Little
 * endian, nanoseconds.
 */
export class PcapngWriter {
  readonly #text = new TextEncoder();
  /** Encoded, by their text. */
  readonly #kept = new Map<string, Uint8Array>();
  #interfaceCount = 0;
  /** The section header and the blocks of the interfaces that are known from the start. */
  readonly header: Uint8Array;

  constructor(interfaces: readonly CaptureInterface[]) {
    const blocks = interfaces.map((one) => this.addInterface(one));
    this.header = Buffer.concat([sectionHeader(), ...blocks]);
  }

  /** The block of one more interface, to be written before its packets; it gets the next number, from 0. */
  addInterface(one: CaptureInterface): Uint8Array {
    this.#interfaceCount++;
    return this.#describe(one);
  }

  /**
   * The enhanced packet block of a packet, with its comments as options. A comment beyond 65,535
   * bytes of UTF-8 is cut, and comments beyond 512 KiB in all are left out. Throws a RangeError for
   * a packet above `maxPacketBytes` or an interface that is not in the list.
   */
  record(packet: PacketRecord): Uint8Array {
    const { data, interfaceId = 0 } = packet;
    if (data.length > maxPacketBytes) throw new RangeError(`a packet of ${data.length} bytes`);
    if (interfaceId >= this.#interfaceCount)
      throw new RangeError(`interface ${interfaceId} of ${this.#interfaceCount}`);
    const options = this.#options(packet.comments ?? []);
    const optionsAt = enhancedPacket.data + padded(data.length);
    const total = optionsAt + options.length + 4;
    // From Node's pool: an allocation of its own would take longer than all else here.
    const bytes = Buffer.allocUnsafe(total);
    putU32le(bytes, 0, blockTypes.enhancedPacket);
    putU32le(bytes, 4, total);
    putU32le(bytes, enhancedPacket.interfaceId, interfaceId);
    putU32le(bytes, enhancedPacket.timeHigh, epochHighWord(packet.seconds, packet.nanoseconds));
    putU32le(bytes, enhancedPacket.timeLow, epochLowWord(packet.seconds, packet.nanoseconds));
    putU32le(bytes, enhancedPacket.capturedLength, data.length);
    putU32le(bytes, enhancedPacket.originalLength, packet.originalLength);
    bytes.set(data, enhancedPacket.data);
    bytes.fill(0, enhancedPacket.data + data.length, optionsAt);
    bytes.set(options, optionsAt);
    putU32le(bytes, total - 4, total);
    return bytes;
  }

  #describe(one: CaptureInterface): Uint8Array {
    const fields = new Uint8Array(8);
    fields[0] = one.linkType;
    fields[1] = one.linkType >>> 8;
    putU32le(fields, 4, maxPacketBytes);
    const name = one.name === undefined ? [] : [this.#option(optionCodes.interfaceName, one.name)];
    const resolution = option(optionCodes.timestampResolution, Uint8Array.of(9));
    return block(
      blockTypes.interfaceDescription,
      Buffer.concat([fields, ...name, resolution, endOfOptions]),
    );
  }

  /** The comments as options. Those of a lone comment are kept: captures have few different ones. */
  #options(comments: readonly string[]): Uint8Array {
    const [only] = comments;
    if (only === undefined) return noOptions;
    if (comments.length > 1 || only.length > maxKeptComment) return this.#encode(comments);
    let options = this.#kept.get(only);
    if (options === undefined) {
      options = this.#encode(comments);
      if (this.#kept.size === maxKeptComments) this.#kept.clear();
      this.#kept.set(only, options);
    }
    return options;
  }

  #encode(comments: readonly string[]): Uint8Array {
    const options: Uint8Array[] = [];
    let bytes = 0;
    for (const comment of comments) {
      const next = this.#option(optionCodes.comment, comment);
      bytes += next.length;
      if (bytes > maxCommentsBytes) break;
      options.push(next);
    }
    return Buffer.concat([...options, endOfOptions]);
  }

  #option(code: number, text: string): Uint8Array {
    // encodeInto never splits a character.
    const value = new Uint8Array(Math.min(text.length * 3, maxOptionBytes));
    const { written } = this.#text.encodeInto(text, value);
    return option(code, value.subarray(0, written));
  }
}

const noOptions = new Uint8Array(0);
const endOfOptions = option(optionCodes.end, new Uint8Array(0));

function option(code: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + padded(value.length));
  bytes[0] = code;
  bytes[1] = code >>> 8;
  bytes[2] = value.length;
  bytes[3] = value.length >>> 8;
  bytes.set(value, 4);
  return bytes;
}

function sectionHeader(): Uint8Array {
  const body = new Uint8Array(16);
  putU32le(body, 0, byteOrderMagic);
  body[4] = 1;
  // The section's length is not known beforehand: -1.
  body.fill(0xff, 8);
  return block(blockTypes.sectionHeader, body);
}

/** `body` has a length that is a multiple of four. */
function block(type: number, body: Uint8Array): Uint8Array {
  const total = blockOverheadBytes + body.length;
  const bytes = new Uint8Array(total);
  putU32le(bytes, 0, type);
  putU32le(bytes, 4, total);
  bytes.set(body, 8);
  putU32le(bytes, total - 4, total);
  return bytes;
}
