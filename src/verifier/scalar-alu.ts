import type { AluOp, Width } from "../isa/instruction.ts";
import { OperationMemo } from "./operation-memo.ts";
import {
  type Bounds32,
  constantRange,
  fitsBytes,
  isConstant,
  RangeDraft,
  type ScalarRange,
  s32max,
  s32min,
  s64max,
  s64min,
  u32max,
  u64max,
  unknownRange,
} from "./scalar-range.ts";
import { settle, signedRange, unsignedRange } from "./settle.ts";
import { smallAlu, smallAnd, smallLess } from "./small-range.ts";
import {
  addBits,
  andBits,
  lowBits,
  multiplyBits,
  orBits,
  shiftBitsLeft,
  shiftBitsRight,
  shiftBitsRightSigned,
  signExtendBits,
  subtractBits,
  swapBytes,
  type Tnum,
  xorBits,
} from "./tnum.ts";

type ArithmeticOp = Exclude<AluOp, "mov">;

/**
 * What an ALU operation on two numbers can give. 32-bit operations work on the low halves and
 * zero-extend. Divisions, and shifts by an unknown number, give any number, as in the kernel.
 */
export function alu(op: ArithmeticOp, width: Width, a: ScalarRange, b: ScalarRange): ScalarRange {
  if (op === "div" || op === "mod" || op === "sdiv" || op === "smod") return unknownRange;
  const small = aluOfSmall(op, width, a, b);
  if (small !== undefined) return small;
  const tag = 2 * opNumbers[op] + (width === 64 ? 1 : 0);
  return known.find(tag, a, b) ?? known.keep(tag, a, b, workOut(op, width, a, b));
}

const known = new OperationMemo<ScalarRange>();
const opNumbers = {
  add: 0,
  sub: 1,
  mul: 2,
  and: 3,
  or: 4,
  xor: 5,
  lsh: 6,
  rsh: 7,
  arsh: 8,
} as const;

/** The same by integers, where a number is small (small-range.ts); elsewhere undefined. */
function aluOfSmall(
  op: ArithmeticOp,
  width: Width,
  a: ScalarRange,
  b: ScalarRange,
): ScalarRange | undefined {
  if (a.small && b.small) return smallAlu(op, width, a, b);
  if (op === "and" && (a.small || b.small)) return smallAnd(a, b);
  // Of which no bit is known in one or the other, no bit is known: as in hashes.
  if (op === "xor" && width === 32 && (a.lowMask | b.lowMask) === -1) return unsignedRange(4);
  return op === "add" && a.small ? addedNegative(width, a, b) : undefined;
}

/** A small number to which a negative constant is added, as compilers count down. */
function addedNegative(width: Width, a: ScalarRange, b: ScalarRange): ScalarRange | undefined {
  if (!b.constant || b.s32min >= 0) return undefined;
  if (width === 64 && (b.smin < -0x8000_0000n || b.smin >= 0n)) return undefined;
  return smallLess(a, -b.s32min);
}

/** The general way; `alu` finds the same for small numbers faster. */
export function workOut(
  op: keyof typeof opNumbers,
  width: Width,
  a: ScalarRange,
  b: ScalarRange,
): ScalarRange {
  if (isConstant(a) && isConstant(b)) return constantAlu(op, width, a.value, b.value);
  if (op === "lsh" || op === "rsh" || op === "arsh") {
    const by = width === 64 ? b : zeroExtended(b);
    if (!isConstant(by) || by.value >= BigInt(width)) return unknownRange;
    return width === 64 ? shift64(op, a, by.value) : zeroExtend(shift32(op, a, Number(by.value)));
  }
  const draft = new RangeDraft();
  draft.setBits(bits(op, a, b)).setBounds32(bounds32(op, a, b));
  if (width === 32) return zeroExtend(draft);
  bounds64(op, a, b, draft);
  return settle(draft) ?? unknownRange;
}

