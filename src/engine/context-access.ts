import type { ProgramType } from "../object/object-spec.ts";

/**
 * Which bytes of its context a program may touch: for each byte offset a mask of the access sizes
 * allowed there (a size is its own bit: 1, 2, 4, 8). As `is_valid_access` of the program types in
 * the kernel's net/core/filter.c.
 */
export interface ContextAccess {
  /** Name of the structure, for messages. */
  readonly name: string;
  readonly bytes: number;
  readonly reads: Uint8Array;
  /** Sign-extending loads: pointers may not be read by them. */
  readonly signedReads: Uint8Array;
  readonly writes: Uint8Array;
}

type FieldRule = readonly [offset: number, bytes: number, reads: number, signed: number];

/** Loads of a whole word, and of its aligned parts: a narrow access. */
const word = 4;
const narrow = 1 | 2 | 4;
const double = 8;
const any = 1 | 2 | 4 | 8;

/** struct xdp_md, linux/bpf.h. `egress_ifindex` exists only for programs attached to a devmap. */
const xdpFields: readonly FieldRule[] = [
  [0, 4, word, 0], // data
  [4, 4, word, 0], // data_end
  [8, 4, word, 0], // data_meta
  [12, 8, word, word], // ingress_ifindex, rx_queue_index
];

/**
 * struct __sk_buff, linux/bpf.h, as `sk_filter_is_valid_access` allows it. Refused by absence:
 * tc_classid, data, data_end, family to local_port, data_meta, flow_keys, tstamp, wire_len,
 * tstamp_type, hwtstamp.
 */
const socketFields: readonly FieldRule[] = [
  [0, 48, narrow, narrow], // len to tc_index
  [48, 20, any, any], // cb
  [68, 4, narrow, narrow], // hash
  [84, 4, narrow, narrow], // napi_id
  [164, 4, narrow, narrow], // gso_segs
  [168, 8, double, 0], // sk: always null here
  [176, 4, narrow, narrow], // gso_size
];

/** A program keeps state in `cb`; nothing else is writable to a socket filter. */
const socketWrites: readonly FieldRule[] = [[48, 20, any, 0]];

const xdp = contextAccess("xdp_md", 24, xdpFields, []);
const socket = contextAccess("__sk_buff", 192, socketFields, socketWrites);

/** The rules of a type, or undefined where it has no context (raw) or cannot run yet. */
export function contextAccessOf(type: ProgramType): ContextAccess | undefined {
  switch (type) {
    case "xdp":
      return xdp;
    case "socket":
      return socket;
    default:
      return undefined;
  }
}

function contextAccess(
  name: string,
  bytes: number,
  reads: readonly FieldRule[],
  writes: readonly FieldRule[],
): ContextAccess {
  const access = {
    name,
    bytes,
    reads: new Uint8Array(bytes),
    signedReads: new Uint8Array(bytes),
    writes: new Uint8Array(bytes),
  };
  for (const [offset, length, sizes, signed] of reads) {
    allow(access.reads, offset, length, sizes);
    allow(access.signedReads, offset, length, signed);
  }
  for (const [offset, length, sizes] of writes) allow(access.writes, offset, length, sizes);
  return access;
}

/** Every size at each offset that is aligned to it and from which it ends within the fields. */
function allow(table: Uint8Array, offset: number, length: number, sizes: number): void {
  for (let at = offset; at < offset + length; at++)
    for (const size of [1, 2, 4, 8])
      if ((sizes & size) !== 0 && at % size === 0 && at + size <= offset + length)
        table[at]! |= size;
}
