import type { BranchOp, Width } from "../isa/instruction.ts";
import { OperationMemo } from "./operation-memo.ts";
import {
  draftOf,
  isConstant,
  type RangeDraft,
  type ScalarRange,
  sameRange,
  unknownRange,
} from "./scalar-range.ts";
import { settle } from "./settle.ts";
import { decideSmall, refineSmall } from "./small-range.ts";
import { intersectBits, lowBits, type Tnum, withLowHalf } from "./tnum.ts";

/** Whether `a op b` holds: always, never, or (undefined) it depends. */
export function decide(
  op: BranchOp,
  width: Width,
  a: ScalarRange,
  b: ScalarRange,
): boolean | undefined {
  if (a.small && b.small) return decideSmall(op, a, b);
  const tag = tagOf(op, width);
  const known =
    decisions.find(tag, a, b) ?? decisions.keep(tag, a, b, { is: compare(op, width, a, b) });
  return known.is;
}

const decisions = new OperationMemo<{ readonly is: boolean | undefined }>();
const opNumbers: Record<BranchOp, number> = {
  eq: 0,
  ne: 1,
  set: 2,
  gt: 3,
  ge: 4,
  lt: 5,
  le: 6,
  sgt: 7,
  sge: 8,
  slt: 9,
  sle: 10,
};

function tagOf(op: BranchOp, width: Width): number {
  return 2 * opNumbers[op] + (width === 64 ? 1 : 0);
}

/** The general way; `decide` finds the same for small numbers faster. */
export function compare(
  op: BranchOp,
  width: Width,
  a: ScalarRange,
  b: ScalarRange,
): boolean | undefined {
  switch (op) {
    case "eq":
      return equal(width, a, b);
    case "ne":
      return not(equal(width, a, b));
    case "set":
      return anyBitShared(bitsOf(width, a), bitsOf(width, b));
    case "gt":
      return less(true, width, b, a);
    case "le":
      return not(less(true, width, b, a));
    case "lt":
      return less(true, width, a, b);
    case "ge":
      return not(less(true, width, a, b));
    case "sgt":
      return less(false, width, b, a);
    case "sle":
      return not(less(false, width, b, a));
    case "slt":
      return less(false, width, a, b);
    case "sge":
      return not(less(false, width, a, b));
    default: {
      const never: never = op;
      return never;
    }
  }
}

function not(answer: boolean | undefined): boolean | undefined {
  return answer === undefined ? undefined : !answer;
}

function bitsOf(width: Width, range: ScalarRange): Tnum {
  return width === 64 ? range : lowBits(range, 32);
}

function equal(width: Width, a: ScalarRange, b: ScalarRange): boolean | undefined {
  const x = bitsOf(width, a);
  const y = bitsOf(width, b);
  if (x.mask === 0n && y.mask === 0n) return x.value === y.value;
  const apart =
    width === 64
      ? a.umin > b.umax || a.umax < b.umin || a.smin > b.smax || a.smax < b.smin
      : a.u32min > b.u32max || a.u32max < b.u32min || a.s32min > b.s32max || a.s32max < b.s32min;
  return apart || intersectBits(x, y) === undefined ? false : undefined;
}

function anyBitShared(x: Tnum, y: Tnum): boolean | undefined {
  if ((x.value & y.value) !== 0n) return true;
  return ((x.value | x.mask) & (y.value | y.mask)) === 0n ? false : undefined;
}

/** a < b. */
function less(unsigned: boolean, width: Width, a: ScalarRange, b: ScalarRange) {
  if (width === 64)
    return unsigned
      ? ordered(a.umax < b.umin, a.umin >= b.umax)
      : ordered(a.smax < b.smin, a.smin >= b.smax);
  return unsigned
    ? ordered(a.u32max < b.u32min, a.u32min >= b.u32max)
    : ordered(a.s32max < b.s32min, a.s32min >= b.s32max);
}

function ordered(always: boolean, never: boolean): boolean | undefined {
  return always ? true : never ? false : undefined;
}

const opposites: Record<Exclude<BranchOp, "set">, Exclude<BranchOp, "set">> = {
  eq: "ne",
  ne: "eq",
  gt: "le",
  le: "gt",
  lt: "ge",
  ge: "lt",
  sgt: "sle",
  sle: "sgt",
  slt: "sge",
  sge: "slt",
};

/** What `b ? a` says where it says the same as `a op b`. */
export const mirrored = {
  eq: "eq",
  ne: "ne",
  set: "set",
  gt: "lt",
  lt: "gt",
  ge: "le",
  le: "ge",
  sgt: "slt",
  slt: "sgt",
  sge: "sle",
  sle: "sge",
} as const satisfies Record<BranchOp, BranchOp>;

/** Two numbers, after a compare of them has come out one way. */
export interface Refined {
  readonly a: ScalarRange;
  readonly b: ScalarRange;
}

/**
 * What `a op b` being `holds` tells of both. Nothing, where no two numbers are like that, though `decide`
 * could not tell from the bounds alone: such a path is followed as it is.
 */
export function refine(
  op: BranchOp,
  width: Width,
  a: ScalarRange,
  b: ScalarRange,
  holds: boolean,
): Refined {
  if (op !== "set" && a.small && b.small) {
    const relation = holds ? op : opposites[op];
    const refinedA = refineSmall(relation, a, b);
    const refinedB = refineSmall(mirrored[relation], b, a);
    return refinedA === undefined || refinedB === undefined
      ? { a, b }
      : { a: refinedA, b: refinedB };
  }
  const tag = 2 * tagOf(op, width) + (holds ? 1 : 0);
  return (
    refinements.find(tag, a, b) ?? refinements.keep(tag, a, b, workOut(op, width, a, b, holds))
  );
}

