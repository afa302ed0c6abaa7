/**
 * Walking over a trie while others change it, in the kernel's order: what lies within a prefix
 * comes before the prefix, and 0 bits before 1 bits. The order depends on keys alone, so a walk
 * can go on after a key that is gone.
 */
import { EBUSY, ENOENT } from "./error";
import { NODE_DATA, roundUp } from "./geometry";
import {
  CURSOR_END,
  CURSOR_HAS_KEY,
  CURSOR_KEY,
  CURSOR_POSITION,
  MAIN_CPU,
  MAP_KEY_SIZE,
  MAP_ROOT,
  MAP_VALUE_OFFSET,
} from "./layout";
import { lock, unlock } from "./lock";
import { copy, put, putByte } from "./memory";
import { bitOf, childOf, isFork, matchLength, maxPrefix, prefixOf } from "./trie";
import { findSlot } from "./trie-write";
import { entryBytes, readValue } from "./value";

/** Entries copied while the lock is held once: each costs a walk from the root. */
const ENTRIES_A_TURN: u32 = 64;

/** As `scanHash`. */
export function scanTrie(map: usize, cursor: usize, out: usize, capacity: u32): i32 {
  if (!lock(map, MAIN_CPU)) return -EBUSY;
  const key = cursor + CURSOR_KEY;
  const keySize = load<u32>(map, MAP_KEY_SIZE);
  const keyBytes = roundUp(keySize, 8) as u32;
  const size = entryBytes(map);
  const limit = min(capacity, ENTRIES_A_TURN);
  let count: u32 = 0;
  while (count < limit) {
    const root: usize = load<u32>(map, MAP_ROOT);
    const node =
      load<u32>(cursor, CURSOR_HAS_KEY) === 0 ? leftmost(root) : following(map, root, key);
    if (node === 0) {
      put(cursor + CURSOR_POSITION, CURSOR_END);
      break;
    }
    copyKey(map, node, key);
    put(cursor + CURSOR_HAS_KEY, 1);
    copy(out + count * size, key, keySize);
    readValue(map, node + load<u32>(map, MAP_VALUE_OFFSET), out + count * size + keyBytes);
    count++;
  }
  unlock(map);
  return count;
}

/** `BPF_MAP_GET_NEXT_KEY`: a key that is not there, or is too long, starts again. */
export function nextKeyTrie(map: usize, key: usize, out: usize): i32 {
  if (!lock(map, MAIN_CPU)) return -EBUSY;
  const root: usize = load<u32>(map, MAP_ROOT);
  const node = key !== 0 && isThere(map, key) ? following(map, root, key) : leftmost(root);
  if (node !== 0) copyKey(map, node, out);
  unlock(map);
  return node === 0 ? -ENOENT : 0;
}

function isThere(map: usize, key: usize): bool {
  const length = load<u32>(key);
  if (length > maxPrefix(map)) return false;
  const node: usize = load<u32>(findSlot(map, key));
  if (node === 0 || isFork(node) || prefixOf(node) !== length) return false;
  return matchLength(map, node, key) === length;
}

/** The first entry of a subtree, or 0: forks have two children, so there is one below each. */
function leftmost(root: usize): usize {
  let node = root;
  let found: usize = 0;
  while (node !== 0) {
    found = node;
    node = childOf(node, 0) !== 0 ? childOf(node, 0) : childOf(node, 1);
  }
  return found;
}

/** The first entry that comes after `key`, which need not be there, or 0. */
function following(map: usize, root: usize, key: usize): usize {
  const length = load<u32>(key);
  let node = root;
  let next: usize = 0;
  while (node !== 0) {
    const prefix = prefixOf(node);
    const match = matchLength(map, node, key);
    if (match < prefix || prefix >= length) {
      // Not above the key: within it, the node itself, or beside it to the left or right.
      const isAfter = match < min(prefix, length) && bitOf(map, key, match) === 0;
      return isAfter ? leftmost(node) : next;
    }
    const bit = bitOf(map, key, prefix);
    if (bit === 0 && childOf(node, 1) !== 0) next = leftmost(childOf(node, 1));
    else if (!isFork(node)) next = node;
    node = childOf(node, bit);
  }
  return next;
}

export function copyKey(map: usize, node: usize, out: usize): void {
  put(out, prefixOf(node));
  const size = load<u32>(map, MAP_KEY_SIZE) - 4;
  for (let at: u32 = 0; at < size; at++) {
    const word = load<u32>(node + (NODE_DATA as usize) + (at & ~3));
    putByte(out + 4 + at, (word >> (24 - ((at & 3) << 3))) & 0xff);
  }
}
