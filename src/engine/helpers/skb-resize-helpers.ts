import { errno } from "../../common/errno.ts";
import { SLOT_ENCAPSULATED } from "../../runtime/wasm/layout.ts";
import { ETH_P_IP, ETH_P_IPV6 } from "../socket-context.ts";
import { type Helper, type HelperRun, R2, R3, R4, tcTypes } from "./helper.ts";
import { forgetHash } from "./packet-bytes-helpers.ts";
import { forgetChecksums } from "./skb-checksum-helpers.ts";
import {
  frameChanged,
  frameLength,
  hasFlags,
  insertBytes,
  maxFrameBytes,
  networkOffset,
  protocolOf,
  removeBytes,
  resizeFrame,
  setFlags,
  setNetworkOffset,
  setProtocol,
  setTransportOffset,
  transportOffset,
} from "./skb-frame.ts";

/** enum bpf_adj_room_mode. */
const BPF_ADJ_ROOM_NET = 0;
const BPF_ADJ_ROOM_MAC = 1;

/** BPF_F_ADJ_ROOM_*, low word. */
const FIXED_GSO = 0x1;
const ENCAP_L3_IPV4 = 0x2;
const ENCAP_L3_IPV6 = 0x4;
const ENCAP_L3 = ENCAP_L3_IPV4 | ENCAP_L3_IPV6;
const ENCAP_L4 = 0x8 | 0x10;
const NO_CSUM_RESET = 0x20;
const ENCAP_L2_ETH = 0x40;
const DECAP_L3_IPV4 = 0x80;
const DECAP_L3_IPV6 = 0x100;
const DECAP_L3 = DECAP_L3_IPV4 | DECAP_L3_IPV6;
const roomFlags = FIXED_GSO | ENCAP_L3 | ENCAP_L4 | NO_CSUM_RESET | ENCAP_L2_ETH | DECAP_L3;
const shrinkFlags = FIXED_GSO | DECAP_L3 | NO_CSUM_RESET;
/** Flags of the high word: the inner link header's length in the top byte, and no others. */
const ENCAP_L2_SHIFT = 24;

const ethernetHeaderBytes = 14;
const ipv4HeaderBytes = 20;
const ipv6HeaderBytes = 40;
/** What the two IP headers differ by. */
const headerDifference = ipv6HeaderBytes - ipv4HeaderBytes;
const maxRoomChange = 0xfff;

/** The helpers that make an skb longer or shorter: net/core/filter.c. */
export const skbResizeHelpers: readonly Helper[] = [
  {
    id: 31,
    name: "skb_change_proto",
    arguments: ["context", "anything", "anything"],
    types: tcTypes,
    movesPacket: true,
    call: changeProtocol,
  },
  {
    id: 38,
    name: "skb_change_tail",
    arguments: ["context", "anything", "anything"],
    types: tcTypes,
    movesPacket: true,
    /** To a length of at least all headers that are known; what is gained is zeroed. */
    call(run) {
      const length = run.registers[R2]! >>> 0;
      if (!isZero(run, R3) || length > maxFrameBytes || length < leastLength(run))
        return -errno.EINVAL;
      if (hasFlags(run, SLOT_ENCAPSULATED)) return -errno.ENOTSUPP;
      resizeFrame(run, length);
      frameChanged(run);
      return 0;
    },
  },
  {
    id: 43,
    name: "skb_change_head",
    arguments: ["context", "anything", "anything"],
    types: tcTypes,
    movesPacket: true,
    /** Room for a link header: the network header stays the bytes it was. */
    call(run) {
      const count = run.registers[R2]! >>> 0;
      if (!isZero(run, R3) || frameLength(run) + count > maxFrameBytes) return -errno.EINVAL;
      const network = networkOffset(run);
      insertBytes(run, 0, count);
      setNetworkOffset(run, network + count);
      frameChanged(run);
      return 0;
    },
  },
  {
    id: 50,
    name: "skb_adjust_room",
    arguments: ["context", "anything", "anything", "anything"],
    types: tcTypes,
    movesPacket: true,
    call: adjustRoom,
  },
];

function isZero({ registers }: HelperRun, register: number): boolean {
  return (registers[register]! | registers[register + 1]!) === 0;
}

/** Kernel: __bpf_skb_min_len. */
function leastLength(run: HelperRun): number {
  const transport = transportOffset(run) ?? 0;
  return transport > 0 ? transport : networkOffset(run);
}

/** Kernel: bpf_skb_net_hdr_push, and bpf_skb_net_hdr_pop where `count` is negative. */
function changeRoom(run: HelperRun, at: number, count: number): void {
  const isSame = transportOffset(run) === networkOffset(run);
  if (count < 0) removeBytes(run, at, -count);
  else insertBytes(run, at, count);
  // A transport header that is the network header goes with it.
  if (isSame) setTransportOffset(run, networkOffset(run));
}

