import { bloomHashes, isPerCpu, isStored } from "../object/map-rules.ts";
import type { MapType } from "../object/object-spec.ts";
import {
  arrayBytes,
  bloomBytes,
  hashBytes,
  queueBytes,
  ringBytes,
  roundUp,
  trieBytes,
  valueStride,
} from "../runtime/wasm/geometry.ts";
import { CURSOR_KEY, MAP_DESCRIPTOR_BYTES, PERF_RING_BYTES } from "../runtime/wasm/layout.ts";

/** What decides how much memory a map takes. */
export interface MapShape {
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** map_extra, linux/bpf.h: a bloom filter's number of hash functions, 0 for the default. */
  readonly extra?: number | undefined;
}

/**
 * Bytes of arena that a map takes with `cpus` workers: descriptor, entries, links, and what the
 * main thread needs to read it. 0 for a type that has no storage.
 */
export function storageBytes(shape: MapShape, cpus: number): number {
  if (!isStored(shape.type)) return 0;
  return scratchOffset(shape, cpus) + scratchLayout(shape, valuesOf(shape.type, cpus)).bytes;
}

/** Values an entry holds. */
export function valuesOf(type: MapType, cpus: number): number {
  return isStored(type) && isPerCpu(type) ? cpus : 1;
}

/** From the descriptor to the main thread's scratch: behind the entries. */
export function scratchOffset(shape: MapShape, cpus: number): number {
  return MAP_DESCRIPTOR_BYTES + roundUp(entryStorageBytes(shape, cpus), 64);
}

function entryStorageBytes(shape: MapShape, cpus: number): number {
  const { type, keySize, valueSize, maxEntries } = shape;
  const perCpu = valuesOf(type, 2) > 1;
  switch (type) {
    case "array":
    case "percpu_array":
    case "prog_array":
    case "array_of_maps":
    case "devmap":
    case "cpumap":
    case "xskmap":
      return arrayBytes(maxEntries, valueSize, cpus, perCpu);
    case "queue":
    case "stack":
      return queueBytes(maxEntries, valueSize);
    case "bloom_filter":
      return bloomBytes(maxEntries, bloomHashes(shape.extra));
    case "ringbuf":
      return ringBytes(maxEntries);
    case "perf_event_array":
      return cpus * ringBytes(PERF_RING_BYTES);
    case "lpm_trie":
      return trieBytes(keySize, valueSize, maxEntries, cpus);
    default:
      return hashBytes(keySize, valueSize, maxEntries, cpus, perCpu);
  }
}

/** Bytes that a scan copies out at once: some microseconds of the map's lock. */
const batchBytes = 8192;

/**
 * Offsets within the scratch. `values` and `batch` share their place: no operation uses both.
 * `entry` is one entry's bytes in the batch, `capacity` the entries it holds.
 */
export interface ScratchLayout {
  readonly key: number;
  readonly nextKey: number;
  readonly cursor: number;
  readonly cursorBytes: number;
  readonly values: number;
  readonly batch: number;
  readonly entry: number;
  readonly capacity: number;
  readonly bytes: number;
}

export function scratchLayout(
  shape: { readonly keySize: number; readonly valueSize: number },
  values: number,
): ScratchLayout {
  const keyBytes = roundUp(shape.keySize, 8);
  const entry = keyBytes + values * valueStride(shape.valueSize);
  // A ringbuf has neither keys nor values.
  const capacity = entry === 0 ? 0 : Math.max(1, Math.floor(batchBytes / entry));
  const cursor = 2 * keyBytes;
  const cursorBytes = CURSOR_KEY + keyBytes;
  const batch = cursor + cursorBytes;
  return {
    key: 0,
    nextKey: keyBytes,
    cursor,
    cursorBytes,
    values: batch,
    batch,
    entry,
    capacity,
    bytes: batch + capacity * entry,
  };
}
