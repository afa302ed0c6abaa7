import type { AluOp, BranchOp, Width } from "../isa/instruction.ts";
import { constantNumber, RangeDraft, type ScalarRange } from "./scalar-range.ts";

/**
 * Numbers from 0 to 2³¹ - 1, to which all views of a range are one: most numbers of most programs are
 * such. What is done to them here is done with plain integers, in a tenth of the time that BigInt
 * takes, and comes to what the general way comes to (`settle.ts`, `scalar-alu.ts`, `scalar-compare.ts`).
 */
export const smallMax = 0x7fff_ffff;
const bigSmallMax = 0x7fff_ffffn;

/**
 * Ranges below 2³¹, the last that fell to each two places: the same range again is mostly the same object,
 * which is what compares and memos of operations look for. A power of two.
 */
const smallPlaces = 4096;
const small: (ScalarRange | undefined)[] = new Array(smallPlaces).fill(undefined);
/** Of each in `small` its bounds, value and mask: side by side, where the ranges are all over memory. */
const smallKeys = new Int32Array(4 * smallPlaces);

/**
 * The finished range of what lies between the bounds and has these bits (`value` and `mask` as in a
 * Tnum, both below 2³¹). Undefined: no number is like that.
 */
export function smallRange(
  from: number,
  to: number,
  value: number,
  mask: number,
): ScalarRange | undefined {
  const low = Math.max(from, value);
  const high = Math.min(to, value | mask);
  if (low > high) return undefined;
  const open = onesBelow(low ^ high);
  const common = low & ~open;
  if (((value ^ common) & ~mask & ~open) !== 0) return undefined;
  const unknown = mask & open;
  const known = (value | common) & ~unknown;
  const least = Math.max(low, known);
  const most = Math.min(high, known | unknown);
  if (least > most) return undefined;
  // Between the bounds there may be one number with these bits, or none.
  const first = memberFrom(least, known, unknown);
  if (first > most) return undefined;
  if (first === most || memberFrom(first + 1, known, unknown) > most) return constantNumber(first);
  const place = placeOf(least, most, known, unknown);
  return (
    sharedAt(place, least, most, known, unknown) ??
    sharedAt(place ^ 1, least, most, known, unknown) ??
    share(place, makeSmall(least, most, known, unknown))
  );
}

function sharedAt(
  place: number,
  low: number,
  high: number,
  value: number,
  mask: number,
): ScalarRange | undefined {
  const key = 4 * place;
  return smallKeys[key] === low &&
    smallKeys[key + 1] === high &&
    smallKeys[key + 2] === value &&
    smallKeys[key + 3] === mask
    ? small[place]
    : undefined;
}

/** What was in the place goes to the one beside it: two that fall to one place do not drive each other out. */
function share(place: number, made: ScalarRange): ScalarRange {
  const key = 4 * place;
  smallKeys.copyWithin(4 * (place ^ 1), key, key + 4);
  small[place ^ 1] = small[place];
  small[place] = made;
  smallKeys[key] = made.u32min;
  smallKeys[key + 1] = made.u32max;
  smallKeys[key + 2] = made.lowValue;
  smallKeys[key + 3] = made.lowMask;
  return made;
}

function makeSmall(low: number, high: number, value: number, mask: number): ScalarRange {
  const range = new RangeDraft();
  range.value = big(value);
  range.mask = big(mask);
  range.umin = range.smin = big(low);
  range.umax = range.smax = big(high);
  range.u32min = range.s32min = low;
  range.u32max = range.s32max = high;
  range.small = true;
  range.lowValue = value;
  range.lowMask = mask;
  return range;
}

/** A draft of which one view says that the number is small, finished. */
export function settleSmall(d: RangeDraft): ScalarRange | undefined {
  if (d.umin > bigSmallMax || d.smax < 0n || d.s32max < 0 || d.value > bigSmallMax)
    return undefined;
  const value = Number(d.value);
  const mask = Number(BigInt.asUintN(31, d.mask));
  const low = Math.max(Number(d.umin), d.u32min, d.s32min, d.smin > 0n ? Number(d.smin) : 0);
  let high = Math.min(d.u32max, d.s32max);
  if (d.umax < bigSmallMax) high = Math.min(high, Number(d.umax));
  if (d.smax < bigSmallMax) high = Math.min(high, Number(d.smax));
  return smallRange(low, high, value, mask);
}

