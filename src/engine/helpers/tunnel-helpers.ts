import { errno } from "../../common/errno.ts";
import { SLOT_HAS_TUNNEL, SLOT_TUNNEL } from "../../runtime/wasm/layout.ts";
import { maxTunnelOptionsBytes, tunnelFlags, tunnelInfo, tunnelModes } from "../tunnel-info.ts";
import { type Helper, type HelperRun, R2, R3, R4, tcTypes } from "./helper.ts";
import { hasFlags, setFlags } from "./skb-frame.ts";

/** Offsets in struct bpf_tunnel_key, linux/bpf.h, and its size. */
const key = {
  id: 0,
  remote: 4,
  tos: 20,
  ttl: 21,
  /** With BPF_F_TUNINFO_FLAGS the tunnel's flags. */
  ext: 22,
  label: 24,
  local: 28,
  bytes: 44,
} as const;
/** Where the struct ended in older kernels: before its last members, and after an IPv4 address. */
const olderSizes: readonly number[] = [key.local, key.label, key.ext];
const oldestSize = 8;

/** Flags of both, linux/bpf.h; then those of set, and of get. */
const BPF_F_TUNINFO_IPV6 = 1 << 0;
const BPF_F_ZERO_CSUM_TX = 1 << 1;
const BPF_F_DONT_FRAGMENT = 1 << 2;
const BPF_F_SEQ_NUMBER = 1 << 3;
const BPF_F_NO_TUNNEL_KEY = 1 << 4;
const BPF_F_TUNINFO_FLAGS = 1 << 4;
const setFlagsMask = 0x1f;
const getFlagsMask = BPF_F_TUNINFO_IPV6 | BPF_F_TUNINFO_FLAGS;
/** IPV6_FLOWLABEL_MASK. */
const flowLabelMask = 0xf_ffff;

/**
 * Helpers on the tunnel that a packet came through or shall go through: net/core/filter.c. What
 * they keep is beside the packet, in its slot; a tunnel's listener fills it in and acts on it. A
 * packet that no tunnel brought has none, as with a kernel's device that is no tunnel.
 */
export const tunnelHelpers: readonly Helper[] = [
  {
    id: 20,
    name: "skb_get_tunnel_key",
    arguments: ["context", "writable_memory", "size", "anything"],
    types: tcTypes,
    work: 64,
    call(run) {
      const { registers, context } = run;
      const to = registers[R2]!;
      const size = registers[R3]! >>> 0;
      const result = getKey(run, to, size);
      if (result !== 0) context.arena.bytes.fill(0, to, to + size);
      return result;
    },
  },
  {
    id: 21,
    name: "skb_set_tunnel_key",
    arguments: ["context", "readable_memory", "size", "anything"],
    types: tcTypes,
    work: 64,
    call: setKey,
  },
  {
    id: 29,
    name: "skb_get_tunnel_opt",
    arguments: ["context", "writable_memory", "size"],
    types: tcTypes,
    work: 64,
    call: getOptions,
  },
  {
    id: 30,
    name: "skb_set_tunnel_opt",
    arguments: ["context", "readable_memory", "size"],
    types: tcTypes,
    work: 64,
    call: setOptions,
  },
];

/** r2 the key to fill in, r3 its size, r4 flags. */
function getKey(run: HelperRun, to: number, size: number): number {
  const { registers, context } = run;
  const { view, bytes } = context.arena;
  const info = run.memory.slot + SLOT_TUNNEL;
  const flags = registers[R4]!;
  if (!hasFlags(run, SLOT_HAS_TUNNEL) || (flags & ~getFlagsMask) !== 0 || registers[R4 + 1] !== 0)
    return -errno.EINVAL;
  const isIpv6 = (view.getUint32(info + tunnelInfo.mode, true) & tunnelModes.ipv6) !== 0;
  if (isIpv6 !== ((flags & BPF_F_TUNINFO_IPV6) !== 0)) return -errno.EPROTO;
  const isOldest = size === oldestSize && !isIpv6;
  if (size !== key.bytes && !olderSizes.includes(size) && !isOldest) return -errno.EINVAL;
  const whole = new Uint8Array(key.bytes);
  const out = new DataView(whole.buffer);
  out.setUint32(key.id, view.getUint32(info + tunnelInfo.id, true), true);
  whole[key.tos] = bytes[info + tunnelInfo.tos]!;
  whole[key.ttl] = bytes[info + tunnelInfo.ttl]!;
  if ((flags & BPF_F_TUNINFO_FLAGS) !== 0)
    out.setUint16(key.ext, view.getUint16(info + tunnelInfo.flags, true));
  const source = info + tunnelInfo.source;
  const destination = info + tunnelInfo.destination;
  if (isIpv6) {
    whole.set(bytes.subarray(source, source + 16), key.remote);
    whole.set(bytes.subarray(destination, destination + 16), key.local);
    out.setUint32(key.label, view.getUint32(info + tunnelInfo.label, true), true);
  } else {
    // Of an IPv4 address the struct holds the number in the host's order.
    out.setUint32(key.remote, view.getUint32(source), true);
    out.setUint32(key.local, view.getUint32(destination), true);
  }
  bytes.set(whole.subarray(0, size), to);
  return 0;
}

