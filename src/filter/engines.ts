import type { Engine, EngineKind } from "../engine/engine.ts";
import { interpreter } from "../engine/interpreter/interpreter.ts";
import { jit } from "../engine/jit/jit.ts";

/** The engines that filters can ask for. */
export const engines: Readonly<Record<EngineKind, Engine>> = { interpreter, jit };
