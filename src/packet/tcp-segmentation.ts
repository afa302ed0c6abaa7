import { copyBytes, putU16be, putU32be, u8, u16be, u32be } from "../common/bytes.ts";
import { finishSum, partialSum, pseudoHeaderSum } from "./checksum.ts";
import type { FrameView } from "./frame-view.ts";
import { ipProtocols } from "./ip-protocol.ts";
import { ipv4 } from "./ipv4.ts";
import { ipv6 } from "./ipv6.ts";
import { tcp, tcpFlags } from "./tcp.ts";

/** Less payload than this a segment is no way to carry a stream, but one to multiply packets. */
const minSegmentPayloadBytes = 64;

/** Copies the bytes from `from` up to `to` to `outAt` of another array; their partial sum. */
export type CopyAndSum = (
  bytes: Uint8Array,
  from: number,
  to: number,
  out: Uint8Array,
  outAt: number,
) => number;

const copyAndSum: CopyAndSum = (bytes, from, to, out, outAt) => {
  copyBytes(bytes, from, to, out, outAt);
  return partialSum(bytes, from, to);
};

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
  #segmentPayload = 0;
  /** Of the IPv4 header without its length, identification and checksum. */
  #networkSum = 0;
  /** Of pseudo-header and TCP header without length, sequence number, flags and checksum. */
  #transportSum = 0;
  /** How many segments there are. */
  count = 0;
  readonly #copyAndSum: CopyAndSum;

  /** `copying` may be faster for the memory that segments are written to. */
  constructor(copying: CopyAndSum = copyAndSum) {
    this.#copyAndSum = copying;
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
    this.#network = frame.networkOffset;
    this.#transport = frame.transportOffset;
    this.#payload = frame.payloadOffset;
    this.#end = frame.payloadEnd;
    this.#segmentPayload = maxBytes - headerBytes;
    this.#sumHeaders(frame);
    this.count = Math.ceil(frame.payloadLength / this.#segmentPayload);
    return true;
  }

  /** Sums what is the same in all segments. */
  #sumHeaders(frame: FrameView): void {
    const bytes = this.#bytes;
    const network = this.#network;
    const header = this.#transport;
    if (frame.version === 4) {
      const headerBytes = (u8(bytes, network + ipv4.versionAndLength) & 15) * 4;
      this.#networkSum =
        partialSum(bytes, network, network + headerBytes) -
        u16be(bytes, network + ipv4.totalLength) -
        u16be(bytes, network + ipv4.identification) -
        u16be(bytes, network + ipv4.checksum);
    }
    this.#transportSum =
      pseudoHeaderSum(bytes, frame.sourceAt, this.#version, ipProtocols.tcp, 0) +
      partialSum(bytes, header, this.#payload) -
      u16be(bytes, header + tcp.sequence) -
      u16be(bytes, header + tcp.sequence + 2) -
      u8(bytes, header + tcp.flags) -
      u16be(bytes, header + tcp.checksum);
  }

  /** Writes segment `index` at `outAt` of `out`, which is another array; returns its length. */
  write(index: number, out: Uint8Array, outAt: number): number {
    const bytes = this.#bytes;
    const skipped = index * this.#segmentPayload;
    const from = this.#payload + skipped;
    const to = Math.min(from + this.#segmentPayload, this.#end);
    this.#copyAndSum(bytes, this.#at, this.#payload, out, outAt);
    const payload = outAt + this.#payload - this.#at;
    const payloadSum = this.#copyAndSum(bytes, from, to, out, payload);
    const end = payload + to - from;
    this.#writeNetwork(index, out, outAt + this.#network - this.#at, end);

    const header = outAt + this.#transport - this.#at;
    const sequence = (u32be(out, header + tcp.sequence) + skipped) >>> 0;
    putU32be(out, header + tcp.sequence, sequence);
    let flags = u8(out, header + tcp.flags);
    if (index > 0) flags &= ~tcpFlags.cwr;
    if (to < this.#end) flags &= ~(tcpFlags.fin | tcpFlags.psh);
    out[header + tcp.flags] = flags;
    // A TCP header is a whole number of words, so its sum and the payload's add up.
    const length = end - header;
    const sum =
      this.#transportSum + length + (sequence >>> 16) + (sequence & 0xffff) + flags + payloadSum;
    putU16be(out, header + tcp.checksum, finishSum(sum));
    return end - outAt;
  }

  #writeNetwork(index: number, out: Uint8Array, at: number, end: number): void {
    if (this.#version === 6) {
      putU16be(out, at + ipv6.payloadLength, end - at - ipv6.headerBytes);
      return;
    }
    const identification = (u16be(out, at + ipv4.identification) + index) & 0xffff;
    putU16be(out, at + ipv4.totalLength, end - at);
    putU16be(out, at + ipv4.identification, identification);
    const sum = this.#networkSum + end - at + identification;
    putU16be(out, at + ipv4.checksum, finishSum(sum));
  }
}