const refinements = new OperationMemo<Refined>();

/** The general way; `refine` finds the same for small numbers faster. */
export function workOut(
  op: BranchOp,
  width: Width,
  a: ScalarRange,
  b: ScalarRange,
  holds: boolean,
): Refined {
  const x = draftOf(a);
  const y = draftOf(b);
  if (op === "set") refineBits(width, x, b, holds);
  else refineOrder(holds ? op : opposites[op], width, x, y);
  const refinedA = settleChanged(x, a);
  const refinedB = settleChanged(y, b);
  return refinedA === undefined || refinedB === undefined ? { a, b } : { a: refinedA, b: refinedB };
}

/** Of a constant nothing more can be learnt, and of what has not changed neither. */
function settleChanged(draft: RangeDraft, before: ScalarRange): ScalarRange | undefined {
  return isConstant(before) || sameRange(draft, before) ? before : settle(draft);
}

function refineOrder(
  op: Exclude<BranchOp, "set">,
  width: Width,
  x: RangeDraft,
  y: RangeDraft,
): void {
  switch (op) {
    case "eq":
      refineEqual(width, x, y);
      return;
    case "ne":
      refineUnequal(width, x, y);
      refineUnequal(width, y, x);
      return;
    case "gt":
      lessUnsigned(width, y, x, 1);
      return;
    case "ge":
      lessUnsigned(width, y, x, 0);
      return;
    case "lt":
      lessUnsigned(width, x, y, 1);
      return;
    case "le":
      lessUnsigned(width, x, y, 0);
      return;
    case "sgt":
      lessSigned(width, y, x, 1);
      return;
    case "sge":
      lessSigned(width, y, x, 0);
      return;
    case "slt":
      lessSigned(width, x, y, 1);
      return;
    case "sle":
      lessSigned(width, x, y, 0);
      return;
    default: {
      const never: never = op;
      throw new Error(`${never} is not handled`);
    }
  }
}

/** x + gap ≤ y. */
function lessUnsigned(width: Width, x: RangeDraft, y: RangeDraft, gap: 0 | 1): void {
  if (width === 32) {
    x.u32max = Math.min(x.u32max, y.u32max - gap);
    y.u32min = Math.max(y.u32min, x.u32min + gap);
    return;
  }
  const most = y.umax - BigInt(gap);
  const least = x.umin + BigInt(gap);
  if (most < x.umax) x.umax = most;
  if (least > y.umin) y.umin = least;
}

function lessSigned(width: Width, x: RangeDraft, y: RangeDraft, gap: 0 | 1): void {
  if (width === 32) {
    x.s32max = Math.min(x.s32max, y.s32max - gap);
    y.s32min = Math.max(y.s32min, x.s32min + gap);
    return;
  }
  const most = y.smax - BigInt(gap);
  const least = x.smin + BigInt(gap);
  if (most < x.smax) x.smax = most;
  if (least > y.smin) y.smin = least;
}

function refineEqual(width: Width, x: RangeDraft, y: RangeDraft): void {
  const u32 = [Math.max(x.u32min, y.u32min), Math.min(x.u32max, y.u32max)] as const;
  const s32 = [Math.max(x.s32min, y.s32min), Math.min(x.s32max, y.s32max)] as const;
  for (const d of [x, y]) {
    [d.u32min, d.u32max] = u32;
    [d.s32min, d.s32max] = s32;
  }
  if (width === 32) {
    const low = intersectBits(lowBits(x, 32), lowBits(y, 32));
    if (low === undefined) {
      contradict(x);
      return;
    }
    x.setBits(withLowHalf(x, low));
    y.setBits(withLowHalf(y, low));
    return;
  }
  const bits = intersectBits(x, y);
  if (bits === undefined) {
    contradict(x);
    return;
  }
  if (y.umin > x.umin) x.umin = y.umin;
  if (y.umax < x.umax) x.umax = y.umax;
  if (y.smin > x.smin) x.smin = y.smin;
  if (y.smax < x.smax) x.smax = y.smax;
  x.setBits(bits);
  y.setBits(bits).setBounds(x);
}

function contradict(x: RangeDraft): void {
  x.u32min = 1;
  x.u32max = 0;
}

/** Where y is one number at an end of x, that end moves by one. */
function refineUnequal(width: Width, x: RangeDraft, y: ScalarRange): void {
  const number = width === 64 ? y : lowBits(y, 32);
  if (number.mask !== 0n) return;
  const low = Number(BigInt.asUintN(32, number.value));
  if (width === 32) {
    if (x.u32min === low) x.u32min++;
    if (x.u32max === low) x.u32max--;
    if (x.s32min === (low | 0)) x.s32min++;
    if (x.s32max === (low | 0)) x.s32max--;
    return;
  }
  const signed = BigInt.asIntN(64, number.value);
  if (x.umin === number.value) x.umin++;
  if (x.umax === number.value) x.umax--;
  if (x.smin === signed) x.smin++;
  if (x.smax === signed) x.smax--;
}

/** `x & y` is not 0 (then a y of one bit is set in x), or is 0 (then x has none of y's bits). */
function refineBits(width: Width, x: RangeDraft, y: ScalarRange, holds: boolean): void {
  const tested = bitsOf(width, y);
  if (tested.mask !== 0n) return;
  const bits = tested.value;
  if (holds) {
    if (bits !== 0n && (bits & (bits - 1n)) === 0n)
      x.setBits({ value: x.value | bits, mask: x.mask & ~bits });
    return;
  }
  // The kernel keeps only what the bits tell here, and so no program relies on more.
  x.setBits({ value: x.value & ~bits, mask: x.mask & ~bits }).setBounds(unknownRange);
}
