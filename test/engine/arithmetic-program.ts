import { type Instruction, type Operand, register } from "../../src/isa/instruction.ts";
import { aluOps, branchOps } from "../../src/isa/opcodes.ts";
import type { Random } from "../packet/random.ts";
import { assembled } from "./engine-bench.ts";

/** Registers that hold numbers: six from the packet's first 48 bytes. */
const numbers = [0, 1, 2, 3, 4, 5] as const;

/** Loads r0 to r5 from the packet, which r6 points to; a shorter packet ends the program. */
const prologue = assembled(`
  r6 = *(u32 *)(r1 + 0)
  r7 = *(u32 *)(r1 + 4)
  r8 = r6
  r8 += 64
  r0 = 99
  if r8 <= r7 goto +1
  exit
  ${numbers.map((n) => `r${n} = *(u64 *)(r6 + ${n * 8})`).join("\n")}
  *(u64 *)(r10 - 8) = r0
  *(u64 *)(r10 - 16) = r1
`);

/** Writes what the stack and the registers hold into the packet. */
const epilogue = assembled(`
  ${numbers.map((n) => `*(u64 *)(r6 + ${n * 8}) = r${n}`).join("\n")}
  r7 = *(u64 *)(r10 - 8)
  *(u64 *)(r6 + 48) = r7
  r7 = *(u64 *)(r10 - 16)
  *(u64 *)(r6 + 56) = r7
  exit
`);

/**
 * A random xdp program that the kernel's verifier accepts: arithmetic on numbers from the packet,
 * forward jumps, atomics and loads on two words of stack. Its results end up in the packet.
 */
export function arithmeticProgram(random: Random): Instruction[] {
  const body: Instruction[] = [];
  const length = 1 + random.below(30);
  while (body.length < length) body.push(randomInstruction(random, length - body.length - 1));
  return [...prologue, ...body, ...epilogue];
}

/** 64 bytes of words that are often small, negative or at the ends of their range. */
export function edgyBytes(random: Random): Uint8Array {
  const bytes = random.bytes(64);
  for (let word = 0; word < 16; word++) {
    const fill = [undefined, 0, 0xff, undefined][random.below(4)];
    if (fill !== undefined) bytes.fill(fill, word * 4, word * 4 + 4);
    if (random.below(4) === 0) bytes[word * 4 + 3] = 0x80;
  }
  return bytes;
}

function randomInstruction(random: Random, left: number): Instruction {
  const any = () => register(random.below(numbers.length));
  const width = random.below(2) === 0 ? 32 : 64;
  const pick = <T>(items: readonly T[]): T => items[random.below(items.length)]!;
  switch (random.below(12)) {
    case 0:
      return { kind: "negate", width, dst: any() };
    case 1: {
      const bits = pick(width === 64 ? ([8, 16, 32] as const) : ([8, 16] as const));
      return { kind: "move_signed", width, bits, dst: any(), src: any() };
    }
    case 2: {
      const to = pick(["le", "be", "swap"] as const);
      return { kind: "byte_order", to, bits: pick([16, 32, 64] as const), dst: any() };
    }
    case 3:
    case 4: {
      const src: Operand =
        random.below(2) === 0 ? { register: any() } : { immediate: immediate(random) };
      const offset = random.below(left + 1);
      const { op } = pick(branchOps);
      return { kind: "branch", op, width, dst: any(), src, offset };
    }
    case 5: {
      const op = pick(["add", "or", "and", "xor", "xchg", "cmpxchg"] as const);
      const fetch = op === "xchg" || op === "cmpxchg" || random.below(2) === 0;
      // A 32-bit cmpxchg that succeeds leaves r0's upper half on x86, unless the verifier (Linux
      // 6.18) sees that it is read; by RFC 9669 §5.3 it is always cleared, as here.
      const size = op === "cmpxchg" ? 8 : pick([4, 8] as const);
      const offset = size === 8 ? pick([-8, -16]) : pick([-4, -8, -12, -16]);
      return { kind: "atomic", op, fetch, size, base: register(10), offset, src: any() };
    }
    case 6: {
      const size = pick([1, 2, 4, 8] as const);
      const signed = size !== 8 && random.below(2) === 0;
      const offset = -16 + random.below(16 / size) * size;
      return { kind: "load", size, signed, dst: any(), base: register(10), offset };
    }
    default: {
      const { op } = pick(aluOps);
      const limit = ["lsh", "rsh", "arsh"].includes(op) ? width : undefined;
      const divides = ["div", "sdiv", "mod", "smod"].includes(op);
      const number = limit === undefined ? immediate(random) : random.below(limit);
      const src: Operand =
        random.below(2) === 0
          ? { register: any() }
          : { immediate: divides && number === 0 ? -1 : number };
      return { kind: "alu", op, width, dst: any(), src };
    }
  }
}

function immediate(random: Random): number {
  const edges = [0, 1, -1, 2, 7, 0x7fff_ffff, -0x8000_0000, 0xffff, -0x8000];
  return random.below(2) === 0
    ? edges[random.below(edges.length)]!
    : Math.floor(random.below(2 ** 32)) - 2 ** 31;
}
