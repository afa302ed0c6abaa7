import type { Instruction } from "../isa/instruction.ts";
import { helpers } from "./helpers/helper-table.ts";

/** Whether an instruction calls a helper that calls back. */
export function callsBack(instruction: Instruction): boolean {
  return instruction.kind === "call_helper" && helpers.get(instruction.id)?.callback !== undefined;
}
