import type { AtomicOp } from "../../isa/instruction.ts";

/** Atomic operations by number; +8 for those that fetch. */
const order: readonly AtomicOp[] = ["add", "or", "and", "xor", "xchg", "cmpxchg"];
const fetchBit = 8;

/** How `translate` writes an atomic operation into the code. */
export function atomicNumber(op: AtomicOp, fetch: boolean): number {
  return order.indexOf(op) | (fetch ? fetchBit : 0);
}

/**
 * A 32-bit read-modify-write at word `at` of the arena, by this thread or another at once.
 * RFC 9669 §5.3. `s` is the source register's index in the file; what is fetched is zero-extended.
 */
export function atomic32(
  number: number,
  words: Int32Array,
  at: number,
  r: Int32Array,
  s: number,
): void {
  const value = r[s]!;
  let old: number;
  switch (number & 7) {
    case 0:
      old = Atomics.add(words, at, value);
      break;
    case 1:
      old = Atomics.or(words, at, value);
      break;
    case 2:
      old = Atomics.and(words, at, value);
      break;
    case 3:
      old = Atomics.xor(words, at, value);
      break;
    case 4:
      old = Atomics.exchange(words, at, value);
      break;
    default:
      r[0] = Atomics.compareExchange(words, at, r[0]!, value);
      r[1] = 0;
      return;
  }
  if ((number & fetchBit) === 0) return;
  r[s] = old;
  r[s + 1] = 0;
}

/**
 * The same on 64 bits: `r` and `s` are the register file in 64-bit words and an index into it.
 * JavaScript has 64-bit atomics only on BigInts: about 17 ns each, and nothing less is atomic.
 */
export function atomic64(
  number: number,
  words: BigInt64Array,
  at: number,
  r: BigInt64Array,
  s: number,
): void {
  const value = r[s]!;
  let old: bigint;
  switch (number & 7) {
    case 0:
      old = Atomics.add(words, at, value);
      break;
    case 1:
      old = Atomics.or(words, at, value);
      break;
    case 2:
      old = Atomics.and(words, at, value);
      break;
    case 3:
      old = Atomics.xor(words, at, value);
      break;
    case 4:
      old = Atomics.exchange(words, at, value);
      break;
    default:
      r[0] = Atomics.compareExchange(words, at, r[0]!, value);
      return;
  }
  if ((number & fetchBit) !== 0) r[s] = old;
}
