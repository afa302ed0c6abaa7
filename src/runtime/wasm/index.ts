/** What the runtime exports: src/runtime/map-runtime.ts says what each is for. */
import { initializeArray, nextKeyArray, updateArray } from "./array";
import { scanArray } from "./array-scan";
import { initializeBloom, peekBloom, pushBloom } from "./bloom";
import { EINVAL, EOPNOTSUPP } from "./error";
import { ringBytes } from "./geometry";
import { nextKeyHash, scanHash } from "./hash-scan";
import { initializeHash } from "./hash-storage";
import { removeHash, updateHash } from "./hash-write";
import {
  CURSOR_END,
  CURSOR_POSITION,
  MAIN_CPU,
  MAP_CPUS,
  MAP_FLAGS,
  MAP_HASHES,
  MAP_KEY_SIZE,
  MAP_MAX_ENTRIES,
  MAP_TYPE,
  MAP_VALUE_SIZE,
  MAP_WORKERS,
  PERF_RING_BYTES,
  TYPE_ARRAY,
  TYPE_ARRAY_OF_MAPS,
  TYPE_BLOOM_FILTER,
  TYPE_CPUMAP,
  TYPE_DEVMAP,
  TYPE_DEVMAP_HASH,
  TYPE_HASH,
  TYPE_HASH_OF_MAPS,
  TYPE_LPM_TRIE,
  TYPE_LRU_HASH,
  TYPE_LRU_PERCPU_HASH,
  TYPE_PERCPU_ARRAY,
  TYPE_PERCPU_HASH,
  TYPE_PERF_EVENT_ARRAY,
  TYPE_PROG_ARRAY,
  TYPE_QUEUE,
  TYPE_RINGBUF,
  TYPE_STACK,
  TYPE_XSKMAP,
} from "./layout";
import { put } from "./memory";
import { initializeQueue, pushQueue, scanQueue, takeQueue } from "./queue";
import {
  initializeSockets,
  removeDevice,
  removeProgram,
  updateDevice,
  updateDeviceHash,
  updateProgram,
  updateSocket,
  updateWorker,
} from "./references";
import { initializeRings } from "./ring";
import { nextKeyTrie, scanTrie } from "./trie-scan";
import { initializeTrie } from "./trie-storage";
import { removeTrie, updateTrie } from "./trie-write";
import { ALL_CPUS } from "./value";

export { copySum, internetSum } from "./checksum";
export { devices } from "./devices";
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
export { commit, nextRecord, releaseRecord, reserve } from "./ring";
export { spinLock, spinUnlock } from "./spin-lock";
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
    case TYPE_ARRAY_OF_MAPS:
    case TYPE_DEVMAP:
    case TYPE_CPUMAP:
      initializeArray(map, storage, perCpu);
      return 0;
    case TYPE_XSKMAP:
      initializeArray(map, storage, false);
      initializeSockets(map);
      return 0;
    case TYPE_QUEUE:
    case TYPE_STACK:
      initializeQueue(map, storage);
      return 0;
    case TYPE_BLOOM_FILTER:
      initializeBloom(map, storage, seed, load<u32>(map, MAP_HASHES));
      return 0;
    case TYPE_RINGBUF:
      initializeRings(map, storage, 1, maxEntries, 0);
      return 0;
    case TYPE_PERF_EVENT_ARRAY:
      initializeRings(map, storage, cpus, PERF_RING_BYTES, ringBytes(PERF_RING_BYTES) as u32);
      return 0;
    case TYPE_HASH:
    case TYPE_HASH_OF_MAPS:
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
    case TYPE_CPUMAP:
      return updateWorker(map, key, value, flags);
    case TYPE_XSKMAP:
      return updateSocket(map, key, value, flags);
    case TYPE_PROG_ARRAY:
    case TYPE_ARRAY_OF_MAPS:
      return updateProgram(map, key, value, flags);
    case TYPE_QUEUE:
    case TYPE_STACK:
    case TYPE_BLOOM_FILTER:
      return push(map, value, flags, cpu === ALL_CPUS ? MAIN_CPU : cpu);
    case TYPE_RINGBUF:
    case TYPE_PERF_EVENT_ARRAY:
      return -EOPNOTSUPP;
    default:
      return updateHash(map, key, value, flags, cpu);
  }
}

export function updateAll(map: usize, key: usize, value: usize, flags: u32): i32 {
  return update(map, key, value, flags, ALL_CPUS);
}

/** `bpf_map_push_elem`. */
export function push(map: usize, value: usize, flags: u32, cpu: u32): i32 {
  return load<u32>(map, MAP_TYPE) === TYPE_BLOOM_FILTER
    ? pushBloom(map, value, flags)
    : pushQueue(map, value, flags, cpu);
}

/** `bpf_map_pop_elem`. */
export function pop(map: usize, value: usize, cpu: u32): i32 {
  if (load<u32>(map, MAP_TYPE) === TYPE_BLOOM_FILTER) return -EOPNOTSUPP;
  return takeQueue(map, value, true, cpu);
}

/** `bpf_map_peek_elem`. */
export function peek(map: usize, value: usize, cpu: u32): i32 {
  if (load<u32>(map, MAP_TYPE) === TYPE_BLOOM_FILTER) return peekBloom(map, value);
  return takeQueue(map, value, false, cpu);
}

export function remove(map: usize, key: usize, cpu: u32): i32 {
  switch (load<u32>(map, MAP_TYPE)) {
    case TYPE_ARRAY:
    case TYPE_PERCPU_ARRAY:
    case TYPE_QUEUE:
    case TYPE_STACK:
      return -EINVAL;
    case TYPE_BLOOM_FILTER:
    case TYPE_RINGBUF:
    case TYPE_PERF_EVENT_ARRAY:
      return -EOPNOTSUPP;
    case TYPE_LPM_TRIE:
      return removeTrie(map, key, cpu);
    case TYPE_DEVMAP:
    case TYPE_CPUMAP:
    case TYPE_XSKMAP:
      return removeDevice(map, key);
    case TYPE_PROG_ARRAY:
    case TYPE_ARRAY_OF_MAPS:
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
    case TYPE_ARRAY_OF_MAPS:
    case TYPE_DEVMAP:
    case TYPE_CPUMAP:
    case TYPE_XSKMAP:
    case TYPE_PERF_EVENT_ARRAY:
      return nextKeyArray(map, key, out);
    case TYPE_QUEUE:
    case TYPE_STACK:
      return -EINVAL;
    case TYPE_BLOOM_FILTER:
    case TYPE_RINGBUF:
      return -EOPNOTSUPP;
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
    case TYPE_ARRAY_OF_MAPS:
    case TYPE_DEVMAP:
    case TYPE_CPUMAP:
    case TYPE_XSKMAP:
      return scanArray(map, type, cursor, out, capacity);
    case TYPE_QUEUE:
    case TYPE_STACK:
      return scanQueue(map, cursor, out, capacity);
    case TYPE_BLOOM_FILTER:
    case TYPE_RINGBUF:
    case TYPE_PERF_EVENT_ARRAY:
      put(cursor + CURSOR_POSITION, CURSOR_END);
      return 0;
    case TYPE_LPM_TRIE:
      return scanTrie(map, cursor, out, capacity);
    default:
      return scanHash(map, cursor, out, capacity);
  }
}
