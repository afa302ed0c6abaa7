import { putU16be, putU32be, u8, u16be } from "../common/bytes.ts";
import { checksum, finishSum, partialSum, pseudoHeaderSum } from "./checksum.ts";
import { ethernet } from "./ethernet.ts";
import type { FrameView } from "./frame-view.ts";
import { icmpTypes } from "./icmp.ts";
import { icmpv6Types } from "./icmpv6.ts";
import { ipProtocols } from "./ip-protocol.ts";
import { ipv4, ipv4DontFragment } from "./ipv4.ts";
import { ipv6 } from "./ipv6.ts";

const icmpHeaderBytes = 8;
/** ICMP errors are at most so long, as every host takes them. RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c). */
const maxErrorBytes = { 4: 576, 6: 1280 } as const;
const hopLimit = 64;
const fragmentationNeeded = 4;

/** Longest frame that `writePacketTooBig` writes: Ethernet, eight VLAN tags, an IPv6 packet. */
export const maxPacketTooBigBytes = ethernet.headerBytes + 8 * 4 + maxErrorBytes[6];

/**
 * Answers the frame at `at`, which `frame` is bound to, with "fragmentation needed" (RFC 1191) or
 * "packet too big" (RFC 8201), which name `mtu`, the longest IP packet that would have gone
 * through. Written at `outAt` of `out`, another array; returns its length, which is 0 where no
 * error may be sent: without DF on IPv4, about an ICMP error, a later fragment, a group address
 * (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)).
 *
 * Who answers has no address in the packet's network: the error comes from the packet's
 * destination, as Linux's tunnels do it (iptunnel_pmtud_build_icmp).
 */
export function writePacketTooBig(
  bytes: Uint8Array,
  at: number,
  frame: FrameView,
  mtu: number,
  out: Uint8Array,
  outAt: number,
): number {
  if (frame.version === 0 || !mayAnswer(bytes, at, frame)) return 0;
  const network = frame.networkOffset;
  const linkBytes = network - at;
  out.set(bytes.subarray(at, network), outAt);
  if (linkBytes > 0) {
    out.set(bytes.subarray(at + ethernet.source, at + ethernet.etherType), outAt);
    out.set(bytes.subarray(at, at + ethernet.source), outAt + ethernet.source);
  }
  const header = outAt + linkBytes;
  const write = frame.version === 4 ? writeIpv4Error : writeIpv6Error;
  return linkBytes + write(bytes, network, frame.payloadEnd, mtu, out, header);
}

function mayAnswer(bytes: Uint8Array, at: number, frame: FrameView): boolean {
  const network = frame.networkOffset;
  // The group bit of the destination's MAC address: IEEE 802 §8.2.
  if (network > at && (u8(bytes, at) & 1) !== 0) return false;
  if (frame.version === 4) {
    const fragment = u16be(bytes, network + ipv4.fragment);
    if ((fragment & ipv4DontFragment) === 0 || (fragment & 0x1fff) !== 0) return false;
    if (!isHost(u8(bytes, frame.sourceAt)) || !isHost(u8(bytes, frame.destinationAt))) return false;
    return frame.protocol !== ipProtocols.icmp || isEcho(u8(bytes, frame.transportOffset));
  }
  const [source, destination] = [u8(bytes, frame.sourceAt), u8(bytes, frame.destinationAt)];
  if (frame.isFragment || source === 0xff || destination === 0xff) return false;
  return frame.protocol !== ipProtocols.icmpv6 || u8(bytes, frame.transportOffset) >= 128;
}

/** By an IPv4 address's first byte: no group, nothing reserved, not "this host". */
function isHost(firstByte: number): boolean {
  return firstByte !== 0 && firstByte < 224;
}

function isEcho(type: number): boolean {
  return type === icmpTypes.echoRequest || type === icmpTypes.echoReply;
}

function writeIpv4Error(
  bytes: Uint8Array,
  network: number,
  end: number,
  mtu: number,
  out: Uint8Array,
  at: number,
): number {
  const icmp = at + ipv4.headerBytes;
  const quoted = Math.min(end - network, maxErrorBytes[4] - ipv4.headerBytes - icmpHeaderBytes);
  const totalBytes = ipv4.headerBytes + icmpHeaderBytes + quoted;
  out.fill(0, at, icmp + icmpHeaderBytes);
  out[at + ipv4.versionAndLength] = 0x45;
  putU16be(out, at + ipv4.totalLength, totalBytes);
  out[at + ipv4.timeToLive] = hopLimit;
  out[at + ipv4.protocol] = ipProtocols.icmp;
  out.set(bytes.subarray(network + ipv4.destination, network + ipv4.headerBytes), at + ipv4.source);
  out.set(bytes.subarray(network + ipv4.source, network + ipv4.destination), at + ipv4.destination);
  putU16be(out, at + ipv4.checksum, checksum(out, at, icmp));
  out[icmp] = icmpTypes.destinationUnreachable;
  out[icmp + 1] = fragmentationNeeded;
  putU16be(out, icmp + 6, mtu);
  out.set(bytes.subarray(network, network + quoted), icmp + icmpHeaderBytes);
  putU16be(out, icmp + 2, checksum(out, icmp, at + totalBytes));
  return totalBytes;
}

function writeIpv6Error(
  bytes: Uint8Array,
  network: number,
  end: number,
  mtu: number,
  out: Uint8Array,
  at: number,
): number {
  const icmp = at + ipv6.headerBytes;
  const quoted = Math.min(end - network, maxErrorBytes[6] - ipv6.headerBytes - icmpHeaderBytes);
  const messageBytes = icmpHeaderBytes + quoted;
  out.fill(0, at, icmp + icmpHeaderBytes);
  out[at + ipv6.version] = 0x60;
  putU16be(out, at + ipv6.payloadLength, messageBytes);
  out[at + ipv6.nextHeader] = ipProtocols.icmpv6;
  out[at + ipv6.hopLimit] = hopLimit;
  out.set(bytes.subarray(network + ipv6.destination, network + ipv6.headerBytes), at + ipv6.source);
  out.set(bytes.subarray(network + ipv6.source, network + ipv6.destination), at + ipv6.destination);
  out[icmp] = icmpv6Types.packetTooBig;
  putU32be(out, icmp + 4, mtu);
  out.set(bytes.subarray(network, network + quoted), icmp + icmpHeaderBytes);
  const pseudoSum = pseudoHeaderSum(out, at + ipv6.source, 6, ipProtocols.icmpv6, messageBytes);
  const end6 = icmp + messageBytes;
  putU16be(out, icmp + 2, finishSum(partialSum(out, icmp, end6, pseudoSum)));
  return ipv6.headerBytes + messageBytes;
}
