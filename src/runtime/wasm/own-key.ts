/**
 * A key may lie in memory that another worker writes at the same time: the value of a map, shared as
 * maps are. An update looks at its key again and again, and what it finds must be one key.
 */
import { MAP_KEY, MAP_KEY_SIZE } from "./layout";
import { copy } from "./memory";

/** The key as it is now, where nobody but who holds the map's lock writes. Under the lock. */
export function ownKey(map: usize, key: usize): usize {
  const own: usize = load<u32>(map, MAP_KEY);
  copy(own, key, load<u32>(map, MAP_KEY_SIZE));
  return own;
}
