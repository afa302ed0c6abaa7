import type { Instruction } from "../isa/instruction.ts";
import { type ContextAccess, contextAccessOf } from "./context-rules.ts";
import type { GlobalFunction } from "./global-function.ts";
import type { HelperSignature } from "./helper-signature.ts";
import type { PathState } from "./path-state.ts";
import { Precision } from "./precision.ts";
import type { VerifiableProgram } from "./program.ts";
import type { ProgramShape } from "./program-shape.ts";
import { Refusal, type RefusalCode } from "./refusal.ts";
import type { RegisterState } from "./register-state.ts";
import { forbiddenInstruction } from "./structure.ts";
import { type Place, Trace } from "./trace.ts";
import type { Facts } from "./verified.ts";

type Unanswered = NonNullable<VerifiableProgram["unanswered"]>[number];

/** Paths put aside at once, which bounds memory. Kernel: BPF_COMPLEXITY_LIMIT_JMP_SEQ. */
const maxPending = 8192;

/** What to do about a program of too many paths. */
export const simplerLoops =
  "make loops shorter or their bounds constant, move their body into a global function, or let bpf_loop go round: its callback is most often followed for a few iterations, however many there are";

/**
 * What the rules work on: the program, the path that is being followed, and what has been found so
 * far. The rules read and change registers through it and refuse through it.
 */
export class Analysis {
  readonly program: VerifiableProgram;
  readonly instructions: readonly Instruction[];
  readonly helpers: ReadonlyMap<number, HelperSignature>;
  readonly shape: ProgramShape;
  readonly context: ContextAccess | undefined;
  readonly facts: Facts;
  readonly trace: Trace;
  readonly precision: Precision;
  /** The path, and the instruction on it that is being looked at. */
  state!: PathState;
  slot = 0;
  /** Global functions that some path calls, in the order in which they were found. */
  readonly calledGlobals = new Set<GlobalFunction>();
  /** Format strings that were found sound, by map, place and bytes of arguments. */
  readonly soundFormats = new Set<string>();
  /** Paths to follow later. */
  readonly pending: PendingPath[] = [];
  /** Rounds of a callback's loop in which what is relied on may go on changing. */
  readonly patience: number;
  /** The first number that was relied on and, after all patience, taken as any number. */
  widened: Widened | undefined;
  /** By the step of a callback's exit: numbers that were taken as any number before anything relied on them. */
  readonly loosened = new Map<number, Widened[]>();
  readonly #unanswered: ReadonlyMap<number, Unanswered>;
  #lastId = 0;

  constructor(
    program: VerifiableProgram,
    helpers: ReadonlyMap<number, HelperSignature>,
    shape: ProgramShape,
    facts: Facts,
    patience: number,
  ) {
    this.program = program;
    this.instructions = program.instructions;
    this.helpers = helpers;
    this.shape = shape;
    this.context = contextAccessOf(program.type, program.onDevmap);
    this.facts = facts;
    this.patience = patience;
    this.trace = new Trace(program.instructions.length);
    this.precision = new Precision(program.instructions, shape.touches, this.trace);
    this.#unanswered = new Map(program.unanswered?.map((one) => [one.slot, one]));
  }

  get registers(): RegisterState[] {
    return this.state.frame.registers;
  }

  newId(): number {
    return ++this.#lastId;
  }

  /** A register that the instruction reads, which must hold something. */
  read(register: number): RegisterState {
    const held = this.state.frame.registers[register] as RegisterState;
    if (held.kind === "uninitialised")
      this.refuse(
        "UNINITIALISED_REGISTER",
        `r${register} is read and holds nothing on this path`,
        register >= 1 && register <= 5
          ? `set r${register} first; calls leave nothing in r1 to r5`
          : `set r${register} first, on every path that comes here`,
        [register],
      );
    return held;
  }

  /** Refuses an instruction that this program may not hold where it is reached. */
  checkAllowed(instruction: Instruction): void {
    const unanswered = this.#unanswered.get(this.slot);
    if (unanswered !== undefined)
      throw new Refusal(unanswered.code, this.slot, unanswered.what, unanswered.fix, []);
    const problem = forbiddenInstruction(this.program.type, instruction, this.helpers);
    if (problem !== undefined)
      throw new Refusal(problem.code, this.slot, problem.what, problem.fix, []);
  }

  write(register: number, value: RegisterState): void {
    this.state.frame.registers[register] = value;
  }

  /** The exact range of a register of this frame mattered. */
  markPrecise(register: number): void {
    this.precision.markRegisters(this.state, 1 << register);
  }

  /** The same of any register or stack slot. */
  markPlace(place: Place): void {
    this.precision.markPlace(this.state, place);
  }

  /** Puts a path aside, to go on at `slot` once the present one has ended. */
  later(slot: number, state: PathState): void {
    if (this.pending.length >= maxPending)
      this.refuse("TOO_COMPLEX", `${maxPending} branches are open on one path`, simplerLoops);
    if (state.parent !== undefined) state.parent.open++;
    this.pending.push({ slot, state });
  }

  refuse(code: RefusalCode, cause: string, fix: string, registers: readonly number[] = []): never {
    throw new Refusal(code, this.slot, cause, fix, registers);
  }
}

/** A register or a slot of the stack that was widened, and the slot of the call that calls back. */
export interface Widened {
  readonly place: Place;
  readonly callSite: number;
}

export interface PendingPath {
  readonly slot: number;
  readonly state: PathState;
}
