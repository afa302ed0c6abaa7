/**
 * Changing hash maps, always under the map's lock.
 *
 * A thread may be stopped between any two stores. Whether an element is an entry is decided by one
 * store alone, to its state byte (for a replacement, by the pending word); links follow after, and
 * repair makes them again from the states.
 */
import { beginReplacement, elementAt, finishReplacement, indexOf, setState } from "./element";
import { E2BIG, EBUSY, EEXIST, EINVAL, ENOENT } from "./error";
import { ELEMENT_KEY } from "./geometry";
import {
  bucketOf,
  ELEMENT_HASH,
  ELEMENT_NEXT,
  findLink,
  hashOf,
  linkOf,
  refer,
  valueAddress,
} from "./hash";
import {
  MAIN_CPU,
  MAP_COUNT,
  MAP_CPU_STRIDE,
  MAP_FREE,
  MAP_FRESH,
  MAP_HAND,
  MAP_KEY_SIZE,
  MAP_MAX_ENTRIES,
  MAP_REFERENCED,
  MAP_SPARES,
  MAP_SPIN_LOCK,
  MAP_STATES,
  MAP_VALUE_OFFSET,
  MAP_VALUE_STRIDE,
  MAP_VALUES,
  STATE_FREE,
  STATE_LIVE,
  UPDATE_EXIST,
  UPDATE_LOCK,
  UPDATE_NOEXIST,
} from "./layout";
import { lock, spareIndex, unlock, warnReaders } from "./lock";
import { copy, publish, put, putByte } from "./memory";
import { ownKey } from "./own-key";
import { ALL_CPUS, writeLocked, writeValue } from "./value";

/** `cpu`: the caller's, or ALL_CPUS for user space, which gives every CPU's value. */
export function updateHash(map: usize, key: usize, value: usize, flags: u32, cpu: u32): i32 {
  const choice: u32 = flags & ~(UPDATE_LOCK as u32);
  if (choice > (UPDATE_EXIST as u32)) return -EINVAL;
  const underLock = choice !== flags;
  if (underLock && load<u32>(map, MAP_SPIN_LOCK) === 0) return -EINVAL;
  if (!lock(map, cpu === ALL_CPUS ? MAIN_CPU : cpu)) return -EBUSY;
  const result = place(map, ownKey(map, key), value, choice, underLock, cpu);
  unlock(map);
  return result;
}

function place(map: usize, key: usize, value: usize, flags: u32, underLock: bool, cpu: u32): i32 {
  const hash = hashOf(map, key);
  const link = findLink(map, key, hash);
  if (link !== 0) {
    if (flags === UPDATE_NOEXIST) return -EEXIST;
    if (underLock)
      return writeLocked(map, valueAddress(map, load<u32>(link)), value, cpu) ? 0 : -EBUSY;
    const element = replace(map, link, key, value, cpu);
    if (load<u32>(map, MAP_REFERENCED) !== 0) refer(map, element);
    return 0;
  }
  if (flags === UPDATE_EXIST) return -ENOENT;
  if (load<u32>(map, MAP_COUNT) >= load<u32>(map, MAP_MAX_ENTRIES)) {
    if (load<u32>(map, MAP_REFERENCED) === 0) return -E2BIG;
    evict(map);
  }
  insert(map, key, hash, value, cpu);
  return 0;
}

function insert(map: usize, key: usize, hash: u32, value: usize, cpu: u32): void {
  const element = takeElement(map);
  const bucket = bucketOf(map, hash);
  warnReaders(map);
  fill(map, element, key, hash, load<u32>(bucket));
  writeValue(map, valueAddress(map, element), value, cpu, true);
  const referenced = load<u32>(map, MAP_REFERENCED);
  if (referenced !== 0) putByte(referenced + indexOf(map, element), 0);
  setState(map, element, STATE_LIVE);
  put(map + MAP_COUNT, load<u32>(map, MAP_COUNT) + 1);
  publish(bucket, element as u32);
}

