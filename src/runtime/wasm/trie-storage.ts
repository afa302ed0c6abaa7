/** Laying out a trie, and building it again from the entries that are alive. */
import { elementAt, finishReplacement, isLive } from "./element";
import { elementCount, forkStride, roundUp, trieStride, trieValueOffset } from "./geometry";
import {
  MAP_COUNT,
  MAP_ELEMENT_COUNT,
  MAP_ELEMENT_STRIDE,
  MAP_ELEMENTS,
  MAP_FORK_STRIDE,
  MAP_FORKS,
  MAP_FREE,
  MAP_FREE_FORK,
  MAP_FRESH,
  MAP_FRESH_FORK,
  MAP_KEY,
  MAP_KEY_SIZE,
  MAP_MAX_ENTRIES,
  MAP_ROOT,
  MAP_SCRATCH,
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
import { childLink } from "./trie";
import { copyKey } from "./trie-scan";
import { attach, findSlot, giveEntry } from "./trie-write";

/** Storage is zero: an empty trie. Its order is geometry.ts's `trieBytes`. */
export function initializeTrie(map: usize, storage: u32): void {
  const keySize = load<u32>(map, MAP_KEY_SIZE);
  const workers = load<u32>(map, MAP_WORKERS);
  const count = elementCount(load<u32>(map, MAP_MAX_ENTRIES), workers, false) as u32;
  const stride = trieStride(keySize, load<u32>(map, MAP_VALUE_SIZE)) as u32;
  const valueOffset = trieValueOffset(keySize) as u32;
  let at: u32 = storage;
  put(map + MAP_ELEMENTS, at);
  put(map + MAP_ELEMENT_STRIDE, stride);
  put(map + MAP_ELEMENT_COUNT, count);
  put(map + MAP_VALUE_OFFSET, valueOffset);
  put(map + MAP_VALUES, at + valueOffset);
  put(map + MAP_VALUE_STRIDE, stride);
  put(map + MAP_VALUE_COUNT, count);
  at += count * stride;
  put(map + MAP_STATES, at);
  at += roundUp(count, 8) as u32;
  put(map + MAP_SPARES, at);
  at += roundUp((workers + 1) * 4, 8) as u32;
  put(map + MAP_KEY, at);
  at += roundUp(keySize, 8) as u32;
  put(map + MAP_FORKS, at);
  put(map + MAP_FORK_STRIDE, forkStride(keySize) as u32);
}

/** Under the lock, with the sequence odd: readers wait. Keys pass through the main thread's scratch. */
export function rebuildTrie(map: usize): void {
  finishReplacement(map);
  publish(map + MAP_ROOT, 0);
  put(map + MAP_FREE, 0);
  put(map + MAP_FREE_FORK, 0);
  put(map + MAP_FRESH_FORK, 0);
  const spares = load<u32>(map, MAP_SPARES);
  for (let i: u32 = 0; i <= load<u32>(map, MAP_WORKERS); i++) put(spares + (i << 2), 0);

  const key: usize = load<u32>(map, MAP_SCRATCH);
  const fresh = load<u32>(map, MAP_FRESH);
  let live: u32 = 0;
  for (let i: u32 = 0; i < fresh; i++) {
    const entry = elementAt(map, i);
    if (isLive(map, i)) {
      put(childLink(entry, 0), 0);
      put(childLink(entry, 1), 0);
      copyKey(map, entry, key);
      attach(map, findSlot(map, key), entry, key);
      live++;
    } else giveEntry(map, entry);
  }
  put(map + MAP_COUNT, live);
}
