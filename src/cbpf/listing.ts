import { ancillaryNames, ancillaryOffset } from "./ancillary.ts";
import type { ClassicInstruction, ClassicProgram } from "./instruction.ts";
import {
  aluOp,
  classOf,
  code,
  jumpOp,
  mode,
  modeOf,
  opClass,
  operationOf,
  size,
  sizeOf,
  source,
  usesX,
} from "./opcode.ts";

/** Forms in which tcpdump prints a program: `-d` for people, `-dd` as C, `-ddd` as decimal numbers. */
export type ListingForm = "assembly" | "c" | "decimal";

/** The program as tcpdump 4.99 with libpcap 1.10 prints it, byte for byte; each line ends with \n. */
export function listClassic(program: ClassicProgram, form: ListingForm): string {
  const lines = program.map((instruction, at) => line(instruction, at, form));
  if (form === "decimal") lines.unshift(String(program.length));
  return lines.map((each) => `${each}\n`).join("");
}

function line(instruction: ClassicInstruction, at: number, form: ListingForm): string {
  const { code: operation, jt, jf, k } = instruction;
  switch (form) {
    case "assembly":
      return image(instruction, at);
    case "c":
      return `{ 0x${hex(operation)}, ${jt}, ${jf}, 0x${hex(k).padStart(8, "0")} },`;
    case "decimal":
      return `${operation} ${jt} ${jf} ${k}`;
  }
}

function hex(value: number): string {
  return value.toString(16);
}

/** One line of `tcpdump -d`. Jump targets are instruction numbers. */
function image(instruction: ClassicInstruction, at: number): string {
  const { code: operation, jt, jf } = instruction;
  const [name, operand] = mnemonic(instruction, at) ?? ["unimp", `0x${hex(operation)}`];
  const number = `(${String(at).padStart(3, "0")})`;
  const isBranch = classOf(operation) === opClass.jump && operationOf(operation) !== jumpOp.always;
  return isBranch
    ? `${number} ${name.padEnd(8)} ${operand.padEnd(16)} jt ${at + 1 + jt}\tjf ${at + 1 + jf}`
    : `${number} ${name.padEnd(8)} ${operand}`;
}

const loadNames = new Map<number, string>([
  [size.word, "ld"],
  [size.half, "ldh"],
  [size.byte, "ldb"],
]);

const aluNames = new Map<number, string>([
  [aluOp.add, "add"],
  [aluOp.sub, "sub"],
  [aluOp.mul, "mul"],
  [aluOp.div, "div"],
  [aluOp.mod, "mod"],
  [aluOp.or, "or"],
  [aluOp.and, "and"],
  [aluOp.xor, "xor"],
  [aluOp.lsh, "lsh"],
  [aluOp.rsh, "rsh"],
]);

const jumpNames = new Map<number, string>([
  [jumpOp.eq, "jeq"],
  [jumpOp.gt, "jgt"],
  [jumpOp.ge, "jge"],
  [jumpOp.set, "jset"],
]);

/** The masks are printed in hexadecimal, other constants in decimal. */
const hexAlu: ReadonlySet<number> = new Set([aluOp.and, aluOp.or, aluOp.xor]);

/** Name and operand, or undefined for a code that tcpdump does not know. */
function mnemonic(
  { code: operation, k }: ClassicInstruction,
  at: number,
): readonly [string, string] | undefined {
  switch (operation) {
    case code.returnK:
      return ["ret", `#${k | 0}`];
    case code.returnA:
      return ["ret", ""];
    case code.loadLength:
      return ["ld", "#pktlen"];
    case code.loadImmediate:
      return ["ld", `#0x${hex(k)}`];
    case code.loadXImmediate:
      return ["ldx", `#0x${hex(k)}`];
    case code.loadXHeaderLength:
      return ["ldxb", `4*([${k | 0}]&0xf)`];
    case code.loadMemory:
      return ["ld", `M[${k | 0}]`];
    case code.loadXMemory:
      return ["ldx", `M[${k | 0}]`];
    case code.store:
      return ["st", `M[${k | 0}]`];
    case code.storeX:
      return ["stx", `M[${k | 0}]`];
    case code.jumpAlways:
      return ["ja", String((at + 1 + k) | 0)];
    case code.negate:
      return ["neg", ""];
    case code.tax:
      return ["tax", ""];
    case code.txa:
      return ["txa", ""];
  }
  const operator = operation & ~(operationOf(operation) | source.x);
  if (operator === opClass.load) return packetLoad(operation, k);
  if (operator === opClass.alu) {
    const name = aluNames.get(operationOf(operation));
    if (name === undefined) return undefined;
    if (usesX(operation)) return [name, "x"];
    return [name, hexAlu.has(operationOf(operation)) ? `#0x${hex(k)}` : `#${k | 0}`];
  }
  if (operator === opClass.jump) {
    const name = jumpNames.get(operationOf(operation));
    return name === undefined ? undefined : [name, usesX(operation) ? "x" : `#0x${hex(k)}`];
  }
  return undefined;
}

function packetLoad(operation: number, k: number): readonly [string, string] | undefined {
  const name = loadNames.get(sizeOf(operation));
  if (name === undefined) return undefined;
  if (modeOf(operation) === mode.indirect) return [name, `[x + ${k | 0}]`];
  if (modeOf(operation) !== mode.absolute) return undefined;
  const symbol = ancillaryNames.get(ancillaryOffset(k) ?? -1);
  return [name, `[${symbol ?? String(k | 0)}]`];
}
