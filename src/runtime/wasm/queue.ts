/**
 * queue and stack: kernel/bpf/queue_stack_maps.c. Values stand in a ring of slots between tail (the
 * oldest) and head (where the next goes); each change is made by one store to one of the two.
 */

import { elementAt } from "./element";
import { E2BIG, EBUSY, EINVAL, ENOENT } from "./error";
import { valueStride } from "./geometry";
import {
  CURSOR_END,
  CURSOR_HAS_KEY,
  CURSOR_POSITION,
  MAIN_CPU,
  MAP_ELEMENT_COUNT,
  MAP_ELEMENT_STRIDE,
  MAP_ELEMENTS,
  MAP_HEAD,
  MAP_MAX_ENTRIES,
  MAP_TAIL,
  MAP_TYPE,
  MAP_VALUE_SIZE,
  TYPE_QUEUE,
  UPDATE_EXIST,
  UPDATE_NOEXIST,
} from "./layout";
import { lock, unlock } from "./lock";
import { clear, copy, put } from "./memory";

export function initializeQueue(map: usize, storage: u32): void {
  put(map + MAP_ELEMENTS, storage);
  put(map + MAP_ELEMENT_STRIDE, valueStride(load<u32>(map, MAP_VALUE_SIZE)) as u32);
  put(map + MAP_ELEMENT_COUNT, load<u32>(map, MAP_MAX_ENTRIES) + 1);
}

/** `bpf_map_push_elem`: BPF_EXIST lets the oldest value go where there is no room. */
export function pushQueue(map: usize, value: usize, flags: u32, cpu: u32): i32 {
  if (flags === UPDATE_NOEXIST || flags > (UPDATE_EXIST as u32)) return -EINVAL;
  if (!lock(map, cpu)) return -EBUSY;
  const head = load<u32>(map, MAP_HEAD);
  const next = after(map, head);
  const isFull = next === load<u32>(map, MAP_TAIL);
  if (isFull && flags !== UPDATE_EXIST) {
    unlock(map);
    return -E2BIG;
  }
  if (isFull) put(map + MAP_TAIL, after(map, next));
  copy(elementAt(map, head), value, load<u32>(map, MAP_VALUE_SIZE));
  put(map + MAP_HEAD, next);
  unlock(map);
  return 0;
}

/** `bpf_map_pop_elem`, `bpf_map_peek_elem`: where there is none, the value is zeroed. */
export function takeQueue(map: usize, value: usize, removes: bool, cpu: u32): i32 {
  const size = load<u32>(map, MAP_VALUE_SIZE);
  if (!lock(map, cpu)) return -EBUSY;
  const head = load<u32>(map, MAP_HEAD);
  const tail = load<u32>(map, MAP_TAIL);
  if (head === tail) {
    clear(value, size);
    unlock(map);
    return -ENOENT;
  }
  if (load<u32>(map, MAP_TYPE) === TYPE_QUEUE) {
    copy(value, elementAt(map, tail), size);
    if (removes) put(map + MAP_TAIL, after(map, tail));
  } else {
    const last = before(map, head);
    copy(value, elementAt(map, last), size);
    if (removes) put(map + MAP_HEAD, last);
  }
  unlock(map);
  return 0;
}

/**
 * Copies values in the order they would be popped. A value keeps its slot as long as it is there,
 * so that the cursor is the slot of the next; one that is gone meanwhile begins again at the first.
 */
export function scanQueue(map: usize, cursor: usize, out: usize, capacity: u32): i32 {
  if (!lock(map, MAIN_CPU)) return -EBUSY;
  const isQueue = load<u32>(map, MAP_TYPE) === TYPE_QUEUE;
  const head = load<u32>(map, MAP_HEAD);
  const tail = load<u32>(map, MAP_TAIL);
  const stride = load<u32>(map, MAP_ELEMENT_STRIDE);
  const size = load<u32>(map, MAP_ELEMENT_COUNT);
  let left: u32 = (head + size - tail) % size;
  if (load<u32>(cursor, CURSOR_HAS_KEY) !== 0) {
    const slot = load<u32>(cursor, CURSOR_POSITION);
    const rest: u32 = isQueue ? (head + size - slot) % size : (slot + 1 + size - tail) % size;
    left = rest < left ? rest : left;
  }
  let count: u32 = 0;
  for (; left !== 0 && count < capacity; left--, count++) {
    const slot: u32 = isQueue ? (head + size - left) % size : (tail + left - 1) % size;
    copy(out + count * stride, elementAt(map, slot), load<u32>(map, MAP_VALUE_SIZE));
  }
  const next: u32 = isQueue ? (head + size - left) % size : (tail + left + size - 1) % size;
  put(cursor + CURSOR_POSITION, left === 0 ? CURSOR_END : next);
  put(cursor + CURSOR_HAS_KEY, 1);
  unlock(map);
  return count;
}

function after(map: usize, slot: u32): u32 {
  return slot + 1 === load<u32>(map, MAP_ELEMENT_COUNT) ? 0 : slot + 1;
}

function before(map: usize, slot: u32): u32 {
  return (slot === 0 ? load<u32>(map, MAP_ELEMENT_COUNT) : slot) - 1;
}
