/**
 * Known bits of a 64-bit number ("tristate number"): where `mask` has a 1 the bit is unknown, and
 * `value` has 0 there; elsewhere `value` has the bit. Both are unsigned 64-bit.
 *
 * The operations are sound: whatever numbers the operands may be, the result covers theirs. See
 * Vishwanathan et al., "Sound, Precise, and Fast Abstract Interpretation with Tristate Numbers",
 * CGO 2022.
 */
export interface Tnum {
  readonly value: bigint;
  readonly mask: bigint;
}

const all64 = 0xffff_ffff_ffff_ffffn;
const all32 = 0xffff_ffffn;

export function addBits(a: Tnum, b: Tnum): Tnum {
  const values = a.value + b.value;
  const changed = (a.mask + b.mask + values) ^ values;
  return known(values, changed | a.mask | b.mask);
}

export function subtractBits(a: Tnum, b: Tnum): Tnum {
  const values = BigInt.asUintN(64, a.value - b.value);
  const changed = BigInt.asUintN(64, values + a.mask) ^ BigInt.asUintN(64, values - b.mask);
  return known(values, changed | a.mask | b.mask);
}

export function andBits(a: Tnum, b: Tnum): Tnum {
  const value = a.value & b.value;
  return { value, mask: (a.value | a.mask) & (b.value | b.mask) & ~value };
}

export function orBits(a: Tnum, b: Tnum): Tnum {
  const value = a.value | b.value;
  return { value, mask: (a.mask | b.mask) & ~value };
}

export function xorBits(a: Tnum, b: Tnum): Tnum {
  return known(a.value ^ b.value, a.mask | b.mask);
}

/** Long multiplication: each bit of `a` adds a shifted `b`, surely, perhaps, or not at all. */
export function multiplyBits(a: Tnum, b: Tnum): Tnum {
  if (b.mask === 0n && a.mask !== 0n) return multiplyBits(b, a);
  if (a.mask === 0n && b.mask === 0n) return known(a.value * b.value, 0n);
  let uncertain: Tnum = { value: 0n, mask: 0n };
  let { value, mask } = a;
  for (let shift = 0n; (value | mask) !== 0n; shift++, value >>= 1n, mask >>= 1n) {
    const part = (value & 1n) !== 0n ? b.mask : (mask & 1n) !== 0n ? b.value | b.mask : 0n;
    if (part === 0n) continue;
    uncertain = addBits(uncertain, { value: 0n, mask: BigInt.asUintN(64, part << shift) });
  }
  return addBits({ value: BigInt.asUintN(64, a.value * b.value), mask: 0n }, uncertain);
}

export function shiftBitsLeft(a: Tnum, by: bigint): Tnum {
  return { value: BigInt.asUintN(64, a.value << by), mask: BigInt.asUintN(64, a.mask << by) };
}

export function shiftBitsRight(a: Tnum, by: bigint): Tnum {
  return { value: a.value >> by, mask: a.mask >> by };
}

/** The sign bit, known or not, comes in from the left. `width` 32 works on the low half. */
export function shiftBitsRightSigned(a: Tnum, by: bigint, width: 32 | 64): Tnum {
  return {
    value: BigInt.asUintN(width, BigInt.asIntN(width, a.value) >> by),
    mask: BigInt.asUintN(width, BigInt.asIntN(width, a.mask) >> by),
  };
}

/** The low `bits` bits, zero-extended. */
export function lowBits(a: Tnum, bits: number): Tnum {
  return { value: BigInt.asUintN(bits, a.value), mask: BigInt.asUintN(bits, a.mask) };
}

/** The low `bits` bits, sign-extended to 64. */
export function signExtendBits(a: Tnum, bits: number): Tnum {
  const value = BigInt.asUintN(64, BigInt.asIntN(bits, a.value));
  const mask = BigInt.asUintN(64, BigInt.asIntN(bits, a.mask));
  return { value: value & ~mask, mask };
}

/** The low `bits` bits with their bytes in the opposite order; the rest 0. */
export function swapBytes(a: Tnum, bits: 16 | 32 | 64): Tnum {
  return { value: swapped(a.value, bits), mask: swapped(a.mask, bits) };
}

function swapped(number: bigint, bits: number): bigint {
  let rest = number;
  let result = 0n;
  for (let i = 0; i < bits; i += 8) {
    result = (result << 8n) | (rest & 0xffn);
    rest >>= 8n;
  }
  return result;
}

/** What is known of every number from `min` to `max`: their common leading bits. */
export function bitsOfRange(min: bigint, max: bigint): Tnum {
  const open = (1n << BigInt(bitLength(min ^ max))) - 1n;
  return { value: min & ~open & all64, mask: open };
}

/** Numbers that are both; undefined where a bit is known to be 0 in one and 1 in the other. */
export function intersectBits(a: Tnum, b: Tnum): Tnum | undefined {
  if (((a.value ^ b.value) & ~a.mask & ~b.mask) !== 0n) return undefined;
  return known(a.value | b.value, a.mask & b.mask);
}

/** Bits known in `high` above bit 31, and in `low` below. */
export function withLowHalf(high: Tnum, low: Tnum): Tnum {
  return {
    value: (high.value & ~all32) | (low.value & all32),
    mask: (high.mask & ~all32) | (low.mask & all32),
  };
}

/** Whether `b` covers no number that `a` does not. */
export function bitsWithin(a: Tnum, b: Tnum): boolean {
  return (b.mask & ~a.mask) === 0n && (b.value & ~a.mask) === a.value;
}

/** Whether every number covered is a multiple of `size`, a power of two. */
export function alignedBits(a: Tnum, size: number): boolean {
  return ((a.value | a.mask) & BigInt(size - 1)) === 0n;
}

function known(value: bigint, mask: bigint): Tnum {
  const unknown = BigInt.asUintN(64, mask);
  return { value: BigInt.asUintN(64, value) & ~unknown, mask: unknown };
}

/** Bits up to the highest 1 of an unsigned 64-bit number. */
function bitLength(number: bigint): number {
  const high = Number(number >> 32n);
  return high === 0 ? 32 - Math.clz32(Number(number)) : 64 - Math.clz32(high);
}
