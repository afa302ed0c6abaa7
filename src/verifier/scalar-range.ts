import { bitsOfRange, bitsWithin, intersectBits, lowBits, type Tnum, withLowHalf } from "./tnum.ts";

/**
 * What is known of a 64-bit number: its bits, and bounds on it as unsigned and signed 64-bit number
 * and on its low half as unsigned and signed 32-bit number. All hold at once; each tells of the
 * others (`settle`). Unsigned bounds are 0 or more, signed ones two's complement.
 *
 * 64-bit bounds are BigInt, which V8 keeps in machine words within a function; 32-bit ones numbers.
 * Immutable once settled, and shared between states.
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

const smallConstants: ScalarRange[] = [];
const smallConstantCount = 4096;

/** Exactly this number, given as signed or unsigned 64-bit. */
export function constantRange(number: bigint): ScalarRange {
  const value = BigInt.asUintN(64, number);
  return value >= smallConstantCount ? makeConstant(value) : smallConstant(Number(value));
}

/** The same of a number that is none of BigInt, and exact. */
export function constantNumber(number: number): ScalarRange {
  return number >= 0 && number < smallConstantCount
    ? smallConstant(number)
    : makeConstant(BigInt.asUintN(64, BigInt(number)));
}

function smallConstant(number: number): ScalarRange {
  smallConstants[number] ??= makeConstant(BigInt(number));
  return smallConstants[number];
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
  return range;
}

/** The number 0; there is no other range that is this one. */
export const zeroRange: ScalarRange = constantRange(0n);

/** Any number of this many bytes, zero-extended: what a load gives. */
export function unsignedRange(size: number): ScalarRange {
  return byteRanges[size] ?? unknownRange;
}

/** Any number of this many bytes, sign-extended. */
export function signedRange(size: number): ScalarRange {
  return signedByteRanges[size] ?? unknownRange;
}

/** Any number from `min` to `max`, both unsigned. */
export function rangeBetween(min: bigint, max: bigint): ScalarRange {
  const draft = new RangeDraft();
  draft.umin = min;
  draft.umax = max;
  return settle(draft) ?? unknownRange;
}

export function isConstant(range: ScalarRange): boolean {
  return range.constant;
}

/** Whether this is the number, which is unsigned. */
export function isNumber(range: ScalarRange, value: bigint): boolean {
  return range.constant && range.value === value;
}

/** Whether `b` covers no number that `a` does not. */
export function rangeWithin(a: ScalarRange, b: ScalarRange): boolean {
  return (
    a === b ||
    (a.umin <= b.umin &&
      a.umax >= b.umax &&
      a.smin <= b.smin &&
      a.smax >= b.smax &&
      a.u32min <= b.u32min &&
      a.u32max >= b.u32max &&
      a.s32min <= b.s32min &&
      a.s32max >= b.s32max &&
      bitsWithin(a, b))
  );
}

export function sameRange(a: ScalarRange, b: ScalarRange): boolean {
  return (
    a === b ||
    (a.value === b.value &&
      a.mask === b.mask &&
      a.umin === b.umin &&
      a.umax === b.umax &&
      a.smin === b.smin &&
      a.smax === b.smax &&
      a.u32min === b.u32min &&
      a.u32max === b.u32max &&
      a.s32min === b.s32min &&
      a.s32max === b.s32max)
  );
}

/**
 * Lets bits and bounds tell of each other, and gives the draft as a finished range. Undefined: no
 * number is like that.
 */
export function settle(draft: RangeDraft): ScalarRange | undefined {
  if (draft.umax <= smallMax || (draft.smin >= 0n && draft.smax <= smallMax))
    return settleSmall(draft);
  boundsFromBits(draft);
  if (isEmpty(draft)) return undefined;
  // Three rounds reach what a fourth would not add to in practice; fewer only lose precision.
  for (let round = 0; round < 3; round++) {
    deduceLowHalf(draft);
    deduceWhole(draft);
    deduceWholeFromLowHalf(draft);
  }
  if (isEmpty(draft) || !bitsFromBounds(draft)) return undefined;
  boundsFromBits(draft);
  if (isEmpty(draft)) return undefined;
  if (draft.mask === 0n) return constantRange(draft.value);
  return draft.mask === u64max && sameRange(draft, unknownRange) ? unknownRange : draft;
}

const smallMax = 0x7fff_ffffn;

/**
 * The same for numbers from 0 to 2³¹ - 1, to which all views are one: most numbers of most programs
 * are such, and this takes a tenth of the time.
 */
