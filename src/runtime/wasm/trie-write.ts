/**
 * Changing tries, always under the map's lock. Every change of the tree is one store to a link, so
 * readers see it before or after; which entries there are is decided by their state bytes.
 */
import { beginReplacement, elementAt, finishReplacement, setState } from "./element";
import { EBUSY, EEXIST, EINVAL, ENOENT, ENOSPC } from "./error";
import { NODE_DATA } from "./geometry";
import {
  MAIN_CPU,
  MAP_COUNT,
  MAP_FORK_STRIDE,
  MAP_FORKS,
  MAP_FREE,
  MAP_FREE_FORK,
  MAP_FRESH,
  MAP_FRESH_FORK,
  MAP_KEY_SIZE,
  MAP_MAX_ENTRIES,
  MAP_ROOT,
  MAP_SPARES,
  MAP_VALUE_OFFSET,
  STATE_FREE,
  STATE_LIVE,
  UPDATE_EXIST,
  UPDATE_NOEXIST,
} from "./layout";
import { lock, spareIndex, unlock, warnReaders } from "./lock";
import { publish, put } from "./memory";
import { ownKey } from "./own-key";
import {
  bitOf,
  childLink,
  childOf,
  dataWord,
  FORK,
  isFork,
  matchLength,
  maxPrefix,
  NODE_PREFIX,
  nodeBit,
  prefixOf,
} from "./trie";
import { ALL_CPUS, writeValue } from "./value";

const DATA_AT = NODE_DATA as usize;

export function updateTrie(map: usize, key: usize, value: usize, flags: u32, cpu: u32): i32 {
  if (flags > (UPDATE_EXIST as u32)) return -EINVAL;
  const caller: u32 = cpu === ALL_CPUS ? MAIN_CPU : cpu;
  if (!lock(map, caller)) return -EBUSY;
  const own = ownKey(map, key);
  const result = load<u32>(own) > maxPrefix(map) ? -EINVAL : place(map, own, value, flags, caller);
  unlock(map);
  return result;
}

function place(map: usize, key: usize, value: usize, flags: u32, cpu: u32): i32 {
  const slot = findSlot(map, key);
  const node: usize = load<u32>(slot);
  if (node !== 0 && !isFork(node) && isExactly(map, node, key)) {
    if (flags === UPDATE_NOEXIST) return -EEXIST;
    replace(map, slot, key, value, cpu);
    return 0;
  }
  if (flags === UPDATE_EXIST) return -ENOENT;
  const count = load<u32>(map, MAP_COUNT);
  if (count >= load<u32>(map, MAP_MAX_ENTRIES)) return -ENOSPC;
  const entry = takeEntry(map);
  warnReaders(map);
  fillNode(map, entry, key);
  writeValue(map, entry + load<u32>(map, MAP_VALUE_OFFSET), value, cpu, true);
  setState(map, entry, STATE_LIVE);
  put(map + MAP_COUNT, count + 1);
  attach(map, slot, entry, key);
  return 0;
}

/** The link at which `key`'s node is or belongs: what hangs there now is not an ancestor of it. */
export function findSlot(map: usize, key: usize): usize {
  const length = load<u32>(key);
  let slot: usize = map + MAP_ROOT;
  let node: usize = load<u32>(slot);
  while (node !== 0) {
    const prefix = prefixOf(node);
    if (prefix >= length || matchLength(map, node, key) !== prefix) break;
    slot = childLink(node, bitOf(map, key, prefix));
    node = load<u32>(slot);
  }
  return slot;
}

function isExactly(map: usize, node: usize, key: usize): bool {
  const prefix = prefixOf(node);
  return prefix === load<u32>(key) && matchLength(map, node, key) === prefix;
}

/** Hangs an entry, filled for `key` and without children, in at `key`'s slot. */
export function attach(map: usize, slot: usize, entry: usize, key: usize): void {
  const node: usize = load<u32>(slot);
  if (node === 0) {
    publish(slot, entry as u32);
    return;
  }
  const length = load<u32>(key);
  const match = matchLength(map, node, key);
  if (match === length && prefixOf(node) === length) {
    // A fork is just there: the entry takes its place.
    put(childLink(entry, 0), childOf(node, 0) as u32);
    put(childLink(entry, 1), childOf(node, 1) as u32);
    publish(slot, entry as u32);
    warnReaders(map);
    giveFork(map, node);
  } else if (match === length) {
    put(childLink(entry, nodeBit(node, match)), node as u32);
    publish(slot, entry as u32);
  } else {
    const fork = takeFork(map);
    copyNode(map, fork, node);
    put(fork + NODE_PREFIX, match | FORK);
    const bit = bitOf(map, key, match);
    put(childLink(fork, bit), entry as u32);
    put(childLink(fork, bit ^ 1), node as u32);
    publish(slot, fork as u32);
  }
}

