import {
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_INGRESS_IFINDEX,
  SLOT_SKB,
  SLOT_SKB_BYTES,
} from "../runtime/wasm/layout.ts";

/** Offsets in struct __sk_buff, linux/bpf.h. */
const skb = {
  len: 0,
  packetType: 4,
  protocol: 16,
  ingressIfindex: 36,
  ifindex: 40,
} as const;

/** linux/if_packet.h: for this host, for all, for a group. */
const PACKET_HOST = 0;
const PACKET_BROADCAST = 1;
const PACKET_MULTICAST = 2;

/** linux/if_ether.h: what `skb->protocol` is for frames whose type field is a length. */
const ETH_P_802_3 = 0x0001;
const ETH_P_802_2 = 0x0004;
const ETH_P_802_3_MIN = 0x0600;

const ethernetHeaderBytes = 14;

/**
 * Writes the `__sk_buff` of a slot from its frame, as a packet socket's filter finds it: from the
 * Ethernet header on. Fields that only a kernel has are 0, and so is `cb`.
 */
export function fillSocketContext(view: DataView, words: Int32Array, slot: number): void {
  const data = view.getUint32(slot + SLOT_DATA, true);
  const length = view.getUint32(slot + SLOT_DATA_END, true) - data;
  const ifindex = view.getUint32(slot + SLOT_INGRESS_IFINDEX, true);
  const at = slot + SLOT_SKB;
  const first = at >> 2;
  for (let i = first; i < first + SLOT_SKB_BYTES / 4; i++) words[i] = 0;
  view.setUint32(at + skb.len, length, true);
  view.setUint32(at + skb.ingressIfindex, ifindex, true);
  view.setUint32(at + skb.ifindex, ifindex, true);
  if (length < ethernetHeaderBytes) return;
  view.setUint32(at + skb.packetType, packetType(view, data), true);
  // A big-endian field kept as it is: a program compares it with bpf_htons(…).
  view.setUint16(at + skb.protocol, protocol(view, data, length));
}

function packetType(view: DataView, data: number): number {
  if ((view.getUint8(data) & 1) === 0) return PACKET_HOST;
  const broadcast =
    view.getUint16(data) === 0xffff && view.getUint32(data + 2, true) === 0xffff_ffff;
  return broadcast ? PACKET_BROADCAST : PACKET_MULTICAST;
}

/** As eth_type_trans: Ethernet II, or one of the two older framings. */
function protocol(view: DataView, data: number, length: number): number {
  const type = view.getUint16(data + 12);
  if (type >= ETH_P_802_3_MIN) return type;
  const raw = length >= ethernetHeaderBytes + 2 && view.getUint16(data + 14) === 0xffff;
  return raw ? ETH_P_802_3 : ETH_P_802_2;
}