function constantAlu(op: ArithmeticOp, width: Width, a: bigint, b: bigint): ScalarRange {
  const result = wrap(op, width, BigInt.asUintN(width, a), BigInt.asUintN(width, b));
  return constantRange(BigInt.asUintN(width, result));
}

function wrap(op: ArithmeticOp, width: Width, a: bigint, b: bigint): bigint {
  const by = b & BigInt(width - 1);
  switch (op) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return a * b;
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "xor":
      return a ^ b;
    case "lsh":
      return a << by;
    case "rsh":
      return a >> by;
    default:
      return BigInt.asIntN(width, a) >> by;
  }
}

function bits(op: ArithmeticOp, a: Tnum, b: Tnum): Tnum {
  switch (op) {
    case "add":
      return addBits(a, b);
    case "sub":
      return subtractBits(a, b);
    case "mul":
      return multiplyBits(a, b);
    case "and":
      return andBits(a, b);
    case "or":
      return orBits(a, b);
    default:
      return xorBits(a, b);
  }
}

/** Bounds of a 64-bit result, into the draft; its bits are there already. */
function bounds64(op: ArithmeticOp, a: ScalarRange, b: ScalarRange, draft: RangeDraft): void {
  switch (op) {
    case "add":
      signed64(draft, a.smin + b.smin, a.smax + b.smax);
      unsigned64(draft, a.umin + b.umin, a.umax + b.umax);
      return;
    case "sub":
      signed64(draft, a.smin - b.smax, a.smax - b.smin);
      unsigned64(draft, a.umin - b.umax, a.umax - b.umin);
      return;
    case "mul": {
      if (a.umax * b.umax <= u64max) {
        draft.umin = a.umin * b.umin;
        draft.umax = a.umax * b.umax;
      }
      const products = [a.smin * b.smin, a.smin * b.smax, a.smax * b.smin, a.smax * b.smax];
      const low = products.reduce((least, product) => (product < least ? product : least));
      const high = products.reduce((most, product) => (product > most ? product : most));
      if (low >= s64min && high <= s64max) {
        draft.smin = low;
        draft.smax = high;
      }
      return;
    }
    case "and":
      draft.umax = a.umax < b.umax ? a.umax : b.umax;
      return;
    case "or":
      draft.umin = a.umin > b.umin ? a.umin : b.umin;
      return;
    default:
      return;
  }
}

/** From low to high, unless one of them wraps and the other does not. */
function signed64(draft: RangeDraft, low: bigint, high: bigint): void {
  const wrapsLow = low < s64min ? -1 : low > s64max ? 1 : 0;
  const wrapsHigh = high < s64min ? -1 : high > s64max ? 1 : 0;
  if (wrapsLow !== wrapsHigh) return;
  draft.smin = BigInt.asIntN(64, low);
  draft.smax = BigInt.asIntN(64, high);
}

function unsigned64(draft: RangeDraft, low: bigint, high: bigint): void {
  const wrapsLow = low < 0n ? -1 : low > u64max ? 1 : 0;
  const wrapsHigh = high < 0n ? -1 : high > u64max ? 1 : 0;
  if (wrapsLow !== wrapsHigh) return;
  draft.umin = BigInt.asUintN(64, low);
  draft.umax = BigInt.asUintN(64, high);
}

/** Bounds of the low half of a result, which only the operands' low halves decide. */
function bounds32(op: ArithmeticOp, a: Bounds32, b: Bounds32): Bounds32 {
  switch (op) {
    case "add":
      return {
        ...signed32(a.s32min + b.s32min, a.s32max + b.s32max),
        ...unsigned32(a.u32min + b.u32min, a.u32max + b.u32max),
      };
    case "sub":
      return {
        ...signed32(a.s32min - b.s32max, a.s32max - b.s32min),
        ...unsigned32(a.u32min - b.u32max, a.u32max - b.u32min),
      };
    case "mul":
      return multiply32(a, b);
    case "and":
      return { ...unknownRange, u32max: Math.min(a.u32max, b.u32max) };
    case "or":
      return { ...unknownRange, u32min: Math.max(a.u32min, b.u32min) };
    default:
      return unknownRange;
  }
}

