import type { Executable } from "../engine.ts";
import { type CodeOrigin, slotAt, type TrapPlace } from "./code-origin.ts";

/** `enter` of a compiled program: it goes on in the frame at this address, and gives r0. */
export type Enter = (frame: number) => bigint;

interface Entry {
  readonly enter: Enter;
  readonly origin: CodeOrigin;
}

const entries = new WeakMap<Executable, Entry>();

/** Makes a compiled program one that tail calls can lead to. */
export function addEntry(executable: Executable, enter: Enter, origin: CodeOrigin): void {
  entries.set(executable, { enter, origin });
}

/**
 * The programs that tail calls lead to, as a table that compiled code calls through: its slot n is
 * `programs[n - 1]`. Slots are filled when a call first asks for them, since programs may be added
 * after those that call them were compiled.
 */
export class ProgramTable {
  readonly functions = new WebAssembly.Table({ element: "anyfunc", initial: 1 });
  readonly #programs: readonly Executable[];

  constructor(programs: readonly Executable[]) {
    this.#programs = programs;
  }

  /** Puts program `number` into its slot; false where there is none. */
  fill(number: number): boolean {
    const executable = this.#programs[number - 1];
    if (executable === undefined) return false;
    const entry = entries.get(executable);
    if (entry === undefined)
      throw new Error(
        `program ${executable.program.name} of engine ${executable.engine} is tail-called by the JIT`,
      );
    const { functions } = this;
    if (number >= functions.length) functions.grow(number + 1 - functions.length);
    functions.set(number, entry.enter);
    return true;
  }

  /** The instruction of one of these programs whose code trapped at this place. */
  instructionAt(place: TrapPlace): { program: string; slot: number } | undefined {
    for (const executable of this.#programs) {
      const entry = entries.get(executable);
      const slot = entry && slotAt(entry.origin, place);
      if (slot !== undefined) return { program: executable.program.name, slot };
    }
    return undefined;
  }
}

const noPrograms: readonly Executable[] = [];
const tables = new WeakMap<readonly Executable[], ProgramTable>();

/** The one table of these programs: all that call each other share it. */
export function programTable(programs: readonly Executable[] = noPrograms): ProgramTable {
  let found = tables.get(programs);
  if (found === undefined) {
    found = new ProgramTable(programs);
    tables.set(programs, found);
  }
  return found;
}