/** As for hashes, a program that holds the old value's address goes on seeing the old value. */
function replace(map: usize, slot: usize, key: usize, value: usize, cpu: u32): void {
  const old: usize = load<u32>(slot);
  const spareSlot = load<u32>(map, MAP_SPARES) + (spareIndex(map, cpu) << 2);
  let spare: usize = load<u32>(spareSlot);
  if (spare === 0) spare = takeEntry(map);
  warnReaders(map);
  fillNode(map, spare, key);
  put(childLink(spare, 0), childOf(old, 0) as u32);
  put(childLink(spare, 1), childOf(old, 1) as u32);
  writeValue(map, spare + load<u32>(map, MAP_VALUE_OFFSET), value, cpu, true);
  beginReplacement(map, spare, old);
  publish(slot, spare as u32);
  put(spareSlot, old as u32);
  finishReplacement(map);
}

export function removeTrie(map: usize, key: usize, cpu: u32): i32 {
  if (!lock(map, cpu)) return -EBUSY;
  const own = ownKey(map, key);
  const result = load<u32>(own) > maxPrefix(map) ? -EINVAL : drop(map, own);
  unlock(map);
  return result;
}

function drop(map: usize, key: usize): i32 {
  const length = load<u32>(key);
  let parentSlot: usize = 0;
  let slot: usize = map + MAP_ROOT;
  let node: usize = load<u32>(slot);
  while (node !== 0 && prefixOf(node) < length && matchLength(map, node, key) === prefixOf(node)) {
    parentSlot = slot;
    slot = childLink(node, bitOf(map, key, prefixOf(node)));
    node = load<u32>(slot);
  }
  if (node === 0 || isFork(node) || !isExactly(map, node, key)) return -ENOENT;
  setState(map, node, STATE_FREE);
  put(map + MAP_COUNT, load<u32>(map, MAP_COUNT) - 1);
  detach(map, parentSlot, slot, node);
  warnReaders(map);
  giveEntry(map, node);
  return 0;
}

/** Takes a node out of the tree; a fork that is left with one branch goes as well. */
function detach(map: usize, parentSlot: usize, slot: usize, node: usize): void {
  const left = childOf(node, 0);
  const right = childOf(node, 1);
  warnReaders(map);
  if (left !== 0 && right !== 0) {
    const fork = takeFork(map);
    copyNode(map, fork, node);
    put(fork + NODE_PREFIX, prefixOf(node) | FORK);
    put(childLink(fork, 0), left as u32);
    put(childLink(fork, 1), right as u32);
    publish(slot, fork as u32);
    return;
  }
  const parent: usize = parentSlot === 0 ? 0 : load<u32>(parentSlot);
  if (parent !== 0 && isFork(parent) && left === 0 && right === 0) {
    const sibling = childOf(parent, slot === childLink(parent, 0) ? 1 : 0);
    publish(parentSlot, sibling as u32);
    warnReaders(map);
    giveFork(map, parent);
    return;
  }
  publish(slot, (left !== 0 ? left : right) as u32);
}

function fillNode(map: usize, node: usize, key: usize): void {
  put(node + NODE_PREFIX, load<u32>(key));
  put(childLink(node, 0), 0);
  put(childLink(node, 1), 0);
  const size = load<u32>(map, MAP_KEY_SIZE) - 4;
  for (let at: u32 = 0; at < size; at += 4) put(node + DATA_AT + at, dataWord(map, key, at));
}

/** Copies a node's data alone. */
function copyNode(map: usize, to: usize, from: usize): void {
  const size = load<u32>(map, MAP_KEY_SIZE) - 4;
  for (let at: u32 = 0; at < size; at += 4) put(to + DATA_AT + at, load<u32>(from + DATA_AT + at));
}

/** An entry that hangs nowhere. Callers have made sure that there is one. */
function takeEntry(map: usize): usize {
  const free: usize = load<u32>(map, MAP_FREE);
  if (free !== 0) {
    put(map + MAP_FREE, childOf(free, 0) as u32);
    return free;
  }
  const index = load<u32>(map, MAP_FRESH);
  put(map + MAP_FRESH, index + 1);
  return elementAt(map, index);
}

/** The list goes through the first child: readers that may stand on the node have been warned. */
export function giveEntry(map: usize, entry: usize): void {
  put(childLink(entry, 0), load<u32>(map, MAP_FREE));
  put(map + MAP_FREE, entry as u32);
}

/** There is always one: every fork has two branches, so there are fewer forks than entries. */
function takeFork(map: usize): usize {
  const free: usize = load<u32>(map, MAP_FREE_FORK);
  if (free !== 0) {
    put(map + MAP_FREE_FORK, childOf(free, 0) as u32);
    return free;
  }
  const index = load<u32>(map, MAP_FRESH_FORK);
  put(map + MAP_FRESH_FORK, index + 1);
  return load<u32>(map, MAP_FORKS) + index * load<u32>(map, MAP_FORK_STRIDE);
}

function giveFork(map: usize, fork: usize): void {
  put(childLink(fork, 0), load<u32>(map, MAP_FREE_FORK));
  put(map + MAP_FREE_FORK, fork as u32);
}
