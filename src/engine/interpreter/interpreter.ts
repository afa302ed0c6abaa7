import { ok } from "../../common/result.ts";
import type {
  CodePlace,
  Engine,
  EngineContext,
  EngineKind,
  Executable,
  Fault,
  LinkedProgram,
  RunnableProgram,
} from "../engine.ts";
import { runnableProgram } from "../runnable-program.ts";
import { execute } from "./execute.ts";
import { Machine, type Observer } from "./machine.ts";
import { type Translation, translate } from "./translate.ts";

/** A program made ready for the interpreter of any worker over one arena. Survives structured cloning. */
export interface InterpreterCode {
  readonly engine: "interpreter";
  readonly program: RunnableProgram;
  readonly translation: Translation;
}

/** The part of the work that grows with the program: it can be done on another thread. */
export function translateProgram(program: LinkedProgram, { arena }: CodePlace): InterpreterCode {
  const translation = translate(program, arena.view);
  return { engine: "interpreter", program: runnableProgram(program), translation };
}

/** The other part, on the thread that runs it. */
export function loadTranslation(
  { program, translation }: InterpreterCode,
  context: EngineContext,
  observer?: Observer,
): Executable {
  return new Interpreted(new Machine(program, translation, context, observer));
}

/** The engine that checks every access as it happens: the oracle, and the debugger. */
export const interpreter: Engine = (program, context) =>
  ok(loadTranslation(translateProgram(program, context), context));

/** The same, showing each instruction to an observer before it is done. */
export function observedInterpreter(observer: Observer): Engine {
  return (program, context) =>
    ok(loadTranslation(translateProgram(program, context), context, observer));
}

/** A machine whose function waits for one that a tail call has replaced; its part's lowest depth. */
interface Caller {
  readonly machine: Machine;
  readonly floor: number;
}

class Interpreted implements Executable {
  readonly engine: EngineKind = "interpreter";
  readonly program: RunnableProgram;
  readonly #machine: Machine;
  #fault: Fault | undefined;

  constructor(machine: Machine) {
    this.program = machine.program;
    this.#machine = machine;
  }

  get fault(): Fault | undefined {
    return this.#fault;
  }

  run(slot: number): number {
    const machine = this.#machine;
    machine.begin(slot);
    const returned = execute(machine);
    if (machine.target !== undefined) return this.#goOn();
    this.#fault = machine.fault;
    return returned;
  }

  /** Follows the run from its first tail call through other programs' machines to its end. */
  #goOn(): number {
    const callers: Caller[] = [];
    let machine = this.#machine;
    for (;;) {
      const { target, floor } = machine;
      if (target !== undefined) {
        // The functions above the one that is replaced are returned to when its successor has ended.
        if (machine.depth > floor) callers.push({ machine, floor });
        const next = Interpreted.#machineOf(target);
        machine.target = undefined;
        next.take(
          machine,
          callers.some((one) => one.machine === next),
        );
        machine = next;
      } else {
        const caller = machine.fault === undefined ? callers.pop() : undefined;
        if (caller === undefined) break;
        caller.machine.resume(machine, caller.floor);
        machine = caller.machine;
      }
      execute(machine);
    }
    const { fault, program } = machine;
    this.#fault = fault && { ...fault, program: program.name };
    return machine.registers[0]! >>> 0;
  }

  static #machineOf(executable: Executable): Machine {
    if (executable instanceof Interpreted) return executable.#machine;
    const { program, engine } = executable;
    throw new Error(
      `program ${program.name} of engine ${engine} is tail-called by the interpreter`,
    );
  }
}
