import {
  type AluOp,
  type BranchOp,
  type Instruction,
  immediateOf,
  type Operand,
  registerOf,
} from "../../isa/instruction.ts";
import type { FunctionEmitter } from "./function-emitter.ts";
import { I32, I64, i32, i64, type Operation } from "./wasm-operation.ts";

type Arithmetic = Extract<
  Instruction,
  { kind: "move_signed" | "negate" | "byte_order" | "load_immediate" }
>;

/** Operations that are one of WebAssembly's; shifts take their count modulo the width in both. */
const direct: Partial<Record<AluOp, { readonly 32: Operation; readonly 64: Operation }>> = {
  add: { 32: i32.add, 64: i64.add },
  sub: { 32: i32.sub, 64: i64.sub },
  mul: { 32: i32.mul, 64: i64.mul },
  or: { 32: i32.or, 64: i64.or },
  and: { 32: i32.and, 64: i64.and },
  xor: { 32: i32.xor, 64: i64.xor },
  lsh: { 32: i32.shl, 64: i64.shl },
  rsh: { 32: i32.shr_u, 64: i64.shr_u },
  arsh: { 32: i32.shr_s, 64: i64.shr_s },
};

const comparisons: Record<BranchOp, { readonly 32: Operation; readonly 64: Operation }> = {
  eq: { 32: i32.eq, 64: i64.eq },
  ne: { 32: i32.ne, 64: i64.ne },
  gt: { 32: i32.gt_u, 64: i64.gt_u },
  ge: { 32: i32.ge_u, 64: i64.ge_u },
  lt: { 32: i32.lt_u, 64: i64.lt_u },
  le: { 32: i32.le_u, 64: i64.le_u },
  sgt: { 32: i32.gt_s, 64: i64.gt_s },
  sge: { 32: i32.ge_s, 64: i64.ge_s },
  slt: { 32: i32.lt_s, 64: i64.lt_s },
  sle: { 32: i32.le_s, 64: i64.le_s },
  set: { 32: i32.and, 64: i64.and },
};

/** Between numbers whose sign is 0: signed ones are unsigned ones of half the width. */
const shortComparisons: Record<BranchOp, Operation> = {
  eq: i32.eq,
  ne: i32.ne,
  gt: i32.gt_u,
  ge: i32.ge_u,
  lt: i32.lt_u,
  le: i32.le_u,
  sgt: i32.gt_u,
  sge: i32.ge_u,
  slt: i32.lt_u,
  sle: i32.le_u,
  set: i32.and,
};

/** Instructions that only compute, `alu` apart. RFC 9669 §4.1, §4.2. */
export function emitArithmetic(to: FunctionEmitter, instruction: Arithmetic): void {
  switch (instruction.kind) {
    case "move_signed":
      emitMoveSigned(to, instruction);
      return;
    case "negate": {
      const { dst, width } = instruction;
      if (width === 64) {
        to.code.i64(0);
        to.get(dst);
        to.code.emit(i64.sub);
        to.set(dst);
      } else {
        to.code.i32(0);
        to.getLow(dst);
        to.code.emit(i32.sub);
        to.setLow(dst);
      }
      return;
    }
    case "byte_order":
      emitByteOrder(to, instruction);
      return;
    case "load_immediate":
      to.setConstant(instruction.dst, instruction.value);
      return;
    default:
      instruction satisfies never;
  }
}

/**
 * Pushes an i32 that is not 0 where the branch is taken. RFC 9669 §4.3. `isLoaded`: what it compares
 * was loaded for it alone. With a constant V8 would then compare memory, and load the value as well;
 * the difference, which may be 0, it computes from what is loaded.
 */
export function emitCondition(
  to: FunctionEmitter,
  { op, width, dst, src }: Extract<Instruction, { kind: "branch" }>,
  isLoaded: boolean,
): void {
  const { code } = to;
  const constant = immediateOf(src);
  if (isLoaded && to.isShort(dst) && constant !== undefined && constant > 0) {
    if (op === "eq" || op === "ne") {
      to.getLow(dst);
      code.i32(-constant);
      code.emit(i32.add);
      if (op === "eq") code.emit(i32.eqz);
      return;
    }
  }
  if (width === 64 && to.isShort(dst) && isShort(to, src)) {
    to.getLow(dst);
    pushOperand(to, src, 32);
    code.emit(shortComparisons[op]);
    return;
  }
  pushDestination(to, dst, width);
  pushOperand(to, src, width);
  code.emit(comparisons[op][width]);
  if (op === "set" && width === 64) {
    code.i64(0);
    code.emit(i64.ne);
  }
}

