import type { MapHandle } from "../../maps/map-handle.ts";
import type { ProgramType } from "../../object/object-spec.ts";
import type { HelperSignature } from "../../verifier/helper-signature.ts";
import type { EngineContext } from "../engine.ts";
import type { ProgramMemory } from "../program-memory.ts";

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
  /** First slots of the functions whose addresses the program takes: what may be called back. */
  readonly callbacks: ReadonlySet<number>;
  /** Steps of the call beside those that its arguments tell of (helper-work.ts): a helper adds to it. */
  work: number;
}

/** One row of the table of helpers: what callers must know of it, and what it does. */
export interface Helper extends HelperSignature {
  /** How many of r1 to r5 it reads, where that is more than `arguments` asks callers to set. */
  readonly registersRead?: number;
  /** Steps a call takes whatever it is given, where they are not those of most: helper-work.ts. */
  readonly work?: number;
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

export const xdpOnly: readonly ProgramType[] = ["xdp"];
/** Programs of the traffic control: `tc_cls_act_func_proto`. */
export const tcTypes: readonly ProgramType[] = ["tc", "tcx", "action"];
export const xdpAndTc: readonly ProgramType[] = [...xdpOnly, ...tcTypes];
/** Types whose context is `__sk_buff`. */
export const skbTypes: readonly ProgramType[] = [...tcTypes, "socket", "cgroup_skb"];
/** Types whose r1 is a context: all that the kernel has. */
export const contextTypes: readonly ProgramType[] = [...xdpOnly, ...skbTypes];
/** Every program type that runs here: what the kernel's `bpf_base_func_proto` gives to all. */
export const anyType: readonly ProgramType[] = [...contextTypes, "raw"];
