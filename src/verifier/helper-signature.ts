import type { MapType, ProgramType } from "../object/object-spec.ts";
import { unavailableHelpers } from "./unavailable-helpers.ts";

/**
 * What a helper takes in r1 to r5. Pointers to memory are followed by the register that holds the
 * size; `size` must not be 0, `size_or_zero` may.
 *
 * - `map_key`, `map_value`: readable memory of the map's key or value size.
 * - `writable_map_value`: memory of the map's value size that the helper fills.
 * - `updated_memory`: readable memory that the helper also writes.
 * - `updated_u32`, `writable_u64`: the same of 4 bytes, and 8 bytes to write; aligned to their size,
 *   which does not follow.
 * - `constant_string`: text in a map that nobody writes, with a zero byte at its end.
 * - `format_string`: such a text, which is the format of the 64-bit words in the memory behind it.
 * - `allocation_size`: a constant, the size of the `reserved_memory` that is returned.
 * - `reserved_memory`: what such a helper returned, given back.
 * - `spin_lock`: the address of a `struct bpf_spin_lock` in a map's value.
 * - `socket`: a pointer to one, not null.
 * - `callback`: a function of the program; see `HelperSignature.callback`.
 * - `constant`: a number known at verification.
 * - `stack_or_null`: any pointer a callback shall be given, or 0.
 */
export type HelperArgument =
  | "map"
  | "map_key"
  | "map_value"
  | "writable_map_value"
  | "context"
  | "readable_memory"
  | "readable_memory_or_null"
  | "writable_memory"
  | "writable_memory_or_null"
  | "updated_memory"
  | "updated_u32"
  | "writable_u64"
  | "constant_string"
  | "format_string"
  | "size"
  | "size_or_zero"
  | "allocation_size"
  | "reserved_memory"
  | "spin_lock"
  | "socket"
  | "callback"
  | "stack_or_null"
  | "constant"
  | "anything";

/**
 * What r0 is after the call. `map_value_or_null` of a map of maps is the inner map, of an xskmap its
 * `struct bpf_xdp_sock`.
 */
export type HelperResult =
  | "number"
  | "nothing"
  | "map_value_or_null"
  | "reserved_memory_or_null"
  | "sock_or_null"
  | "tcp_sock_or_null";

/** One helper, as far as a caller must know it. The engine's table of helpers is made of these. */
export interface HelperSignature {
  /** The number in a call instruction: enum bpf_func_id, linux/bpf.h. */
  readonly id: number;
  /** Without its `bpf_`. */
  readonly name: string;
  readonly arguments: readonly HelperArgument[];
  /** Program types that may call it. */
  readonly types: readonly ProgramType[];
  /** Absent: `number`. */
  readonly returns?: HelperResult;
  /** Types of map it takes, where it takes one. */
  readonly maps?: readonly MapType[];
  /** Changes the map: not allowed on one that is read-only to programs. */
  readonly changesMap?: true;
  /** Its memory arguments may point into the packet. */
  readonly packetMemory?: true;
  /** Of the memory that it is given to fill, it may leave bytes as they were. */
  readonly leavesMemory?: true;
  /** Moves the packet: pointers into it are no pointers afterwards. */
  readonly movesPacket?: true;
  /** `loop`: r1 times, the callback gets the index; `map_walk`: for each entry of the map in r1. */
  readonly callback?: "loop" | "map_walk";
  /** bpf_spin_lock and bpf_spin_unlock. */
  readonly spinLock?: "lock" | "unlock";
  /** bpf_tail_call: limits the stack below it. */
  readonly tailCall?: true;
}

/** `bpf_map_lookup_elem`, also of helpers that there are only in Linux; undefined for no helper at all. */
export function helperName(
  helpers: ReadonlyMap<number, Pick<HelperSignature, "name">>,
  id: number,
): string | undefined {
  const name = helpers.get(id)?.name ?? unavailableHelpers.get(id)?.name;
  return name === undefined ? undefined : `bpf_${name}`;
}
