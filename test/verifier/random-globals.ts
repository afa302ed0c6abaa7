import type { Instruction } from "../../src/isa/instruction.ts";
import { functionStarts } from "../../src/verifier/structure.ts";
import { assembled } from "../engine/engine-bench.ts";
import type { Random } from "../packet/random.ts";
import type { Declarations, DeclaredParameter } from "./function-types.ts";

/** A program and what its global functions are declared to take. */
export interface ProgramOfGlobals {
  readonly instructions: Instruction[];
  readonly globals: Declarations;
}

/** Sizes of the memory that functions take. */
const sizes = [1, 4, 8, 16, 24] as const;

/**
 * An XDP program of global functions, which take numbers, the context and memory, null or never: what
 * the program passes are parts of its stack, of the packet and of map values (maps 0 and 1, and 2, the
 * global data), mostly large enough; the functions look for null, mostly, read, write, add and index in
 * what they got, pass it on, move the packet. `likeLinux`: without what Linux takes though it is unsafe.
 */
export function randomGlobals(random: Random, { likeLinux = false } = {}): ProgramOfGlobals {
  const writer = new GlobalsWriter(random, likeLinux);
  const instructions = assembled(writer.write());
  const [, ...slots] = functionStarts(instructions);
  return { instructions, globals: new Map(slots.map((slot, i) => [slot, writer.parameters[i]!])) };
}

/** What an argument may be made of, by the register that points there and the bytes it has. */
interface Memory {
  readonly register: number;
  readonly offset: number;
  readonly bytes: number;
}

class GlobalsWriter {
  readonly parameters: (readonly DeclaredParameter[])[];
  readonly #random: Random;
  readonly #likeLinux: boolean;
  #labels = 0;

