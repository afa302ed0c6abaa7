import type { ProgramType } from "../object/object-spec.ts";
import {
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_DATA_META,
  SLOT_FLAGS,
  SLOT_INGRESS_IFINDEX,
  SLOT_NETWORK,
  SLOT_OUTGOING,
  SLOT_SKB,
  SLOT_SKB_BYTES,
  SLOT_SKB_READY,
  SLOT_TEST_RUN,
} from "../runtime/wasm/layout.ts";

/** Offsets in struct __sk_buff, linux/bpf.h. */
export const skb = {
  len: 0,
  packetType: 4,
  mark: 8,
  queueMapping: 12,
  protocol: 16,
  vlanPresent: 20,
  vlanTci: 24,
  vlanProtocol: 28,
  priority: 32,
  ingressIfindex: 36,
  ifindex: 40,
  tcIndex: 44,
  cb: 48,
  hash: 68,
  tcClassid: 72,
  data: 76,
  dataEnd: 80,
  family: 88,
  remoteIp4: 92,
  localIp4: 96,
  remoteIp6: 100,
  localIp6: 116,
  remotePort: 132,
  localPort: 136,
  dataMeta: 140,
  timestamp: 152,
  wireLength: 160,
  gsoSegments: 164,
  gsoSize: 176,
  timestampType: 180,
  hardwareTimestamp: 184,
} as const;

/** linux/if_packet.h: for this host, for all, for a group, for another host. */
const PACKET_HOST = 0;
const PACKET_BROADCAST = 1;
const PACKET_MULTICAST = 2;
export const PACKET_OTHERHOST = 3;
/** What packet sockets are told of a packet that leaves. */
const PACKET_OUTGOING = 4;

/** linux/if_ether.h: what `skb->protocol` is for frames whose type field is a length. */
const ETH_P_802_3 = 0x0001;
const ETH_P_802_2 = 0x0004;
const ETH_P_802_3_MIN = 0x0600;
export const ETH_P_IP = 0x0800;
export const ETH_P_IPV6 = 0x86dd;

const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;

const ethernetHeaderBytes = 14;
const cbBytes = 20;

/** Whether programs of this type have a `__sk_buff` as their context. */
export function hasSocketContext(type: ProgramType): boolean {
  return type !== "xdp" && type !== "raw";
}

/** Bytes of the frame in front of what programs of this type take for the packet's start. */
export function hiddenBytes(type: ProgramType): number {
  return type === "cgroup_skb" ? ethernetHeaderBytes : 0;
}

/**
 * Writes the `__sk_buff` of a slot from its frame, before a program of `type` runs. Fields that only
 * a kernel has are 0. What a program writes stays for the next one on the same packet, but for `cb`,
 * which is a tc program's own (a test run clears it for nobody), and the class, which the kernel
 * resets (net/sched/cls_bpf.c). `wire_len` stays what it was when the first program began.
 */
export function fillSocketContext(
  view: DataView,
  words: Int32Array,
  slot: number,
  type: ProgramType,
): void {
  const at = slot + SLOT_SKB;
  const flags = words[(slot + SLOT_FLAGS) >> 2]!;
  if ((flags & SLOT_SKB_READY) === 0) {
    words[(slot + SLOT_FLAGS) >> 2] = flags | SLOT_SKB_READY;
    describePacket(view, words, slot);
    refreshSocketContext(view, slot, type);
    view.setUint32(at + skb.wireLength, view.getUint32(at + skb.len, true), true);
  } else if ((flags & SLOT_TEST_RUN) === 0 && (type === "socket" || type === "cgroup_skb"))
    for (let i = 0; i < cbBytes; i += 4) view.setUint32(at + skb.cb + i, 0, true);
  view.setUint32(at + skb.tcClassid, 0, true);
  refreshSocketContext(view, slot, type);
  if ((flags & (SLOT_OUTGOING | SLOT_TEST_RUN)) === SLOT_OUTGOING) tellOutgoing(view, slot, type);
  if (type === "cgroup_skb") fillAddresses(view, slot, (flags & SLOT_OUTGOING) !== 0);
}

/** Whether a program has given the packet in `slot` a VLAN tag, which is not among its bytes. */
export function hasVlanTag(words: Int32Array, slot: number): boolean {
  if ((words[(slot + SLOT_FLAGS) >> 2]! & SLOT_SKB_READY) === 0) return false;
  return words[(slot + SLOT_SKB + skb.vlanPresent) >> 2] !== 0;
}

/** Takes over the packet's ends from the slot, after they have moved. */
export function refreshSocketContext(view: DataView, slot: number, type: ProgramType): void {
  const at = slot + SLOT_SKB;
  const data = view.getUint32(slot + SLOT_DATA, true) + hiddenBytes(type);
  const end = view.getUint32(slot + SLOT_DATA_END, true);
  view.setUint32(at + skb.len, end - data, true);
  view.setUint32(at + skb.data, data, true);
  view.setUint32(at + skb.dataEnd, end, true);
  view.setUint32(at + skb.dataMeta, view.getUint32(slot + SLOT_DATA_META, true), true);
}

