import type { MapHandle } from "../../maps/map-handle.ts";
import {
  type EngineContext,
  type Fault,
  frameBytes,
  framesBytes,
  type LinkedProgram,
  maxFrames,
  maxSteps,
} from "../engine.ts";
import { callHelper } from "../helpers/call-helper.ts";
import { type Helper, type HelperRun, R1 } from "../helpers/helper.ts";
import { helperFor } from "../helpers/helper-table.ts";
import { tailCall } from "../helpers/tail-call.ts";
import { ATOMIC, ProgramMemory } from "../program-memory.ts";
import { fillSocketContext } from "../socket-context.ts";
import { unpackAccess } from "./memory-access.ts";
import { scratch, scratchAddress } from "./scratch.ts";
import { needsCheck, STOP_BUDGET, STOP_DEPTH } from "./unit.ts";

/** Thrown through generated code to end a run: cheaper than an Error, and never seen outside. */
const runEnded = Symbol("run ended");

const sizes = [1, 2, 4, 8] as const;
const atomicSizes = [4, 8] as const;

/**
 * The JavaScript side of one compiled program: what generated code calls when its own checks do not
 * suffice, and the helpers. It works on the worker's scratch, where the code left its state.
 */
export class Host implements HelperRun {
  readonly context: EngineContext;
  readonly memory: ProgramMemory;
  readonly registers: Int32Array;
  map: MapHandle | undefined;
  work = 0;
  readonly #program: LinkedProgram;
  readonly #checks: boolean;
  /** The scratch in words. It lies in memory that was there from the start: growth leaves it valid. */
  readonly #words: Int32Array;
  #fault: Fault | undefined;
  /** The frame that ProgramMemory was last told of; 0: none in this run. */
  #frame = 0;

  constructor(program: LinkedProgram, context: EngineContext) {
    this.context = context;
    this.memory = new ProgramMemory(program, context);
    this.#program = program;
    this.#checks = needsCheck(program, 0);
    const { buffer } = context.arena.memory;
    const at = scratchAddress(context.stack);
    this.#words = new Int32Array(buffer, at, scratchWords);
    this.registers = new Int32Array(buffer, at + scratch.registers, registerWords);
  }

  readonly imports = {
    begin: (slot: number): void => {
      const { view, words } = this.context.arena;
      fillSocketContext(view, words, slot, this.#program.type);
    },

    /** An access outside the object hit last: remembers its object, or ends the run. */
    locate: (address: number, high: number, packed: number): void => {
      const { memory } = this;
      const { size, access, slot } = unpackAccess(packed);
      this.#synchronise();
      if (!memory.locate(address, high, size, access))
        this.#end(slot, memory.problem.code, memory.problem.message);
      this.#words[scratch.clean >> 2] = memory.cleanFrames;
      this.#publishBounds();
      if (access === ATOMIC) this.#publishAtomic(memory.writeLow, memory.writeHigh);
    },

    misaligned: (address: number, size: number, slot: number): void => {
      const at = `0x${(address >>> 0).toString(16)}`;
      this.#end(slot, "misaligned_atomic", `atomic operation of ${size} bytes at ${at}`);
    },

    stop: (reason: number, slot: number): void => {
      if (reason === STOP_DEPTH)
        this.#end(slot, "call_depth", `more than ${maxFrames} nested functions`);
      if (reason === STOP_BUDGET)
        this.#end(slot, "budget_exceeded", `no exit within ${maxSteps} instructions`);
      this.#end(slot, "bad_pointer", "r6 does not hold the context of this packet load");
    },

    helper: (id: number, slot: number): number => {
      return this.#call(helperFor(id, this.#program.type)!, slot);
    },

    numberedHelper: (low: number, high: number, slot: number): number => {
      const { type } = this.#program;
      const helper = high === 0 ? helperFor(low, type) : undefined;
      // A tail call changes what runs: it is no helper that a register can name.
      if (helper === undefined || helper === tailCall)
        this.#end(slot, "bad_argument", `${low >>> 0} is no helper that ${type} programs may call`);
      return this.#call(helper, slot);
    },
  };

  /** A word of the scratch. */
  word(at: number): number {
    return this.#words[at >> 2]!;
  }

  /** Shows the context's time to generated code. */
  setClock(): void {
    this.#words[scratch.clock >> 2] = this.context.clock.low;
    this.#words[(scratch.clock >> 2) + 1] = this.context.clock.high;
  }

  /**
   * The fault of a run that ended by throwing. A trap means that something unproven was compiled
   * without checks: the run ends like any other fault, and says so. Anything else is a bug here, and
   * is thrown on.
   */
  faultOf(cause: unknown): Fault {
    const fault = this.#fault;
    this.#fault = undefined;
    if (cause === runEnded && fault !== undefined) return fault;
    if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
    const code = cause.message.includes("unaligned") ? "misaligned_atomic" : "bad_access";
    return { code, slot: 0, message: `the compiled program trapped: ${cause.message}` };
  }

  /** The steps it took of the budget. */
  #call(helper: Helper, slot: number): number {
    this.#synchronise();
    if (!this.#checks) {
      callUnchecked(helper, this);
      return 0;
    }
    this.work = 0;
    const problem = callHelper(helper, this);
    this.#words[scratch.clean >> 2] = this.memory.cleanFrames;
    if (problem !== undefined) this.#end(slot, "bad_argument", problem);
    this.#publishBounds();
    // The helper may have moved the packet's ends.
    this.#publishAtomic(0, 0);
    return Math.trunc(this.work);
  }

