import { rebuildHash } from "./hash-storage";
import {
  MAIN_CPU,
  MAP_LOCK,
  MAP_SEQUENCE,
  MAP_TYPE,
  TYPE_LPM_TRIE,
  TYPE_QUEUE,
  TYPE_RINGBUF,
  TYPE_STACK,
} from "./layout";
import { unlock } from "./lock";
import { publish } from "./memory";
import { discardOf } from "./ring";
import { freeSpinLocksOf } from "./spin-lock";
import { rebuildTrie } from "./trie-storage";

/**
 * Releases and repairs what a worker held when it died. True if the map's lock was its.
 * The sequence is odd meanwhile: readers that miss something look again, then wait for the lock.
 */
export function repair(map: usize, cpu: u32): bool {
  freeSpinLocksOf(map, cpu);
  discardOf(map, cpu);
  if (load<u32>(map, MAP_LOCK) !== cpu + 1) return false;
  publish(map + MAP_LOCK, MAIN_CPU + 1);
  publish(map + MAP_SEQUENCE, load<u32>(map, MAP_SEQUENCE) | 1);
  rebuild(map);
  publish(map + MAP_SEQUENCE, load<u32>(map, MAP_SEQUENCE) + 1);
  unlock(map);
  return true;
}

function rebuild(map: usize): void {
  switch (load<u32>(map, MAP_TYPE)) {
    case TYPE_LPM_TRIE:
      rebuildTrie(map);
      break;
    // One store makes each change of these: nothing is ever half done.
    case TYPE_QUEUE:
    case TYPE_STACK:
    case TYPE_RINGBUF:
      break;
    default:
      rebuildHash(map);
  }
}
