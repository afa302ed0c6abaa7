/** `struct bpf_spin_lock` in map values: a word that holds its owner's worker id + 1, or 0. */
import { MAIN_CPU, MAP_SPIN_LOCK, MAP_VALUE_COUNT, MAP_VALUE_STRIDE, MAP_VALUES } from "./layout";
import { publish, shared } from "./memory";

const SPINS = 200;
/** Holders run a program of bounded length: a waiter looks again soon. */
const WAIT_NS = 100_000;

/** The main thread gives up after about a second: the owner may be dead, and it is who repairs. */
const MAIN_WAITS = 10_000;

/** `bpf_spin_lock`. False: the main thread waited too long. */
export function spinLock(word: usize, cpu: u32): bool {
  for (let waits = 0; cpu !== MAIN_CPU || waits < MAIN_WAITS; waits++) {
    for (let i = 0; i < SPINS; i++) if (atomic.cmpxchg<u32>(word, 0, cpu + 1) === 0) return true;
    const owner = shared(word);
    if (owner !== 0) atomic.wait<i32>(word, owner, WAIT_NS);
  }
  return false;
}

/** `bpf_spin_unlock`. */
export function spinUnlock(word: usize): void {
  publish(word, 0);
}

/** Frees every value's lock that a dead worker held: what it guarded stays as that worker left it. */
export function freeSpinLocksOf(map: usize, cpu: u32): void {
  const offset = load<u32>(map, MAP_SPIN_LOCK);
  if (offset === 0) return;
  const stride = load<u32>(map, MAP_VALUE_STRIDE);
  const count = load<u32>(map, MAP_VALUE_COUNT);
  let word: usize = load<u32>(map, MAP_VALUES) + offset - 1;
  for (let i: u32 = 0; i < count; i++, word += stride)
    if (shared(word) === cpu + 1) publish(word, 0);
}
