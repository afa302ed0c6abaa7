import { bitsWithin, type Tnum } from "./tnum.ts";

/**
 * What is known of a 64-bit number: its bits, and bounds on it as unsigned and signed 64-bit number
 * and on its low half as unsigned and signed 32-bit number. All hold at once; each tells of the
 * others (`settle`). Unsigned bounds are 0 or more, signed ones two's complement.
 *
 * 64-bit bounds are BigInt, which V8 keeps in machine words within a function that it has made fast;
 * 32-bit ones numbers. Immutable once settled, and shared between states.
 */
export interface ScalarRange extends Tnum {
  readonly umin: bigint;
  readonly umax: bigint;
  readonly smin: bigint;
  readonly smax: bigint;
  readonly u32min: number;
  readonly u32max: number;
  readonly s32min: number;
  readonly s32max: number;
  /** It is one number: what `mask` being 0 says, for a compare that costs nothing. */
  readonly constant: boolean;
  /** Another for each range, for tables of them. 32 bits: it may come round. */
  readonly serial: number;
  /**
   * It lies from 0 to 2³¹ - 1, and this is known at once: `u32min` and `u32max` are its bounds in all
   * views, `lowValue` and `lowMask` all of its bits.
   */
  readonly small: boolean;
  /** The low halves of `value` and `mask`, signed, once it is settled. */
  readonly lowValue: number;
  readonly lowMask: number;
  /** What register-state.ts keeps with it: a register that holds it and is linked to no other. */
  plain: object | undefined;
}

export const u64max = 0xffff_ffff_ffff_ffffn;
export const s64min = -(1n << 63n);
export const s64max = (1n << 63n) - 1n;
export const u32max = 0xffff_ffff;
export const s32min = -0x8000_0000;
export const s32max = 0x7fff_ffff;

let lastSerial = 0;

function nextSerial(): number {
  lastSerial = (lastSerial + 1) | 0;
  return lastSerial;
}

/** A range while it is worked out; one shape for all, made from another or from nothing known. */
export class RangeDraft implements ScalarRange {
  value = 0n;
  mask = u64max;
  umin = 0n;
  umax = u64max;
  smin = s64min;
  smax = s64max;
  u32min = 0;
  u32max = u32max;
  s32min = s32min;
  s32max = s32max;
  constant = false;
  readonly serial = nextSerial();
  small = false;
  lowValue = 0;
  lowMask = -1;
  plain: object | undefined = undefined;

  setBits({ value, mask }: Tnum): this {
    this.value = value;
    this.mask = mask;
    return this;
  }

  setBounds(from: ScalarRange): this {
    this.umin = from.umin;
    this.umax = from.umax;
    this.smin = from.smin;
    this.smax = from.smax;
    return this.setBounds32(from);
  }

  setBounds32(from: Bounds32): this {
    this.u32min = from.u32min;
    this.u32max = from.u32max;
    this.s32min = from.s32min;
    this.s32max = from.s32max;
    return this;
  }
}

/** Bounds on the low half. */
export type Bounds32 = Pick<ScalarRange, "u32min" | "u32max" | "s32min" | "s32max">;

export function draftOf(range: ScalarRange): RangeDraft {
  return new RangeDraft().setBits(range).setBounds(range);
}

/** Nothing is known. */
export const unknownRange: ScalarRange = new RangeDraft();

/** Constants below this are made once; of others each place holds the last that fell to it. Powers of two. */
const smallConstantCount = 4096;
const largePlaces = 1024;
const smallConstants: (ScalarRange | undefined)[] = new Array(smallConstantCount).fill(undefined);
const largeConstants: (ScalarRange | undefined)[] = new Array(largePlaces).fill(undefined);
const largeNumbers: (ScalarRange | undefined)[] = new Array(largePlaces).fill(undefined);
/** Of the numbers in `largeNumbers`. */
const numbers = new Float64Array(largePlaces);

/** Exactly this number, given as signed or unsigned 64-bit. */
export function constantRange(number: bigint): ScalarRange {
  const value = BigInt.asUintN(64, number);
  if (value < smallConstantCount) return constantNumber(Number(value));
  const place = placeOf(Number(BigInt.asIntN(32, value)));
  const known = largeConstants[place];
  if (known !== undefined && known.value === value) return known;
  const made = makeConstant(value);
  largeConstants[place] = made;
  return made;
}

/** The same of a number that is none of BigInt, and exact. */
export function constantNumber(number: number): ScalarRange {
  if (number >= 0 && number < smallConstantCount) {
    smallConstants[number] ??= makeConstant(BigInt(number));
    return smallConstants[number];
  }
  const place = placeOf(number | 0);
  const known = largeNumbers[place];
  if (known !== undefined && numbers[place] === number) return known;
  const made = constantRange(BigInt(number));
  largeNumbers[place] = made;
  numbers[place] = number;
  return made;
}

function placeOf(low: number): number {
  return (Math.imul(low, 0x9e3779b1) >>> 16) & (largePlaces - 1);
}

function makeConstant(value: bigint): ScalarRange {
  const range = new RangeDraft();
  const low = Number(BigInt.asUintN(32, value));
  range.value = range.umin = range.umax = value;
  range.mask = 0n;
  range.constant = true;
  range.smin = range.smax = BigInt.asIntN(64, value);
  range.u32min = range.u32max = low;
  range.s32min = range.s32max = low | 0;
  range.small = value <= s32max;
  range.lowValue = low | 0;
  range.lowMask = 0;
  return range;
}

/** The number 0; there is no other range that is this one. */
export const zeroRange: ScalarRange = constantRange(0n);

export function isConstant(range: ScalarRange): boolean {
  return range.constant;
}

/** Whether this is the number, which is unsigned. */
export function isNumber(range: ScalarRange, value: bigint): boolean {
  return range.constant && range.value === value;
}

/** Whether the number surely is one of `size` bytes, unsigned. */
export function fitsBytes(range: ScalarRange, size: number): boolean {
  if (size === 8) return true;
  return range.small ? range.u32max < 2 ** (8 * size) : range.umax < 1n << BigInt(8 * size);
}

/** Whether `b` covers no number that `a` does not. */
export function rangeWithin(a: ScalarRange, b: ScalarRange): boolean {
  if (a === b) return true;
  if (a.small && b.small)
    return (
      a.u32min <= b.u32min &&
      a.u32max >= b.u32max &&
      (b.lowMask & ~a.lowMask) === 0 &&
      (b.lowValue & ~a.lowMask) === a.lowValue
    );
  return (
    a.umin <= b.umin &&
    a.umax >= b.umax &&
    a.smin <= b.smin &&
    a.smax >= b.smax &&
    a.u32min <= b.u32min &&
    a.u32max >= b.u32max &&
    a.s32min <= b.s32min &&
    a.s32max >= b.s32max &&
    bitsWithin(a, b)
  );
}

export function sameRange(a: ScalarRange, b: ScalarRange): boolean {
  if (a === b) return true;
  if (a.small && b.small)
    return (
      a.u32min === b.u32min &&
      a.u32max === b.u32max &&
      a.lowValue === b.lowValue &&
      a.lowMask === b.lowMask
    );
  return (
    a.value === b.value &&
    a.mask === b.mask &&
    a.umin === b.umin &&
    a.umax === b.umax &&
    a.smin === b.smin &&
    a.smax === b.smax &&
    a.u32min === b.u32min &&
    a.u32max === b.u32max &&
    a.s32min === b.s32min &&
    a.s32max === b.s32max
  );
}
