import type { Instruction } from "../isa/instruction.ts";
import type { Btf } from "../object/btf.ts";
import type { MapType, ProgramSpec, ProgramType, SourceLine } from "../object/object-spec.ts";

/** What the verifier asks of a map. `MapHandle` and `MapSpec` are such. */
export interface VerifiedMap {
  readonly name: string;
  readonly type: MapType;
  /** Bytes. */
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** map_flags, linux/bpf.h. */
  readonly flags: number;
  /** Programs may not write its values. */
  readonly readOnly: boolean;
  /**
   * The value of the one entry of a map that nobody writes any more (`.rodata`): loads from it are
   * known numbers.
   */
  readonly frozenValue?: Uint8Array;
  /** Where a `struct bpf_spin_lock` lies in the value, bytes. */
  readonly spinLock?: number | undefined;
  /** Of a map of maps: what each of its maps is like. */
  readonly inner?: VerifiedMap | undefined;
}

/** Targets from here on are the inner maps of map `target - firstInner`. */
const firstInner = 1 << 20;

/** What a register holds that a map of maps was looked up into. */
export function innerTarget(outer: number): number {
  return firstInner + outer;
}

/** Whether a register's target is whatever map a map of maps holds. */
export function isInner(target: number): boolean {
  return target >= firstInner;
}

/** The map that a register's target stands for. */
export function mapOf({ maps }: Pick<VerifiableProgram, "maps">, target: number): VerifiedMap {
  const map = isInner(target) ? maps[target - firstInner]?.inner : maps[target];
  if (map === undefined) throw new RangeError(`no map ${target}`);
  return map;
}

/** A function within a program, by where it begins. */
export interface ProgramFunction {
  readonly name: string;
  readonly slot: number;
  /** BTF id of the function, where known. */
  readonly type?: number;
}

/** What is verified: decoded instructions and all that they refer to. */
export interface VerifiableProgram {
  /** The file it came from, for messages. */
  readonly object: string;
  readonly name: string;
  /** The object's section that it is in, for messages. */
  readonly section?: string;
  readonly type: ProgramType;
  /** A cgroup_skb program for packets on their way out, which may return 2 and 3 too. */
  readonly egress?: boolean;
  /** An XDP program for packets that leave through a devmap's entry: it may ask for `egress_ifindex`. */
  readonly onDevmap?: boolean;
  /** By slot. Map operands index `maps`. */
  readonly instructions: readonly Instruction[];
  readonly maps: readonly VerifiedMap[];
  /** May be empty: then all functions are known by their calls alone. */
  readonly functions: readonly ProgramFunction[];
  /** Where given, global functions are verified on their own. */
  readonly btf?: Btf | undefined;
  /** Sorted by slot; may be empty. */
  readonly lines: readonly SourceLine[];
  /** Instructions that ask a kernel for what there is no answer to: no path may come to them. */
  readonly unanswered?: ProgramSpec["unanswered"] | undefined;
  /** Bytes of the data that r1 of a `raw` program points to; others ignore it. */
  readonly dataBytes?: number;
}
