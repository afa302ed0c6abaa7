/**
 * Longest prefix match, kernel/bpf/lpm_trie.c. Readers take no lock.
 *
 * A node is: prefix length (u32, with FORK set where two subtrees part and no entry is), two
 * children (u32), the data; entries then have their value. Data is kept as numbers, four network
 * order bytes a word, so that its first bit is the word's highest; the rest of the last word is 0.
 * Bits beyond the prefix are as the last update gave them.
 */
import { NODE_DATA } from "./geometry";
import { MAP_KEY_SIZE, MAP_ROOT, MAP_SEQUENCE, MAP_VALUE_OFFSET } from "./layout";
import { lock, unlock } from "./lock";
import { shared } from "./memory";

export const NODE_PREFIX: usize = 0;
export const NODE_CHILDREN: usize = 4;
export const FORK: u32 = 0x80000000;
const PREFIX_BITS: u32 = 0xffff;
const DATA_AT = NODE_DATA as usize;

/** Walks that may be disturbed before a reader takes the lock. */
const WALKS = 32;

/** The value of the longest prefix that `key` lies in, and that is no longer than `key`'s, or 0. */
export function lookupTrie(map: usize, key: usize, cpu: u32): usize {
  for (let i = 0; i < WALKS; i++) {
    const sequence = shared(map + MAP_SEQUENCE);
    const value = walkAny(map, key);
    if (shared(map + MAP_SEQUENCE) === sequence && (sequence & 1) === 0) return value;
  }
  const locked = lock(map, cpu);
  const value = walkAny(map, key);
  if (locked) unlock(map);
  return value;
}

function walkAny(map: usize, key: usize): usize {
  return load<u32>(map, MAP_KEY_SIZE) === 8 ? walk4(map, key) : walk(map, key);
}

/** For four bytes of data: IPv4. */
function walk4(map: usize, key: usize): usize {
  const length = load<u32>(key);
  if (length > 32) return 0;
  const word = bswap(load<u32>(key, 4));
  let found: usize = 0;
  let node: usize = shared(map + MAP_ROOT);
  let least: u32 = 0;
  while (node !== 0) {
    const head = shared(node + NODE_PREFIX);
    const prefix = head & PREFIX_BITS;
    // Prefixes get longer on every step, even for a reader gone astray: a walk always ends.
    if (prefix < least || prefix > length) break;
    const difference = word ^ shared(node + DATA_AT);
    if (((difference as u64) << prefix) >> 32 !== 0) break;
    if ((head & FORK) === 0) found = node;
    if (prefix === length) break;
    least = prefix + 1;
    node = shared(node + NODE_CHILDREN + (((word >> (31 - prefix)) & 1) << 2));
  }
  return found === 0 ? 0 : found + load<u32>(map, MAP_VALUE_OFFSET);
}

function walk(map: usize, key: usize): usize {
  const length = load<u32>(key);
  if (length > maxPrefix(map)) return 0;
  let found: usize = 0;
  let node: usize = shared(map + MAP_ROOT);
  let least: u32 = 0;
  while (node !== 0) {
    const head = shared(node + NODE_PREFIX);
    const prefix = head & PREFIX_BITS;
    if (prefix < least || prefix > length) break;
    if (commonBits(map, node, key, least === 0 ? 0 : least - 1, prefix) < prefix) break;
    if ((head & FORK) === 0) found = node;
    if (prefix === length) break;
    least = prefix + 1;
    node = shared(childLink(node, bitOf(map, key, prefix)));
  }
  return found === 0 ? 0 : found + load<u32>(map, MAP_VALUE_OFFSET);
}

export function maxPrefix(map: usize): u32 {
  return (load<u32>(map, MAP_KEY_SIZE) - 4) * 8;
}

export function prefixOf(node: usize): u32 {
  return load<u32>(node, NODE_PREFIX) & PREFIX_BITS;
}

export function isFork(node: usize): bool {
  return (load<u32>(node, NODE_PREFIX) & FORK) !== 0;
}

/** The word that holds the child for `bit`. */
export function childLink(node: usize, bit: u32): usize {
  return node + NODE_CHILDREN + (bit << 2);
}

export function childOf(node: usize, bit: u32): usize {
  return load<u32>(childLink(node, bit));
}

/** Bit `at` of a key's data, counted from the first. */
export function bitOf(map: usize, key: usize, at: u32): u32 {
  return (dataWord(map, key, (at >> 5) << 2) >> (31 - (at & 31))) & 1;
}

/** Bit `at` of a node's data. */
export function nodeBit(node: usize, at: u32): u32 {
  return (load<u32>(node + DATA_AT + ((at >> 5) << 2)) >> (31 - (at & 31))) & 1;
}

/** Four bytes of a key's data from `at` as a number, zeros beyond its end. */
export function dataWord(map: usize, key: usize, at: u32): u32 {
  const size = load<u32>(map, MAP_KEY_SIZE) - 4;
  const bytes = key + 4 + at;
  if (at + 4 <= size) return bswap(load<u32>(bytes));
  let word: u32 = 0;
  for (let i: u32 = 0; at + i < size; i++) word |= (load<u8>(bytes + i) as u32) << (24 - i * 8);
  return word;
}

/** How many of the first `limit` bits node and key share; the first `known` are known to be. */
export function commonBits(map: usize, node: usize, key: usize, known: u32, limit: u32): u32 {
  for (let at: u32 = (known >> 5) << 2; at << 3 < limit; at += 4) {
    const difference = dataWord(map, key, at) ^ shared(node + DATA_AT + at);
    if (difference !== 0) return min(limit, (at << 3) + (clz(difference) as u32));
  }
  return limit;
}

/** Bits that a node's prefix and a key's prefix share: up to the shorter one's length. */
export function matchLength(map: usize, node: usize, key: usize): u32 {
  return commonBits(map, node, key, 0, min(prefixOf(node), load<u32>(key)));
}