/** What an operation on two small numbers gives. Undefined: the general way must tell. */
export function smallAlu(
  op: Exclude<AluOp, "mov">,
  width: Width,
  a: ScalarRange,
  b: ScalarRange,
): ScalarRange | undefined {
  switch (op) {
    case "add":
      return a.u32max + b.u32max > smallMax ? undefined : sum(a, b);
    case "sub":
      return a.u32min < b.u32max ? undefined : difference(a, b);
    case "and":
      return smallAnd(a, b);
    case "or": {
      const value = a.lowValue | b.lowValue;
      const mask = (a.lowMask | b.lowMask) & ~value;
      return smallRange(Math.max(a.u32min, b.u32min), smallMax, value, mask);
    }
    case "xor": {
      const mask = a.lowMask | b.lowMask;
      return smallRange(0, smallMax, (a.lowValue ^ b.lowValue) & ~mask, mask);
    }
    case "lsh": {
      const by = b.u32min;
      if (!b.constant || by >= width || a.u32max * 2 ** by > smallMax) return undefined;
      const mask = (a.lowMask << by) & smallMax;
      return smallRange(a.u32min << by, a.u32max << by, a.lowValue << by, mask);
    }
    case "arsh":
      // Of 32 bits the general way knows less.
      return width === 32 && !a.constant ? undefined : shiftedRight(width, a, b);
    case "rsh":
      return shiftedRight(width, a, b);
    default:
      return undefined;
  }
}

/** Of two numbers, one of which is small. */
export function smallAnd(a: ScalarRange, b: ScalarRange): ScalarRange | undefined {
  const value = a.lowValue & b.lowValue;
  const mask = (a.lowValue | a.lowMask) & (b.lowValue | b.lowMask) & ~value;
  return smallRange(0, Math.min(a.u32max, b.u32max), value, mask);
}

/** See `addBits` in tnum.ts. */
function sum(a: ScalarRange, b: ScalarRange): ScalarRange | undefined {
  if (a.constant && b.constant) return constantNumber(a.u32min + b.u32min);
  const values = a.lowValue + b.lowValue;
  const changed = (a.lowMask + b.lowMask + values) ^ values;
  const mask = (changed | a.lowMask | b.lowMask) & smallMax;
  return smallRange(a.u32min + b.u32min, a.u32max + b.u32max, values & ~mask, mask);
}

/** See `subtractBits` in tnum.ts. */
function difference(a: ScalarRange, b: ScalarRange): ScalarRange | undefined {
  if (a.constant && b.constant) return constantNumber(a.u32min - b.u32min);
  const values = a.lowValue - b.lowValue;
  const changed = (values + a.lowMask) ^ (values - b.lowMask);
  const mask = (changed | a.lowMask | b.lowMask) & smallMax;
  return smallRange(a.u32min - b.u32max, a.u32max - b.u32min, values & ~mask & smallMax, mask);
}

/** A small number less a constant, where what is added is negative: `by` is the constant's amount. */
export function smallLess(a: ScalarRange, by: number): ScalarRange | undefined {
  return a.u32min < by ? undefined : difference(a, constantNumber(by));
}

function shiftedRight(width: Width, a: ScalarRange, b: ScalarRange): ScalarRange | undefined {
  const by = b.u32min;
  if (!b.constant || by >= width) return undefined;
  // JavaScript counts shifts modulo 32.
  if (by > 31) return constantNumber(0);
  return smallRange(a.u32min >> by, a.u32max >> by, a.lowValue >> by, a.lowMask >> by);
}

/** Whether a compare of two small numbers holds: always, never, or (undefined) it depends. */
export function decideSmall(op: BranchOp, a: ScalarRange, b: ScalarRange): boolean | undefined {
  switch (op) {
    case "eq":
    case "ne":
      if (a.constant && b.constant) return (a.u32min === b.u32min) === (op === "eq");
      return isApart(a, b) ? op === "ne" : undefined;
    case "set":
      if ((a.lowValue & b.lowValue) !== 0) return true;
      return ((a.lowValue | a.lowMask) & (b.lowValue | b.lowMask)) === 0 ? false : undefined;
    case "lt":
    case "slt":
      return isLess(a, b);
    case "ge":
    case "sge":
      return not(isLess(a, b));
    case "gt":
    case "sgt":
      return isLess(b, a);
    case "le":
    case "sle":
      return not(isLess(b, a));
    default: {
      const never: never = op;
      return never;
    }
  }
}

