import type { MapHandle } from "../maps/map-handle.ts";
import { addressedFunctions } from "./callbacks.ts";
import type { LinkedProgram, RunnableProgram } from "./engine.ts";

/** What is left of a program to run it, beside its code. */
export function runnableProgram(program: LinkedProgram): RunnableProgram {
  const { name, type, maps, verified, onDevmap, dataBytes, instructions } = program;
  return {
    name,
    type,
    maps,
    ...(verified === undefined ? {} : { verified }),
    ...(onDevmap === undefined ? {} : { onDevmap }),
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