/** Whether an operand's high word is 0. */
function isShort(to: FunctionEmitter, operand: Operand): boolean {
  const register = registerOf(operand);
  return register === undefined ? immediateOf(operand)! >= 0 : to.isShort(register);
}

/** Pushes an operand: an i64, or an i32 for 32-bit instructions. */
function pushOperand(to: FunctionEmitter, operand: Operand, width: 32 | 64): void {
  const register = registerOf(operand);
  if (register === undefined) {
    if (width === 64) to.code.i64(immediateOf(operand)!);
    else to.code.i32(immediateOf(operand)!);
  } else if (width === 64) to.get(register);
  else to.getLow(register);
}

function pushDestination(to: FunctionEmitter, register: number, width: 32 | 64): void {
  if (width === 64) to.get(register);
  else to.getLow(register);
}

/** RFC 9669 §4.1. */
export function emitAlu(
  to: FunctionEmitter,
  instruction: Extract<Instruction, { kind: "alu" }>,
): void {
  const { op, dst, src } = instruction;
  const width = worksOnLowWords(to, instruction) ? 32 : instruction.width;
  if (op === "mov") pushOperand(to, src, width);
  else if (op === "div" || op === "mod" || op === "sdiv" || op === "smod") {
    if ("register" in src) divideByRegister(to, op, width, dst, src.register);
    else divideByConstant(to, op, width, dst, src.immediate);
  } else {
    pushDestination(to, dst, width);
    pushOperand(to, src, width);
    to.code.emit(direct[op]![width]);
  }
  if (width === 64) to.set(dst);
  else to.setLow(dst);
}

/** Whether the low words of its operands are enough for a result whose high word is 0. */
function worksOnLowWords(
  to: FunctionEmitter,
  { op, width, dst, src }: Extract<Instruction, { kind: "alu" }>,
): boolean {
  if (width === 32 || (to.shortAfter & (1 << dst)) === 0) return false;
  switch (op) {
    case "mov":
    case "add":
    case "sub":
    case "and":
    case "or":
    case "xor":
      return true;
    case "div":
    case "mod":
      return to.isShort(dst) && isShort(to, src);
    case "rsh":
      return to.isShort(dst) && registerOf(src) === undefined && (immediateOf(src)! & 63) < 32;
    default:
      return false;
  }
}

type Division = "div" | "mod" | "sdiv" | "smod";

const divisions: Record<Division, { readonly 32: Operation; readonly 64: Operation }> = {
  div: { 32: i32.div_u, 64: i64.div_u },
  mod: { 32: i32.rem_u, 64: i64.rem_u },
  sdiv: { 32: i32.div_s, 64: i64.div_s },
  smod: { 32: i32.rem_s, 64: i64.rem_s },
};

/** By zero: the quotient is 0, the remainder the dividend. By -1, signed: negation. */
function divideByConstant(
  to: FunctionEmitter,
  op: Division,
  width: 32 | 64,
  dst: number,
  divisor: number,
): void {
  const { code } = to;
  const zero = (): void => (width === 64 ? code.i64(0) : code.i32(0));
  if (divisor === 0) {
    if (op === "mod" || op === "smod") pushDestination(to, dst, width);
    else zero();
    return;
  }
  if (divisor === -1 && op === "sdiv") {
    zero();
    pushDestination(to, dst, width);
    code.emit(width === 64 ? i64.sub : i32.sub);
    return;
  }
  pushDestination(to, dst, width);
  pushOperand(to, { immediate: divisor }, width);
  code.emit(divisions[op][width]);
}

