import {
  constantRange,
  RangeDraft,
  type ScalarRange,
  s32max,
  s32min,
  s64max,
  s64min,
  sameRange,
  u32max,
  u64max,
  unknownRange,
} from "./scalar-range.ts";
import { settleSmall } from "./small-range.ts";
import { bitsOfRange, intersectBits, lowBits, withLowHalf } from "./tnum.ts";

const bigSmallMax = 0x7fff_ffffn;

/**
 * Lets bits and bounds tell of each other, and gives the draft as a finished range. Undefined: no
 * number is like that.
 */
export function settle(draft: RangeDraft): ScalarRange | undefined {
  if (draft.umax <= bigSmallMax || (draft.smin >= 0n && draft.smax <= bigSmallMax))
    return settleSmall(draft);
  boundsFromBits(draft);
  if (isEmpty(draft)) return undefined;
  if (draft.umax <= bigSmallMax) return settleSmall(draft);
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
  if (draft.mask === u64max && sameRange(draft, unknownRange)) return unknownRange;
  draft.lowValue = Number(BigInt.asIntN(32, draft.value));
  draft.lowMask = Number(BigInt.asIntN(32, draft.mask));
  return shared(draft);
}

/**
 * Finished ranges that are not small, the last that fell to each place: as in small-range.ts, the same
 * range again is mostly the same object. A power of two.
 */
const widePlaces = 2048;
const wide: (ScalarRange | undefined)[] = new Array(widePlaces).fill(undefined);

function shared(draft: RangeDraft): ScalarRange {
  const mixed =
    Math.imul(draft.u32min | 0, 0x9e3779b1) ^
    Math.imul(draft.u32max | 0, 0x85ebca6b) ^
    Math.imul(draft.lowValue, 0xc2b2ae35) ^
    Math.imul(draft.lowMask, 0x27d4eb2f);
  const place = (mixed ^ (mixed >>> 15)) & (widePlaces - 1);
  const known = wide[place];
  if (known !== undefined && sameRange(known, draft)) return known;
  wide[place] = draft;
  return draft;
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
