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

/** A machine whose function waits for one that a tail call has replaced; its part's lowest depth. */
interface Caller {
  readonly machine: Machine;
  readonly floor: number;
}

class Interpreted implements Executable {
  readonly engine: EngineKind = "interpreter";
  readonly program: LinkedProgram;
  readonly #machine: Machine;
  #fault: Fault | undefined;

  constructor(program: LinkedProgram, context: EngineContext, observer: Observer | undefined) {
    this.program = program;
    this.#machine = new Machine(program, context, observer);
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
        next.take(machine);
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