/** r2 the key, r3 its size, r4 flags. The way back is not known: what was remote is the destination. */
function setKey(run: HelperRun): number {
  const { registers, context } = run;
  const { view, bytes } = context.arena;
  const from = registers[R2]!;
  const size = registers[R3]! >>> 0;
  const flags = registers[R4]!;
  if ((flags & ~setFlagsMask) !== 0 || registers[R4 + 1] !== 0) return -errno.EINVAL;
  if (size !== key.bytes && !olderSizes.includes(size) && size !== oldestSize) return -errno.EINVAL;
  const whole = new Uint8Array(key.bytes);
  whole.set(bytes.subarray(from, from + size));
  const given = new DataView(whole.buffer);
  const isIpv6 = (flags & BPF_F_TUNINFO_IPV6) !== 0;
  const label = given.getUint32(key.label, true);
  if ((!isIpv6 && label !== 0) || given.getUint16(key.ext, true) !== 0) return -errno.EINVAL;
  const info = run.memory.slot + SLOT_TUNNEL;
  bytes.fill(0, info, info + tunnelInfo.options);
  view.setUint32(info + tunnelInfo.id, given.getUint32(key.id, true), true);
  bytes[info + tunnelInfo.tos] = whole[key.tos]!;
  bytes[info + tunnelInfo.ttl] = whole[key.ttl]!;
  let kept: number = tunnelFlags.nocache;
  if ((flags & BPF_F_ZERO_CSUM_TX) === 0) kept |= tunnelFlags.checksum;
  if ((flags & BPF_F_DONT_FRAGMENT) !== 0) kept |= tunnelFlags.dontFragment;
  if ((flags & BPF_F_SEQ_NUMBER) !== 0) kept |= tunnelFlags.sequence;
  if ((flags & BPF_F_NO_TUNNEL_KEY) === 0) kept |= tunnelFlags.key;
  view.setUint16(info + tunnelInfo.flags, kept, true);
  const mode = tunnelModes.transmit | (isIpv6 ? tunnelModes.ipv6 : 0);
  view.setUint32(info + tunnelInfo.mode, mode, true);
  if (isIpv6) {
    bytes.set(whole.subarray(key.remote, key.remote + 16), info + tunnelInfo.destination);
    bytes.set(whole.subarray(key.local, key.local + 16), info + tunnelInfo.source);
    view.setUint32(info + tunnelInfo.label, label & flowLabelMask, true);
  } else {
    view.setUint32(info + tunnelInfo.destination, given.getUint32(key.remote, true));
    view.setUint32(info + tunnelInfo.source, given.getUint32(key.local, true));
  }
  setFlags(run, SLOT_HAS_TUNNEL, true);
  return 0;
}

/** r2 the memory for options, r3 its size. Their length, or an error; what they do not fill is zeroed. */
function getOptions(run: HelperRun): number {
  const { registers, context } = run;
  const { view, bytes } = context.arena;
  const to = registers[R2]!;
  const size = registers[R3]! >>> 0;
  const info = run.memory.slot + SLOT_TUNNEL;
  const length = hasFlags(run, SLOT_HAS_TUNNEL)
    ? view.getUint32(info + tunnelInfo.optionsLength, true)
    : 0;
  bytes.fill(0, to, to + size);
  if (length === 0) return -errno.ENOENT;
  if (size < length) return -errno.ENOMEM;
  bytes.copyWithin(to, info + tunnelInfo.options, info + tunnelInfo.options + length);
  return length;
}

/** r2 the options, r3 their size. They belong to a key that the program has set before. */
function setOptions(run: HelperRun): number {
  const { registers, context } = run;
  const { view, bytes } = context.arena;
  const from = registers[R2]!;
  const size = registers[R3]! >>> 0;
  const info = run.memory.slot + SLOT_TUNNEL;
  const isOwn =
    hasFlags(run, SLOT_HAS_TUNNEL) &&
    (view.getUint32(info + tunnelInfo.mode, true) & tunnelModes.transmit) !== 0;
  if (!isOwn || size % 4 !== 0) return -errno.EINVAL;
  if (size > maxTunnelOptionsBytes) return -errno.ENOMEM;
  bytes.copyWithin(info + tunnelInfo.options, from, from + size);
  view.setUint32(info + tunnelInfo.optionsLength, size, true);
  const flags = view.getUint16(info + tunnelInfo.flags, true);
  view.setUint16(info + tunnelInfo.flags, flags | tunnelFlags.anyOptions, true);
  return 0;
}
