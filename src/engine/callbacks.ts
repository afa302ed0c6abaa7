import type { Instruction } from "../isa/instruction.ts";
import { helpers } from "./helpers/helper-table.ts";

/** First slots of the functions whose addresses instructions take. */
export function addressedFunctions(instructions: readonly Instruction[]): ReadonlySet<number> {
  const functions = new Set<number>();
  for (const [slot, instruction] of instructions.entries())
    if (instruction.kind === "load_function") functions.add(slot + 1 + instruction.offset);
  return functions;
}

/** Whether an instruction calls a helper that calls back. */
export function callsBack(instruction: Instruction): boolean {
  return instruction.kind === "call_helper" && helpers.get(instruction.id)?.callback !== undefined;
}
