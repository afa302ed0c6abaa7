/** Lookups: one for all maps, and those that a program compiled for one map calls directly. */
import { lookupArray } from "./array";
import { lookupHash, lookupLru } from "./hash";
import {
  MAIN_CPU,
  MAP_CPUS,
  MAP_KEY_SIZE,
  MAP_REFERENCED,
  MAP_TYPE,
  TYPE_ARRAY,
  TYPE_ARRAY_OF_MAPS,
  TYPE_CPUMAP,
  TYPE_DEVMAP,
  TYPE_LPM_TRIE,
  TYPE_PERCPU_ARRAY,
  TYPE_PROG_ARRAY,
  TYPE_XSKMAP,
} from "./layout";
import { lookupReference, SOCKET_QUEUE } from "./references";
import { lookupTrie } from "./trie";

export { lookupArray, lookupTrie };

export function lookupHash4(map: usize, key: usize, cpu: u32): usize {
  return lookupHash<u32>(map, key, cpu);
}

export function lookupHash8(map: usize, key: usize, cpu: u32): usize {
  return lookupHash<u64>(map, key, cpu);
}

export function lookupHash16(map: usize, key: usize, cpu: u32): usize {
  return lookupHash<v128>(map, key, cpu);
}

export function lookupHashN(map: usize, key: usize, cpu: u32): usize {
  return lookupHash<u8>(map, key, cpu);
}

export function lookupLru4(map: usize, key: usize, cpu: u32): usize {
  return lookupLru<u32>(map, key, cpu);
}

export function lookupLru8(map: usize, key: usize, cpu: u32): usize {
  return lookupLru<u64>(map, key, cpu);
}

export function lookupLru16(map: usize, key: usize, cpu: u32): usize {
  return lookupLru<v128>(map, key, cpu);
}

export function lookupLruN(map: usize, key: usize, cpu: u32): usize {
  return lookupLru<u8>(map, key, cpu);
}

/**
 * The main thread sees CPU 0's value, and leaves an LRU entry's age alone. For maps that have keys.
 */
export function lookup(map: usize, key: usize, cpu: u32): usize {
  switch (load<u32>(map, MAP_TYPE)) {
    case TYPE_ARRAY:
    case TYPE_PERCPU_ARRAY:
      return lookupArray(map, key, cpu < load<u32>(map, MAP_CPUS) ? cpu : 0);
    case TYPE_LPM_TRIE:
      return lookupTrie(map, key, cpu);
    case TYPE_DEVMAP:
    case TYPE_CPUMAP:
    case TYPE_PROG_ARRAY:
    case TYPE_ARRAY_OF_MAPS:
      return lookupReference(map, key);
    case TYPE_XSKMAP: {
      const slot = lookupReference(map, key);
      return slot === 0 || cpu === MAIN_CPU ? slot : slot + SOCKET_QUEUE;
    }
    default:
      break;
  }
  const keySize = load<u32>(map, MAP_KEY_SIZE);
  if (cpu !== MAIN_CPU && load<u32>(map, MAP_REFERENCED) !== 0) {
    if (keySize === 4) return lookupLru4(map, key, cpu);
    if (keySize === 8) return lookupLru8(map, key, cpu);
    if (keySize === 16) return lookupLru16(map, key, cpu);
    return lookupLruN(map, key, cpu);
  }
  if (keySize === 4) return lookupHash4(map, key, cpu);
  if (keySize === 8) return lookupHash8(map, key, cpu);
  if (keySize === 16) return lookupHash16(map, key, cpu);
  return lookupHashN(map, key, cpu);
}
