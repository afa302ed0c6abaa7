import { assemble } from "../../src/isa/assembler.ts";
import { decodeProgram, encodeProgram } from "../../src/isa/codec.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import type { Random } from "../packet/random.ts";

/** Maps that the programs name: an array, a hash, global data. */
export const fuzzMapSpecs = [
  { name: "array", type: "array", keySize: 4, valueSize: 16, maxEntries: 4 },
  { name: "hash", type: "hash", keySize: 8, valueSize: 32, maxEntries: 16 },
  { name: "globals", type: "array", keySize: 4, valueSize: 64, maxEntries: 1 },
] as const;

/**
 * Writes programs that mostly keep the rules: packet bytes compared with data_end, lookups compared
 * with 0, indexes bounded, loops with an end, functions; with limits that are sometimes one off.
 *
 * r6 is the context, r7 a pointer, r8 and r9 numbers; the rest comes and goes.
 */
export class ProgramWriter {
  readonly #random: Random;
  readonly #type: "xdp" | "socket";
  readonly #functions: string[] = [];
  #labels = 0;
  #budget: number;
  #inLoop = 0;
  #inFunction = false;

  constructor(random: Random, type: "xdp" | "socket") {
    this.#random = random;
    this.#type = type;
    this.#budget = 3 + random.below(10);
  }

  write(): string {
    const body = this.#block(0);
    return `r6 = r1
      r7 = r10
      r7 += -16
      r8 = *(u32 *)(r6 + ${this.#type === "xdp" ? 12 : 0})
      r9 = ${this.#number()}
      *(u64 *)(r10 - 8) = 0
      *(u64 *)(r10 - 16) = r8
      ${body}
      out: r0 = ${this.#random.below(3)}
      exit
      ${this.#functions.join("\n")}`;
  }

  #block(depth: number): string {
    const parts: string[] = [];
    const count = 1 + this.#random.below(4);
    for (let i = 0; i < count && this.#budget > 0; i++) {
      this.#budget--;
      parts.push(this.#segment(depth));
    }
    return parts.join("\n");
  }

