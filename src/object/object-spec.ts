import type { UserError } from "../common/user-error.ts";
import type { Btf } from "./btf.ts";

/** Names of enum bpf_map_type, lower case, as bpftool prints them. */
export const mapTypes = {
  hash: 1,
  array: 2,
  prog_array: 3,
  perf_event_array: 4,
  percpu_hash: 5,
  percpu_array: 6,
  stack_trace: 7,
  cgroup_array: 8,
  lru_hash: 9,
  lru_percpu_hash: 10,
  lpm_trie: 11,
  array_of_maps: 12,
  hash_of_maps: 13,
  devmap: 14,
  sockmap: 15,
  cpumap: 16,
  xskmap: 17,
  sockhash: 18,
  cgroup_storage: 19,
  reuseport_sockarray: 20,
  percpu_cgroup_storage: 21,
  queue: 22,
  stack: 23,
  sk_storage: 24,
  devmap_hash: 25,
  struct_ops: 26,
  ringbuf: 27,
  inode_storage: 28,
  task_storage: 29,
  bloom_filter: 30,
  user_ringbuf: 31,
  cgrp_storage: 32,
  arena: 33,
} as const;

/** Types of maps, named as bpftool prints them. */
export type MapType = keyof typeof mapTypes;

/** What a section name says of a program. `raw` has no section: r1 = data, r2 = length. */
export const programTypes = ["xdp", "tc", "tcx", "action", "socket", "cgroup_skb", "raw"] as const;

/** Types of programs: what a section's name says, which decides on context and verdicts. */
export type ProgramType = (typeof programTypes)[number];

/** A map as an object (or a config) declares it: no storage yet. Sizes in bytes. */
export interface MapSpec {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** map_flags, linux/bpf.h. */
  readonly flags: number;
  readonly pinning: "none" | "by_name";
  /** Pinned by another name than its own: iproute2's PIN_OBJECT_NS, which counts within one object. */
  readonly pinName?: string | undefined;
  /** BTF type ids within the object's BTF, where it has them. */
  readonly keyType: number | undefined;
  readonly valueType: number | undefined;
  /** `.rodata` and its like: programs may not write, and values are known at verification. */
  readonly readOnly: boolean;
  /** Contents before the first packet: the bytes of a data section at key 0. */
  readonly contents: readonly MapEntry[];
  /** Set for maps made from `.rodata`, `.data`, `.bss`: the section's name. */
  readonly dataSection: string | undefined;
  /** Inner template of a map of maps. */
  readonly inner: MapSpec | undefined;
  /** map_extra, linux/bpf.h: a bloom filter's number of hash functions. Absent: 0, the default. */
  readonly extra?: number | undefined;
  /** Where a `struct bpf_spin_lock` lies in the value, bytes. */
  readonly spinLock?: number | undefined;
  /** `values` of a BTF-defined prog_array or map of maps: what each index names. */
  readonly slots: readonly { readonly index: number; readonly name: string }[];
}

export interface MapEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** One line of BTF.ext line information. */
export interface SourceLine {
  readonly slot: number;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

/** Why an instruction cannot be what its object says. */
export interface Unanswered {
  /** As a `UserError`'s: `OBJECT_EXTERN`. */
  readonly code: string;
  /** Of which its instruction is the subject. */
  readonly what: string;
  readonly fix: string;
  /** The instruction as assembly, as it was before a call of nothing took its place. */
  readonly instruction: string;
}

/**
 * A program cut from an object: relocated, its subprograms appended, not yet bound to maps.
 * In `bytecode` a `lddw` with source 1 or 2 names its map by index into `ObjectSpec.maps`.
 */
export interface ProgramSpec {
  readonly name: string;
  readonly section: string;
  readonly type: ProgramType | undefined;
  /** 8 bytes an instruction, little-endian. */
  readonly bytecode: Uint8Array;
  /**
   * Entry points in `bytecode`: the program itself at slot 0, then subprograms. `type` is the BTF id
   * of the function, where known.
   */
  readonly functions: readonly {
    readonly name: string;
    readonly slot: number;
    readonly type?: number;
  }[];
  /** Sorted by slot; empty without BTF.ext. */
  readonly lines: readonly SourceLine[];
  /**
   * Instructions that ask for what only a kernel has (CO-RE, externs, maps of some types): the program
   * may run where no path comes to them. Absent where there are none.
   */
  readonly unanswered?: readonly (Unanswered & { readonly slot: number })[];
  /**
   * Why the program could not be put together from its functions; then there is no bytecode. The other
   * programs of the object may run.
   */
  readonly fault?: UserError;
}

/** A global variable: bytes of a data-section map. */
export interface VariableSpec {
  readonly name: string;
  /** Index into `ObjectSpec.maps`. */
  readonly map: number;
  readonly offset: number;
  readonly size: number;
  /** BTF type id, where known. */
  readonly type: number | undefined;
}

/** What an object file holds, as loaded from bytes: deterministic, no arena, no side effects. */
export interface ObjectSpec {
  /** The file's name, for messages. */
  readonly file: string;
  readonly license: string;
  readonly programs: readonly ProgramSpec[];
  readonly maps: readonly MapSpec[];
  readonly variables: readonly VariableSpec[];
  readonly btf: Btf | undefined;
  /** Maps that it declares and that cannot be: only programs that use one are refused. Absent: none. */
  readonly refusedMaps?: readonly RefusedMap[] | undefined;
}

/** A map that has no storage here, and why: `what` and `fix` are a `UserError`'s. */
export interface RefusedMap {
  readonly name: string;
  readonly code: string;
  readonly what: string;
  readonly fix: string;
}

/**
 * Why there is no map of this name, where an object declares one that cannot be: code, `what` (which
 * names the map) and `fix` of a `UserError`. Undefined where that is not why.
 */
export function refusalOf(
  { refusedMaps }: Pick<ObjectSpec, "refusedMaps">,
  name: unknown,
): Omit<RefusedMap, "name"> | undefined {
  const refused = refusedMaps?.find((map) => map.name === name);
  if (refused === undefined) return undefined;
  const { code, what, fix } = refused;
  return { code, what: `map "${refused.name}" cannot be: ${what}`, fix };
}