  constructor(random: Random, likeLinux: boolean) {
    this.#random = random;
    this.#likeLinux = likeLinux;
    this.parameters = Array.from({ length: 1 + random.below(4) }, () =>
      Array.from({ length: 1 + random.below(4) }, () => this.#parameter()),
    );
  }

  write(): string {
    const lines = [
      "r6 = r1",
      ...[8, 16, 24, 32].map((at) => `*(u64 *)(r10 - ${at}) = ${this.#random.below(3)}`),
      `r1 = map_by_fd(${this.#random.below(2)}) ll`,
      "r2 = r10",
      "r2 += -8",
      "call 1",
      ...(this.#one(12) ? [] : ["if r0 == 0 goto out"]),
      "r8 = r0",
      "r9 = *(u32 *)(r6 + 0)",
      "r3 = *(u32 *)(r6 + 4)",
      "r4 = r9",
      `r4 += ${this.#pick([14, 16, 24, 34])}`,
      "if r4 > r3 goto out",
      "r7 = 1",
    ];
    const here: Memory[] = [
      { register: 10, offset: -32, bytes: 32 },
      { register: 8, offset: 0, bytes: 16 },
      { register: 9, offset: 0, bytes: 14 },
    ];
    // Each is called by somebody, or it would be unreachable.
    for (const callee of this.parameters.keys()) {
      lines.push(this.#call(callee, here, 7, 6), "r7 = r0");
      if (this.#one(2)) lines.push(this.#index(7, { register: 10, offset: -32, bytes: 32 }));
    }
    lines.push("out: r0 = 2", "exit");
    for (const number of this.parameters.keys()) lines.push(this.#function(number));
    return lines.join("\n");
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random.below(items.length)] as T;
  }

  #one(chances: number): boolean {
    return this.#random.below(chances) === 0;
  }

  #parameter(): DeclaredParameter {
    if (this.#one(3)) return "number";
    if (this.#one(4)) return "context";
    const bytes = this.#pick(sizes);
    return this.#one(3) ? { bytes, nonnull: true } : { bytes };
  }

  /** r6 to r9 are the function's arguments. */
  #function(number: number): string {
    const parameters = this.parameters[number]!;
    const lines = parameters.map((_, i) =>
      i === 0 ? `g${number}: r6 = r1` : `r${6 + i} = r${1 + i}`,
    );
    const out = `out${number}`;
    const memory: Memory[] = [];
    const numbers: number[] = [];
    let context = -1;
    for (const [i, one] of parameters.entries()) {
      const register = 6 + i;
      if (one === "number") numbers.push(register);
      else if (one === "context") context = register;
      else {
        memory.push({ register, offset: 0, bytes: one.bytes });
        if (!one.nonnull && !this.#one(12)) lines.push(`if r${register} == 0 goto ${out}`);
      }
    }
    const count = 1 + this.#random.below(5);
    for (let i = 0; i < count; i++) lines.push(this.#segment(number, memory, numbers, context));
    const answer = numbers.length > 0 && this.#one(2) ? `r0 = r${this.#pick(numbers)}` : "r0 = 3";
    lines.push(answer, "exit");
    if (lines.some((line) => line.endsWith(`goto ${out}`)))
      lines.push(`${out}: r0 = ${this.#random.below(9)}`, "exit");
    return lines.join("\n");
  }

  #segment(
    number: number,
    memory: readonly Memory[],
    numbers: readonly number[],
    context: number,
  ): string {
    const choice = this.#random.below(9);
    if (choice === 0 && context >= 0) return this.#packet(context);
    if (choice === 1 && context >= 0)
      return `r1 = r${context}\nr2 = ${this.#pick([0, 4, -4])}\ncall ${this.#pick([44, 65])}`;
    if (choice <= 3 && number + 1 < this.parameters.length) {
      const callee = number + 1 + this.#random.below(this.parameters.length - number - 1);
      return this.#call(callee, memory, numbers[0] ?? -1, context);
    }
    if (memory.length === 0) return numbers.length === 0 ? "r0 = 0" : `r${numbers[0]} += 5`;
    const here = this.#pick(memory);
    if (choice === 4 && numbers.length > 0) return this.#index(this.#pick(numbers), here);
    if (choice === 5 && here.bytes >= 8) {
      const label = this.#label();
      return `r1 = map_by_fd(1) ll\nr2 = r${here.register}\ncall 1\nif r0 == 0 goto ${label}\nr1 = *(u64 *)(r0 + 24)\n${label}:`;
    }
    if (choice === 6)
      return `r1 = r${here.register}\nr2 = ${4 * this.#random.below(3)}\nr3 = 0\nr4 = 0\nr5 = 0\ncall 28`;
    return this.#access(here);
  }

  #label(): string {
    return `l${this.#labels++}`;
  }

  #access({ register, offset, bytes }: Memory): string {
    const size = this.#pick([1, 2, 4, 8].filter((one) => one <= bytes));
    let at = offset + size * this.#random.below(Math.floor(bytes / size));
    if (this.#one(15)) at += this.#pick([-1, 1, size, 8]);
    const place = `*(u${8 * size} *)(r${register} ${at < 0 ? "-" : "+"} ${Math.abs(at)})`;
    switch (this.#random.below(4)) {
      case 0:
        return `${place} = ${this.#random.below(100)}`;
      case 1:
        return size < 4 ? `r0 = ${place}` : `r1 = 1\nlock ${place} += r1`;
      default:
        return `r0 = ${place}`;
    }
  }

  /** A byte of memory at the place that a number says, which is bounded, or nearly. */
  #index(number: number, { register, offset, bytes }: Memory): string {
    const label = this.#label();
    const last = bytes - 1 + (this.#one(8) ? 1 : 0);
    const bound = this.#one(3)
      ? `r1 &= ${bytes === 24 ? 15 : bytes - 1}`
      : `if r1 > ${last} goto ${label}`;
    const access = this.#one(2) ? "*(u8 *)(r2 + 0) = 7" : "r0 = *(u8 *)(r2 + 0)";
    return `r1 = r${number}\n${bound}\nr2 = r${register}\nr2 += ${offset}\nr2 += r1\n${access}\n${label}:`;
  }

  #packet(context: number): string {
    const label = this.#label();
    return `r2 = *(u32 *)(r${context} + 0)\nr3 = *(u32 *)(r${context} + 4)\nr4 = r2\nr4 += 8\nif r4 > r3 goto ${label}\n${this.#access({ register: 2, offset: 0, bytes: 8 })}\n${label}:`;
  }

  /** Null, or a number where another one is large: long enough for a state to be kept where both meet. */
  #nullByOneWay(into: string, number: number): string {
    const label = this.#label();
    const other = this.#pick([0, 0, 65536, 7]);
    const filler = "r0 = 1\n".repeat(4);
    return `${into} = ${other}\n${filler}if r${number} s> 5 goto ${label}\n${into} = 0\n${label}: ${filler}`;
  }

  /** `number` and `context`: the registers that hold one, or -1. */
  #call(callee: number, memory: readonly Memory[], number: number, context: number): string {
    const lines = this.parameters[callee]!.map((one, i) => {
      const into = `r${i + 1}`;
      if (one === "number") {
        if (this.#one(20)) return `${into} = r10`;
        return number >= 0 && this.#one(2)
          ? `${into} = r${number}`
          : `${into} = ${this.#random.below(40)}`;
      }
      if (one === "context") return context < 0 ? `${into} = 0` : `${into} = r${context}`;
      const mayBeNull = !one.nonnull && number >= 0 && !this.#likeLinux;
      if (mayBeNull && this.#one(6)) return this.#nullByOneWay(into, number);
      const enough = memory.filter(({ bytes }) => bytes >= one.bytes);
      const from = this.#one(15) ? memory : enough;
      if (from.length === 0 || (!one.nonnull && this.#one(5))) return `${into} = 0`;
      const { register, offset, bytes } = this.#pick(from);
      const room = Math.max(0, bytes - one.bytes);
      const at = offset + 8 * this.#random.below(Math.floor(room / 8) + 1);
      return `${into} = r${register}\n${into} += ${at}`;
    });
    return `${lines.join("\n")}\ncall g${callee}`;
  }
}
