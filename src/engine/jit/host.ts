import type { MapHandle } from "../../maps/map-handle.ts";
import {
  type EngineContext,
  type Fault,
  frameBytes,
  framesBytes,
  maxFrames,
  type RunnableProgram,
  stepsExceeded,
} from "../engine.ts";
import { callHelper, checkArguments } from "../helpers/call-helper.ts";
import { callbacksExceeded } from "../helpers/callback-helpers.ts";
import { type Helper, type HelperRun, R1 } from "../helpers/helper.ts";
import { helperFor } from "../helpers/helper-table.ts";
import { countedSteps, stepsOfCall } from "../helpers/helper-work.ts";
import { tailCall, tailCallInCallback, tailCallNumber } from "../helpers/tail-call.ts";
import { endAllWalks } from "../map-walk.ts";
import { ATOMIC, ProgramMemory } from "../program-memory.ts";
import { fillSocketContext } from "../socket-context.ts";
import { type CodeOrigin, placeOfTrap, slotAt } from "./code-origin.ts";
import { unpackAccess } from "./memory-access.ts";
import { type ProgramTable, programTable } from "./program-table.ts";
import { MEMORY_CURRENT, RUN_COUNTED, scratch, scratchAddress } from "./scratch.ts";
import {
  needsCheck,
  STOP_BUDGET,
  STOP_CALLBACKS,
  STOP_DEPTH,
  STOP_TAIL_CALL,
  STOP_UNREACHED,
} from "./unit.ts";

/**
 * Thrown through generated code to end a run: cheaper than an Error, and never seen outside. Each
 * program has one, since it may end the run of another that has called it.
 */
class RunEnd {
  readonly program: string;
  fault: Fault | undefined;

