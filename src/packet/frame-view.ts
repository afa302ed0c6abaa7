import type { DropReason } from "../common/drop-reason.ts";
import { formatAddress } from "./address.ts";
import { EthernetView, ethernet, etherTypes } from "./ethernet.ts";
import type { Flow } from "./flow.ts";
import { IcmpView } from "./icmp.ts";
import { Icmpv6View } from "./icmpv6.ts";
import { ipProtocols } from "./ip-protocol.ts";
import { Ipv4View, ipv4 } from "./ipv4.ts";
import { Ipv6View, ipv6 } from "./ipv6.ts";
import { TcpView } from "./tcp.ts";
import { UdpView } from "./udp.ts";
import { isVlanTag, VlanView } from "./vlan.ts";

/** Real stacks nest two tags (QinQ); more than this many is an attack on those who walk them. */
const maxVlanTags = 8;

/**
 * A whole frame, from Ethernet over VLAN tags and IP to the transport's payload. Used where a
 * filter may have written to a frame, to find what payload and which addresses it has now.
 *
 * `bind` walks once, allocates nothing and reads nothing at or beyond `end`. It returns a reason
 * where a header contradicts itself or the bytes that are there; the fields are then not to be
 * read. Checksums are not looked at: a filter that changed a frame need not have repaired them.
 *
 * A frame that is well-formed but no unfragmented UDP or TCP binds too (ARP, a fragment, ICMP):
 * `routable` tells them apart.
 */
export class FrameView {
  readonly #ethernet = new EthernetView();
  readonly #vlan = new VlanView();
  readonly #ipv4 = new Ipv4View();
  readonly #ipv6 = new Ipv6View();
  readonly #udp = new UdpView();
  readonly #tcp = new TcpView();
  readonly #icmp = new IcmpView();
  readonly #icmpv6 = new Icmpv6View();
  #bytes: Uint8Array = new Uint8Array(0);