/** WebAssembly traps on division by zero, and of the most negative number by -1. */
function divideByRegister(
  to: FunctionEmitter,
  op: Division,
  width: 32 | 64,
  dst: number,
  src: number,
): void {
  const { code } = to;
  const type = width === 64 ? I64 : I32;
  const { eqz, eq, sub } = width === 64 ? i64 : i32;
  const constant = (n: number): void => (width === 64 ? code.i64(n) : code.i32(n));
  const quotient = (): void => {
    pushDestination(to, dst, width);
    pushDestination(to, src, width);
    code.emit(divisions[op][width]);
  };
  pushDestination(to, src, width);
  code.emit(eqz);
  code.if(type);
  if (op === "mod" || op === "smod") pushDestination(to, dst, width);
  else constant(0);
  code.else();
  if (op === "sdiv") {
    pushDestination(to, src, width);
    constant(-1);
    code.emit(eq);
    code.if(type);
    constant(0);
    pushDestination(to, dst, width);
    code.emit(sub);
    code.else();
    quotient();
    code.end();
  } else quotient();
  code.end();
}

function emitMoveSigned(
  to: FunctionEmitter,
  { width, bits, dst, src }: Extract<Instruction, { kind: "move_signed" }>,
): void {
  if (width === 64) {
    to.get(src);
    to.code.emit(bits === 8 ? i64.extend8_s : bits === 16 ? i64.extend16_s : i64.extend32_s);
    to.set(dst);
  } else {
    to.getLow(src);
    to.code.emit(bits === 8 ? i32.extend8_s : i32.extend16_s);
    to.setLow(dst);
  }
}

function emitByteOrder(
  to: FunctionEmitter,
  instruction: Extract<Instruction, { kind: "byte_order" }>,
): void {
  const { dst, bits } = instruction;
  if (instruction.to === "le") {
    if (bits === 64) return;
    to.getLow(dst);
    if (bits === 16) {
      to.code.i32(0xffff);
      to.code.emit(i32.and);
    }
    to.setLow(dst);
  } else if (bits === 64) {
    to.get(dst);
    swap64(to);
    to.set(dst);
  } else {
    to.getLow(dst);
    if (bits === 32) swap32(to);
    else swap16(to, isHalfWord(to, dst));
    to.setLow(dst);
  }
}

/** Whether what a register holds was loaded just before, as two bytes or one. */
function isHalfWord(to: FunctionEmitter, register: number): boolean {
  const load = to.loadOf(register);
  return load !== undefined && load.size <= 2 && !load.signed;
}

/**
 * Turns round the low two bytes of the i32 on the stack; the upper two become 0. `isHalf`: they are
 * that already.
 */
export function swap16(to: FunctionEmitter, isHalf: boolean): void {
  const { code } = to;
  const low = (): void => {
    code.i32(0xffff);
    code.emit(i32.and);
  };
  if (!isHalf) low();
  // The two bytes twice, one after the other: their other order stands in the middle.
  code.i32(0x1_0001);
  code.emit(i32.mul);
  code.i32(8);
  code.emit(i32.shr_u);
  low();
}

/** Turns round the bytes of the i32 on the stack. */
export function swap32(to: FunctionEmitter): void {
  const { code } = to;
  const value = to.temporary(I32);
  code.tee(value);
  code.i32(8);
  code.emit(i32.rotl);
  code.i32(0x00ff_00ff);
  code.emit(i32.and);
  code.get(value);
  code.i32(24);
  code.emit(i32.rotl);
  code.i32(0xff00_ff00 | 0);
  code.emit(i32.and);
  code.emit(i32.or);
}

/** Turns round the bytes of the i64 on the stack: within pairs, pairs within halves, the halves. */
function swap64(to: FunctionEmitter): void {
  const { code } = to;
  const value = to.temporary(I64);
  for (const [by, mask] of [
    [8, 0x00ff_00ff_00ff_00ffn],
    [16, 0x0000_ffff_0000_ffffn],
  ] as const) {
    code.tee(value);
    code.i64(mask);
    code.emit(i64.and);
    code.i64(by);
    code.emit(i64.shl);
    code.get(value);
    code.i64(by);
    code.emit(i64.shr_u);
    code.i64(mask);
    code.emit(i64.and);
    code.emit(i64.or);
  }
  code.i64(32);
  code.emit(i64.rotl);
}
