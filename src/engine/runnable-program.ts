import type { MapHandle } from "../maps/map-handle.ts";
import { addressedFunctions } from "./callbacks.ts";
import type { LinkedProgram, ProgramInfo } from "./engine.ts";

/**
 * What an engine still needs of a program once it has made code of it: no instruction, and as little
 * for a long program as for a short one. Survives structured cloning.
 */
export interface RunnableProgram extends ProgramInfo {
  /** Maps that instructions of the program name, and no others. */
  readonly namedMaps: readonly MapHandle[];
  /** First slots of the functions whose addresses instructions take. */
  readonly callbacks: ReadonlySet<number>;
}

export function runnableProgram(program: LinkedProgram): RunnableProgram {
  const { name, type, maps, verified, dataBytes, instructions } = program;
  return {
    name,
    type,
    maps,
    ...(verified === undefined ? {} : { verified }),
    ...(dataBytes === undefined ? {} : { dataBytes }),
    namedMaps: namedMaps(program),
    callbacks: addressedFunctions(instructions),
  };
}

function namedMaps({ instructions, maps }: LinkedProgram): MapHandle[] {
  const indexes = new Set<number>();
  for (const instruction of instructions)
    if (instruction.kind === "load_map" || instruction.kind === "load_map_value")
      indexes.add(instruction.map);
  return [...indexes].sort((a, b) => a - b).map((index) => maps[index]!);
}
