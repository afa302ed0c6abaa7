import { u16be, u32be, u32le } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";
import { deriveMac } from "./address.ts";
import { ethernet, etherTypes } from "./ethernet.ts";
import { ipv4 } from "./ipv4.ts";
import { ipv6 } from "./ipv6.ts";

/**
 * Puts a captured packet at `target[at]` as an Ethernet frame, and returns the frame's length or why
 * the packet can be none. `target` has room for `ethernet.headerBytes` more than the packet has.
 */
export type LinkFraming = (
  packet: Uint8Array,
  target: Uint8Array,
  at: number,
) => number | DropReason;

/**
 * How packets of a link type become Ethernet frames; undefined for link types that cannot. Ethernet
 * is taken as it is. IP without a link layer, and behind the headers of loopback and "any" devices,
 * gets an Ethernet header in place of what was in front of it: MAC addresses derived from the IP
 * addresses, as in synthetic frames, where the capture does not have them.
 *
 * `linkType` is a LINKTYPE_ number: https://www.tcpdump.org/linktypes.html.
 */
export function linkFraming(linkType: number): LinkFraming | undefined {
  return framings.get(linkType);
}

/** Of link types that become Ethernet frames, for messages. */
export const framedLinkTypes = "EN10MB, RAW, NULL, LOOP, LINUX_SLL and LINUX_SLL2";

/** For what is known by no address at all: locally administered, unicast. */
const noMac = Uint8Array.of(0x02, 0, 0, 0, 0, 0);
const broadcastMac = new Uint8Array(6).fill(0xff);

const asItIs: LinkFraming = (packet, target, at) => {
  if (packet.length < ethernet.headerBytes) return "frame_truncated";
  target.set(packet, at);
  return packet.length;
};

const rawIp: LinkFraming = (packet, target, at) => {
  if (packet.length === 0) return "frame_truncated";
  const version = packet[0]! >> 4;
  if (version === 4) return put(packet, 0, etherTypes.ipv4, undefined, false, target, at);
  if (version === 6) return put(packet, 0, etherTypes.ipv6, undefined, false, target, at);
  return "frame_bad_header";
};

const loopbackHeaderBytes = 4;
/** AF_INET is 2 everywhere, AF_INET6 10 in Linux, 24, 28 and 30 in NetBSD, FreeBSD and Darwin. */
const familyTypes: ReadonlyMap<number, number> = new Map([
  [2, etherTypes.ipv4],
  [10, etherTypes.ipv6],
  [24, etherTypes.ipv6],
  [28, etherTypes.ipv6],
  [30, etherTypes.ipv6],
]);

/** NULL has the family in the byte order of the machine that captured, LOOP in network order: either is taken. */
const loopback: LinkFraming = (packet, target, at) => {
  if (packet.length < loopbackHeaderBytes) return "frame_truncated";
  const type = familyTypes.get(u32le(packet, 0)) ?? familyTypes.get(u32be(packet, 0));
  if (type === undefined) return "frame_bad_header";
  return put(packet, loopbackHeaderBytes, type, undefined, false, target, at);
};

/** Where the fields of a cooked header lie. */
interface CookedHeader {
  readonly protocol: number;
  /** ARPHRD_ number of the device. */
  readonly deviceType: number;
  /** PACKET_ number, linux/if_packet.h: its low byte. */
  readonly packetType: number;
  readonly addressLength: number;
  readonly address: number;
  readonly bytes: number;
}

/** https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html */
const cookedHeader: CookedHeader = {
  packetType: 1,
  deviceType: 2,
  addressLength: 5,
  address: 6,
  protocol: 14,
  bytes: 16,
};

/** https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html */
const cookedHeader2: CookedHeader = {
  protocol: 0,
  deviceType: 8,
  packetType: 10,
  addressLength: 11,
  address: 12,
  bytes: 20,
};

/** Devices whose cooked packets have no EtherType: FRAD, 802.11 (three kinds), netlink. */
const foreignDevices: ReadonlySet<number> = new Set([770, 801, 802, 803, 824]);
const packetBroadcast = 1;
/** Frames that have no EtherType, but a length: Novell's, and LLC. */
const lengthProtocols: ReadonlySet<number> = new Set([0x0001, 0x0004]);
const minEtherType = 0x0600;

function cooked(header: CookedHeader): LinkFraming {
  return (packet, target, at) => {
    if (packet.length < header.bytes) return "frame_truncated";
    if (foreignDevices.has(u16be(packet, header.deviceType))) return "frame_bad_header";
    const protocol = u16be(packet, header.protocol);
    const payloadBytes = packet.length - header.bytes;
    let type = protocol;
    if (lengthProtocols.has(protocol) && payloadBytes < minEtherType) type = payloadBytes;
    else if (protocol < minEtherType) return "frame_bad_header";
    const source =
      packet[header.addressLength] === 6
        ? packet.subarray(header.address, header.address + 6)
        : undefined;
    const isBroadcast = packet[header.packetType] === packetBroadcast;
    return put(packet, header.bytes, type, source, isBroadcast, target, at);
  };
}

/** Writes a frame of what lies in `packet` from index `payloadAt` on. */
function put(
  packet: Uint8Array,
  payloadAt: number,
  type: number,
  source: Uint8Array | undefined,
  isBroadcast: boolean,
  target: Uint8Array,
  at: number,
): number {
  target.set(
    isBroadcast ? broadcastMac : macOf(packet, payloadAt, type, "destination"),
    at + ethernet.destination,
  );
  target.set(source ?? macOf(packet, payloadAt, type, "source"), at + ethernet.source);
  target[at + ethernet.etherType] = type >>> 8;
  target[at + ethernet.etherType + 1] = type;
  target.set(payloadAt === 0 ? packet : packet.subarray(payloadAt), at + ethernet.headerBytes);
  return ethernet.headerBytes + packet.length - payloadAt;
}

function macOf(
  packet: Uint8Array,
  at: number,
  type: number,
  side: "source" | "destination",
): Uint8Array {
  if (type === etherTypes.ipv4 && packet.length - at >= ipv4.headerBytes)
    return deriveMac(packet.subarray(at + ipv4[side], at + ipv4[side] + 4));
  if (type === etherTypes.ipv6 && packet.length - at >= ipv6.headerBytes)
    return deriveMac(packet.subarray(at + ipv6[side], at + ipv6[side] + 16));
  return noMac;
}

const framings: ReadonlyMap<number, LinkFraming> = new Map([
  [0, loopback],
  [1, asItIs],
  // What some systems call RAW.
  [12, rawIp],
  [14, rawIp],
  [101, rawIp],
  [108, loopback],
  [113, cooked(cookedHeader)],
  [276, cooked(cookedHeader2)],
]);