  /** Brings ProgramMemory to where the code is. */
  #synchronise(): void {
    const words = this.#words;
    if (words[scratch.entered >> 2] === 0) {
      words[scratch.entered >> 2] = 1;
      this.memory.enter(words[scratch.slot >> 2]!);
      this.#frame = 0;
      // Verified code keeps no account of its frames, and passes nothing that needs one.
      if (!this.#checks) this.memory.resumeFrames(maxFrames - 1, allFrames);
    }
    if (!this.#checks) return;
    const frame = words[scratch.frame >> 2]!;
    const clean = words[scratch.clean >> 2]!;
    // Generated code forgets all bounds where a function returns.
    const forgotten = words[scratch.readLimits >> 2] === 0 && words[scratch.writeLimits >> 2] === 0;
    if (!forgotten && frame === this.#frame && clean === this.memory.cleanFrames) return;
    this.#frame = frame;
    const top = this.context.stack + framesBytes;
    this.memory.resumeFrames((top - frame) / frameBytes - 1, clean);
    this.#publishAtomic(0, 0);
  }

  /** Shows the objects hit last to generated code. */
  #publishBounds(): void {
    const { readLow, readHigh, writeLow, writeHigh } = this.memory;
    this.#publish(scratch.readLow, scratch.readLimits, sizes, readLow, readHigh);
    this.#publish(scratch.writeLow, scratch.writeLimits, sizes, writeLow, writeHigh);
  }

  #publishAtomic(low: number, high: number): void {
    this.#publish(scratch.atomicLow, scratch.atomicLimits, atomicSizes, low, high);
  }

  #publish(
    lowAt: number,
    limitsAt: number,
    ofSizes: readonly number[],
    low: number,
    high: number,
  ): void {
    const words = this.#words;
    words[lowAt >> 2] = low;
    for (let i = 0; i < ofSizes.length; i++)
      words[(limitsAt >> 2) + i] = Math.max(0, high - low - ofSizes[i]! + 1);
  }

  #end(slot: number, code: Fault["code"], message: string): never {
    this.#fault = { code, slot, message };
    throw runEnded;
  }
}

const registerWords = 22;
const scratchWords = 64;
const allFrames = (1 << maxFrames) - 1;

/** A helper of a verified program: its arguments are proven. */
function callUnchecked(helper: Helper, run: Host): void {
  const { registers } = run;
  const at = R1 + 2 * helper.arguments.indexOf("map");
  run.map = at >= R1 ? run.memory.mapAt(registers[at]!, registers[at + 1]!) : undefined;
  const result = helper.call(run);
  if (result === undefined) return;
  registers[0] = result;
  registers[1] = result < 0 ? -1 : 0;
}
