/**
 * Walking over all entries of a hash map while others change it.
 *
 * The order is by bucket, then by hash and key: it depends on an entry's key alone, so a walk that
 * goes on after any key gives every entry that was there all the time once, whatever was added,
 * moved or removed meanwhile.
 */
import { EBUSY, ENOENT } from "./error";
import { ELEMENT_KEY, roundUp } from "./geometry";
import { ELEMENT_HASH, ELEMENT_NEXT, findLink, hashOf, valueAddress } from "./hash";
import { compareKeys } from "./hash-key";
import {
  CURSOR_END,
  CURSOR_HAS_KEY,
  CURSOR_KEY,
  CURSOR_POSITION,
  MAIN_CPU,
  MAP_BUCKET_MASK,
  MAP_BUCKETS,
  MAP_KEY_SIZE,
} from "./layout";
import { lock, unlock } from "./lock";
import { copy, put } from "./memory";
import { entryBytes, readValue } from "./value";

/** Buckets looked at while the lock is held once: writers wait some microseconds at most. */
const BUCKETS_A_TURN: u32 = 2048;

/**
 * Copies up to `capacity` entries that follow the cursor to `out`: key, then all CPUs' values, each
 * rounded up to 8 bytes. Returns their number, which may be 0 before the end; moves the cursor.
 */
export function scanHash(map: usize, cursor: usize, out: usize, capacity: u32): i32 {
  if (!lock(map, MAIN_CPU)) return -EBUSY;
  const mask = load<u32>(map, MAP_BUCKET_MASK);
  const size = entryBytes(map);
  let bucket = load<u32>(cursor, CURSOR_POSITION);
  let element: usize = 0;
  let count: u32 = 0;
  for (let turns: u32 = 0; bucket <= mask && count < capacity && turns < BUCKETS_A_TURN; ) {
    const hasKey = load<u32>(cursor, CURSOR_HAS_KEY) !== 0;
    const key = cursor + CURSOR_KEY;
    element = nextInBucket(map, bucket, hasKey, hasKey ? hashOf(map, key) : 0, key);
    if (element !== 0) {
      copyEntry(map, element, out + count * size);
      moveCursor(map, cursor, element);
      count++;
    } else {
      bucket++;
      turns++;
      put(cursor + CURSOR_HAS_KEY, 0);
    }
  }
  put(cursor + CURSOR_POSITION, bucket > mask ? CURSOR_END : bucket);
  unlock(map);
  return count;
}

function copyEntry(map: usize, element: usize, out: usize): void {
  const keySize = load<u32>(map, MAP_KEY_SIZE);
  copy(out, element + (ELEMENT_KEY as usize), keySize);
  readValue(map, valueAddress(map, element), out + (roundUp(keySize, 8) as u32));
}

function moveCursor(map: usize, cursor: usize, element: usize): void {
  copy(cursor + CURSOR_KEY, element + (ELEMENT_KEY as usize), load<u32>(map, MAP_KEY_SIZE));
  put(cursor + CURSOR_HAS_KEY, 1);
}

/** Moves the cursor to the next entry; its element, or 0 at the end. As a worker: it waits for the lock. */
export function nextEntry(map: usize, cursor: usize, cpu: u32): usize {
  const mask = load<u32>(map, MAP_BUCKET_MASK);
  const key = cursor + CURSOR_KEY;
  let bucket = load<u32>(cursor, CURSOR_POSITION);
  let element: usize = 0;
  while (element === 0 && bucket <= mask) {
    if (!lock(map, cpu)) return 0;
    for (let turns: u32 = 0; bucket <= mask && turns < BUCKETS_A_TURN; turns++, bucket++) {
      const hasKey = load<u32>(cursor, CURSOR_HAS_KEY) !== 0;
      element = nextInBucket(map, bucket, hasKey, hasKey ? hashOf(map, key) : 0, key);
      if (element !== 0) {
        moveCursor(map, cursor, element);
        break;
      }
      put(cursor + CURSOR_HAS_KEY, 0);
    }
    unlock(map);
  }
  put(cursor + CURSOR_POSITION, bucket);
  return element;
}

/** The least element after (`hash`, `key`), or of all, or 0. Chains are short. */
function nextInBucket(map: usize, bucket: u32, hasKey: bool, hash: u32, key: usize): usize {
  let best: usize = 0;
  let element: usize = load<u32>(load<u32>(map, MAP_BUCKETS) + (bucket << 2));
  for (; element !== 0; element = load<u32>(element, ELEMENT_NEXT)) {
    if (hasKey && !follows(map, element, hash, key)) continue;
    if (
      best === 0 ||
      follows(map, best, load<u32>(element, ELEMENT_HASH), element + (ELEMENT_KEY as usize))
    )
      best = element;
  }
  return best;
}

function follows(map: usize, element: usize, hash: u32, key: usize): bool {
  const own = load<u32>(element, ELEMENT_HASH);
  if (own !== hash) return own > hash;
  return compareKeys(map, element + (ELEMENT_KEY as usize), key) > 0;
}

/** `BPF_MAP_GET_NEXT_KEY`: a key that is not there starts again, as the kernel has it. */
export function nextKeyHash(map: usize, key: usize, out: usize): i32 {
  const mask = load<u32>(map, MAP_BUCKET_MASK);
  const hash = key === 0 ? 0 : hashOf(map, key);
  let bucket: u32 = 0;
  let hasKey = false;
  for (let isFirst = true; bucket <= mask; isFirst = false) {
    if (!lock(map, MAIN_CPU)) return -EBUSY;
    if (isFirst && key !== 0 && findLink(map, key, hash) !== 0) {
      hasKey = true;
      bucket = hash & mask;
    }
    for (let turns: u32 = 0; bucket <= mask && turns < BUCKETS_A_TURN; turns++, bucket++) {
      const element = nextInBucket(map, bucket, hasKey, hash, key);
      hasKey = false;
      if (element !== 0) {
        copy(out, element + (ELEMENT_KEY as usize), load<u32>(map, MAP_KEY_SIZE));
        unlock(map);
        return 0;
      }
    }
    unlock(map);
  }
  return -ENOENT;
}
