import { putU32le } from "../common/bytes.ts";
import { maxPacketBytes, type PacketRecord } from "./captured-packet.ts";
import { classicHeader, classicMagics, classicRecord } from "./classic-format.ts";

/**
 * Writes classic pcap 2.4: `header` first, then `record` of each packet. Little endian with
 * nanoseconds, which tcpdump and Wireshark read; `microseconds` is for readers that know no other.
 */
export class ClassicWriter {
  readonly #unitNanoseconds: number;
  /** The file header. */
  readonly header: Uint8Array;

  /** `linkType` is a LINKTYPE_ number: 1 is Ethernet. */
  constructor(linkType: number, precision: "microseconds" | "nanoseconds" = "nanoseconds") {
    this.#unitNanoseconds = precision === "microseconds" ? 1000 : 1;
    const header = new Uint8Array(classicHeader.bytes);
    putU32le(header, classicHeader.magic, classicMagics[precision]);
    header[classicHeader.majorVersion] = 2;
    header[classicHeader.minorVersion] = 4;
    putU32le(header, classicHeader.snapLength, maxPacketBytes);
    putU32le(header, classicHeader.linkType, linkType);
    this.header = header;
  }

  /** The record of a packet. Comments have no place in this format. Throws a RangeError above `maxPacketBytes`. */
  record(packet: PacketRecord): Uint8Array {
    const { data } = packet;
    if (data.length > maxPacketBytes) throw new RangeError(`a packet of ${data.length} bytes`);
    // From Node's pool: an allocation of its own would take longer than all else here.
    const record = Buffer.allocUnsafe(classicRecord.bytes + data.length);
    const fraction = Math.floor(packet.nanoseconds / this.#unitNanoseconds);
    putU32le(record, classicRecord.seconds, packet.seconds);
    putU32le(record, classicRecord.fraction, fraction);
    putU32le(record, classicRecord.capturedLength, data.length);
    putU32le(record, classicRecord.originalLength, packet.originalLength);
    record.set(data, classicRecord.bytes);
    return record;
  }
}
