import type { MapHandle } from "../../maps/map-handle.ts";
import {
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_REDIRECT_FLAGS,
  SLOT_REDIRECT_IFINDEX,
  SLOT_RETURN_HIGH,
  SLOT_RETURN_LOW,
} from "../../runtime/wasm/layout.ts";
import {
  type EngineContext,
  type Executable,
  type Fault,
  maxCallbacks,
  maxFrames,
  maxTailCalls,
  type RunnableProgram,
  stepLimit,
  stepsExceeded,
} from "../engine.ts";
import { callHelper, checkArguments } from "../helpers/call-helper.ts";
import { callbacksExceeded } from "../helpers/callback-helpers.ts";
import type { Helper, HelperRun } from "../helpers/helper.ts";
import { helperFor } from "../helpers/helper-table.ts";
import { countedSteps } from "../helpers/helper-work.ts";
import { tailCall, tailCallInCallback, tailCallTarget } from "../helpers/tail-call.ts";
import { endAllWalks } from "../map-walk.ts";
import { ProgramMemory } from "../program-memory.ts";
import { fillSocketContext, hasSocketContext } from "../socket-context.ts";
import { firstConstant, slotWords, type Translation } from "./translate.ts";

/**
 * Sees each instruction before it is done: its slot, and the registers as word pairs (r0's low word
 * first), which it must not change.
 */
export type Observer = (slot: number, registers: Int32Array) => void;

/** Words a saved frame takes: r6 to r9 and where to go on. */
const savedWords = 9;
/** What a callback finds instead of its caller's: r0 to r9, in 64-bit words. */
export const callerRegisters = 10;
const r6 = 12;
const r10 = 20;

/**
 * The state of one program in the interpreter: registers, frames, memory, and how a run begins and
 * ends. What happens between is execute.ts.
 *
 * Through a tail call another program's machine `take`s the run over, at the depth of the function
 * that called; where that function had a caller, its machine `resume`s when the other has ended.
 */
export class Machine implements HelperRun {
  readonly program: RunnableProgram;
  readonly context: EngineContext;
  readonly memory: ProgramMemory;
  readonly translation: Translation;
  /** What `call_helper` operations name, by their second word. */
  readonly helpers: readonly Helper[];
  /** r0 to r10 as word pairs, then the constant pool; and the same in 64-bit words. */
  readonly registers: Int32Array;
  readonly registers64: BigInt64Array;
  /** The arena in 64-bit words. */
  arena64: BigInt64Array;
  readonly observer: Observer | undefined;
  map: MapHandle | undefined;
  work = 0;
  fault: Fault | undefined;
  /** Where `execute` starts: the instruction, and how deep its function is nested. */
  pc = 0;
  depth = 0;
  /** The depth whose function's exit ends this machine's part of the run. */
  floor = 0;
  /** Steps the run has left where `execute` starts, and where it ended. */
  steps = 0;
  /** Tail calls the run has made. */
  tailCalls = 0;
  /** What goes on in place of this machine's function. */
  target: Executable | undefined;
  /** Times that helpers may still call back in the run. */
  callbacksLeft = maxCallbacks;
  /** Callbacks that the machine is in. */
  calledBack = 0;
  readonly callbacks: ReadonlySet<number>;
  readonly #saved = new Int32Array(maxFrames * savedWords);
  /** By depth: r0 to r9 of a function that is being called back. */
  readonly #callers = Array.from({ length: maxFrames }, () => new BigInt64Array(callerRegisters));
  #arenaBytes: Uint8Array;

  constructor(
    program: RunnableProgram,
    translation: Translation,
    context: EngineContext,
    observer: Observer | undefined,
  ) {
    this.program = program;
    this.context = context;
    this.observer = observer;
    this.memory = new ProgramMemory(program, context);
    this.callbacks = program.callbacks;
    this.translation = translation;
    const { constants, helperIds } = translation;
    // The linker has checked that this type may call them.
    this.helpers = helperIds.map((id) => helperFor(id, program.type)!);
    this.registers = new Int32Array(firstConstant * 2 + constants.length);
    this.registers.set(constants, firstConstant * 2);
    this.registers64 = new BigInt64Array(this.registers.buffer);
    this.#arenaBytes = context.arena.bytes;
    this.arena64 = new BigInt64Array(context.arena.memory.buffer);
  }

