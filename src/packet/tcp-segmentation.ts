import { copyBytes, putU16be, putU32be, u8, u16be, u32be } from "../common/bytes.ts";
import { checksum, finishSum, type PartialSum, partialSum, pseudoHeaderSum } from "./checksum.ts";
import type { FrameView } from "./frame-view.ts";
import { ipProtocols } from "./ip-protocol.ts";
import { ipv4 } from "./ipv4.ts";
import { ipv6 } from "./ipv6.ts";
import { tcp, tcpFlags } from "./tcp.ts";

/** Less payload than this a segment is no way to carry a stream, but one to multiply packets. */
const minSegmentPayloadBytes = 64;

/**
 * Cuts a TCP super-frame, as a sender hands it to a network card that segments (Linux: GSO), into
 * the segments that the card would have sent: sequence numbers and IPv4 identifications count on,
 * FIN and PSH are the last one's, CWR is the first one's (RFC 3168 §6.1.2), lengths and checksums
 * are right. Ethernet header, tags, extension headers and options are every segment's.
 *
 *     if (segments.bind(bytes, at, frame, maxBytes))
 *       for (let i = 0; i < segments.count; i++) length = segments.write(i, out, outAt);
 */
export class TcpSegments {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #network = 0;
  #transport = 0;
  #payload = 0;
  #end = 0;
  #version: 4 | 6 = 4;
  #addresses = 0;
  #segmentPayload = 0;
  /** How many segments there are. */
  count = 0;
  readonly #sum: PartialSum;

  /** `sum` may be a faster one for the memory that segments are written to. */
  constructor(sum: PartialSum = partialSum) {
    this.#sum = sum;
  }

  /**
   * Takes the frame that begins at `at` (with its Ethernet header, or with IP) and that `frame` is
   * bound to. No segment is to be longer than `maxBytes`, counted from `at`. False for what cannot
   * be cut: another protocol, a fragment, SYN, RST or URG, or `maxBytes` too small.
   */
  bind(bytes: Uint8Array, at: number, frame: FrameView, maxBytes: number): boolean {
    if (frame.version === 0 || frame.isFragment || frame.protocol !== ipProtocols.tcp) return false;
    if ((frame.tcpFlags & (tcpFlags.syn | tcpFlags.rst | tcpFlags.urg)) !== 0) return false;
    const headerBytes = frame.payloadOffset - at;
    if (maxBytes - headerBytes < minSegmentPayloadBytes || frame.payloadLength === 0) return false;
    this.#bytes = bytes;
    this.#at = at;
    this.#version = frame.version;
    this.#addresses = frame.sourceAt;
    this.#network = frame.networkOffset;
    this.#transport = frame.transportOffset;
    this.#payload = frame.payloadOffset;
    this.#end = frame.payloadEnd;
    this.#segmentPayload = maxBytes - headerBytes;
    this.count = Math.ceil(frame.payloadLength / this.#segmentPayload);
    return true;
  }

  /** Writes segment `index` at `outAt` of `out`, which is another array; returns its length. */
  write(index: number, out: Uint8Array, outAt: number): number {
    const bytes = this.#bytes;
    const skipped = index * this.#segmentPayload;
    const from = this.#payload + skipped;
    const to = Math.min(from + this.#segmentPayload, this.#end);
    copyBytes(bytes, this.#at, this.#payload, out, outAt);
    const payload = outAt + this.#payload - this.#at;
    copyBytes(bytes, from, to, out, payload);
    const end = payload + to - from;
    this.#writeNetwork(index, out, outAt + this.#network - this.#at, end);

    const header = outAt + this.#transport - this.#at;
    putU32be(out, header + tcp.sequence, u32be(out, header + tcp.sequence) + skipped);
    let flags = u8(out, header + tcp.flags);
    if (index > 0) flags &= ~tcpFlags.cwr;
    if (to < this.#end) flags &= ~(tcpFlags.fin | tcpFlags.psh);
    out[header + tcp.flags] = flags;
    putU16be(out, header + tcp.checksum, 0);
    const pseudoSum = pseudoHeaderSum(
      bytes,
      this.#addresses,
      this.#version,
      ipProtocols.tcp,
      end - header,
    );
    putU16be(out, header + tcp.checksum, finishSum(this.#sum(out, header, end, pseudoSum)));
    return end - outAt;
  }

  #writeNetwork(index: number, out: Uint8Array, at: number, end: number): void {
    if (this.#version === 6) {
      putU16be(out, at + ipv6.payloadLength, end - at - ipv6.headerBytes);
      return;
    }
    const identification = u16be(out, at + ipv4.identification) + index;
    putU16be(out, at + ipv4.totalLength, end - at);
    putU16be(out, at + ipv4.identification, identification & 0xffff);
    putU16be(out, at + ipv4.checksum, 0);
    const headerBytes = (u8(out, at + ipv4.versionAndLength) & 15) * 4;
    putU16be(out, at + ipv4.checksum, checksum(out, at, at + headerBytes));
  }
}