/**
 * Gives an entry a new value. A program may hold the address of the old one and goes on seeing it:
 * the entry moves to the CPU's spare element, and its old element becomes the spare. Per-CPU values
 * are written in place, as the kernel does.
 */
function replace(map: usize, link: usize, key: usize, value: usize, cpu: u32): usize {
  const old: usize = load<u32>(link);
  if (load<u32>(map, MAP_CPU_STRIDE) !== 0) {
    writeValue(map, valueAddress(map, old), value, cpu, false);
    return old;
  }
  const slot = load<u32>(map, MAP_SPARES) + (spareIndex(map, cpu) << 2);
  let spare: usize = load<u32>(slot);
  if (spare === 0) spare = takeElement(map);
  warnReaders(map);
  fill(map, spare, key, load<u32>(old, ELEMENT_HASH), load<u32>(old, ELEMENT_NEXT));
  writeValue(map, valueAddress(map, spare), value, cpu, true);
  beginReplacement(map, spare, old);
  publish(link, spare as u32);
  put(slot, old as u32);
  finishReplacement(map);
  return spare;
}

/** `bpf_map_delete_elem`. A key that changes meanwhile is one of those it was, or none: nothing is kept of it. */
export function removeHash(map: usize, key: usize, cpu: u32): i32 {
  if (!lock(map, cpu)) return -EBUSY;
  const link = findLink(map, key, hashOf(map, key));
  if (link !== 0) drop(map, link);
  unlock(map);
  return link === 0 ? -ENOENT : 0;
}

function drop(map: usize, link: usize): void {
  const element: usize = load<u32>(link);
  setState(map, element, STATE_FREE);
  publish(link, load<u32>(element, ELEMENT_NEXT));
  put(map + MAP_COUNT, load<u32>(map, MAP_COUNT) - 1);
  giveElement(map, element);
}

/** Entries that eviction may pass over before it takes one that was used: bounds the lock's hold. */
const EVICTION_STEPS = 4096;

/**
 * Takes out an entry that no program has looked up lately: a hand goes round the elements, gives
 * each that was referenced a second chance, and stops at the first that was not.
 */
function evict(map: usize): void {
  const states = load<u32>(map, MAP_STATES);
  const referenced = load<u32>(map, MAP_REFERENCED);
  const fresh = load<u32>(map, MAP_FRESH);
  let hand = load<u32>(map, MAP_HAND);
  for (let steps = 0; ; steps++, hand++) {
    if (hand >= fresh) hand = 0;
    if (load<u8>(states + hand) !== STATE_LIVE) continue;
    if (load<u8>(referenced + hand) === 0 || steps >= EVICTION_STEPS) break;
    putByte(referenced + hand, 0);
  }
  put(map + MAP_HAND, hand + 1);
  drop(map, linkOf(map, elementAt(map, hand)));
}

/** An element that is in no chain. Callers have made sure that there is one. */
function takeElement(map: usize): usize {
  const free: usize = load<u32>(map, MAP_FREE);
  if (free !== 0) {
    put(map + MAP_FREE, load<u32>(free, ELEMENT_HASH));
    return free;
  }
  const index = load<u32>(map, MAP_FRESH);
  const element = elementAt(map, index);
  if (load<u32>(map, MAP_CPU_STRIDE) !== 0)
    put(
      element + load<u32>(map, MAP_VALUE_OFFSET),
      load<u32>(map, MAP_VALUES) + index * load<u32>(map, MAP_VALUE_STRIDE),
    );
  put(map + MAP_FRESH, index + 1);
  return element;
}

/** The list goes through the hash word: a reader that stands on the element still needs its next. */
export function giveElement(map: usize, element: usize): void {
  put(element + ELEMENT_HASH, load<u32>(map, MAP_FREE));
  put(map + MAP_FREE, element as u32);
}

function fill(map: usize, element: usize, key: usize, hash: u32, next: u32): void {
  put(element + ELEMENT_HASH, hash);
  copy(element + (ELEMENT_KEY as usize), key, load<u32>(map, MAP_KEY_SIZE));
  put(element + ELEMENT_NEXT, next);
}
