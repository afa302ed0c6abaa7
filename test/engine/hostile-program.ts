import {
  type Instruction,
  type Operand,
  type Register,
  register,
} from "../../src/isa/instruction.ts";
import { aluOps, atomicOps, branchOps } from "../../src/isa/opcodes.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import type { Random } from "../packet/random.ts";
import { assembled } from "./engine-bench.ts";

/** Helpers a type may call, by id. */
const helperIds: Partial<Record<ProgramType, readonly number[]>> = {
  xdp: [1, 2, 3, 5, 6, 7, 8, 23, 28, 44, 51, 54, 65],
  socket: [1, 2, 3, 5, 6, 7, 8, 26],
  raw: [1, 2, 3, 5, 6, 7, 8],
};

/** Puts pointers to all there is into registers: what a hostile program starts from. */
const prologues: Partial<Record<ProgramType, string>> = {
  xdp: "r6 = r1\nr2 = *(u32 *)(r6 + 0)\nr3 = *(u32 *)(r6 + 4)",
  socket: "r6 = r1",
  raw: "r6 = r1\nr3 = r1",
};

/** Maps the programs name: 0 a one-entry array, 1 a hash, 2 read-only, 3 a device map. */
export const fuzzMapCount = 4;

/**
 * A program that keeps the rules a linker checks and no others: wild pointers, wrong arguments,
 * sizes that reach across ends, loops. Its last instructions are two functions of their own.
 */
export function hostileProgram(random: Random, type: ProgramType): Instruction[] {
  const program = assembled(`${prologues[type]}
    r7 = map_val(map_by_fd(0)) + 0 ll
    r8 = r10
    r8 += -32
    r9 = map_val(map_by_fd(2)) + 0 ll
    *(u64 *)(r10 - 8) = 1`);
  const first = program.length;
  const length = 3 + random.below(16);
  const functionAt = first + length + 1;
  while (program.length < first + length) {
    const slot = program.length;
    const left = first + length - slot - 1;
    const next = randomInstruction(random, type, slot - first, left, functionAt - slot - 1);
    if (next.kind.startsWith("load_map") || next.kind === "load_immediate") {
      if (left === 0) continue;
      program.push(next, { kind: "second_slot" });
    } else program.push(next);
  }
  // Jumps that hit the middle of a 16-byte instruction go on to the one behind it.
  for (const [slot, instruction] of program.entries())
    if ("offset" in instruction && (instruction.kind === "branch" || instruction.kind === "jump")) {
      const target = slot + 1 + instruction.offset;
      if (program[target]?.kind === "second_slot")
        program[slot] = { ...instruction, offset: instruction.offset + 1 };
    }
  program.push({ kind: "exit" });
  program.push(
    ...assembled(
      "r4 = r10\nr4 += -64\n*(u64 *)(r10 - 64) = r1\n*(u8 *)(r4 + 7) = 1\nr0 = r4\nexit",
    ),
  );
  return program;
}

function randomInstruction(
  random: Random,
  type: ProgramType,
  before: number,
  left: number,
  toFunction: number,
): Instruction {
  const pick = <T>(items: readonly T[]): T => items[random.below(items.length)]!;
  // Pointers live mostly where the prologue put them.
  const dst = (): Register =>
    register(random.below(8) === 0 ? random.below(10) : pick([0, 1, 4, 5]));
  const base = (): Register =>
    register(
      random.below(12) === 0 ? random.below(11) : pick([2, 2, 7, 7, 7, 8, 8, 8, 9, 10, 3, 6]),
    );
  const any = (): Register => register(random.below(11));
  const operand = (): Operand =>
    random.below(2) === 0 ? { register: any() } : { immediate: pick(edges) };
  const size = pick([1, 2, 4, 8] as const);
  // Inside of something, or around its ends.
  const offset = (): number =>
    random.below(4) > 0
      ? random.below(8)
      : Math.max(-0x8000, Math.min(0x7fff, pick(offsets) + random.below(7) - 3));
  switch (random.below(16)) {
    case 0:
    case 1:
    case 2:
      return {
        kind: "load",
        size,
        signed: size < 8 && random.below(4) === 0,
        dst: dst(),
        base: base(),
        offset: offset(),
      };
    case 3:
    case 4:
    case 5:
      return { kind: "store", size, base: base(), offset: offset(), src: operand() };
    case 6: {
      const { op, fetch } = pick(atomicOps);
      return {
        kind: "atomic",
        op,
        fetch,
        size: pick([4, 8] as const),
        base: base(),
        offset: offset(),
        src: dst(),
      };
    }
    case 7:
    case 8: {
      // Backwards one time in a hundred: loops without end cost ten million steps each.
      const offset =
        random.below(100) === 0 ? -1 - random.below(before + 1) : random.below(left + 1);
      return {
        kind: "branch",
        op: pick(branchOps).op,
        width: 64,
        dst: any(),
        src: operand(),
        offset,
      };
    }
    case 9:
      return { kind: "call_helper", id: pick(helperIds[type]!) };
    case 10:
      return random.below(3) === 0
        ? { kind: "call_local", offset: toFunction }
        : {
            kind: "load_map",
            dst: pick([1, 7].map(register)),
            map: random.below(fuzzMapCount),
            by: "fd",
          };
    case 11:
      return type === "socket"
        ? {
            kind: "load_packet",
            size: pick([1, 2, 4] as const),
            index: random.below(2) === 0 ? any() : undefined,
            offset: pick(edges),
          }
        : {
            kind: "load_immediate",
            dst: dst(),
            value: BigInt(random.below(2 ** 32)) << BigInt(random.below(33)),
          };
    case 12:
      // Arguments for the next helper: a pointer into something, moved a little.
      return {
        kind: "alu",
        op: "mov",
        width: 64,
        dst: register(1 + random.below(5)),
        src: { register: base() },
      };
    default: {
      const { op } = pick(aluOps);
      return {
        kind: "alu",
        op: random.below(2) === 0 ? "add" : op,
        width: pick([32, 64] as const),
        dst: dst(),
        src: random.below(2) === 0 ? { immediate: pick(offsets) } : operand(),
      };
    }
  }
}

const offsets = [
  0, 1, 4, 7, 8, 12, 14, 48, 56, 60, 63, 64, 100, 4096, -1, -4, -8, -16, -64, -505, -512, -513,
  -4096, 32767, -32768,
];
const edges = [0, 1, 2, 4, 8, 64, 255, -1, -8, 0x7fff_ffff, -0x8000_0000, -0x10_0000, -0x20_0000];