  /** Sets memory and registers up for a run on a packet slot. */
  begin(slot: number): void {
    const { memory, registers } = this;
    const { words, view } = this.context.arena;
    this.steps = stepLimit(this.program) + this.#provenSteps;
    this.tailCalls = 0;
    this.callbacksLeft = maxCallbacks;
    memory.enter(slot);
    this.#start(0);
    words[(slot + SLOT_REDIRECT_IFINDEX) >> 2] = 0;
    words[(slot + SLOT_REDIRECT_FLAGS) >> 2] = 0;
    const { type } = this.program;
    if (type === "raw") {
      const data = words[(slot + SLOT_DATA) >> 2]!;
      registers[2] = data;
      registers[4] = words[(slot + SLOT_DATA_END) >> 2]! - data;
    } else {
      if (hasSocketContext(type)) fillSocketContext(view, words, slot, type);
      registers[2] = memory.contextAddress;
    }
  }

  /** Sets registers up for the program's own function at `depth`; r1 is left to the caller. */
  #start(depth: number): void {
    const { bytes } = this.context.arena;
    if (bytes !== this.#arenaBytes) {
      this.#arenaBytes = bytes;
      this.arena64 = new BigInt64Array(bytes.buffer as SharedArrayBuffer);
    }
    this.fault = undefined;
    this.target = undefined;
    this.work = 0;
    this.calledBack = 0;
    this.pc = 0;
    this.depth = depth;
    this.floor = depth;
    for (let i = 0; i < firstConstant; i++) this.registers64[i] = 0n;
    this.registers[r10] = this.memory.framePointer(depth);
  }

  /**
   * Goes on in place of the function in which `from`, which may be this machine, made a tail call.
   * `isWaiting`: functions of its own wait for that one, which go on with what they have looked up.
   */
  take(from: Machine, isWaiting: boolean): void {
    const { memory, registers } = this;
    const { depth, steps, tailCalls } = from;
    const { slot, cleanFrames } = from.memory;
    this.steps = steps + this.#provenSteps;
    this.tailCalls = tailCalls;
    this.callbacksLeft = from.callbacksLeft;
    if (isWaiting) memory.refresh();
    else memory.enter(slot);
    memory.resumeFrames(depth, cleanFrames & ~(1 << depth));
    this.#start(depth);
    registers[2] = memory.contextAddress;
  }

  /** Goes on with the caller of the function that `from`, which may be this machine, has ended. */
  resume(from: Machine, floor: number): void {
    const { registers, memory } = this;
    const depth = from.floor - 1;
    this.steps = from.steps;
    this.tailCalls = from.tailCalls;
    this.callbacksLeft = from.callbacksLeft;
    registers[0] = from.registers[0]!;
    registers[1] = from.registers[1]!;
    memory.refresh();
    memory.resumeFrames(depth, from.memory.cleanFrames);
    this.pc = this.restore(depth);
    this.depth = depth;
    this.floor = floor;
  }

  /**
   * `bpf_tail_call` in the function at `depth`: sets `target`, or leaves it undefined where the
   * program is to go on. As the kernel's JITs only calls that find a program are counted.
   */
  tailCall(depth: number): string | undefined {
    const problem = checkArguments(tailCall, this);
    if (problem !== undefined) return problem;
    if (this.calledBack > 0) return tailCallInCallback;
    if (this.tailCalls === maxTailCalls) return undefined;
    this.target = tailCallTarget(this);
    if (this.target === undefined) return undefined;
    this.tailCalls++;
    this.depth = depth;
    return undefined;
  }

  /** Ends this machine's part of the run for the program in `target`. */
  leave(steps: number): number {
    this.steps = steps;
    return 0;
  }

  /** Enters a function from one at `depth`: r6 to r9 come back with the return to `pc`. */
  save(depth: number, pc: number): void {
    const r = this.registers;
    const at = depth * savedWords;
    for (let i = 0; i < 8; i++) this.#saved[at + i] = r[r6 + i]!;
    this.#saved[at + 8] = pc;
    r[r10] = this.memory.framePointer(depth + 1);
    this.memory.pushFrame(depth + 1);
  }

  /** Keeps r0 to r9 of the function at `depth` while a helper calls back: a copy, until the next. */
  saveAll(depth: number): BigInt64Array {
    const saved = this.#callers[depth]!;
    for (let i = 0; i < callerRegisters; i++) saved[i] = this.registers64[i]!;
    return saved;
  }

  /** Leaves a function for its caller at `depth`; where that goes on. */
  restore(depth: number): number {
    const r = this.registers;
    const at = depth * savedWords;
    for (let i = 0; i < 8; i++) r[r6 + i] = this.#saved[at + i]!;
    r[r10] = this.memory.framePointer(depth);
    this.memory.popFrame(depth + 1);
    return this.#saved[at + 8]!;
  }

  /** `callx`: the helper of this number, if the program's type may call it. */
  callNumbered(low: number, high: number): string | undefined {
    const { type } = this.program;
    const helper = high === 0 ? helperFor(low, type) : undefined;
    if (helper === undefined) return `${low >>> 0} is no helper that ${type} programs may call`;
    if (helper === tailCall || helper.callback !== undefined)
      return checkArguments(helper, this) ?? `${helper.name} cannot be called by a register`;
    return callHelper(helper, this);
  }

  /** Steps that count of a helper's call. */
  takeWork(): number {
    const work = countedSteps(this.program.mostSteps, Math.trunc(this.work));
    this.work = 0;
    return work;
  }

  /** Instructions that are bounded as it is come on top of the budget: the JIT does not count them. */
  get #provenSteps(): number {
    return this.program.mostSteps ?? 0;
  }

  /** Ends the run with what r0 holds, and `steps` left, or in a callback that alone; r0's low word. */
  finish(steps: number): number {
    this.steps = steps;
    if (this.calledBack > 0) return this.registers[0]! >>> 0;
    this.memory.leave();
    const { view } = this.context.arena;
    const { slot } = this.memory;
    const low = this.registers[0]!;
    view.setInt32(slot + SLOT_RETURN_LOW, low, true);
    view.setInt32(slot + SLOT_RETURN_HIGH, this.registers[1]!, true);
    return low >>> 0;
  }

  /** Ends the run with 0 at the instruction before `pc`. */
  stop(pc: number, code: Fault["code"], message: string): number {
    endAllWalks(this.context.arena, this.context.stack);
    this.fault = { code, slot: pc / slotWords - 1, message };
    this.registers[0] = 0;
    this.registers[1] = 0;
    this.calledBack = 0;
    return this.finish(0);
  }

  /** For an access that `memory` has refused. */
  stopAtMemory(pc: number): number {
    const { code, message } = this.memory.problem;
    return this.stop(pc, code, message);
  }

  stopAtMisaligned(pc: number, address: number, size: number): number {
    const at = `0x${(address >>> 0).toString(16)}`;
    return this.stop(pc, "misaligned_atomic", `atomic operation of ${size} bytes at ${at}`);
  }

  stopAtDepth(pc: number): number {
    return this.stop(pc, "call_depth", `more than ${maxFrames} nested functions`);
  }

  stopAtPacketLoad(pc: number): number {
    return this.stop(pc, "bad_pointer", "r6 does not hold the context of this packet load");
  }

  stopAtCallbacks(pc: number): number {
    return this.stop(pc, "budget_exceeded", callbacksExceeded);
  }

  /** Unlike the others before the instruction at `pc` was begun. */
  stopAtBudget(pc: number): number {
    return this.stop(pc + slotWords, "budget_exceeded", stepsExceeded(this.program));
  }
}