/** Products above 2⁵³ are not exact, but surely above 2³². */
function multiply32(a: Bounds32, b: Bounds32): Bounds32 {
  const products = [
    a.s32min * b.s32min,
    a.s32min * b.s32max,
    a.s32max * b.s32min,
    a.s32max * b.s32max,
  ];
  const low = Math.min(...products);
  const high = Math.max(...products);
  const signed = low < s32min || high > s32max ? wholeSigned32 : { s32min: low, s32max: high };
  const unsigned =
    a.u32max * b.u32max > u32max
      ? wholeUnsigned32
      : { u32min: a.u32min * b.u32min, u32max: a.u32max * b.u32max };
  return { ...signed, ...unsigned };
}

const wholeSigned32 = { s32min, s32max };
const wholeUnsigned32 = { u32min: 0, u32max };

function signed32(low: number, high: number): Pick<Bounds32, "s32min" | "s32max"> {
  const wrapsLow = low < s32min ? -1 : low > s32max ? 1 : 0;
  const wrapsHigh = high < s32min ? -1 : high > s32max ? 1 : 0;
  return wrapsLow === wrapsHigh ? { s32min: low | 0, s32max: high | 0 } : wholeSigned32;
}

function unsigned32(low: number, high: number): Pick<Bounds32, "u32min" | "u32max"> {
  const wrapsLow = low < 0 ? -1 : low > u32max ? 1 : 0;
  const wrapsHigh = high < 0 ? -1 : high > u32max ? 1 : 0;
  return wrapsLow === wrapsHigh ? { u32min: low >>> 0, u32max: high >>> 0 } : wholeUnsigned32;
}

function shift64(op: "lsh" | "rsh" | "arsh", a: ScalarRange, by: bigint): ScalarRange {
  const draft = new RangeDraft();
  switch (op) {
    case "lsh":
      draft.setBits(shiftBitsLeft(a, by));
      if (a.umax << by <= u64max) {
        draft.umin = a.umin << by;
        draft.umax = a.umax << by;
      }
      if (by === 32n) {
        // The first half of a sign extension: only the low half is left.
        draft.smin = BigInt(a.s32min) << 32n;
        draft.smax = BigInt(a.s32max) << 32n;
      } else if (a.smin << by >= s64min && a.smax << by <= s64max) {
        draft.smin = a.smin << by;
        draft.smax = a.smax << by;
      }
      break;
    case "rsh":
      draft.setBits(shiftBitsRight(a, by));
      draft.umin = a.umin >> by;
      draft.umax = a.umax >> by;
      break;
    case "arsh":
      draft.setBits(shiftBitsRightSigned(a, by, 64));
      draft.smin = a.smin >> by;
      draft.smax = a.smax >> by;
      break;
  }
  return settle(draft) ?? unknownRange;
}

/** A draft whose low half alone means something. */
function shift32(op: "lsh" | "rsh" | "arsh", a: ScalarRange, by: number): RangeDraft {
  const draft = new RangeDraft();
  const low = lowBits(a, 32);
  switch (op) {
    case "lsh":
      draft.setBits(shiftBitsLeft(low, BigInt(by)));
      if (a.u32max * 2 ** by <= u32max) {
        draft.u32min = a.u32min * 2 ** by;
        draft.u32max = a.u32max * 2 ** by;
      }
      break;
    case "rsh":
      draft.setBits(shiftBitsRight(low, BigInt(by)));
      draft.u32min = a.u32min >>> by;
      draft.u32max = a.u32max >>> by;
      break;
    case "arsh":
      draft.setBits(shiftBitsRightSigned(low, BigInt(by), 32));
      draft.s32min = a.s32min >> by;
      draft.s32max = a.s32max >> by;
      break;
  }
  return draft;
}

