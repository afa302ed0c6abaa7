import type { MapHandle } from "../../maps/map-handle.ts";
import type { MapType, ProgramType } from "../../object/object-spec.ts";
import type { EngineContext } from "../engine.ts";
import type { ProgramMemory } from "../program-memory.ts";

/**
 * What a helper takes in r1 to r5. Pointers to memory are followed by the register that holds the
 * size; `size` must not be 0, `size_or_zero` may.
 */
export type HelperArgument =
  | "map"
  | "map_key"
  | "map_value"
  | "context"
  | "readable_memory"
  | "readable_memory_or_null"
  | "writable_memory"
  | "size"
  | "size_or_zero"
  | "anything";

/**
 * A running program as helpers see it: any engine can make one. Registers are word pairs, r0's low
 * word first; a helper reads its arguments from r1 to r5.
 */
export interface HelperRun {
  readonly registers: Int32Array;
  readonly memory: ProgramMemory;
  readonly context: EngineContext;
  /** The map of this call, for helpers that take one. */
  map: MapHandle | undefined;
  /** What helpers have done since the engine last looked, in steps: it takes them off its budget. */
  work: number;
}

/** One row of the table of helpers. */
export interface Helper {
  /** The number in a call instruction: enum bpf_func_id, linux/bpf.h. */
  readonly id: number;
  /** Without its `bpf_`. */
  readonly name: string;
  readonly arguments: readonly HelperArgument[];
  /** Program types that may call it. */
  readonly types: readonly ProgramType[];
  /** Types of map it takes, where it takes one. */
  readonly maps?: readonly MapType[];
  /** Steps a call takes beside one for every 8 bytes it is given; 0 where absent. */
  readonly work?: number;
  /** Changes the map: not allowed on one that is read-only to programs. */
  readonly changesMap?: true;
  /**
   * Does it, and returns r0: an integer from -2³¹ to 2³² - 1 (a negative errno sign-extends), or
   * undefined where it has written r0 itself. Arguments have been checked against the signature
   * above; it never throws for what they hold.
   */
  readonly call: (run: HelperRun) => number | undefined;
}

/** Indexes of an argument's low word in the register file; the high word follows it. */
export const R1 = 2;
export const R2 = 4;
export const R3 = 6;
export const R4 = 8;
export const R5 = 10;

/** Every program type that runs here: what the kernel's `bpf_base_func_proto` gives to all. */
export const anyType: readonly ProgramType[] = ["xdp", "socket", "raw"];
/** Types whose r1 is a context: all that the kernel has. */
export const contextTypes: readonly ProgramType[] = ["xdp", "socket"];
export const xdpOnly: readonly ProgramType[] = ["xdp"];
export const socketOnly: readonly ProgramType[] = ["socket"];
