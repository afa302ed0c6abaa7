/** Copying an entry out while workers change the map: what the main thread reads. */
import { EBUSY, ENOENT } from "./error";
import { MAIN_CPU, MAP_SEQUENCE, MAP_TYPE, TYPE_QUEUE, TYPE_STACK } from "./layout";
import { lock, unlock } from "./lock";
import { lookup } from "./lookup";
import { shared } from "./memory";
import { takeQueue } from "./queue";
import { readValue } from "./value";

/** Disturbed copies after which the reader takes the lock. */
const TRIES = 8;

/**
 * Copies all CPUs' values of `key`, each rounded up to 8 bytes, to `out`. 0, -ENOENT, or -EBUSY
 * where the map's lock was held for a second. An entry that is replaced or removed while it is
 * copied is read again: the copy is never another entry's. A queue or stack shows what it would pop.
 */
export function read(map: usize, key: usize, out: usize): i32 {
  const type = load<u32>(map, MAP_TYPE);
  if (type === TYPE_QUEUE || type === TYPE_STACK) return takeQueue(map, out, false, MAIN_CPU);
  for (let i = 0; i < TRIES; i++) {
    const sequence = shared(map + MAP_SEQUENCE);
    const found = copyOut(map, key, out);
    if (isStill(map, sequence)) return found;
  }
  if (!lock(map, MAIN_CPU)) return -EBUSY;
  const found = copyOut(map, key, out);
  unlock(map);
  return found;
}

/** Exchanges the word for itself: unlike a load, that also waits for the reads before it. */
function isStill(map: usize, sequence: u32): bool {
  if ((sequence & 1) !== 0) return false;
  return atomic.cmpxchg<u32>(map + MAP_SEQUENCE, sequence, sequence) === sequence;
}

function copyOut(map: usize, key: usize, out: usize): i32 {
  const value = lookup(map, key, MAIN_CPU);
  if (value === 0) return -ENOENT;
  readValue(map, value, out);
  return 0;
}
