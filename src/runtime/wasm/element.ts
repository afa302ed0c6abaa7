/** Elements of hashes and tries: where they lie, and whether they are entries. */
import {
  MAP_ELEMENT_STRIDE,
  MAP_ELEMENTS,
  MAP_PENDING,
  MAP_STATES,
  STATE_FREE,
  STATE_LIVE,
} from "./layout";
import { publish64, put64, putByte } from "./memory";

export function elementAt(map: usize, index: u32): usize {
  return load<u32>(map, MAP_ELEMENTS) + index * load<u32>(map, MAP_ELEMENT_STRIDE);
}

export function indexOf(map: usize, element: usize): u32 {
  return ((element - load<u32>(map, MAP_ELEMENTS)) as u32) / load<u32>(map, MAP_ELEMENT_STRIDE);
}

export function setState(map: usize, element: usize, state: u32): void {
  putByte(load<u32>(map, MAP_STATES) + indexOf(map, element), state);
}

export function isLive(map: usize, index: u32): bool {
  return load<u8>(load<u32>(map, MAP_STATES) + index) === STATE_LIVE;
}

/**
 * From here on `replacement` is the entry and `old` is none, whatever happens to this thread. The
 * caller moves the links, then calls `finishReplacement`.
 */
export function beginReplacement(map: usize, replacement: usize, old: usize): void {
  publish64(map + MAP_PENDING, (replacement as u64) | ((old as u64) << 32));
  setState(map, replacement, STATE_LIVE);
}

/** Also what repair does for a thread that came no further. */
export function finishReplacement(map: usize): void {
  const pending = load<u64>(map, MAP_PENDING);
  if (pending === 0) return;
  setState(map, pending as u32, STATE_LIVE);
  setState(map, (pending >> 32) as u32, STATE_FREE);
  put64(map + MAP_PENDING, 0);
}