  constructor(program: string) {
    this.program = program;
  }
}

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
  readonly callbacks: ReadonlySet<number>;
  readonly #program: RunnableProgram;
  readonly #checks: boolean;
  /** The scratch in words. It lies in memory that was there from the start: growth leaves it valid. */
  readonly #words: Int32Array;
  readonly #end: RunEnd;
  readonly #table: ProgramTable;
  readonly #makesTailCalls: boolean;
  readonly #origin: CodeOrigin;
  /** The frame that ProgramMemory was last told of; 0: none in this run. */
  #frame = 0;
  /** The run that it was last told of, by the scratch's count. */
  #run = 0;

  constructor(
    program: RunnableProgram,
    makesTailCalls: boolean,
    origin: CodeOrigin,
    context: EngineContext,
  ) {
    this.context = context;
    this.memory = new ProgramMemory(program, context);
    this.#program = program;
    this.#checks = needsCheck(program);
    this.#end = new RunEnd(program.name);
    this.#table = programTable(context.programs);
    this.#makesTailCalls = makesTailCalls;
    this.#origin = origin;
    this.callbacks = program.callbacks;
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
        this.#stop(slot, memory.problem.code, memory.problem.message);
      this.#words[scratch.clean >> 2] = memory.cleanFrames;
      this.#publishBounds();
      if (access === ATOMIC) this.#publishAtomic(memory.writeLow, memory.writeHigh);
    },

    misaligned: (address: number, size: number, slot: number): void => {
      const at = `0x${(address >>> 0).toString(16)}`;
      this.#stop(slot, "misaligned_atomic", `atomic operation of ${size} bytes at ${at}`);
    },

    stop: (reason: number, slot: number): void => {
      if (reason === STOP_DEPTH)
        this.#stop(slot, "call_depth", `more than ${maxFrames} nested functions`);
      if (reason === STOP_BUDGET) this.#stop(slot, "budget_exceeded", stepsExceeded(this.#program));
      if (reason === STOP_CALLBACKS) this.#stop(slot, "budget_exceeded", callbacksExceeded);
      if (reason === STOP_UNREACHED)
        this.#stop(slot, "bad_access", "the verifier has proven that nothing gets here");
      if (reason === STOP_TAIL_CALL) this.#stop(slot, "bad_argument", tailCallInCallback);
      this.#stop(slot, "bad_pointer", "r6 does not hold the context of this packet load");
    },

    helper: (id: number, slot: number): number => {
      return this.#call(helperFor(id, this.#program.type)!, slot);
    },

    numberedHelper: (low: number, high: number, slot: number): number => {
      const { type } = this.#program;
      const helper = high === 0 ? helperFor(low, type) : undefined;
      if (helper === undefined)
        this.#stop(
          slot,
          "bad_argument",
          `${low >>> 0} is no helper that ${type} programs may call`,
        );
      if (helper === tailCall || helper.callback !== undefined) {
        this.#checkArguments(helper, slot);
        this.#stop(slot, "bad_argument", `${helper.name} cannot be called by a register`);
      }
      return this.#call(helper, slot);
    },

    /** The number of the program that a tail call's arguments name, from 1, or 0. */
    tailCallNumber: (slot: number): number => {
      this.#checkArguments(tailCall, slot);
      return tailCallNumber(this);
    },

    /** Whether there is a program of this number; from now on it is in the table. */
    isProgram: (number: number): number => (this.#table.fill(number >>> 0) ? 1 : 0),

    checkCallback: (id: number, slot: number): void =>
      this.#checkArguments(helperFor(id, this.#program.type)!, slot),
  };

  /** For tail calls of this program. */
  get table(): WebAssembly.Table {
    return this.#table.functions;
  }

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
   * without checks: the run ends like any other fault, and says so, with the instruction as far as V8
   * tells it. Anything else is a bug here, and is thrown on.
   */
  faultOf(cause: unknown): Fault {
    endAllWalks(this.context.arena, this.context.stack);
    if (cause instanceof RunEnd && cause.fault !== undefined)
      return this.#hasMadeTailCalls ? { ...cause.fault, program: cause.program } : cause.fault;
    if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
    const code = cause.message.includes("unaligned") ? "misaligned_atomic" : "bad_access";
    const message = `the compiled program trapped: ${cause.message}`;
    const place = placeOfTrap(cause);
    const slot = place && slotAt(this.#origin, place);
    if (slot !== undefined) return { code, slot, message };
    const elsewhere = place && this.#table.instructionAt(place);
    if (elsewhere !== undefined) return { code, message, ...elsewhere };
    return { code, slot: 0, message: `${message} (at an instruction that V8 does not tell)` };
  }

  get #hasMadeTailCalls(): boolean {
    return this.#makesTailCalls && this.word(scratch.tailCalls) > 0;
  }

  /** Ends the run where r1 to r5 do not fit; in verified programs they do. */
  #checkArguments(helper: Helper, slot: number): void {
    this.#synchronise();
    if (!this.#checks) {
      this.map = mapArgument(helper, this);
      return;
    }
    const problem = checkArguments(helper, this);
    this.#words[scratch.clean >> 2] = this.memory.cleanFrames;
    if (problem !== undefined) this.#stop(slot, "bad_argument", problem);
    this.#publishBounds();
    this.#publishAtomic(0, 0);
  }

  /** The steps it took of the budget. */
  #call(helper: Helper, slot: number): number {
    this.#synchronise();
    if (!this.#checks) {
      this.#callUnchecked(helper, slot);
      return 0;
    }
    this.work = 0;
    const problem = callHelper(helper, this);
    this.#words[scratch.clean >> 2] = this.memory.cleanFrames;
    if (problem !== undefined) this.#stop(slot, "bad_argument", problem);
    this.#publishBounds();
    // The helper may have moved the packet's ends.
    this.#publishAtomic(0, 0);
    return Math.trunc(this.work);
  }

  /** A helper of a verified program: its arguments are proven. Its steps come off the budget here. */
  #callUnchecked(helper: Helper, slot: number): void {
    const { registers } = this;
    this.map = mapArgument(helper, this);
    this.work = stepsOfCall(helper, this);
    const result = helper.call(this);
    if (result !== undefined) {
      registers[0] = result;
      registers[1] = result < 0 ? -1 : 0;
    }
    const steps = countedSteps(this.#program.mostSteps, Math.trunc(this.work));
    if (steps === 0) return;
    const words = this.#words;
    const left = words[scratch.fuel >> 2]! - steps;
    words[scratch.fuel >> 2] = left;
    if (left < 0) this.#stop(slot, "budget_exceeded", stepsExceeded(this.#program));
  }

  /** Brings ProgramMemory to where the code is. */
  #synchronise(): void {
    const words = this.#words;
    const entered = words[scratch.entered >> 2]!;
    if ((entered & MEMORY_CURRENT) === 0) {
      if ((entered & RUN_COUNTED) === 0) words[scratch.runs >> 2]!++;
      words[scratch.entered >> 2] = RUN_COUNTED | MEMORY_CURRENT;
      this.#takeOver(words[scratch.runs >> 2]!);
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

  /** What the program has looked up and taken before in the run stays: it goes on behind a call. */
  #takeOver(run: number): void {
    if (run === this.#run) this.memory.refresh();
    else this.memory.enter(this.#words[scratch.slot >> 2]!);
    this.#run = run;
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

  #stop(slot: number, code: Fault["code"], message: string): never {
    // The run may be another program's, which knows nothing of what this one has taken.
    this.memory.leave();
    this.#end.fault = { code, slot, message };
    throw this.#end;
  }
}

const registerWords = 22;
const scratchWords = 64;
const allFrames = (1 << maxFrames) - 1;

/** The map of a call whose arguments are proven. */
function mapArgument(helper: Helper, { memory, registers }: Host): MapHandle | undefined {
  const at = 2 * helper.arguments.indexOf("map") + R1;
  return at < R1 ? undefined : memory.maps.at(registers[at]!, registers[at + 1]!);
}
