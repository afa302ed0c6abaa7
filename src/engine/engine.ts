import type { Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { Instruction } from "../isa/instruction.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { ProgramType } from "../object/object-spec.ts";
import type { Arena } from "../runtime/arena.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";

/** A program bound to its maps and accepted for running: all an engine needs, and serialisable. */
export interface LinkedProgram {
  readonly name: string;
  readonly type: ProgramType;
  /** By slot. Map operands index `maps`. */
  readonly instructions: readonly Instruction[];
  readonly maps: readonly MapHandle[];
}

/** What a worker lends to all programs it runs. One a thread. */
export interface EngineContext {
  readonly arena: Arena;
  readonly runtime: MapRuntime;
  /** This worker's number: which per-CPU value its programs see. */
  readonly cpu: number;
  /** Offset of `stackBytes` bytes that only this worker's programs use. */
  readonly stack: number;
  /** Nanoseconds for `bpf_ktime_get_ns`; the packet path sets it once a batch. */
  readonly clock: Clock;
  /** 32 random bits, unsigned. */
  readonly random: () => number;
  /** Takes a line of `bpf_trace_printk`. */
  readonly trace: (line: string) => void;
}

/** Monotonic time in two words, so that a 64-bit value crosses without a BigInt. */
export interface Clock {
  low: number;
  high: number;
}

/** 512 bytes a frame, 8 frames. Kernel documentation, bpf/verifier.rst. */
export const frameBytes = 512;
export const maxFrames = 8;
export const stackBytes = frameBytes * maxFrames;

/** Instructions one run may take in the interpreter before it ends as ABORTED. */
export const maxSteps = 10_000_000;

/** Why a run ended before `exit`. `slot` is the instruction that could not be done. */
export interface Fault {
  readonly code:
    | "bad_access"
    | "read_only"
    | "bad_pointer"
    | "budget_exceeded"
    | "call_depth"
    | "bad_argument"
    | "misaligned_atomic";
  readonly slot: number;
  /** The cause in words, with addresses and sizes. */
  readonly message: string;
}

/**
 * One program made ready to run by an engine.
 *
 * `run` takes a packet slot (layout.ts: SLOT_*), whose data, data_end and data_meta the caller has
 * set; it writes r0 to SLOT_RETURN_*, sets SLOT_WROTE, and returns r0's low word, unsigned. After a
 * fault r0 is 0 and `fault` holds the cause until the next run. `run` never throws for what a
 * program does.
 *
 * r1 at entry: XDP the slot itself (xdp_md), skb types the slot's `__sk_buff`, raw the data, with
 * its length in r2.
 */
export interface Executable {
  readonly program: LinkedProgram;
  readonly engine: EngineKind;
  run(slot: number): number;
  readonly fault: Fault | undefined;
}

export type EngineKind = "interpreter" | "jit";

/** Makes an engine's executables. Both engines and their contract test go through this. */
export type Engine = (
  program: LinkedProgram,
  context: EngineContext,
) => Result<Executable, UserError>;
