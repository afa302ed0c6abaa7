import type { Verified } from "../../verifier/verified.ts";
import type { CodePlace, LinkedProgram, ProgramInfo } from "../engine.ts";
import type { Helper } from "../helpers/helper.ts";
import type { FunctionReference, FunctionType } from "./function-builder.ts";

/** Functions that generated code imports. */
export interface Imports {
  readonly locate: FunctionReference;
  readonly misaligned: FunctionReference;
  readonly stop: FunctionReference;
  readonly helper: FunctionReference;
  readonly numberedHelper: FunctionReference;
  readonly begin: FunctionReference;
  /** For programs that make tail calls, or call back: see tail-calls.ts and callbacks.ts. */
  readonly tailCalls: TailCallImports | undefined;
  readonly checkCallback: FunctionReference | undefined;
  /** By its name in the map runtime. */
  readonly runtime: ReadonlyMap<string, FunctionReference>;
}

export interface TailCallImports {
  /** Of the functions in the worker's table. */
  readonly entry: FunctionType;
  readonly number: FunctionReference;
  readonly isProgram: FunctionReference;
}

/** Why generated code asks for the end of a run. */
export const STOP_DEPTH = 0;
export const STOP_PACKET_LOAD = 1;
export const STOP_BUDGET = 2;
export const STOP_CALLBACKS = 3;
export const STOP_TAIL_CALL = 4;
export const STOP_UNREACHED = 5;

/** What all functions of one program are compiled with. */
export interface Unit {
  readonly program: LinkedProgram;
  readonly context: CodePlace;
  /** Address of the worker's scratch. */
  readonly scratch: number;
  readonly imports: Imports;
  /** By first slot. */
  readonly functions: ReadonlyMap<number, CompiledFunction>;
  /** Where some helper calls back. */
  readonly callbacks: CallbackFunctions | undefined;
  /** Something in it takes from the budget of its run. */
  readonly usesBudget: boolean;
  /** Functions begin with frames of zeros. */
  readonly zeroFrames: boolean;
}

export type CallbackKind = NonNullable<Helper["callback"]> | "inlined_loop";

/** Functions that go round for helpers that call back: see callbacks.ts. */
export interface CallbackFunctions {
  /** For the callback that begins at slot `target`. */
  of(kind: CallbackKind, target: number): FunctionReference;
  /** Takes the callback's first slot as one parameter more. */
  any(kind: CallbackKind): FunctionReference;
}

/** A function as its callers see it. */
export interface CompiledFunction {
  readonly reference: FunctionReference;
  /** Registers that are its parameters, behind the frame's address. */
  readonly needs: readonly number[];
  /** Registers that are its results. */
  readonly gives: readonly number[];
}

/** Whether accesses, calls and jumps are checked: the verifier accepts programs as a whole. */
export function needsCheck(program: ProgramInfo): boolean {
  return program.verified !== true;
}

/** Whether a tail call may put it in place of another program's function, with what is left of the frames. */
export function mayBeEntered(program: ProgramInfo): boolean {
  return program.type !== "raw";
}

/** Whether a verified program counts its steps all the same. One with checks always does. */
export function countsProvenSteps(program: LinkedProgram): boolean {
  return proofOf(program)?.bounded === false;
}

/** What the verifier proved of each slot, where code may rely on it. */
export function proofOf(program: LinkedProgram): Verified | undefined {
  return needsCheck(program) ? undefined : program.proof;
}

/**
 * Whether functions begin with frames of zeros: where something may be read that was never written,
 * and it is there what the interpreter has there.
 */
export function needsZeroFrames(program: LinkedProgram): boolean {
  return proofOf(program)?.readsUnwritten.includes(1) ?? true;
}