function describePacket(view: DataView, words: Int32Array, slot: number): void {
  const data = view.getUint32(slot + SLOT_DATA, true);
  const length = view.getUint32(slot + SLOT_DATA_END, true) - data;
  const ifindex = view.getUint32(slot + SLOT_INGRESS_IFINDEX, true);
  const at = slot + SLOT_SKB;
  const first = at >> 2;
  for (let i = first; i < first + SLOT_SKB_BYTES / 4; i++) words[i] = 0;
  view.setUint32(slot + SLOT_NETWORK, data + ethernetHeaderBytes, true);
  view.setUint32(at + skb.ingressIfindex, ifindex, true);
  view.setUint32(at + skb.ifindex, ifindex, true);
  if (length < ethernetHeaderBytes) return;
  view.setUint32(at + skb.packetType, packetType(view, data), true);
  // A big-endian field kept as it is: a program compares it with bpf_htons(…).
  view.setUint16(at + skb.protocol, protocolAt(view, data + 12, data + length));
}

/**
 * The packet type of a frame that leaves: the kernel tells a packet socket, on a copy of the packet
 * (dev_queue_xmit_nit in net/core/dev.c), and does not tell tc and cgroup programs.
 */
function tellOutgoing(view: DataView, slot: number, type: ProgramType): void {
  const at = slot + SLOT_SKB + skb.packetType;
  if (type === "socket") view.setUint32(at, PACKET_OUTGOING, true);
  else if (view.getUint32(at, true) === PACKET_OUTGOING)
    view.setUint32(at, packetType(view, view.getUint32(slot + SLOT_DATA, true)), true);
}

function packetType(view: DataView, data: number): number {
  if ((view.getUint8(data) & 1) === 0) return PACKET_HOST;
  const broadcast =
    view.getUint16(data) === 0xffff && view.getUint32(data + 2, true) === 0xffff_ffff;
  return broadcast ? PACKET_BROADCAST : PACKET_MULTICAST;
}

/** The protocol of a frame by its type field at `at`, as eth_type_trans: Ethernet II, or an older framing. */
export function protocolAt(view: DataView, at: number, end: number): number {
  const type = view.getUint16(at);
  if (type >= ETH_P_802_3_MIN) return type;
  return end >= at + 4 && view.getUint16(at + 2) === 0xffff ? ETH_P_802_3 : ETH_P_802_2;
}

/**
 * The connection as a program at a socket sees it. Addresses and the remote port in network order,
 * the local port in the host's; all 0 where the packet has none, as without a socket.
 */
function fillAddresses(view: DataView, slot: number, outgoing: boolean): void {
  const at = slot + SLOT_SKB;
  const network = view.getUint32(slot + SLOT_NETWORK, true);
  const length = view.getUint32(slot + SLOT_DATA_END, true) - network;
  for (let i = skb.family; i < skb.dataMeta; i += 4) view.setUint32(at + i, 0, true);
  const protocol = view.getUint16(at + skb.protocol);
  let transport: number;
  let transportProtocol: number;
  if (protocol === ETH_P_IP && length >= 20) {
    view.setUint32(at + skb.family, AF_INET, true);
    const source = view.getUint32(network + 12, true);
    const destination = view.getUint32(network + 16, true);
    view.setUint32(at + skb.localIp4, outgoing ? source : destination, true);
    view.setUint32(at + skb.remoteIp4, outgoing ? destination : source, true);
    const fragmentOffset = view.getUint16(network + 6) & 0x1fff;
    transport = (view.getUint8(network) & 15) * 4;
    transportProtocol = fragmentOffset === 0 ? view.getUint8(network + 9) : 0;
  } else if (protocol === ETH_P_IPV6 && length >= 40) {
    view.setUint32(at + skb.family, AF_INET6, true);
    for (let i = 0; i < 16; i += 4) {
      const source = view.getUint32(network + 8 + i, true);
      const destination = view.getUint32(network + 24 + i, true);
      view.setUint32(at + skb.localIp6 + i, outgoing ? source : destination, true);
      view.setUint32(at + skb.remoteIp6 + i, outgoing ? destination : source, true);
    }
    transport = 40;
    transportProtocol = view.getUint8(network + 6);
  } else return;
  const hasPorts = transportProtocol === IPPROTO_TCP || transportProtocol === IPPROTO_UDP;
  if (!hasPorts || length < transport + 4) return;
  const local = network + transport + (outgoing ? 0 : 2);
  const remote = network + transport + (outgoing ? 2 : 0);
  view.setUint32(at + skb.localPort, view.getUint16(local), true);
  // A 32-bit field in network order, of which the port is the last two bytes.
  view.setUint16(at + skb.remotePort + 2, view.getUint16(remote));
}
