/**
 * Finding entries of a hash map, kernel/bpf/hashtab.c. Readers take no lock.
 *
 * An element is: the chain's next element (u32, 0 ends it), the key's hash (u32), the key, the
 * value; each rounded up to 8 bytes. Per-CPU maps keep the address of CPU 0's value instead.
 */

import { indexOf } from "./element";
import { ELEMENT_KEY } from "./geometry";
import { hashKey, sameKey } from "./hash-key";
import {
  MAP_BUCKET_MASK,
  MAP_BUCKETS,
  MAP_CPU_STRIDE,
  MAP_CPUS,
  MAP_KEY_SIZE,
  MAP_REFERENCED,
  MAP_SEQUENCE,
  MAP_VALUE_OFFSET,
} from "./layout";
import { lock, unlock } from "./lock";
import { putByte, shared } from "./memory";

export const ELEMENT_NEXT: usize = 0;
export const ELEMENT_HASH: usize = 4;
const KEY_AT = ELEMENT_KEY as usize;

/** Walks that may be disturbed before a reader takes the lock. */
const WALKS = 32;

export function bucketOf(map: usize, hash: u32): usize {
  return load<u32>(map, MAP_BUCKETS) + ((hash & load<u32>(map, MAP_BUCKET_MASK)) << 2);
}

/** Where CPU 0's (or the only) value of an element lies. */
export function valueAddress(map: usize, element: usize): usize {
  const at = element + load<u32>(map, MAP_VALUE_OFFSET);
  return load<u32>(map, MAP_CPU_STRIDE) === 0 ? at : load<u32>(at);
}

// asc:inline
function walk<K>(map: usize, key: usize, hash: u32): usize {
  let element: usize = shared(bucketOf(map, hash));
  while (element !== 0) {
    if (load<u32>(element, ELEMENT_HASH) === hash && sameKey<K>(map, element + KEY_AT, key))
      return element;
    element = shared(element + ELEMENT_NEXT);
  }
  return 0;
}

/** The element of `key`, or 0. What was found is right; what was missed may have been moved. */
// asc:inline
export function find<K>(map: usize, key: usize, cpu: u32): usize {
  const hash = hashKey<K>(map, key);
  const sequence = shared(map + MAP_SEQUENCE);
  const element = walk<K>(map, key, hash);
  if (element !== 0) return element;
  if (shared(map + MAP_SEQUENCE) === sequence && (sequence & 1) === 0) return 0;
  return findAgain<K>(map, key, hash, cpu);
}

function findAgain<K>(map: usize, key: usize, hash: u32, cpu: u32): usize {
  for (let i = 0; i < WALKS; i++) {
    const sequence = shared(map + MAP_SEQUENCE);
    const element = walk<K>(map, key, hash);
    if (element !== 0) return element;
    if (shared(map + MAP_SEQUENCE) === sequence && (sequence & 1) === 0) return 0;
  }
  const locked = lock(map, cpu);
  const element = walk<K>(map, key, hash);
  if (locked) unlock(map);
  return element;
}

/** `cpu`'s value of `key`, or 0. For hash and percpu_hash. */
// asc:inline
export function lookupHash<K>(map: usize, key: usize, cpu: u32): usize {
  const element = find<K>(map, key, cpu);
  return element === 0 ? 0 : valueOn<K>(map, element, cpu);
}

/** The same for the LRU types: a lookup by a program keeps the entry from eviction. */
// asc:inline
export function lookupLru<K>(map: usize, key: usize, cpu: u32): usize {
  const element = find<K>(map, key, cpu);
  if (element === 0) return 0;
  refer(map, element);
  return valueOn<K>(map, element, cpu);
}

/** Written only where it changes, so that a busy entry's line stays shared between CPUs. */
export function refer(map: usize, element: usize): void {
  const at = load<u32>(map, MAP_REFERENCED) + indexOf(map, element);
  if (load<u8>(at) === 0) putByte(at, 1);
}

// asc:inline
function valueOn<K>(map: usize, element: usize, cpu: u32): usize {
  const at =
    sizeof<K>() === 1
      ? element + load<u32>(map, MAP_VALUE_OFFSET)
      : element + KEY_AT + (sizeof<K>() === 4 ? 8 : sizeof<K>());
  const stride = load<u32>(map, MAP_CPU_STRIDE);
  if (stride === 0) return at;
  return load<u32>(at) + (cpu < load<u32>(map, MAP_CPUS) ? cpu * stride : 0);
}

/** `hashKey` for any map. */
export function hashOf(map: usize, key: usize): u32 {
  switch (load<u32>(map, MAP_KEY_SIZE)) {
    case 4:
      return hashKey<u32>(map, key);
    case 8:
      return hashKey<u64>(map, key);
    case 16:
      return hashKey<v128>(map, key);
    default:
      return hashKey<u8>(map, key);
  }
}

/** The word that links `key`'s element into its chain, or 0. Under the lock. */
export function findLink(map: usize, key: usize, hash: u32): usize {
  let link = bucketOf(map, hash);
  let element: usize = load<u32>(link);
  while (element !== 0) {
    if (load<u32>(element, ELEMENT_HASH) === hash && sameKey<u8>(map, element + KEY_AT, key))
      return link;
    link = element + ELEMENT_NEXT;
    element = load<u32>(link);
  }
  return 0;
}

/** The word that links `element` into its chain. Under the lock; it is there. */
export function linkOf(map: usize, element: usize): usize {
  let link = bucketOf(map, load<u32>(element, ELEMENT_HASH));
  while ((load<u32>(link) as usize) !== element) link = (load<u32>(link) as usize) + ELEMENT_NEXT;
  return link;
}
