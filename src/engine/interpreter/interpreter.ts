import { ok } from "../../common/result.ts";
import type {
  Engine,
  EngineContext,
  EngineKind,
  Executable,
  Fault,
  LinkedProgram,
} from "../engine.ts";
import { execute } from "./execute.ts";
import { Machine, type Observer } from "./machine.ts";

/** The engine that checks every access as it happens: the oracle, and the debugger. */
export const interpreter: Engine = (program, context) =>
  ok(new Interpreted(program, context, undefined));

/** The same, showing each instruction to an observer before it is done. */
export function observedInterpreter(observer: Observer): Engine {
  return (program, context) => ok(new Interpreted(program, context, observer));
}

class Interpreted implements Executable {
  readonly engine: EngineKind = "interpreter";
  readonly program: LinkedProgram;
  readonly #machine: Machine;

  constructor(program: LinkedProgram, context: EngineContext, observer: Observer | undefined) {
    this.program = program;
    this.#machine = new Machine(program, context, observer);
  }

  get fault(): Fault | undefined {
    return this.#machine.fault;
  }

  run(slot: number): number {
    this.#machine.begin(slot);
    return execute(this.#machine);
  }
}
