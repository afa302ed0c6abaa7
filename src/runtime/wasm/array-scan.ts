/** Walking over arrays; CURSOR_POSITION is the next index. Arrays that hold references skip gaps. */

import { valueAt } from "./array";
import { roundUp } from "./geometry";
import {
  CURSOR_END,
  CURSOR_POSITION,
  MAP_KEY_SIZE,
  MAP_MAX_ENTRIES,
  TYPE_ARRAY,
  TYPE_PERCPU_ARRAY,
} from "./layout";
import { put } from "./memory";
import { entryBytes, readValue } from "./value";

export function scanArray(map: usize, type: u32, cursor: usize, out: usize, capacity: u32): i32 {
  const skipsGaps = type !== TYPE_ARRAY && type !== TYPE_PERCPU_ARRAY;
  const entries = load<u32>(map, MAP_MAX_ENTRIES);
  const size = entryBytes(map);
  const keyBytes = roundUp(load<u32>(map, MAP_KEY_SIZE), 8) as u32;
  let index = load<u32>(cursor, CURSOR_POSITION);
  let count: u32 = 0;
  for (; index < entries && count < capacity; index++) {
    const value = valueAt(map, index);
    if (skipsGaps && load<u32>(value) === 0) continue;
    put(out + count * size, index);
    readValue(map, value, out + count * size + keyBytes);
    count++;
  }
  put(cursor + CURSOR_POSITION, index >= entries ? CURSOR_END : index);
  return count;
}
