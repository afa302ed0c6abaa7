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

/** What has been found so far. */
interface Names {
  readonly helpers: Set<number>;
  readonly maps: Set<number>;
  readonly called: Set<number>;
  readonly addressed: Set<number>;
  callsByRegister: boolean;
}

export function surveyProgram(instructions: readonly Instruction[]): ProgramSurvey {
  const names: Names = {
    helpers: new Set(),
    maps: new Set(),
    called: new Set(),
    addressed: new Set(),
    callsByRegister: false,
  };
  collectNames(instructions, names);
  const callsBack = [...names.helpers].some((id) => helpers.get(id)?.callback !== undefined);
  return { ...names, callsBack };
}

/** A function of its own: V8 enters a long loop's fast code in its midst, and gave it up behind the loop each time. */
function collectNames(instructions: readonly Instruction[], names: Names): void {
  for (let slot = 0; slot < instructions.length; slot++) {
    const instruction = instructions[slot]!;
    switch (instruction.kind) {
      case "call_helper":
        names.helpers.add(instruction.id);
        break;
      case "call_register":
        names.callsByRegister = true;
        break;
      case "load_map":
      case "load_map_value":
        names.maps.add(instruction.map);
        break;
      case "call_local":
        names.called.add(slot + 1 + instruction.offset);
        break;
      case "load_function":
        names.addressed.add(slot + 1 + instruction.offset);
        break;
    }
  }
}