  #segment(depth: number): string {
    const choice = this.#random.below(depth > 2 ? 11 : 16);
    switch (choice) {
      case 0:
      case 1:
        return this.#arithmetic();
      case 2:
        return this.#bound();
      case 3:
      case 4:
        return this.#type === "xdp" ? this.#packet() : this.#packetLoad();
      case 5:
      case 6:
        return this.#stack();
      case 7:
      case 8:
        return this.#lookup();
      case 9:
        return this.#helper();
      case 10:
        return this.#pointer();
      case 11:
      case 12:
        return this.#branch(depth);
      case 13:
        return this.#loop(depth);
      default:
        return this.#call();
    }
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random.below(items.length)] as T;
  }

  #one(chances: number): boolean {
    return this.#random.below(chances) === 0;
  }

  #label(): string {
    return `l${this.#labels++}`;
  }

  #number(): number {
    return this.#pick([
      0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 255, 4096, 65535, -1, -2, -8, -256, 2147483647,
      -2147483648, 1234567,
    ]);
  }

  #scalar(): string {
    return this.#pick(["8", "9"]);
  }

  #arithmetic(): string {
    const dst = this.#scalar();
    const src = this.#one(2) ? this.#scalar() : undefined;
    const letter = this.#pick(["r", "r", "w"]);
    const op = this.#pick(["+=", "-=", "*=", "|=", "&=", "^=", "=", "/=", "%="]);
    if (this.#one(4)) {
      const shift = this.#pick(["<<=", ">>=", "s>>="]);
      return `${letter}${dst} ${shift} ${this.#random.below(letter === "r" ? 64 : 32)}`;
    }
    if (this.#one(8)) return this.#pick([`r${dst} = -r${dst}`, `r${dst} = be16 r${dst}`]);
    if (this.#one(6)) return `r${dst} = (s${this.#pick([8, 16, 32])})r${this.#scalar()}`;
    const number = this.#number();
    const safe = (op === "/=" || op === "%=") && number === 0 ? 3 : number;
    return `${letter}${dst} ${op} ${src === undefined ? safe : `${letter}${src}`}`;
  }

  /** Makes a number small, in one of the ways that programs do. */
  #bound(register = this.#scalar(), limit: number = this.#pick([1, 3, 7, 8, 15, 16, 31])): string {
    switch (this.#random.below(6)) {
      case 0:
      case 1:
        return `r${register} &= ${limit}`;
      case 2:
        return `if r${register} > ${limit} goto out`;
      case 3:
        return `if r${register} s> ${limit} goto out\nif r${register} s< 0 goto out`;
      case 4:
        return `if w${register} >= ${limit} goto out${this.#one(3) ? "" : `\nw${register} = w${register}`}`;
      default: {
        const label = this.#label();
        return `if r${register} < ${limit} goto ${label}\nr${register} = ${this.#random.below(limit + 1)}\n${label}:`;
      }
    }
  }

  #size(): { bits: number; bytes: number } {
    const bytes = this.#pick([1, 2, 4, 8]);
    return { bits: bytes * 8, bytes };
  }

  #access(base: string, from: number, to: number, aligned = false): string {
    const { bits, bytes } = this.#size();
    const room = Math.max(0, to - from - bytes);
    let offset = from + this.#random.below(room + 1);
    if (aligned) offset -= ((offset % bytes) + bytes) % bytes;
    if (this.#one(25)) offset += this.#pick([-1, 1, bytes, 8]);
    const place = `(r${base} ${offset < 0 ? "-" : "+"} ${Math.abs(offset)})`;
    if (this.#one(3)) {
      const value = this.#one(2) ? `r${this.#pick(["7", "8", "9"])}` : String(this.#number());
      return `*(u${bits} *)${place} = ${value}`;
    }
    const sign = bytes < 8 && this.#one(4) ? "s" : "u";
    return `r${this.#scalar()} = *(${sign}${bits} *)${place}`;
  }

  #packet(): string {
    const length = this.#pick([1, 4, 14, 20, 34]);
    const lines = ["r2 = *(u32 *)(r6 + 0)", "r3 = *(u32 *)(r6 + 4)"];
    if (this.#one(3)) {
      const index = this.#scalar();
      if (!this.#one(5)) lines.push(this.#bound(index));
      lines.push(`r2 += r${index}`);
    }
    lines.push("r4 = r2", `r4 += ${length}`);
    const label = this.#label();
    lines.push(
      this.#pick([
        "if r4 > r3 goto out",
        "if r4 > r3 goto out",
        "if r3 < r4 goto out",
        "if r4 >= r3 goto out",
        `if r4 <= r3 goto ${label}\ngoto out\n${label}:`,
        `if r3 >= r4 goto ${label}\ngoto out\n${label}:`,
      ]),
    );
    if (this.#one(10)) lines.pop();
    lines.push(this.#access("2", 0, length));
    if (this.#one(3)) lines.push("r7 = r2");
    if (this.#one(3)) lines.push(this.#access("4", -length, 0));
    if (this.#one(8))
      lines.push(`r1 = r6\nr2 = ${this.#pick([0, 4, -4])}\ncall ${this.#pick([44, 65])}`);
    return lines.join("\n");
  }

  #packetLoad(): string {
    const { bits } = { bits: this.#pick([8, 16, 32]) };
    const at = this.#one(3) ? `r${this.#scalar()}` : String(this.#random.below(40));
    return `r0 = *(u${bits} *)skb[${at}]\nr${this.#scalar()} = r0`;
  }

  #stack(): string {
    switch (this.#random.below(6)) {
      case 0: {
        const index = this.#scalar();
        const base = this.#pick([-64, -32, -16, -8]);
        const bound = this.#one(6) ? "" : this.#bound(index);
        return `${bound}\nr1 = r10\nr1 += ${base}\nr1 += r${index}\n${this.#access("1", 0, 1)}`;
      }
      case 1:
        return `*(u64 *)(r10 - ${8 * (1 + this.#random.below(4))}) = r${this.#pick(["6", "7", "8", "9"])}`;
      case 2:
        return `r${this.#pick(["7", "8", "9"])} = *(u64 *)(r10 - ${8 * (1 + this.#random.below(4))})`;
      case 3:
        return `r1 = ${this.#number()}\nlock *(u${this.#pick([32, 64])} *)(r10 - ${8 * (1 + this.#random.below(4))}) += r1`;
      default:
        return this.#access("10", -32, 0, true);
    }
  }

  #lookup(): string {
    const map = this.#random.below(3);
    const spec = fuzzMapSpecs[map]!;
    const lines: string[] = [];
    if (map === 2 && this.#one(2)) lines.push("r0 = map_val(map_by_fd(2)) + 0 ll");
    else {
      if (this.#one(2)) lines.push(`*(u${8 * spec.keySize} *)(r10 - 8) = ${this.#random.below(5)}`);
      lines.push(
        `r1 = map_by_fd(${map}) ll`,
        "r2 = r10",
        `r2 += ${this.#one(20) ? -4 : -8}`,
        "call 1",
      );
      if (!this.#one(12)) lines.push(this.#pick(["if r0 == 0 goto out", "if r0 == 0 goto out"]));
    }
    if (this.#one(2)) {
      const index = this.#scalar();
      if (!this.#one(8)) lines.push(this.#bound(index));
      lines.push(`r0 += r${index}`, this.#access("0", 0, 1));
    } else lines.push(this.#access("0", 0, spec.valueSize));
    if (this.#one(4)) {
      const offset = this.#pick([0, 8, 8, 4]);
      lines.push(`r1 = 1\n${this.#pick(["lock", "lock"])} *(u64 *)(r0 + ${offset}) += r1`);
    }
    if (this.#one(3)) lines.push("r7 = r0");
    return lines.join("\n");
  }

  #helper(): string {
    const into = this.#scalar();
    switch (this.#random.below(5)) {
      case 0:
        return `call 7\nr${into} = r0`;
      case 1:
        return `call 5\nr${into} = r0`;
      case 2: {
        const size = this.#scalar();
        const bound = this.#one(6) ? "" : this.#bound(size, this.#pick([7, 8, 15]));
        return `${bound}\nr1 = r10\nr1 += ${this.#pick([-16, -8])}\nr2 = r${size}\nr3 = 0\nr4 = 0\nr5 = 0\ncall ${this.#pick([6, 28])}`;
      }
      case 3:
        return `r1 = map_by_fd(1) ll\nr2 = r10\nr2 += -8\nr3 = r${this.#pick(["7", "10"])}\nr3 += ${this.#pick([-32, 0])}\nr4 = 0\ncall 2\nr${into} = r0`;
      default:
        return `r1 = map_by_fd(${this.#random.below(2)}) ll\nr2 = r10\nr2 += -8\ncall 3\nr${into} = r0`;
    }
  }

  /** Something is done to the pointer in r7, whatever it is by now. */
  #pointer(): string {
    return this.#pick([
      this.#access("7", 0, 8),
      `r7 += ${this.#pick([0, 1, 4, 8, -8])}`,
      `r1 = r7\nr1 -= r10\nr9 = r1`,
      `if r7 == 0 goto out\n${this.#access("7", 0, 8)}`,
      "r7 = r10\nr7 += -16",
    ]);
  }

  #branch(depth: number): string {
    const label = this.#label();
    const op = this.#pick(["==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"]);
    const letter = this.#pick(["r", "r", "w"]);
    const right = this.#one(3) ? `${letter}${this.#scalar()}` : String(this.#number());
    const inside = this.#block(depth + 1);
    const test = `if ${letter}${this.#scalar()} ${op} ${right} goto ${label}`;
    if (!this.#one(3)) return `${test}\n${inside}\n${label}:`;
    const end = this.#label();
    return `${test}\n${inside}\ngoto ${end}\n${label}:\n${this.#block(depth + 1)}\n${end}:`;
  }

  #loop(depth: number): string {
    if (this.#inLoop > 0 || this.#inFunction) return this.#arithmetic();
    this.#inLoop++;
    const label = this.#label();
    const counter = "*(u64 *)(r10 - 40)";
    const body = this.#block(depth + 1);
    this.#inLoop--;
    const rounds = this.#pick([2, 3, 8, 20]);
    return `${counter} = 0
      ${label}: ${body}
      r1 = ${counter}
      r1 += 1
      ${counter} = r1
      if r1 < ${rounds} goto ${label}`;
  }

  #call(): string {
    if (this.#inFunction) return this.#bound();
    this.#inFunction = true;
    const name = `f${this.#functions.length}`;
    const index = this.#functions.length;
    this.#functions.push("");
    const argument = this.#pick(["7", "8", "10"]);
    this.#budget += 2;
    const inner = this.#block(2).replaceAll("goto out", `goto ${name}out`);
    this.#functions[index] = `${name}: r6 = r1
      r7 = r2
      r8 = r3
      r9 = r3
      *(u64 *)(r10 - 8) = 0
      *(u64 *)(r10 - 16) = r8
      *(u64 *)(r10 - 24) = 1
      *(u64 *)(r10 - 32) = 2
      ${inner}
      ${name}out: r0 = ${this.#pick(["r8", "r9", "0"])}
      exit`;
    this.#inFunction = false;
    const offset = this.#pick([-16, 0, 0]);
    return `r1 = r6\nr2 = r${argument}\nr2 += ${offset}\nr3 = r${this.#scalar()}\ncall ${name}\nr${this.#scalar()} = r0`;
  }
}

/** A random program, assembled. */
export function randomProgram(random: Random, type: "xdp" | "socket"): Instruction[] {
  const text = new ProgramWriter(random, type).write();
  const assembled = assemble(text);
  if (!assembled.ok) throw new AggregateError(assembled.error, `${assembled.error[0]}\n${text}`);
  return assembled.value;
}

/** The program with one to three bits or fields changed, if that is still one of instructions. */
export function mutated(
  random: Random,
  program: readonly Instruction[],
): Instruction[] | undefined {
  const bytes = encodeProgram(program);
  const changes = 1 + random.below(2);
  for (let i = 0; i < changes; i++) {
    const at = 8 * random.below(program.length);
    switch (random.below(5)) {
      case 0: // a register
        bytes[at + 1]! ^= 1 << random.below(8);
        break;
      case 1: // the offset, a little
        bytes[at + 2]! += random.below(17) - 8;
        break;
      case 2: // the immediate, a little
        bytes[at + 4]! += random.below(9) - 4;
        break;
      case 3: // the opcode
        bytes[at]! ^= 1 << random.below(8);
        break;
      default:
        bytes.copyWithin(at, 8 * random.below(program.length), 8 * random.below(program.length));
    }
  }
  const decoded = decodeProgram(bytes);
  return decoded.ok ? decoded.value : undefined;
}