/** From IPv4 to IPv6 or back: room for the other header, and nothing written into it. */
function changeProtocol(run: HelperRun): number {
  if (!isZero(run, R3)) return -errno.EINVAL;
  const written = run.registers[R2]!;
  // A __be16, as bpf_htons gives it.
  const to = ((written & 0xff) << 8) | ((written >>> 8) & 0xff);
  const from = protocolOf(run);
  const at = networkOffset(run);
  if (from === ETH_P_IP && to === ETH_P_IPV6) changeRoom(run, at, headerDifference);
  else if (from === ETH_P_IPV6 && to === ETH_P_IP) {
    if (frameLength(run) < at + headerDifference) return -errno.ENOMEM;
    changeRoom(run, at, -headerDifference);
  } else return -errno.ENOTSUPP;
  setProtocol(run, to);
  forgetHash(run);
  frameChanged(run);
  return 0;
}

/** r2 bytes (negative: fewer) behind the link or the network header, by the mode in r3. */
function adjustRoom(run: HelperRun): number {
  const { registers } = run;
  const difference = registers[R2]!;
  const mode = registers[R3]!;
  const flags = registers[R4]!;
  const highFlags = registers[R4 + 1]!;
  const innerLinkBytes = highFlags >>> ENCAP_L2_SHIFT;
  if ((flags & ~roomFlags) !== 0 || (highFlags & ((1 << ENCAP_L2_SHIFT) - 1)) !== 0)
    return -errno.EINVAL;
  const count = Math.abs(difference);
  if (count > maxRoomChange) return -errno.EFAULT;
  const protocol = protocolOf(run);
  if (protocol !== ETH_P_IP && protocol !== ETH_P_IPV6) return -errno.ENOTSUPP;
  const headerBytes = protocol === ETH_P_IP ? ipv4HeaderBytes : ipv6HeaderBytes;
  let at = networkOffset(run);
  if (mode === BPF_ADJ_ROOM_NET) at += headerBytes;
  else if (mode !== BPF_ADJ_ROOM_MAC) return -errno.ENOTSUPP;
  const shrinks = difference < 0;
  let least = headerBytes;
  if ((flags & DECAP_L3) !== 0) {
    if (!shrinks || (flags & DECAP_L3) === DECAP_L3) return -errno.EINVAL;
    least = (flags & DECAP_L3) === DECAP_L3_IPV4 ? ipv4HeaderBytes : ipv6HeaderBytes;
  }
  const networkBytes = frameLength(run) - networkOffset(run);
  if (shrinks && (count >= networkBytes || networkBytes - count < least)) return -errno.ENOTSUPP;
  if (!shrinks && frameLength(run) + count > maxFrameBytes) return -errno.ENOTSUPP;
  const problem = shrinks
    ? shrink(run, at, count, flags, highFlags)
    : grow(run, at, count, flags, innerLinkBytes);
  if (problem !== 0) return problem;
  if ((flags & NO_CSUM_RESET) === 0) forgetChecksums(run);
  frameChanged(run);
  return 0;
}

function grow(
  run: HelperRun,
  at: number,
  count: number,
  flags: number,
  innerLinkBytes: number,
): number {
  const encapsulates = (flags & ENCAP_L3) !== 0;
  if (encapsulates) {
    if ((flags & ENCAP_L3) === ENCAP_L3 || (flags & ENCAP_L4) === ENCAP_L4) return -errno.EINVAL;
    if ((flags & ENCAP_L2_ETH) !== 0 && innerLinkBytes < ethernetHeaderBytes) return -errno.EINVAL;
    if (hasFlags(run, SLOT_ENCAPSULATED)) return -errno.EALREADY;
    if (innerLinkBytes > count) return -errno.EINVAL;
  }
  if (at > frameLength(run)) return -errno.ENOMEM;
  changeRoom(run, at, count);
  if (encapsulates) {
    setFlags(run, SLOT_ENCAPSULATED, true);
    const outerBytes = (flags & ENCAP_L3_IPV4) !== 0 ? ipv4HeaderBytes : ipv6HeaderBytes;
    const hasTransport = (flags & ENCAP_L4) !== 0;
    setTransportOffset(run, hasTransport ? networkOffset(run) + outerBytes : undefined);
    setProtocol(run, (flags & ENCAP_L3_IPV4) !== 0 ? ETH_P_IP : ETH_P_IPV6);
  }
  return 0;
}

function shrink(
  run: HelperRun,
  at: number,
  count: number,
  flags: number,
  highFlags: number,
): number {
  if ((flags & ~shrinkFlags) !== 0 || highFlags !== 0) return -errno.EINVAL;
  if (at + count > frameLength(run)) return -errno.ENOMEM;
  changeRoom(run, at, -count);
  if ((flags & DECAP_L3) !== 0)
    setProtocol(run, (flags & DECAP_L3_IPV4) !== 0 ? ETH_P_IP : ETH_P_IPV6);
  return 0;
}
