import type { UserError } from "../common/user-error.ts";
import type { Engine, EngineContext, EngineKind, LinkedProgram } from "../engine/engine.ts";
import { interpreter } from "../engine/interpreter/interpreter.ts";
import { jit } from "../engine/jit/jit.ts";

/** The engines that filters can ask for. */
export const engines: Readonly<Record<EngineKind, Engine>> = { interpreter, jit };

/** What programs that can tail-call each other run on: one engine for all. */
export interface ChosenEngine {
  readonly engine: EngineKind;
  /** Why it is not the one that was asked for. */
  readonly refusal?: UserError;
}

/**
 * The engine for programs that ask for `wanted`: that, or the interpreter, which takes any program,
 * where it refuses one of them. Compiles them to know; V8 then compiles the same code for the worker
 * of this `context` faster. Nothing is run.
 */
export function chooseEngine(
  programs: Iterable<LinkedProgram>,
  wanted: EngineKind,
  context: EngineContext,
): ChosenEngine {
  for (const program of programs) {
    const made = engines[wanted](program, context);
    if (!made.ok) return { engine: "interpreter", refusal: made.error };
  }
  return { engine: wanted };
}
