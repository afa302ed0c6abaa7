import { errno } from "../../common/errno.ts";
import { deriveMac } from "../../packet/address.ts";
import { loopbackOnly, type Network, portMac, portMtu, type Route } from "../network.ts";
import { type Helper, type HelperRun, R2, R3, R4, R5, tcTypes, xdpAndTc } from "./helper.ts";

/** Byte offsets in struct bpf_fib_lookup, linux/bpf.h. */
const fib = {
  family: 0,
  /** In: the IP packet's length, or 0. Out: the route's MTU. */
  totalLength: 6,
  ifindex: 8,
  metric: 12,
  source: 16,
  destination: 32,
  vlan: 48,
  sourceMac: 52,
  destinationMac: 58,
  bytes: 64,
} as const;

const AF_INET = 2;
const AF_INET6 = 10;

/** BPF_FIB_LOOKUP_*: DIRECT 1, TBID 8 and MARK 32 choose among tables, and there is one. */
const OUTPUT = 2;
const SKIP_NEIGH = 4;
const SOURCE = 16;
const fibFlags = 63;

/** BPF_FIB_LKUP_RET_*. */
const SUCCESS = 0;
const refusals = { blackhole: 1, unreachable: 2, prohibit: 3 } as const;
const NOT_FORWARDED = 4;
const FRAG_NEEDED = 8;
const NO_SRC_ADDR = 9;

/** BPF_MTU_CHK_*. */
const CHECK_SEGMENTS = 1;
const MTU_FRAG_NEEDED = 1;
const MTU_SEGMENTS_TOO_BIG = 2;

const linkHeaderBytes = 14;
const vlanHeaderBytes = 4;

/** Helpers that ask where a packet can go: net/core/filter.c. */
export const routeHelpers: readonly Helper[] = [
  {
    id: 69,
    name: "fib_lookup",
    arguments: ["context", "updated_memory", "size", "anything"],
    types: xdpAndTc,
    work: 40,
    call: lookUp,
  },
  {
    id: 163,
    name: "check_mtu",
    arguments: ["context", "anything", "updated_u32", "anything", "anything"],
    types: xdpAndTc,
    call: checkMtu,
  },
];

function networkOf({ context }: HelperRun): Network {
  return context.network ?? loopbackOnly;
}

/** r2: a struct bpf_fib_lookup of r3 bytes, changed where there is a route. */
function lookUp(run: HelperRun): number {
  const { registers, memory } = run;
  const { view, bytes } = run.context.arena;
  const at = registers[R2]!;
  const flags = registers[R4]!;
  if (registers[R3]! < fib.bytes || (flags & ~fibFlags) !== 0) return -errno.EINVAL;
  const isTc = tcTypes.includes(memory.type);
  const family = view.getUint8(at + fib.family);
  if (family !== AF_INET && family !== AF_INET6) return -errno.EAFNOSUPPORT;
  if (
    family === AF_INET6 &&
    (staysOnLink(bytes, at + fib.destination) || staysOnLink(bytes, at + fib.source))
  )
    return NOT_FORWARDED;
  const network = networkOf(run);
  const ifindex = view.getUint32(at + fib.ifindex, true);
  if (!network.hasDevice(ifindex)) return -errno.ENODEV;
  // The kernel passes over IPv4 routes by other devices, and over none of IPv6.
  const by = (flags & OUTPUT) !== 0 && family === AF_INET ? ifindex : undefined;
  const route = network.routeTo(bytes, at + fib.destination, family === AF_INET ? 4 : 6, by);
  if (route === undefined) return NOT_FORWARDED;
  if (route.action !== "forward") return refusals[route.action];
  const asked = view.getUint16(at + fib.totalLength, true);
  const checksLength = !isTc || asked !== 0;
  if (checksLength && asked > route.mtu) {
    putMtu(view, at, route);
    return FRAG_NEEDED;
  }
  view.setUint32(at + fib.metric, route.metric, true);
  view.setUint32(at + fib.ifindex, route.ifindex, true);
  if ((flags & SOURCE) !== 0) {
    if (route.source === undefined) return NO_SRC_ADDR;
    bytes.set(route.source, at + fib.source);
  }
  if (route.gateway !== undefined) {
    view.setUint8(at + fib.family, route.gateway.length === 4 ? AF_INET : AF_INET6);
    bytes.set(route.gateway, at + fib.destination);
  }
  if ((flags & SKIP_NEIGH) === 0) putMacs(run, at, route);
  view.setUint32(at + fib.vlan, 0, true);
  putMtu(view, at, route);
  if (checksLength) return SUCCESS;
  // is_skb_forwardable leaves room for a tag, whether there is one or not.
  const mostFrameBytes = route.mtu + linkHeaderBytes + vlanHeaderBytes;
  return memory.packetEnd - memory.packet > mostFrameBytes ? FRAG_NEEDED : SUCCESS;
}

/** rt6_need_strict: multicast, link-local and loopback addresses, which are never forwarded. */
function staysOnLink(bytes: Uint8Array, at: number): boolean {
  const first = bytes[at]!;
  if (first === 0xff) return true;
  if (first === 0xfe) return (bytes[at + 1]! & 0xc0) === 0x80;
  for (let i = 0; i < 15; i++) if (bytes[at + i] !== 0) return false;
  return bytes[at + 15] === 1;
}

function putMtu(view: DataView, at: number, { mtu }: Route): void {
  view.setUint16(at + fib.totalLength, mtu, true);
}

function putMacs({ context }: HelperRun, at: number, route: Route): void {
  const { bytes, view } = context.arena;
  const hopBytes = view.getUint8(at + fib.family) === AF_INET ? 4 : 16;
  const hop = at + fib.destination;
  const { destinationMac, sourceMac, ifindex } = route;
  bytes.set(destinationMac ?? deriveMac(bytes.slice(hop, hop + hopBytes)), at + fib.destinationMac);
  bytes.set(sourceMac ?? portMac(ifindex), at + fib.sourceMac);
}

/** r2 a device, 0: the packet's own. r3: in the length to check (0: the packet's), out the MTU. */
function checkMtu(run: HelperRun): number {
  const { registers, memory } = run;
  const { view } = run.context.arena;
  const isTc = tcTypes.includes(memory.type);
  const ifindex = registers[R2]!;
  const lengthAt = registers[R3]!;
  const difference = registers[R4]!;
  const flags = registers[R5]!;
  const segments = isTc && flags === CHECK_SEGMENTS;
  if ((flags !== 0 && !segments) || registers[R5 + 1] !== 0) return -errno.EINVAL;
  const asked = view.getUint32(lengthAt, true);
  if (segments && (difference !== 0 || asked !== 0)) return -errno.EINVAL;
  if (ifindex !== 0 && !networkOf(run).hasDevice(ifindex >>> 0)) return -errno.ENODEV;
  const frameBytes = asked === 0 ? memory.packetEnd - memory.packet : asked + linkHeaderBytes;
  const fits = frameBytes + difference <= portMtu + linkHeaderBytes;
  view.setUint32(lengthAt, portMtu, true);
  if (fits) return SUCCESS;
  return segments ? MTU_SEGMENTS_TOO_BIG : MTU_FRAG_NEEDED;
}