function settleSmall(d: RangeDraft): ScalarRange | undefined {
  if (d.umin > smallMax || d.smax < 0n || d.s32max < 0 || d.value > smallMax) return undefined;
  const value = Number(d.value);
  const mask = Number(BigInt.asUintN(31, d.mask));
  let low = Math.max(Number(d.umin), d.u32min, d.s32min, d.smin > 0n ? Number(d.smin) : 0, value);
  let high = Math.min(d.u32max, d.s32max, value | mask);
  if (d.umax < smallMax) high = Math.min(high, Number(d.umax));
  if (d.smax < smallMax) high = Math.min(high, Number(d.smax));
  if (low > high) return undefined;
  const open = onesBelow(low ^ high);
  const common = low & ~open;
  if (((value ^ common) & ~mask & ~open) !== 0) return undefined;
  const unknown = mask & open;
  const known = (value | common) & ~unknown;
  low = Math.max(low, known);
  high = Math.min(high, known | unknown);
  if (low > high) return undefined;
  // Between the bounds there may be one number with these bits, or none.
  const first = memberFrom(low, known, unknown);
  if (first > high) return undefined;
  if (first === high || memberFrom(first + 1, known, unknown) > high)
    return constantRange(big(first));
  const place = placeOf(low, high, known, unknown);
  const shared = small[place];
  if (
    shared !== undefined &&
    shared.u32min === low &&
    shared.u32max === high &&
    smallValues[place] === known &&
    smallMasks[place] === unknown
  )
    return shared;
  small[place] = d;
  smallValues[place] = known;
  smallMasks[place] = unknown;
  d.value = big(known);
  d.mask = big(unknown);
  d.umin = d.smin = big(low);
  d.umax = d.smax = big(high);
  d.u32min = d.s32min = low;
  d.u32max = d.s32max = high;
  return d;
}

/**
 * Ranges below 2³¹, the last that fell to each place: the same range again is mostly the same object,
 * which is what compares and memos of operations look for. A power of two.
 */
const smallPlaces = 4096;
const small: (ScalarRange | undefined)[] = new Array(smallPlaces).fill(undefined);
const smallValues = new Int32Array(smallPlaces);
const smallMasks = new Int32Array(smallPlaces);

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

const bigNumbers: bigint[] = [];

/** A number as BigInt; small ones are made once. */
function big(number: number): bigint {
  if (number >= 1024) return BigInt(number);
  bigNumbers[number] ??= BigInt(number);
  return bigNumbers[number];
}

function isEmpty(d: RangeDraft): boolean {
  return d.umin > d.umax || d.smin > d.smax || d.u32min > d.u32max || d.s32min > d.s32max;
}

const signBit = 1n << 63n;

function boundsFromBits(d: RangeDraft): void {
  const { value, mask } = d;
  if (mask === u64max) return;
  const most = value | mask;
  if (value > d.umin) d.umin = value;
  if (most < d.umax) d.umax = most;
  const leastSigned = BigInt.asIntN(64, value | (mask & signBit));
  const mostSigned = BigInt.asIntN(64, value | (mask & s64max));
  if (leastSigned > d.smin) d.smin = leastSigned;
  if (mostSigned < d.smax) d.smax = mostSigned;
  const low = Number(BigInt.asIntN(32, value));
  const lowMask = Number(BigInt.asIntN(32, mask));
  if (lowMask === -1) return;
  d.u32min = Math.max(d.u32min, low >>> 0);
  d.u32max = Math.min(d.u32max, (low | lowMask) >>> 0);
  d.s32min = Math.max(d.s32min, low | (lowMask & s32min));
  d.s32max = Math.min(d.s32max, low | (lowMask & s32max));
}

/** Bounds on the low half from bounds on the whole that share their high half, and from each other. */
function deduceLowHalf(d: RangeDraft): void {
  if (d.umin !== 0n || d.umax !== u64max) lowHalfOf(d, d.umin, d.umax);
  if (d.smin !== s64min || d.smax !== s64max) lowHalfOf(d, d.smin, d.smax);
  if (d.s32min >>> 0 <= d.s32max >>> 0) {
    d.u32min = Math.max(d.u32min, d.s32min >>> 0);
    d.u32max = Math.min(d.u32max, d.s32max >>> 0);
  } else if (d.u32max < d.s32min >>> 0) {
    // Signed, negative or at most s32max; unsigned, no negative one is left.
    d.s32min = Math.max(d.s32min, d.u32min | 0);
    d.u32max = Math.min(d.u32max, d.s32max >>> 0);
  } else if (d.s32max >>> 0 < d.u32min) {
    d.s32max = Math.min(d.s32max, d.u32max | 0);
    d.u32min = Math.max(d.u32min, d.s32min >>> 0);
  }
  if ((d.u32min | 0) <= (d.u32max | 0)) {
    d.s32min = Math.max(d.s32min, d.u32min | 0);
    d.s32max = Math.min(d.s32max, d.u32max | 0);
  }
}

