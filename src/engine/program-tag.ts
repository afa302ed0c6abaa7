import { createHash } from "node:crypto";
import { encodeProgram } from "../isa/codec.ts";
import type { Instruction } from "../isa/instruction.ts";

/**
 * A program's tag: 16 hex digits that name its instructions, maps left out, as the kernel forms it
 * (kernel/bpf/core.c, bpf_prog_calc_tag; SHA-256 since Linux 6.18, SHA-1 before).
 */
export function programTag(instructions: readonly Instruction[]): string {
  const withoutMaps = instructions.map((instruction): Instruction => {
    if (instruction.kind === "load_map") return { ...instruction, map: 0 };
    if (instruction.kind === "load_map_value") return { ...instruction, map: 0, offset: 0 };
    return instruction;
  });
  return createHash("sha256").update(encodeProgram(withoutMaps)).digest("hex").slice(0, 16);
}
