import type { Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { Instruction } from "../isa/instruction.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { ProgramType } from "../object/object-spec.ts";
import type { Arena } from "../runtime/arena.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import type { Verified } from "../verifier/verified.ts";
import type { EngineKind } from "./engine-kind.ts";
import type { Network } from "./network.ts";

/** What is known of a program without a look at its instructions. */
export interface ProgramInfo {
  readonly name: string;
  readonly type: ProgramType;
  readonly maps: readonly MapHandle[];
  /**
   * The verifier has proven every access, argument, call depth and loop: an engine may leave its own
   * checks out. `linkProgram` alone says so; only tests make programs without, of which an engine
   * checks everything.
   */
  readonly verified?: boolean;
  /** An XDP program for packets that leave through a devmap's entry: it may ask for `egress_ifindex`. */
  readonly onDevmap?: boolean;
  /** Of a `raw` program: the only length of data that it was proven for. */
  readonly dataBytes?: number;
}

/**
 * What an engine still needs of a program once it has made code of it: no instruction, and as little
 * for a long program as for a short one. Survives structured cloning.
 */
export interface RunnableProgram extends ProgramInfo {
  /** Maps that instructions of the program name, and no others. */
  readonly namedMaps: readonly MapHandle[];
  /** First slots of the functions whose addresses instructions take. */
  readonly callbacks: ReadonlySet<number>;
  /** Instructions that a run takes at most, where the verifier has proven how many. */
  readonly mostSteps?: number;
}

/** A program bound to its maps and accepted for running: all an engine needs to make code of it. */
export interface LinkedProgram extends ProgramInfo {
  /** By slot. Map operands index `maps`. */
  readonly instructions: readonly Instruction[];
  /**
   * What the verifier proved of each slot. Where `readsUnwritten` is set, an engine has zeroed the frame since
   * its function began: no run may see what another left on the stack. Slots that are not `reached`
   * (and are no second half of `lddw`) never run, and an engine must trap there or check.
   */
  readonly proof?: Verified;
}

/** What a worker lends to all programs it runs. One a thread. */
export interface EngineContext {
  readonly arena: Arena;
  readonly runtime: MapRuntime;
  /** This worker's number: which per-CPU value its programs see. */
  readonly cpu: number;
  /** Offset of `stackBytes` bytes that only this worker's programs and engines use. */
  readonly stack: number;
  /** Nanoseconds for `bpf_ktime_get_ns`; the packet path sets it once a batch. */
  readonly clock: Clock;
  /** 32 random bits, unsigned. */
  readonly random: () => number;
  /** Takes a line of `bpf_trace_printk`. */
  readonly trace: (line: string) => void;
  /** What helpers may know of ports and routes. Absent: the loopback device alone. */
  readonly network?: Network;
  /**
   * What prog_arrays name: their value n is `programs[n - 1]`. It may grow after programs that call
   * into it were made. All are of the engine and the type of those that call them. Absent: a tail
   * call finds nothing.
   */
  readonly programs?: readonly Executable[];
}

/** What code is made for: a worker's places in the arena are constants in it. */
export type CodePlace = Pick<EngineContext, "arena" | "cpu" | "stack">;

/** Monotonic time in two words, so that a 64-bit value crosses without a BigInt. */
export interface Clock {
  low: number;
  high: number;
}

/** 512 bytes a frame, 8 frames. Kernel documentation, bpf/verifier.rst. */
export const frameBytes = 512;
export const maxFrames = 8;
export const framesBytes = frameBytes * maxFrames;
/** Behind the frames: what an engine keeps for itself during a run. No program reaches it. */
const scratchBytes = 256;
/** Behind the scratch: a map walk a frame, see map-walk.ts. */
export const walksOffset = framesBytes + scratchBytes;
/** A cursor, and a key of 512 bytes, the most a hash map takes. */
export const walkBytes = 528;
export const stackBytes = walksOffset + maxFrames * walkBytes;

/**
 * Instructions one run of an unverified program may take before it ends as ABORTED. The interpreter
 * counts each. The JIT counts where a program jumps back, what lies between jump and target, and
 * where a function ends, what lies between its start and that exit: never fewer than were done, and
 * more where a loop jumps over part of itself.
 */
export const maxSteps = 10_000_000;

/**
 * The same of a verified program. Most are done within the million that the verifier visits, which
 * `RunnableProgram.mostSteps` tells of, and those are not counted; what global functions and callbacks do again
 * and again is visited once, and would take hours where loops call loops. They are counted as above,
 * in the JIT with a function's length at its start in place of its end.
 *
 * What helpers do is counted of any program, in both engines by the same rules: helper-work.ts. Since
 * the JIT never counts less, what ends of itself there does so in the interpreter.
 *
 * Of the worst programs known (`npm run bench:budget`) the JIT does a step in some 15 ns, the
 * interpreter in twice that, and most in a tenth: a second, and two. A chain of 34 programs of a
 * million instructions each, the most that the verifier bounds, is half of it.
 */
export const maxProvenSteps = 2 ** 26;

/** The cause of a fault: the run's budget is used up. */
export function stepsExceeded(program: ProgramInfo): string {
  return `no exit within ${stepLimit(program)} instructions, what helpers do counted as such`;
}

export function stepLimit(program: ProgramInfo): number {
  return program.verified === true ? maxProvenSteps : maxSteps;
}

/** Tail calls that a run may make, over all its programs. Kernel: MAX_TAIL_CALL_CNT. */
export const maxTailCalls = 33;

/** Times that helpers may call back in a run, over all its programs. DESIGN.md, section 3. */
export const maxCallbacks = 2 ** 23;

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
  /** The program of `slot`, where a tail call had put another in place of the run's own. */
  readonly program?: string;
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
  readonly program: ProgramInfo;
  readonly engine: EngineKind;
  run(slot: number): number;
  readonly fault: Fault | undefined;
  /**
   * `run` on `count` slots, `stride` bytes apart, in one call; r0 of each is in its SLOT_RETURN_*.
   * Returns the runs that faulted, in order: mostly an empty array, which the next call may reuse.
   */
  runBatch?(first: number, stride: number, count: number): readonly BatchFault[];
}

/** A run of a batch that ended before its program's `exit`. */
export interface BatchFault {
  /** Offset of its packet slot. */
  readonly packetSlot: number;
  readonly fault: Fault;
}

export type { EngineKind };

/** Makes an engine's executables. Both engines and their contract test go through this. */
export type Engine = (
  program: LinkedProgram,
  context: EngineContext,
) => Result<Executable, UserError>;
