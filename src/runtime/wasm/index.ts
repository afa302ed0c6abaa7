/** What the runtime exports: src/runtime/map-runtime.ts says what each is for. */
import { initializeArray, nextKeyArray, updateArray } from "./array";
import { scanArray } from "./array-scan";
import { EINVAL } from "./error";
import { nextKeyHash, scanHash } from "./hash-scan";
import { initializeHash } from "./hash-storage";
import { removeHash, updateHash } from "./hash-write";
import {
  CURSOR_END,
  CURSOR_POSITION,
  MAP_CPUS,
  MAP_FLAGS,
  MAP_KEY_SIZE,
  MAP_MAX_ENTRIES,
  MAP_TYPE,
  MAP_VALUE_SIZE,
  MAP_WORKERS,
  TYPE_ARRAY,
  TYPE_DEVMAP,
  TYPE_DEVMAP_HASH,
  TYPE_HASH,
  TYPE_LPM_TRIE,
  TYPE_LRU_HASH,
  TYPE_LRU_PERCPU_HASH,
  TYPE_PERCPU_ARRAY,
  TYPE_PERCPU_HASH,
  TYPE_PROG_ARRAY,
} from "./layout";
import { put } from "./memory";
import {
  removeDevice,
  removeProgram,
  updateDevice,
  updateDeviceHash,
  updateProgram,
} from "./references";
import { nextKeyTrie, scanTrie } from "./trie-scan";
import { initializeTrie } from "./trie-storage";
import { removeTrie, updateTrie } from "./trie-write";
import { ALL_CPUS } from "./value";

export {
  lookup,
  lookupArray,
  lookupHash4,
  lookupHash8,
  lookupHash16,
  lookupHashN,
  lookupLru4,
  lookupLru8,
  lookupLru16,
  lookupLruN,
  lookupTrie,
} from "./lookup";
export { read } from "./read";
export { repair } from "./repair";
export { walk } from "./walk";

export function initialize(
  map: usize,
  type: u32,
  keySize: u32,
  valueSize: u32,
  maxEntries: u32,
  flags: u32,
  cpus: u32,
  storage: u32,
  seed: u32,
): i32 {
  const perCpu =
    type === TYPE_PERCPU_ARRAY || type === TYPE_PERCPU_HASH || type === TYPE_LRU_PERCPU_HASH;
  put(map + MAP_TYPE, type);
  put(map + MAP_KEY_SIZE, keySize);
  put(map + MAP_VALUE_SIZE, valueSize);
  put(map + MAP_MAX_ENTRIES, maxEntries);
  put(map + MAP_FLAGS, flags);
  put(map + MAP_CPUS, perCpu ? cpus : 1);
  put(map + MAP_WORKERS, cpus);
  switch (type) {
    case TYPE_ARRAY:
    case TYPE_PERCPU_ARRAY:
    case TYPE_PROG_ARRAY:
    case TYPE_DEVMAP:
      initializeArray(map, storage, perCpu);
      return 0;
    case TYPE_HASH:
    case TYPE_PERCPU_HASH:
    case TYPE_DEVMAP_HASH:
      initializeHash(map, storage, seed, perCpu, false);
      return 0;
    case TYPE_LRU_HASH:
    case TYPE_LRU_PERCPU_HASH:
      initializeHash(map, storage, seed, perCpu, true);
      return 0;
    case TYPE_LPM_TRIE:
      initializeTrie(map, storage);
      return 0;
    default:
      return -EINVAL;
  }
}

export function update(map: usize, key: usize, value: usize, flags: u32, cpu: u32): i32 {
  switch (load<u32>(map, MAP_TYPE)) {
    case TYPE_ARRAY:
    case TYPE_PERCPU_ARRAY:
      return updateArray(map, key, value, flags, cpu);
    case TYPE_LPM_TRIE:
      return updateTrie(map, key, value, flags, cpu);
    case TYPE_DEVMAP:
      return updateDevice(map, key, value, flags);
    case TYPE_DEVMAP_HASH:
      return updateDeviceHash(map, key, value, flags, cpu);
    case TYPE_PROG_ARRAY:
      return updateProgram(map, key, value, flags);
    default:
      return updateHash(map, key, value, flags, cpu);
  }
}

export function updateAll(map: usize, key: usize, value: usize, flags: u32): i32 {
  return update(map, key, value, flags, ALL_CPUS);
}

export function remove(map: usize, key: usize, cpu: u32): i32 {
  switch (load<u32>(map, MAP_TYPE)) {
    case TYPE_ARRAY:
    case TYPE_PERCPU_ARRAY:
      return -EINVAL;
    case TYPE_LPM_TRIE:
      return removeTrie(map, key, cpu);
    case TYPE_DEVMAP:
      return removeDevice(map, key);
    case TYPE_PROG_ARRAY:
      return removeProgram(map, key);
    default:
      return removeHash(map, key, cpu);
  }
}

export function nextKey(map: usize, key: usize, out: usize): i32 {
  switch (load<u32>(map, MAP_TYPE)) {
    case TYPE_ARRAY:
    case TYPE_PERCPU_ARRAY:
    case TYPE_PROG_ARRAY:
    case TYPE_DEVMAP:
      return nextKeyArray(map, key, out);
    case TYPE_LPM_TRIE:
      return nextKeyTrie(map, key, out);
    default:
      return nextKeyHash(map, key, out);
  }
}

export function scan(map: usize, cursor: usize, out: usize, capacity: u32): i32 {
  if (load<u32>(cursor, CURSOR_POSITION) === (CURSOR_END as u32)) return 0;
  const type = load<u32>(map, MAP_TYPE);
  switch (type) {
    case TYPE_ARRAY:
    case TYPE_PERCPU_ARRAY:
    case TYPE_PROG_ARRAY:
    case TYPE_DEVMAP:
      return scanArray(map, type, cursor, out, capacity);
    case TYPE_LPM_TRIE:
      return scanTrie(map, cursor, out, capacity);
    default:
      return scanHash(map, cursor, out, capacity);
  }
}
