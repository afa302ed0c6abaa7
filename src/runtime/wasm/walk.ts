/** `bpf_for_each_map_elem`: one entry after another, while the program and others change the map. */
import { valueAt } from "./array";
import { valueAddress } from "./hash";
import { nextEntry } from "./hash-scan";
import {
  CURSOR_KEY,
  CURSOR_POSITION,
  MAP_CPU_STRIDE,
  MAP_CPUS,
  MAP_MAX_ENTRIES,
  MAP_TYPE,
  TYPE_ARRAY,
  TYPE_PERCPU_ARRAY,
} from "./layout";
import { put } from "./memory";

/** Moves the cursor to the next entry, whose key it then holds. `cpu`'s value of it, or 0 at the end. */
export function walk(map: usize, cursor: usize, cpu: u32): usize {
  const type = load<u32>(map, MAP_TYPE);
  const isArray = type === TYPE_ARRAY || type === TYPE_PERCPU_ARRAY;
  const value = isArray ? nextValue(map, cursor) : nextElement(map, cursor, cpu);
  if (value === 0 || cpu >= load<u32>(map, MAP_CPUS)) return value;
  return value + cpu * load<u32>(map, MAP_CPU_STRIDE);
}

function nextValue(map: usize, cursor: usize): usize {
  const index = load<u32>(cursor, CURSOR_POSITION);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return 0;
  put(cursor + CURSOR_KEY, index);
  put(cursor + CURSOR_POSITION, index + 1);
  return valueAt(map, index);
}

function nextElement(map: usize, cursor: usize, cpu: u32): usize {
  const element = nextEntry(map, cursor, cpu);
  return element === 0 ? 0 : valueAddress(map, element);
}