  /** Of what lies behind Ethernet and all VLAN tags; a length where it is below 0x600 (802.3). */
  etherType = 0;
  vlanCount = 0;
  /** IP version; 0 where the frame holds no IP. */
  version: 0 | 4 | 6 = 0;
  /** IP protocol number behind all extension headers; 0 where `version` is 0. */
  protocol = 0;
  /** Whether the packet is a piece of one, the first piece included: the transport is not read then. */
  isFragment = false;
  /** Index of the source address in the bytes that were bound; 0 where `version` is 0. */
  sourceAt = 0;
  /** Index of the destination address; 0 where `version` is 0. */
  destinationAt = 0;
  /** UDP's or TCP's, else 0. */
  sourcePort = 0;
  /** UDP's or TCP's, else 0. */
  destinationPort = 0;
  /** Index of the UDP, TCP, ICMP or ICMPv6 header; of the payload where there is none of them. */
  transportOffset = 0;
  /** Index of the bytes behind the last header that was read. */
  payloadOffset = 0;
  /** Bytes of payload, without Ethernet's padding. */
  payloadLength = 0;
  /** TCP's flag byte (`tcpFlags`), else 0. */
  tcpFlags = 0;

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    this.#bytes = bytes;
    this.#reset();
    const bad = this.#ethernet.bind(bytes, at, end);
    if (bad !== undefined) return bad;
    let etherType = this.#ethernet.etherType;
    let position = at + ethernet.headerBytes;
    while (isVlanTag(etherType)) {
      if (this.vlanCount === maxVlanTags) return "frame_too_deep";
      const badTag = this.#vlan.bind(bytes, position, end);
      if (badTag !== undefined) return badTag;
      this.vlanCount++;
      etherType = this.#vlan.etherType;
      position = this.#vlan.payloadAt;
    }
    this.etherType = etherType;
    if (etherType === etherTypes.ipv4) return this.#bindIpv4(position, end);
    if (etherType === etherTypes.ipv6) return this.#bindIpv6(position, end);
    this.#setPayload(position, end);
    return undefined;
  }

  /** As `bind`, for an IP packet that has no Ethernet header: `etherType` says which IP it is. */
  bindPacket(
    bytes: Uint8Array,
    at: number,
    end: number,
    etherType: typeof etherTypes.ipv4 | typeof etherTypes.ipv6,
  ): DropReason | undefined {
    this.#bytes = bytes;
    this.#reset();
    this.etherType = etherType;
    return etherType === etherTypes.ipv4 ? this.#bindIpv4(at, end) : this.#bindIpv6(at, end);
  }

  /** Index of the IP header; 0 where `version` is 0. */
  get networkOffset(): number {
    if (this.version === 0) return 0;
    return this.sourceAt - (this.version === 4 ? ipv4.source : ipv6.source);
  }

  /** Index one past the last byte of the payload. */
  get payloadEnd(): number {
    return this.payloadOffset + this.payloadLength;
  }

  /** Whether a socket can carry this on: one whole UDP datagram or TCP segment in IP, no VLAN tag. */
  get routable(): boolean {
    return (
      this.vlanCount === 0 &&
      this.version !== 0 &&
      !this.isFragment &&
      (this.protocol === ipProtocols.udp || this.protocol === ipProtocols.tcp)
    );
  }

  /** Whether address and port of the source are those of `flow`'s source. */
  hasSourceOf(flow: Flow): boolean {
    return (
      this.version === flow.family &&
      this.sourcePort === flow.sourcePort &&
      this.#equals(this.sourceAt, flow, flow.family === 4 ? ipv4.source : ipv6.source)
    );
  }

  /** Whether address and port of the destination are those of `flow`'s destination. */
  hasDestinationOf(flow: Flow): boolean {
    return (
      this.version === flow.family &&
      this.destinationPort === flow.destinationPort &&
      this.#equals(
        this.destinationAt,
        flow,
        flow.family === 4 ? ipv4.destination : ipv6.destination,
      )
    );
  }

  /** The source address in text; not for every packet. Only where `version` is not 0. */
  sourceAddress(): string {
    return formatAddress(this.#bytes, this.sourceAt, this.version === 4 ? 4 : 16);
  }

  /** The destination address in text; not for every packet. Only where `version` is not 0. */
  destinationAddress(): string {
    return formatAddress(this.#bytes, this.destinationAt, this.version === 4 ? 4 : 16);
  }

  #bindIpv4(position: number, end: number): DropReason | undefined {
    const packet = this.#ipv4;
    const bad = packet.bind(this.#bytes, position, end);
    if (bad !== undefined) return bad;
    this.version = 4;
    this.protocol = packet.protocol;
    this.isFragment = packet.isFragment;
    this.sourceAt = packet.sourceAt;
    this.destinationAt = packet.destinationAt;
    return this.#bindTransport(packet.payloadAt, packet.payloadEnd);
  }

  #bindIpv6(position: number, end: number): DropReason | undefined {
    const packet = this.#ipv6;
    const bad = packet.bind(this.#bytes, position, end);
    if (bad !== undefined) return bad;
    this.version = 6;
    this.protocol = packet.protocol;
    this.isFragment = packet.isFragment;
    this.sourceAt = packet.sourceAt;
    this.destinationAt = packet.destinationAt;
    return this.#bindTransport(packet.payloadAt, packet.payloadEnd);
  }

  #bindTransport(position: number, end: number): DropReason | undefined {
    this.transportOffset = position;
    if (!this.isFragment) {
      const isIpv4 = this.version === 4;
      if (this.protocol === ipProtocols.udp) return this.#bindUdp(position, end);
      if (this.protocol === ipProtocols.tcp) return this.#bindTcp(position, end);
      if (this.protocol === ipProtocols.icmp && isIpv4)
        return this.#bindIcmp(this.#icmp, position, end);
      if (this.protocol === ipProtocols.icmpv6 && !isIpv4)
        return this.#bindIcmp(this.#icmpv6, position, end);
    }
    this.#setPayload(position, end);
    return undefined;
  }

  #bindUdp(position: number, end: number): DropReason | undefined {
    const bad = this.#udp.bind(this.#bytes, position, end);
    if (bad !== undefined) return bad;
    this.sourcePort = this.#udp.sourcePort;
    this.destinationPort = this.#udp.destinationPort;
    this.#setPayload(this.#udp.payloadAt, this.#udp.payloadEnd);
    return undefined;
  }

  #bindTcp(position: number, end: number): DropReason | undefined {
    const bad = this.#tcp.bind(this.#bytes, position, end);
    if (bad !== undefined) return bad;
    this.sourcePort = this.#tcp.sourcePort;
    this.destinationPort = this.#tcp.destinationPort;
    this.tcpFlags = this.#tcp.flags;
    this.#setPayload(this.#tcp.payloadAt, end);
    return undefined;
  }

  #bindIcmp(view: IcmpView, position: number, end: number): DropReason | undefined {
    const bad = view.bind(this.#bytes, position, end);
    if (bad !== undefined) return bad;
    this.#setPayload(view.payloadAt, end);
    return undefined;
  }

  #setPayload(position: number, end: number): void {
    if (this.transportOffset === 0) this.transportOffset = position;
    this.payloadOffset = position;
    this.payloadLength = end - position;
  }

  #reset(): void {
    this.etherType = 0;
    this.vlanCount = 0;
    this.version = 0;
    this.protocol = 0;
    this.isFragment = false;
    this.sourceAt = 0;
    this.destinationAt = 0;
    this.sourcePort = 0;
    this.destinationPort = 0;
    this.transportOffset = 0;
    this.payloadOffset = 0;
    this.payloadLength = 0;
    this.tcpFlags = 0;
  }

  /** Whether the address at `at` is the one at `field` of the flow's IP header. */
  #equals(at: number, flow: Flow, field: number): boolean {
    const length = flow.family === 4 ? 4 : 16;
    const template = flow.template;
    const templateAt = ethernet.headerBytes + field;
    for (let i = 0; i < length; i++)
      if (this.#bytes[at + i] !== template[templateAt + i]) return false;
    return true;
  }
}
