import { ok, type Result } from "../common/result.ts";
import type { Steps } from "../common/steps.ts";
import type { UserError } from "../common/user-error.ts";
import type {
  CodePlace,
  Engine,
  EngineContext,
  EngineKind,
  Executable,
  LinkedProgram,
} from "../engine/engine.ts";
import {
  type InterpreterCode,
  interpreter,
  loadTranslation,
  translateProgram,
} from "../engine/interpreter/interpreter.ts";
import { compile, instantiate, type JitCode, jit } from "../engine/jit/jit.ts";

/** The engines that filters can ask for. */
export const engines: Readonly<Record<EngineKind, Engine>> = { interpreter, jit };

/**
 * What an engine made of a program for one worker. It crosses threads, and is as little for a long
 * program as for a short one: code is shared between threads, not copied.
 */
export type ProgramCode = InterpreterCode | JitCode;

/**
 * Code of an engine for the worker of this `place`. What was made once is given again: to a worker
 * that is started again, and to a plan that differs elsewhere.
 */
export function codeFor(
  program: LinkedProgram,
  engine: EngineKind,
  place: CodePlace,
): Result<ProgramCode, UserError> {
  const known = knownCode(program, place.arena.memory);
  // The interpreter's is the same for all workers.
  const key = engine === "jit" ? `jit ${place.cpu} ${place.stack}` : engine;
  const found = known.get(key);
  if (found !== undefined) return ok(found);
  const made = engine === "jit" ? compile(program, place) : ok(translateProgram(program, place));
  if (made.ok) known.set(key, made.value);
  return made;
}

/** A worker's own executable of code that was made for it. */
export function load(code: ProgramCode, context: EngineContext): Executable {
  return code.engine === "jit" ? instantiate(code, context) : loadTranslation(code, context);
}

interface KnownCode {
  readonly memory: WebAssembly.Memory;
  readonly byPlace: Map<string, ProgramCode>;
}

const knownCodes = new WeakMap<LinkedProgram, KnownCode>();

/** All code that there is of a program for the arena in `memory`. */
function knownCode(program: LinkedProgram, memory: WebAssembly.Memory): Map<string, ProgramCode> {
  let known = knownCodes.get(program);
  if (known?.memory !== memory) {
    known = { memory, byPlace: new Map() };
    knownCodes.set(program, known);
  }
  return known.byPlace;
}

/** What programs that can tail-call each other run on: one engine for all. */
export interface ChosenEngine {
  readonly engine: EngineKind;
  /** Why it is not the one that was asked for. */
  readonly refusal?: UserError;
}

/**
 * The engine for programs that ask for `wanted`: that, or the interpreter, which takes any program,
 * where it refuses one of them. Compiles them for `place` to know, one a step. Nothing is run.
 */
export function* chooseEngine(
  programs: Iterable<LinkedProgram>,
  wanted: EngineKind,
  place: CodePlace,
): Steps<ChosenEngine> {
  for (const program of programs) {
    const made = codeFor(program, wanted, place);
    if (!made.ok) return { engine: "interpreter", refusal: made.error };
    yield;
  }
  return { engine: wanted };
}