function isApart(a: ScalarRange, b: ScalarRange): boolean {
  if (a.u32min > b.u32max || a.u32max < b.u32min) return true;
  return ((a.lowValue ^ b.lowValue) & ~a.lowMask & ~b.lowMask) !== 0;
}

function isLess(a: ScalarRange, b: ScalarRange): boolean | undefined {
  return a.u32max < b.u32min ? true : a.u32min >= b.u32max ? false : undefined;
}

function not(answer: boolean | undefined): boolean | undefined {
  return answer === undefined ? undefined : !answer;
}

/**
 * What is left of `a`, a small number, where `a op b` holds of another one. Undefined: no two numbers
 * are like that.
 */
export function refineSmall(
  op: Exclude<BranchOp, "set">,
  a: ScalarRange,
  b: ScalarRange,
): ScalarRange | undefined {
  const { u32min: low, u32max: high, lowValue, lowMask } = a;
  switch (op) {
    case "eq": {
      if (isApart(a, b)) return undefined;
      const mask = lowMask & b.lowMask;
      const value = (lowValue | b.lowValue) & ~mask;
      return kept(a, Math.max(low, b.u32min), Math.min(high, b.u32max), value, mask);
    }
    case "ne": {
      if (!b.constant) return a;
      const without = b.u32min;
      const from = low === without ? low + 1 : low;
      return kept(a, from, high === without ? high - 1 : high, lowValue, lowMask);
    }
    case "lt":
    case "slt":
      return kept(a, low, Math.min(high, b.u32max - 1), lowValue, lowMask);
    case "le":
    case "sle":
      return kept(a, low, Math.min(high, b.u32max), lowValue, lowMask);
    case "gt":
    case "sgt":
      return kept(a, Math.max(low, b.u32min + 1), high, lowValue, lowMask);
    case "ge":
    case "sge":
      return kept(a, Math.max(low, b.u32min), high, lowValue, lowMask);
    default: {
      const never: never = op;
      return never;
    }
  }
}

/** Of a constant nothing more can be learnt, and what has not changed stays the same object. */
function kept(
  before: ScalarRange,
  low: number,
  high: number,
  value: number,
  mask: number,
): ScalarRange | undefined {
  const same =
    before.u32min === low &&
    before.u32max === high &&
    before.lowValue === value &&
    before.lowMask === mask;
  return same || before.constant ? before : smallRange(low, high, value, mask);
}

function placeOf(low: number, high: number, value: number, mask: number): number {
  const mixed =
    Math.imul(low, 0x9e3779b1) ^
    Math.imul(high, 0x85ebca6b) ^
    Math.imul(value, 0xc2b2ae35) ^
    Math.imul(mask, 0x27d4eb2f);
  return (mixed ^ (mixed >>> 15)) & (smallPlaces - 1);
}

/** The least number from `from` on with these bits, or 2³¹ and more. */
function memberFrom(from: number, value: number, mask: number): number {
  if (from > 0x7fff_ffff) return from;
  const wrong = (from ^ value) & ~mask;
  if (wrong === 0) return from;
  const below = onesBelow(wrong);
  const top = (below >>> 1) + 1;
  // What follows the first wrong bit is then as small as it gets.
  if ((value & top) !== 0) return (from & ~below) | (value & below);
  // Too large already: the next unknown 0 above must become 1.
  const free = mask & ~from & ~below;
  if (free === 0) return 2 ** 31;
  const bit = free & -free;
  return (from & ~(bit - 1)) | bit | (value & (bit - 1));
}

/** Ones from the highest 1 of a number below 2³¹ down. */
function onesBelow(number: number): number {
  return number === 0 ? 0 : 0x7fff_ffff >>> (Math.clz32(number) - 1);
}

const bigNumbers: (bigint | undefined)[] = new Array(1024).fill(undefined);

/** A number as BigInt; small ones are made once. */
function big(number: number): bigint {
  if (number >= 1024) return BigInt(number);
  bigNumbers[number] ??= BigInt(number);
  return bigNumbers[number];
}
