import { errno } from "../../common/errno.ts";
import { SLOT_HASH_KNOWN, SLOT_SKB } from "../../runtime/wasm/layout.ts";
import { ETH_P_IP, ETH_P_IPV6, PACKET_OTHERHOST, skb } from "../socket-context.ts";
import { flowHash } from "./flow-hash.ts";
import { type Helper, type HelperRun, R2, R3, skbTypes, tcTypes } from "./helper.ts";
import { forgetHash } from "./packet-bytes-helpers.ts";
import {
  contextWord,
  hasFlags,
  networkStart,
  protocolOf,
  setContextWord,
  setFlags,
} from "./skb-frame.ts";
import { isTagProtocol } from "./vlan-helpers.ts";

/** enum BPF_SKB_CLOCK_*, linux/bpf.h. */
const CLOCK_REALTIME = 0;
const CLOCK_TAI = 2;

const ethernetHeaderBytes = 14;
const tagBytes = 4;
const ipv4HeaderBytes = 20;
const ipv6HeaderBytes = 40;
/** RFC 3168: the two ECN bits, and their value for "congestion experienced". */
const ecnMask = 3;
const ecnCongestion = 3;
/** Kernel: overflowuid, the user of what belongs to nobody. */
const nobody = 65_534;

/** Helpers on what is kept of a packet beside its bytes: net/core/filter.c. */
export const skbFieldHelpers: readonly Helper[] = [
  {
    id: 32,
    name: "skb_change_type",
    arguments: ["context", "anything"],
    types: tcTypes,
    call(run) {
      const type = run.registers[R2]! >>> 0;
      if (type > PACKET_OTHERHOST) return -errno.EINVAL;
      setContextWord(run, skb.packetType, type);
      return 0;
    },
  },
  {
    id: 34,
    name: "get_hash_recalc",
    arguments: ["context"],
    types: tcTypes,
    call(run) {
      const known = contextWord(run, skb.hash);
      if (known !== 0 || hasFlags(run, SLOT_HASH_KNOWN)) return known;
      const { view } = run.context.arena;
      const hash = flowHash(view, networkStart(run), run.memory.packetEnd, protocolOf(run));
      setContextWord(run, skb.hash, hash);
      return hash;
    },
  },
  {
    id: 41,
    name: "set_hash_invalid",
    arguments: ["context"],
    types: tcTypes,
    call(run) {
      forgetHash(run);
      return 0;
    },
  },
  {
    id: 48,
    name: "set_hash",
    arguments: ["context", "anything"],
    types: tcTypes,
    call(run) {
      setContextWord(run, skb.hash, run.registers[R2]!);
      setFlags(run, SLOT_HASH_KNOWN, true);
      return 0;
    },
  },
  {
    id: 46,
    name: "get_socket_cookie",
    arguments: ["context"],
    types: skbTypes,
    /** As of a packet that no socket of this host has taken yet. */
    call: () => 0,
  },
  {
    id: 47,
    name: "get_socket_uid",
    arguments: ["context"],
    types: skbTypes,
    call: () => nobody,
  },
  {
    id: 24,
    name: "get_route_realm",
    arguments: ["context"],
    types: tcTypes,
    /** Realms are a matter of routes of the kernel: a packet without one has realm 0. */
    call: () => 0,
  },
  {
    id: 97,
    name: "skb_ecn_set_ce",
    arguments: ["context"],
    types: [...tcTypes, "cgroup_skb"],
    call: setCongestion,
  },
  {
    id: 192,
    name: "skb_set_tstamp",
    arguments: ["context", "anything", "anything"],
    types: tcTypes,
    call: setTimestamp,
  },
];

/** r2 the time, r3 its clock. 0 takes the stamp away, and is then of real time. */
function setTimestamp(run: HelperRun): number {
  const { registers, memory, context } = run;
  const protocol = protocolOf(run);
  if (protocol !== ETH_P_IP && protocol !== ETH_P_IPV6) return -errno.EOPNOTSUPP;
  const clock = registers[R3]! >>> 0;
  const [low, high] = [registers[R2]!, registers[R2 + 1]!];
  const isZero = (low | high) === 0;
  if (clock > CLOCK_TAI || (isZero && clock !== CLOCK_REALTIME)) return -errno.EINVAL;
  setContextWord(run, skb.timestamp, low);
  setContextWord(run, skb.timestamp + 4, high);
  context.arena.view.setUint8(memory.slot + SLOT_SKB + skb.timestampType, clock);
  return 0;
}

/** VLAN_MAX_DEPTH. */
const maxTags = 8;

/** The protocol behind a frame's VLAN tags; 0 where it ends within them. __vlan_get_protocol_offset. */
function protocolBehindTags(run: HelperRun): number {
  const { view } = run.context.arena;
  let protocol = protocolOf(run);
  // Counted from the first byte that the program sees, in cgroup_skb too, where that is IP's.
  let at = run.memory.packet + ethernetHeaderBytes;
  for (let tags = 1; isTagProtocol(protocol); tags++) {
    if (tags === maxTags || at + tagBytes > run.memory.packetEnd) return 0;
    protocol = view.getUint16(at + 2);
    at += tagBytes;
  }
  return protocol;
}

/**
 * INET_ECN_set_ce: marks a packet whose ends know of ECN; 1 where it is marked, 0 where it is not. The
 * kernel finds IP behind tags that are in the bytes, yet takes the first tag for its header: so do we.
 */
function setCongestion(run: HelperRun): number {
  const { view } = run.context.arena;
  const network = networkStart(run);
  const length = run.memory.packetEnd - network;
  const protocol = protocolBehindTags(run);
  if (protocol === ETH_P_IP && length >= ipv4HeaderBytes) {
    const service = view.getUint8(network + 1);
    const ecn = service & ecnMask;
    if (ecn === 0 || ecn === ecnCongestion) return ecn === 0 ? 0 : 1;
    view.setUint8(network + 1, service | ecnCongestion);
    // The header's sum grows by what the field did, so its complement shrinks: RFC 1624.
    const check = view.getUint16(network + 10) + 0xffff - (ecnCongestion - ecn);
    view.setUint16(network + 10, check > 0xffff ? check - 0xffff : check);
    run.memory.markWritten();
    return 1;
  }
  if (protocol === ETH_P_IPV6 && length >= ipv6HeaderBytes) {
    // Version, traffic class and flow label: ECN is the class's low two bits.
    const first = view.getUint8(network + 1);
    if ((first & (ecnMask << 4)) === 0) return 0;
    view.setUint8(network + 1, first | (ecnCongestion << 4));
    run.memory.markWritten();
    return 1;
  }
  return 0;
}
