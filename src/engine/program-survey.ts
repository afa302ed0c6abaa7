import type { Instruction } from "../isa/instruction.ts";
import { helpers } from "./helpers/helper-table.ts";

/** What instructions name outside of themselves: found in one look at all, which takes long for many. */
export interface ProgramSurvey {
  /** Ids of helpers that are called. */
  readonly helpers: ReadonlySet<number>;
  /** Indexes of the maps that are named. */
  readonly maps: ReadonlySet<number>;
  /** First slots of the functions that instructions call. */
  readonly called: ReadonlySet<number>;
  /** First slots of the functions whose addresses instructions take. */
  readonly addressed: ReadonlySet<number>;
  /** Some call is of a helper whose number is in a register. */
  readonly callsByRegister: boolean;
  /** Some helper that is called calls back. */
  readonly callsBack: boolean;
}

export function surveyProgram(instructions: readonly Instruction[]): ProgramSurvey {
  const ids = new Set<number>();
  const maps = new Set<number>();
  const called = new Set<number>();
  const addressed = new Set<number>();
  let callsByRegister = false;
  for (let slot = 0; slot < instructions.length; slot++) {
    const instruction = instructions[slot]!;
    switch (instruction.kind) {
      case "call_helper":
        ids.add(instruction.id);
        break;
      case "call_register":
        callsByRegister = true;
        break;
      case "load_map":
      case "load_map_value":
        maps.add(instruction.map);
        break;
      case "call_local":
        called.add(slot + 1 + instruction.offset);
        break;
      case "load_function":
        addressed.add(slot + 1 + instruction.offset);
        break;
    }
  }
  const callsBack = [...ids].some((id) => helpers.get(id)?.callback !== undefined);
  return { helpers: ids, maps, called, addressed, callsByRegister, callsBack };
}
