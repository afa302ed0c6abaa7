import { MAIN_CPU, MAP_LOCK, MAP_SEQUENCE, MAP_WAITERS, MAP_WORKERS } from "./layout";
import { publish, shared } from "./memory";

const SPINS = 200;
const WAIT_NS = 1_000_000;
/** The main thread gives up after about a second: the owner may be dead, and it is who repairs. */
const MAIN_WAITS = 1000;

/** Takes the map's write lock for `cpu`. False: the main thread waited too long. */
export function lock(map: usize, cpu: u32): bool {
  const word = map + MAP_LOCK;
  const me = cpu + 1;
  for (let i = 0; i < SPINS; i++) if (tryLock(word, me)) return true;
  for (let waits = 0; cpu !== MAIN_CPU || waits < MAIN_WAITS; waits++) {
    publish(map + MAP_WAITERS, 1);
    const owner = shared(word);
    if (owner !== 0) atomic.wait<i32>(word, owner, WAIT_NS);
    if (tryLock(word, me)) return true;
  }
  return false;
}

function tryLock(word: usize, me: u32): bool {
  return shared(word) === 0 && atomic.cmpxchg<u32>(word, 0, me) === 0;
}

/**
 * Frees the lock and wakes who sleeps. A thread that has died asleep costs one needless wake-up,
 * one that falls asleep just too late wakes by its time-out.
 */
export function unlock(map: usize): void {
  publish(map + MAP_LOCK, 0);
  if (shared(map + MAP_WAITERS) !== 0) {
    publish(map + MAP_WAITERS, 0);
    atomic.notify(map + MAP_LOCK, -1);
  }
}

/**
 * Tells readers that walk at this moment that what they found missing may be there.
 *
 * Readers take no lock. A link is always changed by one store, so a reader sees the chain or trie
 * before or after; but it may stand on an element that was taken out, and go astray once that is
 * filled again. So writers call this before they fill one. Call it under the lock.
 */
export function warnReaders(map: usize): void {
  publish(map + MAP_SEQUENCE, load<u32>(map, MAP_SEQUENCE) + 2);
}

/** Which spare is the caller's: all that are no worker share the last, under the lock. */
export function spareIndex(map: usize, cpu: u32): u32 {
  return min(cpu, load<u32>(map, MAP_WORKERS));
}
