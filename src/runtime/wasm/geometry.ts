/**
 * How large the parts of a map are. Read by both sides, as layout.ts: to TypeScript `number` is
 * itself, to asc it is f64, which is exact here. Sizes in bytes; nothing overflows below 2⁵³.
 */

export function roundUp(size: number, to: number): number {
  return Math.ceil(size / to) * to;
}

/** From one per-CPU value to the next, as system calls pass them, and from array value to value. */
export function valueStride(valueSize: number): number {
  return roundUp(valueSize, 8);
}

/** Bytes from an element's start to its key: the chain's next element, then the key's hash. */
export const ELEMENT_KEY = 8;

/** Where a hash element's value lies, or for per-CPU maps the address of its values. */
export function elementValueOffset(keySize: number): number {
  return ELEMENT_KEY + roundUp(keySize, 8);
}

export function elementStride(keySize: number, valueSize: number, perCpu: boolean): number {
  return elementValueOffset(keySize) + (perCpu ? 8 : valueStride(valueSize));
}

/** Elements of a hash or trie: per-CPU values are updated in place and need no spares. */
export function elementCount(maxEntries: number, cpus: number, perCpu: boolean): number {
  return perCpu ? maxEntries : maxEntries + cpus + 1;
}

/** A power of two, at least `maxEntries`: chains hold one entry on average when the map is full. */
export function bucketCount(maxEntries: number): number {
  let count: number = 1;
  while (count < maxEntries) count *= 2;
  return count;
}

/** One CPU's values of a per-CPU map: whole cache lines, so that CPUs do not share any. */
export function cpuStride(entries: number, valueSize: number): number {
  return roundUp(entries * valueStride(valueSize), 64);
}

/** Bytes from a trie node's start to its key's data: prefix length, then two children. */
export const NODE_DATA = 12;

export function forkStride(keySize: number): number {
  return NODE_DATA + roundUp(keySize - 4, 4);
}

export function trieValueOffset(keySize: number): number {
  return roundUp(forkStride(keySize), 8);
}

export function trieStride(keySize: number, valueSize: number): number {
  return trieValueOffset(keySize) + valueStride(valueSize);
}

export function arrayBytes(
  maxEntries: number,
  valueSize: number,
  cpus: number,
  perCpu: boolean,
): number {
  if (perCpu) return cpus * cpuStride(maxEntries, valueSize);
  return maxEntries * valueStride(valueSize);
}

/** Order: per-CPU values, buckets, elements, states, referenced bytes, spares, an update's key. */
export function hashBytes(
  keySize: number,
  valueSize: number,
  maxEntries: number,
  cpus: number,
  perCpu: boolean,
): number {
  const elements = elementCount(maxEntries, cpus, perCpu);
  return (
    (perCpu ? cpus * cpuStride(elements, valueSize) : 0) +
    roundUp(bucketCount(maxEntries) * 4, 64) +
    elements * elementStride(keySize, valueSize, perCpu) +
    2 * roundUp(elements, 8) +
    roundUp((cpus + 1) * 4, 8) +
    roundUp(keySize, 8)
  );
}

/** Order: elements, states, spares, an update's key, forks. A trie of n entries has at most n - 1 forks. */
export function trieBytes(
  keySize: number,
  valueSize: number,
  maxEntries: number,
  cpus: number,
): number {
  const elements = elementCount(maxEntries, cpus, false);
  return (
    elements * trieStride(keySize, valueSize) +
    roundUp(elements, 8) +
    roundUp((cpus + 1) * 4, 8) +
    roundUp(keySize, 8) +
    maxEntries * forkStride(keySize)
  );
}

/** One slot more than entries, so that a full queue is told from an empty one. */
export function queueBytes(maxEntries: number, valueSize: number): number {
  return (maxEntries + 1) * valueStride(valueSize);
}

const WORD_BITS = 64;
const MOST_BLOOM_BITS = 2147483648;

/**
 * Bits of a bloom filter: kernel/bpf/bloom_filter.c takes 7 for 5 of entries × hash functions,
 * rounded up to a power of two.
 */
export function bloomBits(maxEntries: number, hashes: number): number {
  const wanted = Math.floor((maxEntries * hashes) / 5) * 7;
  // The kernel goes on to 2³² bits, whose indexes u32 arithmetic would not hold here.
  if (wanted > MOST_BLOOM_BITS) return MOST_BLOOM_BITS;
  let bits: number = WORD_BITS;
  while (bits < wanted) bits *= 2;
  return bits;
}

export function bloomBytes(maxEntries: number, hashes: number): number {
  return bloomBits(maxEntries, hashes) / 8;
}

const RING_HEADER = 128;

/** A ring with `dataBytes`, a power of two: its header, and its data twice. layout.ts, RING_*. */
export function ringBytes(dataBytes: number): number {
  return RING_HEADER + 2 * dataBytes;
}
