/** Laying out a hash map, and making its links again from what its elements say of themselves. */
import { elementAt, finishReplacement, isLive } from "./element";
import {
  bucketCount,
  cpuStride,
  elementCount,
  elementStride,
  elementValueOffset,
  roundUp,
  valueStride,
} from "./geometry";
import { bucketOf, ELEMENT_HASH, ELEMENT_NEXT } from "./hash";
import { initializeSecrets } from "./hash-key";
import { giveElement } from "./hash-write";
import {
  MAP_BUCKET_MASK,
  MAP_BUCKETS,
  MAP_COUNT,
  MAP_CPU_STRIDE,
  MAP_ELEMENT_COUNT,
  MAP_ELEMENT_STRIDE,
  MAP_ELEMENTS,
  MAP_FREE,
  MAP_FRESH,
  MAP_KEY,
  MAP_KEY_SIZE,
  MAP_MAX_ENTRIES,
  MAP_REFERENCED,
  MAP_SPARES,
  MAP_STATES,
  MAP_VALUE_COUNT,
  MAP_VALUE_OFFSET,
  MAP_VALUE_SIZE,
  MAP_VALUE_STRIDE,
  MAP_VALUES,
  MAP_WORKERS,
} from "./layout";
import { publish, put } from "./memory";

/** Storage is zero: empty chains, free elements. Its order is geometry.ts's `hashBytes`. */
export function initializeHash(
  map: usize,
  storage: u32,
  seed: u32,
  perCpu: boolean,
  evicts: boolean,
): void {
  const keySize = load<u32>(map, MAP_KEY_SIZE);
  const valueSize = load<u32>(map, MAP_VALUE_SIZE);
  const maxEntries = load<u32>(map, MAP_MAX_ENTRIES);
  const cpus = load<u32>(map, MAP_WORKERS);
  const count = elementCount(maxEntries, cpus, perCpu) as u32;
  const stride = elementStride(keySize, valueSize, perCpu) as u32;
  const buckets = bucketCount(maxEntries) as u32;
  const valueOffset = elementValueOffset(keySize) as u32;
  initializeSecrets(map, seed);
  put(map + MAP_VALUE_OFFSET, valueOffset);
  put(map + MAP_VALUE_COUNT, count);
  put(map + MAP_ELEMENT_COUNT, count);
  put(map + MAP_ELEMENT_STRIDE, stride);

  let at: u32 = storage;
  if (perCpu) {
    const step = cpuStride(count, valueSize) as u32;
    put(map + MAP_VALUES, at);
    put(map + MAP_VALUE_STRIDE, valueStride(valueSize) as u32);
    put(map + MAP_CPU_STRIDE, step);
    put(map + MAP_VALUE_COUNT, (step / (valueStride(valueSize) as u32)) * cpus);
    at += step * cpus;
  }
  put(map + MAP_BUCKETS, at);
  put(map + MAP_BUCKET_MASK, buckets - 1);
  at += roundUp(buckets * 4, 64) as u32;
  put(map + MAP_ELEMENTS, at);
  if (!perCpu) {
    put(map + MAP_VALUES, at + valueOffset);
    put(map + MAP_VALUE_STRIDE, stride);
  }
  at += count * stride;
  put(map + MAP_STATES, at);
  at += roundUp(count, 8) as u32;
  if (evicts) put(map + MAP_REFERENCED, at);
  at += roundUp(count, 8) as u32;
  if (!perCpu) put(map + MAP_SPARES, at);
  at += roundUp((cpus + 1) * 4, 8) as u32;
  put(map + MAP_KEY, at);
}

/** Under the lock, with the sequence odd: readers that miss an entry wait. */
export function rebuildHash(map: usize): void {
  finishReplacement(map);
  const buckets = load<u32>(map, MAP_BUCKET_MASK) + 1;
  const first = load<u32>(map, MAP_BUCKETS);
  for (let i: u32 = 0; i < buckets; i++) publish(first + (i << 2), 0);
  const spares = load<u32>(map, MAP_SPARES);
  const spareCount: u32 = spares === 0 ? 0 : load<u32>(map, MAP_WORKERS) + 1;
  for (let i: u32 = 0; i < spareCount; i++) put(spares + (i << 2), 0);
  put(map + MAP_FREE, 0);

  const fresh = load<u32>(map, MAP_FRESH);
  let live: u32 = 0;
  for (let i: u32 = 0; i < fresh; i++) {
    const element = elementAt(map, i);
    if (isLive(map, i)) {
      const bucket = bucketOf(map, load<u32>(element, ELEMENT_HASH));
      publish(element + ELEMENT_NEXT, load<u32>(bucket));
      publish(bucket, element as u32);
      live++;
    } else giveElement(map, element);
  }
  put(map + MAP_COUNT, live);
}
