import { copyBytes } from "../../common/bytes.ts";
import type { DropReason } from "../../common/drop-reason.ts";
import { ethernet } from "../../packet/ethernet.ts";
import { FrameView } from "../../packet/frame-view.ts";
import { maxPacketTooBigBytes } from "../../packet/packet-too-big.ts";
import type { TunnelProtocol } from "../../packet/tunnel-header.ts";
import type { DatagramPeer } from "../datagram-socket.ts";
import { isIp } from "./encapsulation.ts";
import type { Peer } from "./peers.ts";

/** Longest header: GENEVE's with 63 words of options. RFC 8926 §3.4. */
const maxHeaderBytes = 8 + 252;

/** The outer source of a datagram, by its address and port. */
export interface OuterSource extends DatagramPeer {
  /** Where answers to it go in mode gwlb: to its address, and our own port. */
  readonly answers: DatagramPeer | undefined;
}

/**
 * A frame as it came through a tunnel, and where from. It serves again: valid until what comes next is
 * read.
 */
export class Arrival {
  readonly protocol: TunnelProtocol;
  /** What the headers inside say; bound by `bindFrame`. */
  readonly frame = new FrameView();
  /** The whole datagram: the tunnel's header, then the frame. */
  datagram: Uint8Array = new Uint8Array(0);
  /** Where the tunnel's header ends. */
  payloadAt = 0;
  /** The header, of which the first `payloadAt` bytes are valid: filters may use its place in a slot. */
  readonly header = new Uint8Array(maxHeaderBytes);
  /** The packet slot that the datagram lies in, there to be judged and sent from; -1: in none. */
  slot = -1;
  vni = 0;
  /** 0x6558: an Ethernet frame lies there; else IPv4 or IPv6, without an Ethernet header. */
  etherType = 0;
  peer!: Peer;
  outer!: OuterSource;
  /** `flowHash` of the frame. */
  hash = 0;
  #quote: Buffer | undefined;
  #isQuoteKept = false;

  constructor(protocol: TunnelProtocol) {
    this.protocol = protocol;
  }

  get address(): string {
    return this.outer.address;
  }

  get port(): number {
    return this.outer.port;
  }

  /** Takes a datagram whose header ends at `payloadAt`. */
  take(datagram: Uint8Array, payloadAt: number): void {
    this.datagram = datagram;
    this.payloadAt = payloadAt;
    this.#isQuoteKept = false;
    const { header } = this;
    for (let i = 0; i < payloadAt; i++) header[i] = datagram[i]!;
  }

  /** Writes the header at `at` of `bytes`, and so in front of a frame. */
  writeHeader(bytes: Uint8Array, at: number): void {
    const { header, payloadAt } = this;
    for (let i = 0; i < payloadAt; i++) bytes[at + i] = header[i]!;
  }

  /** Keeps a copy of the first bytes: an answer may have to quote what filters write over. */
  keepQuote(): void {
    this.#quote ??= Buffer.allocUnsafe(maxHeaderBytes + maxPacketTooBigBytes);
    this.#isQuoteKept = true;
    copyBytes(this.datagram, 0, this.datagram.length, this.#quote, 0);
  }

  /** The first bytes as they came; undefined where none were kept of this one. */
  get quote(): Uint8Array | undefined {
    return this.#isQuoteKept ? this.#quote : undefined;
  }

  /** Reads the headers of the frame inside; the reason where they contradict themselves. */
  bindFrame(): DropReason | undefined {
    const { datagram, payloadAt, etherType } = this;
    return isIp(etherType)
      ? this.frame.bindPacket(datagram, payloadAt, datagram.length, etherType)
      : this.frame.bind(datagram, payloadAt, datagram.length);
  }

  /** Bytes in front of an IP packet that make it the frame that filters see. */
  get missingBytes(): number {
    return isIp(this.etherType) ? ethernet.headerBytes : 0;
  }

  /** Length of the frame that filters see, from its Ethernet header. */
  get frameBytes(): number {
    return this.datagram.length - this.payloadAt + this.missingBytes;
  }
}