function lowHalfOf(d: RangeDraft, min: bigint, max: bigint): void {
  const highMin = min >> 32n;
  const highMax = max >> 32n;
  const lowMin = Number(BigInt.asIntN(32, min));
  const lowMax = Number(BigInt.asIntN(32, max));
  if (highMin === highMax) {
    d.u32min = Math.max(d.u32min, lowMin >>> 0);
    d.u32max = Math.min(d.u32max, lowMax >>> 0);
    if (lowMin <= lowMax) {
      d.s32min = Math.max(d.s32min, lowMin);
      d.s32max = Math.min(d.s32max, lowMax);
    }
  } else if (highMin + 1n === highMax && lowMin < 0 && lowMax >= 0) {
    // From just below a multiple of 2³² to just above: to a signed low half one stretch through 0.
    d.s32min = Math.max(d.s32min, lowMin);
    d.s32max = Math.min(d.s32max, lowMax);
  }
}

/** Signed from unsigned bounds and back, where the stretch does not wrap in the other view. */
function deduceWhole(d: RangeDraft): void {
  const signedMin = BigInt.asIntN(64, d.umin);
  const signedMax = BigInt.asIntN(64, d.umax);
  if (signedMin <= signedMax) {
    if (signedMin > d.smin) d.smin = signedMin;
    if (signedMax < d.smax) d.smax = signedMax;
  }
  const unsignedMin = BigInt.asUintN(64, d.smin);
  const unsignedMax = BigInt.asUintN(64, d.smax);
  if (unsignedMin <= unsignedMax) {
    if (unsignedMin > d.umin) d.umin = unsignedMin;
    if (unsignedMax < d.umax) d.umax = unsignedMax;
  } else if (d.umax < unsignedMin) {
    // Signed, the numbers are negative or at most smax; unsigned, no negative one is left.
    if (signedMin > d.smin) d.smin = signedMin;
    if (unsignedMax < d.umax) d.umax = unsignedMax;
  } else if (unsignedMax < d.umin) {
    if (signedMax < d.smax) d.smax = signedMax;
    if (unsignedMin > d.umin) d.umin = unsignedMin;
  }
}

const highHalf = ~0xffff_ffffn;

/** The lowest and highest number cannot have a low half beyond the low half's bounds. */
function deduceWholeFromLowHalf(d: RangeDraft): void {
  if (d.u32min !== 0) {
    const low = BigInt(d.u32min);
    const umin = (d.umin & highHalf) | low;
    const smin = (d.smin & highHalf) | low;
    if (umin > d.umin) d.umin = umin;
    if (smin > d.smin) d.smin = smin;
  }
  if (d.u32max !== u32max) {
    const low = BigInt(d.u32max);
    const umax = (d.umax & highHalf) | low;
    const smax = (d.smax & highHalf) | low;
    if (umax < d.umax) d.umax = umax;
    if (smax < d.smax) d.smax = smax;
  }
  // A number known to fit 32 signed bits is its low half, sign-extended.
  if (d.smin >= -0x8000_0000n && d.smax <= 0x7fff_ffffn) {
    if (d.s32min > Number(d.smin)) d.smin = BigInt(d.s32min);
    if (d.s32max < Number(d.smax)) d.smax = BigInt(d.s32max);
  }
}

/** False: the bits known contradict the bounds. */
function bitsFromBounds(d: RangeDraft): boolean {
  const whole = intersectBits(d, bitsOfRange(d.umin, d.umax));
  if (whole === undefined) return false;
  const low = intersectBits(lowBits(whole, 32), bitsOfRange(BigInt(d.u32min), BigInt(d.u32max)));
  if (low === undefined) return false;
  d.setBits(withLowHalf(whole, low));
  return true;
}

const byteRanges: (ScalarRange | undefined)[] = [];
const signedByteRanges: (ScalarRange | undefined)[] = [];
for (const size of [1, 2, 4]) {
  const bits = BigInt(size * 8);
  byteRanges[size] = rangeBetween(0n, (1n << bits) - 1n);
  const signed = new RangeDraft();
  signed.smin = -(1n << (bits - 1n));
  signed.smax = (1n << (bits - 1n)) - 1n;
  signedByteRanges[size] = settle(signed) ?? unknownRange;
}
