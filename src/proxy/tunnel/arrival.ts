import type { DropReason } from "../../common/drop-reason.ts";
import { ethernet } from "../../packet/ethernet.ts";
import { FrameView } from "../../packet/frame-view.ts";
import type { DatagramPeer } from "../datagram-socket.ts";
import type { TunnelProtocol } from "../plan.ts";
import { isIp } from "./encapsulation.ts";
import type { Peer } from "./peers.ts";

/** The outer source of a datagram, by its address and port. */
export interface OuterSource extends DatagramPeer {
  /** Where answers to it go in mode gwlb: to its address, and our own port. */
  readonly answers: DatagramPeer | undefined;
}

/**
 * A frame as it came through a tunnel, and where from. One object serves all frames of a listener:
 * valid until the next is read.
 */
export class Arrival {
  readonly protocol: TunnelProtocol;
  /** What the headers inside say; bound by `bindFrame`. */
  readonly frame = new FrameView();
  /** The whole datagram: the tunnel's header, then the frame. */
  datagram: Uint8Array = new Uint8Array(0);
  /** Where the tunnel's header ends. */
  payloadAt = 0;
  vni = 0;
  /** 0x6558: an Ethernet frame lies there; else IPv4 or IPv6, without an Ethernet header. */
  etherType = 0;
  peer!: Peer;
  outer!: OuterSource;
  /** `flowHash` of the frame. */
  hash = 0;

  constructor(protocol: TunnelProtocol) {
    this.protocol = protocol;
  }

  get address(): string {
    return this.outer.address;
  }

  get port(): number {
    return this.outer.port;
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
