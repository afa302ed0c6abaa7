import { errno } from "../../common/errno.ts";
import { SLOT_HASH_KNOWN } from "../../runtime/wasm/layout.ts";
import { skb } from "../socket-context.ts";
import {
  type Helper,
  type HelperRun,
  R2,
  R3,
  R4,
  R5,
  skbTypes,
  tcTypes,
  xdpOnly,
} from "./helper.ts";
import { frameChanged, frameStart, networkStart, setContextWord, setFlags } from "./skb-frame.ts";

/** Flags of skb_store_bytes, linux/bpf.h. The first asks for what nobody here keeps: skb->csum. */
const BPF_F_RECOMPUTE_CSUM = 1;
const BPF_F_INVALIDATE_HASH = 2;
/** enum bpf_hdr_start_off. */
const BPF_HDR_START_MAC = 0;
const BPF_HDR_START_NET = 1;

const maxRelativeOffset = 0xffff;

/** Helpers that copy bytes from and to a packet, wherever they are in it: net/core/filter.c. */
export const packetBytesHelpers: readonly Helper[] = [
  {
    id: 26,
    name: "skb_load_bytes",
    arguments: ["context", "anything", "writable_memory", "size"],
    types: skbTypes,
    call(run) {
      const offset = run.registers[R2]!;
      return load(run, offset < 0 ? undefined : run.memory.packet + offset);
    },
  },
  {
    id: 68,
    name: "skb_load_bytes_relative",
    arguments: ["context", "anything", "writable_memory", "size", "anything"],
    types: skbTypes,
    call: loadRelative,
  },
  {
    id: 9,
    name: "skb_store_bytes",
    arguments: ["context", "anything", "readable_memory", "size", "anything"],
    types: tcTypes,
    movesPacket: true,
    call: store,
  },
  {
    id: 39,
    name: "skb_pull_data",
    arguments: ["context", "anything"],
    types: tcTypes,
    movesPacket: true,
    /** All bytes of a packet are always there: what is left is the limit. */
    call({ registers, memory }) {
      const length = registers[R2]! >>> 0;
      return length > memory.packetEnd - memory.packet ? -errno.ENOMEM : 0;
    },
  },
  {
    id: 188,
    name: "xdp_get_buff_len",
    arguments: ["context"],
    types: xdpOnly,
    call: ({ memory }) => memory.packetEnd - memory.packet,
  },
  {
    id: 189,
    name: "xdp_load_bytes",
    arguments: ["context", "anything", "writable_memory", "size"],
    types: xdpOnly,
    // Where the packet does not hold them.
    leavesMemory: true,
    call(run) {
      const at = xdpBytes(run);
      if (at < 0) return at;
      const to = run.registers[R3]!;
      run.context.arena.bytes.copyWithin(to, at, at + run.registers[R4]!);
      return 0;
    },
  },
  {
    id: 190,
    name: "xdp_store_bytes",
    arguments: ["context", "anything", "readable_memory", "size"],
    types: xdpOnly,
    call(run) {
      const at = xdpBytes(run);
      if (at < 0) return at;
      const from = run.registers[R3]!;
      run.context.arena.bytes.copyWithin(at, from, from + run.registers[R4]!);
      run.memory.markWritten();
      return 0;
    },
  },
];

/** Copies from an address; where the packet does not hold all the bytes, the buffer is zeroed. */
function load({ registers, memory, context }: HelperRun, from: number | undefined): number {
  const { bytes } = context.arena;
  const to = registers[R3]!;
  const size = registers[R4]!;
  if (from === undefined || from + size > memory.packetEnd) {
    bytes.fill(0, to, to + size);
    return -errno.EFAULT;
  }
  bytes.copyWithin(to, from, from + size);
  return 0;
}

function loadRelative(run: HelperRun): number {
  const offset = run.registers[R2]! >>> 0;
  const header = run.registers[R5]!;
  if (offset > maxRelativeOffset) return load(run, undefined);
  if (header === BPF_HDR_START_MAC) return load(run, frameStart(run) + offset);
  return load(run, header === BPF_HDR_START_NET ? networkStart(run) + offset : undefined);
}

function store(run: HelperRun): number {
  const { registers, memory, context } = run;
  const offset = registers[R2]!;
  const from = registers[R3]!;
  const size = registers[R4]!;
  const flags = registers[R5]!;
  if ((flags & ~(BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH)) !== 0 || registers[R5 + 1] !== 0)
    return -errno.EINVAL;
  const to = memory.packet + offset;
  if (offset < 0 || to + size > memory.packetEnd) return -errno.EFAULT;
  context.arena.bytes.copyWithin(to, from, from + size);
  if ((flags & BPF_F_INVALIDATE_HASH) !== 0) forgetHash(run);
  frameChanged(run);
  return 0;
}

/** The next who asks for the packet's hash gets it computed anew. */
export function forgetHash(run: HelperRun): void {
  setContextWord(run, skb.hash, 0);
  setFlags(run, SLOT_HASH_KNOWN, false);
}

/** Address of the bytes that r2 and r4 name, or an error: `bpf_xdp_pointer`. */
function xdpBytes({ registers, memory }: HelperRun): number {
  const offset = registers[R2]! >>> 0;
  const size = registers[R4]!;
  if (offset > 0xffff || size > 0xffff) return -errno.EFAULT;
  const at = memory.packet + offset;
  return at + size > memory.packetEnd ? -errno.EINVAL : at;
}
