import { type Instruction, register } from "../../src/isa/instruction.ts";
import { branchOps } from "../../src/isa/opcodes.ts";
import type { Random } from "../packet/random.ts";

/**
 * A raw program whose blocks jump anywhere: into loops, out of them, to themselves. Each block counts
 * r9 down and ends the program at 0, so it always ends; r0 tells which way it went.
 */
export function flowProgram(random: Random): Instruction[] {
  const blockCount = 2 + random.below(12);
  const blockSlots = 5;
  const first = 3;
  const target = (slot: number): number =>
    first + random.below(blockCount) * blockSlots - (slot + 1);
  const program: Instruction[] = [
    move(0, 1 + random.below(1000)),
    move(9, 5 + random.below(60)),
    { kind: "load", size: 8, signed: false, dst: register(2), base: register(1), offset: 0 },
  ];
  for (let block = 0; block < blockCount; block++) {
    const at = program.length;
    const count: Instruction = add(9, -1);
    // The last block has nothing behind it to fall into.
    const last = block === blockCount - 1;
    program.push(
      alu(random.below(2) === 0 ? "mul" : "xor", 0, 3 + random.below(1000)),
      count,
      {
        kind: "branch",
        op: "eq",
        width: 64,
        dst: register(9),
        src: { immediate: 0 },
        offset: first + blockCount * blockSlots - (at + 3),
      },
      {
        kind: "branch",
        op: branchOps[random.below(branchOps.length)]!.op,
        width: random.below(2) === 0 ? 32 : 64,
        dst: register(random.below(2) === 0 ? 0 : 2),
        src: random.below(2) === 0 ? { register: register(9) } : { immediate: random.below(64) },
        offset: target(at + 3),
      },
      random.below(2) === 0 || last
        ? { kind: "jump", offset: target(at + 4), long: random.below(2) === 0 }
        : add(2, random.below(64) - 20),
    );
  }
  program.push({ kind: "exit" });
  return program;
}

function alu(op: "mul" | "xor" | "add" | "mov", dst: number, immediate: number): Instruction {
  return { kind: "alu", op, width: 64, dst: register(dst), src: { immediate } };
}

function move(dst: number, immediate: number): Instruction {
  return alu("mov", dst, immediate);
}

function add(dst: number, immediate: number): Instruction {
  return alu("add", dst, immediate);
}
