import type { Instruction } from "./instruction.ts";

/**
 * The register whose value an instruction replaces, undefined for none. Calls apart: what they do to
 * r0 to r5 depends on what is called.
 */
export function writtenRegister(instruction: Instruction): number | undefined {
  switch (instruction.kind) {
    case "alu":
    case "move_signed":
    case "negate":
    case "byte_order":
    case "load_immediate":
    case "load_map":
    case "load_map_value":
    case "load_variable":
    case "load_function":
    case "load":
      return instruction.dst;
    case "atomic":
      if (!instruction.fetch) return undefined;
      return instruction.op === "cmpxchg" ? 0 : instruction.src;
    case "load_packet":
      return 0;
    default:
      return undefined;
  }
}
