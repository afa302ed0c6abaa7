/**
 * 64-bit arithmetic and shifts on register pairs: `r[d]` is the low word, `r[d + 1]` the high one. Each writes
 * its result to the destination pair. BigInt is used only where a division's operands do not both
 * fit a double exactly.
 */

const highUnit = 2 ** 32;
/** High words below this make numbers below 2⁵³. */
const exactHigh = 1 << 21;

/** Low 64 bits of the product: the same for signed and unsigned. */
export function multiply64(r: Int32Array, d: number, s: number): void {
  const a = r[d]!;
  const b = r[s]!;
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  // Partial products of 16-bit halves: each sum stays below 2³².
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const middleLow = (middle & 0xffff) + aLow * bHigh;
  const upper = aHigh * bHigh + (middle >>> 16) + (middleLow >>> 16);
  r[d + 1] = (upper + Math.imul(a, r[s + 1]!) + Math.imul(r[d + 1]!, b)) | 0;
  r[d] = Math.imul(a, b);
}

/** Unsigned; a quotient by zero is 0. RFC 9669 §4.1. */
export function divide64(r: Int32Array, d: number, s: number): void {
  const high = (r[d + 1]! | r[s + 1]!) >>> 0;
  if ((r[s + 1]! | r[s]!) === 0) put(r, d, 0, 0);
  else if (high === 0) put(r, d, ((r[d]! >>> 0) / (r[s]! >>> 0)) >>> 0, 0);
  else if (high < exactHigh) putNumber(r, d, Math.floor(positive(r, d) / positive(r, s)));
  else putBig(r, d, unsigned(r, d) / unsigned(r, s));
}

/** Unsigned; a remainder by zero is the dividend. RFC 9669 §4.1. */
export function modulo64(r: Int32Array, d: number, s: number): void {
  const high = (r[d + 1]! | r[s + 1]!) >>> 0;
  if ((r[s + 1]! | r[s]!) === 0) return;
  if (high === 0) put(r, d, (r[d]! >>> 0) % (r[s]! >>> 0), 0);
  else if (high < exactHigh) putNumber(r, d, positive(r, d) % positive(r, s));
  else putBig(r, d, unsigned(r, d) % unsigned(r, s));
}

/** Towards zero; by zero 0, and the most negative number by -1 is itself. RFC 9669 §4.1. */
export function divideSigned64(r: Int32Array, d: number, s: number): void {
  if ((r[s]! | r[s + 1]!) === 0) put(r, d, 0, 0);
  else if (isShort(r, d) && isShort(r, s)) putNumber(r, d, Math.trunc(r[d]! / r[s]!));
  else putBig(r, d, signed(r, d) / signed(r, s));
}

/** With the dividend's sign; by zero the dividend, by -1 always 0. RFC 9669 §4.1. */
export function moduloSigned64(r: Int32Array, d: number, s: number): void {
  if ((r[s]! | r[s + 1]!) === 0) return;
  if (isShort(r, d) && isShort(r, s)) putNumber(r, d, r[d]! % r[s]!);
  else putBig(r, d, signed(r, d) % signed(r, s));
}

/** Whether the pair is a sign-extended 32-bit number. */
function isShort(r: Int32Array, n: number): boolean {
  return r[n + 1] === r[n]! >> 31;
}

function positive(r: Int32Array, n: number): number {
  return (r[n + 1]! >>> 0) * highUnit + (r[n]! >>> 0);
}

function unsigned(r: Int32Array, n: number): bigint {
  return (BigInt(r[n + 1]! >>> 0) << 32n) | BigInt(r[n]! >>> 0);
}

function signed(r: Int32Array, n: number): bigint {
  return (BigInt(r[n + 1]!) << 32n) | BigInt(r[n]! >>> 0);
}

function put(r: Int32Array, d: number, low: number, high: number): void {
  r[d] = low;
  r[d + 1] = high;
}

/** Any integer of magnitude below 2⁵³. */
function putNumber(r: Int32Array, d: number, value: number): void {
  r[d + 1] = Math.floor(value / highUnit);
  r[d] = value | 0;
}

function putBig(r: Int32Array, d: number, value: bigint): void {
  r[d] = Number(BigInt.asIntN(32, value));
  r[d + 1] = Number(BigInt.asIntN(32, value >> 32n));
}

/** `by` is 0 to 63. */
export function shiftLeft64(r: Int32Array, d: number, by: number): void {
  const low = r[d]!;
  if (by >= 32) put(r, d, 0, low << by);
  else if (by > 0) put(r, d, low << by, (r[d + 1]! << by) | (low >>> (32 - by)));
}

/** `by` is 0 to 63; zeros come in. */
export function shiftRight64(r: Int32Array, d: number, by: number): void {
  const high = r[d + 1]!;
  if (by >= 32) put(r, d, high >>> by, 0);
  else if (by > 0) put(r, d, (r[d]! >>> by) | (high << (32 - by)), high >>> by);
}

/** `by` is 0 to 63; copies of the sign come in. */
export function shiftRightSigned64(r: Int32Array, d: number, by: number): void {
  const high = r[d + 1]!;
  if (by >= 32) put(r, d, high >> by, high >> 31);
  else if (by > 0) put(r, d, (r[d]! >>> by) | (high << (32 - by)), high >> by);
}

export function swap32(n: number): number {
  return ((n & 0xff) << 24) | ((n & 0xff00) << 8) | ((n >> 8) & 0xff00) | (n >>> 24);
}