/** The low half as a 64-bit number. */
export function zeroExtended(a: ScalarRange): ScalarRange {
  if (a.small) return a;
  if (isConstant(a)) return constantRange(BigInt.asUintN(32, a.value));
  if (a.umax <= 0xffff_ffffn) return a;
  return knownParts.find(4, a, a) ?? knownParts.keep(4, a, a, zeroExtend(a));
}

function zeroExtend(low: Tnum & Bounds32): ScalarRange {
  const draft = new RangeDraft().setBits(lowBits(low, 32)).setBounds32(low);
  draft.umin = draft.smin = BigInt(low.u32min);
  draft.umax = draft.smax = BigInt(low.u32max);
  return settle(draft) ?? unknownRange;
}

/** The low `size` bytes, zero-extended: what is left where a number passes through memory. */
export function truncated(a: ScalarRange, size: number): ScalarRange {
  if (size === 8) return a;
  if (size === 4) return zeroExtended(a);
  if (fitsBytes(a, size)) return a;
  return knownParts.find(size, a, a) ?? knownParts.keep(size, a, a, truncate(a, size));
}

/** By tag: 1 to 4 what is left of as many bytes, 9 to 12 the same with their sign, from 16 on byte orders. */
const knownParts = new OperationMemo<ScalarRange>();

function truncate(a: ScalarRange, size: number): ScalarRange {
  const bitCount = size * 8;
  const most = (1n << BigInt(bitCount)) - 1n;
  const draft = new RangeDraft().setBits(lowBits(a, bitCount));
  draft.umax = most;
  // The bounds survive where they have the same bits above.
  if (a.umin >> BigInt(bitCount) === a.umax >> BigInt(bitCount)) {
    draft.umin = a.umin & most;
    draft.umax = a.umax & most;
  }
  return settle(draft) ?? unknownRange;
}

/** The low `size` bytes, sign-extended to 64 bits. */
export function signExtended(a: ScalarRange, size: number): ScalarRange {
  if (size === 8) return a;
  if (isConstant(a)) return constantRange(BigInt.asIntN(size * 8, a.value));
  const whole = signedRange(size);
  if (a.smin >= whole.smin && a.smax <= whole.smax) return a;
  const tag = 8 + size;
  return knownParts.find(tag, a, a) ?? knownParts.keep(tag, a, a, signExtend(a, size, whole));
}

function signExtend(a: ScalarRange, size: number, whole: ScalarRange): ScalarRange {
  const bitCount = size * 8;
  const draft = new RangeDraft().setBits(signExtendBits(a, bitCount));
  draft.smin = whole.smin;
  draft.smax = whole.smax;
  if (size === 4) {
    draft.smin = BigInt(a.s32min);
    draft.smax = BigInt(a.s32max);
  } else if (a.smin >> BigInt(bitCount) === a.smax >> BigInt(bitCount)) {
    const low = BigInt.asIntN(bitCount, a.smin);
    const high = BigInt.asIntN(bitCount, a.smax);
    if (low <= high) {
      draft.smin = low;
      draft.smax = high;
    }
  }
  return settle(draft) ?? unknownRange;
}

/** -a. */
export function negated(width: Width, a: ScalarRange): ScalarRange {
  return alu("sub", width, constantRange(0n), a);
}

/** Byte order changes keep what is known of each bit. */
export function byteOrdered(
  to: "le" | "be" | "swap",
  bitCount: 16 | 32 | 64,
  a: ScalarRange,
): ScalarRange {
  const tag = to === "le" ? bitCount : bitCount + 1;
  return knownParts.find(tag, a, a) ?? knownParts.keep(tag, a, a, order(to, bitCount, a));
}

function order(to: "le" | "be" | "swap", bitCount: 16 | 32 | 64, a: ScalarRange): ScalarRange {
  const draft = new RangeDraft();
  draft.setBits(to === "le" ? lowBits(a, bitCount) : swapBytes(a, bitCount));
  return settle(draft) ?? unknownRange;
}
