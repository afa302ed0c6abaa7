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
  /** Names of fields, for messages: where each begins. */
  readonly fields: readonly (readonly [offset: number, name: string])[];
  /** Fields that hold pointers, by offset. */
  readonly pointers: ReadonlyMap<number, ContextPointer>;
}

export type ContextPointer = "packet" | "packet_end" | "packet_meta" | "sock_common";

type FieldRule = readonly [offset: number, bytes: number, reads: number, signed: number];

/** Loads of a whole word, and of its aligned parts: a narrow access. */
const word = 4;
const narrow = 1 | 2 | 4;
const double = 8;
const any = 1 | 2 | 4 | 8;

/** struct xdp_md, linux/bpf.h. Refused by absence: egress_ifindex. */
const xdpFields: readonly FieldRule[] = [
  [0, 4, word, 0], // data
  [4, 4, word, 0], // data_end
  [8, 4, word, 0], // data_meta
  [12, 8, word, word], // ingress_ifindex, rx_queue_index
];

/** Of programs that a devmap's entry names: `xdp_is_valid_access`. */
const devmapFields: readonly FieldRule[] = [
  ...xdpFields,
  [20, 4, word, word], // egress_ifindex
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
  [168, 8, double, 0], // sk
  [176, 4, narrow, narrow], // gso_size
];

/** A program keeps state in `cb`; nothing else is writable to a socket filter. */
const socketWrites: readonly FieldRule[] = [[48, 20, any, 0]];

/** `tc_cls_act_is_valid_access`. Refused by absence: family to local_port, flow_keys. */
const tcFields: readonly FieldRule[] = [
  ...socketFields,
  [72, 4, narrow, narrow], // tc_classid
  [76, 8, word, 0], // data, data_end
  [140, 4, word, 0], // data_meta
  [152, 8, double, double], // tstamp
  [160, 4, narrow, narrow], // wire_len
  [180, 1, 1, 1], // tstamp_type
  [184, 8, double, double], // hwtstamp
];

const tcWrites: readonly FieldRule[] = [
  [8, 4, word, 0], // mark
  [12, 4, word, 0], // queue_mapping
  [32, 4, word, 0], // priority
  [44, 4, word, 0], // tc_index
  [48, 20, any, 0], // cb
  [72, 4, word, 0], // tc_classid
  [152, 8, double, 0], // tstamp
];

/** `cgroup_skb_is_valid_access`. Refused by absence: tc_classid, data_meta, wire_len, flow_keys. */
const cgroupFields: readonly FieldRule[] = [
  ...socketFields,
  [76, 8, word, 0], // data, data_end
  [88, 12, narrow, narrow], // family, remote_ip4, local_ip4
  [100, 32, word, word], // remote_ip6, local_ip6
  [132, 8, narrow, narrow], // remote_port, local_port
  [152, 8, double, double], // tstamp
  [184, 8, double, double], // hwtstamp
];

const cgroupWrites: readonly FieldRule[] = [
  [8, 4, word, 0], // mark
  [32, 4, word, 0], // priority
  [48, 20, any, 0], // cb
  [152, 8, double, 0], // tstamp
];

const xdpNames = [
  [0, "data"],
  [4, "data_end"],
  [8, "data_meta"],
  [12, "ingress_ifindex"],
  [16, "rx_queue_index"],
  [20, "egress_ifindex"],
] as const;

const skbNames = [
  [0, "len"],
  [4, "pkt_type"],
  [8, "mark"],
  [12, "queue_mapping"],
  [16, "protocol"],
  [20, "vlan_present"],
  [24, "vlan_tci"],
  [28, "vlan_proto"],
  [32, "priority"],
  [36, "ingress_ifindex"],
  [40, "ifindex"],
  [44, "tc_index"],
  [48, "cb"],
  [68, "hash"],
  [72, "tc_classid"],
  [76, "data"],
  [80, "data_end"],
  [84, "napi_id"],
  [88, "family"],
  [92, "remote_ip4"],
  [96, "local_ip4"],
  [100, "remote_ip6"],
  [116, "local_ip6"],
  [132, "remote_port"],
  [136, "local_port"],
  [140, "data_meta"],
  [144, "flow_keys"],
  [152, "tstamp"],
  [160, "wire_len"],
  [164, "gso_segs"],
  [168, "sk"],
  [176, "gso_size"],
  [180, "tstamp_type"],
  [184, "hwtstamp"],
] as const;

const skbSocket: readonly [number, ContextPointer] = [168, "sock_common"];
const skbPacket: readonly (readonly [number, ContextPointer])[] = [
  [76, "packet"],
  [80, "packet_end"],
];

const xdpPointers: readonly (readonly [number, ContextPointer])[] = [
  [0, "packet"],
  [4, "packet_end"],
  [8, "packet_meta"],
];
const xdp = contextAccess("xdp_md", 24, xdpFields, [], xdpNames, xdpPointers);
const xdpOnDevmap = contextAccess("xdp_md", 24, devmapFields, [], xdpNames, xdpPointers);
const socket = contextAccess("__sk_buff", 192, socketFields, socketWrites, skbNames, [skbSocket]);
const tc = contextAccess("__sk_buff", 192, tcFields, tcWrites, skbNames, [
  ...skbPacket,
  [140, "packet_meta"],
  skbSocket,
]);
const cgroup = contextAccess("__sk_buff", 192, cgroupFields, cgroupWrites, skbNames, [
  ...skbPacket,
  skbSocket,
]);

/**
 * The rules of a type, or undefined where it has no context (raw). `onDevmap`: of programs for packets
 * that leave through a devmap's entry.
 */
export function contextAccessOf(type: ProgramType, onDevmap = false): ContextAccess | undefined {
  switch (type) {
    case "xdp":
      return onDevmap ? xdpOnDevmap : xdp;
    case "socket":
      return socket;
    case "tc":
    case "tcx":
    case "action":
      return tc;
    case "cgroup_skb":
      return cgroup;
    case "raw":
      return undefined;
    default: {
      const never: never = type;
      return never;
    }
  }
}

/** Whether programs of a type may write the packet through its pointers. */
export function mayWritePacket(type: ProgramType): boolean {
  return type === "xdp" || type === "tc" || type === "tcx" || type === "action" || type === "raw";
}

/** The name of the field that lies at an offset. */
export function fieldAt({ fields, name }: ContextAccess, offset: number): string {
  const field = fields.findLast(([start]) => start <= offset);
  return field === undefined ? name : `${name}.${field[1]}`;
}

function contextAccess(
  name: string,
  bytes: number,
  reads: readonly FieldRule[],
  writes: readonly FieldRule[],
  fields: ContextAccess["fields"],
  pointers: readonly (readonly [number, ContextPointer])[],
): ContextAccess {
  const access = {
    name,
    bytes,
    reads: new Uint8Array(bytes),
    signedReads: new Uint8Array(bytes),
    writes: new Uint8Array(bytes),
    fields,
    pointers: new Map(pointers),
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
