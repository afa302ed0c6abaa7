import { rebuildHash } from "./hash-storage";
import { MAIN_CPU, MAP_LOCK, MAP_SEQUENCE, MAP_TYPE, TYPE_LPM_TRIE } from "./layout";
import { unlock } from "./lock";
import { publish } from "./memory";
import { rebuildTrie } from "./trie-storage";

/**
 * Releases and repairs what a worker held when it died. True if the map's lock was its.
 * The sequence is odd meanwhile: readers that miss something look again, then wait for the lock.
 */
export function repair(map: usize, cpu: u32): bool {
  if (load<u32>(map, MAP_LOCK) !== cpu + 1) return false;
  publish(map + MAP_LOCK, MAIN_CPU + 1);
  publish(map + MAP_SEQUENCE, load<u32>(map, MAP_SEQUENCE) | 1);
  if (load<u32>(map, MAP_TYPE) === TYPE_LPM_TRIE) rebuildTrie(map);
  else rebuildHash(map);
  publish(map + MAP_SEQUENCE, load<u32>(map, MAP_SEQUENCE) + 1);
  unlock(map);
  return true;
}
