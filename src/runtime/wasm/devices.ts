/** Where a broadcast of bpf_redirect_map goes: kernel/bpf/devmap.c, dev_map_enqueue_multi. */
import { valueAt } from "./array";
import { ELEMENT_NEXT, valueAddress } from "./hash";
import { MAP_BUCKET_MASK, MAP_BUCKETS, MAP_MAX_ENTRIES, MAP_TYPE, TYPE_DEVMAP } from "./layout";
import { lock, unlock } from "./lock";
import { put } from "./memory";

/** Buckets looked at while the lock is held once: writers wait some microseconds at most. */
const BUCKETS_A_TURN: u32 = 2048;

/**
 * Writes the interfaces that a devmap or devmap_hash holds to `out`, the first `capacity` of them, but
 * for `excluded`. Returns how many there are. One that stands in two entries is there twice.
 */
export function devices(map: usize, excluded: u32, out: usize, capacity: u32, cpu: u32): u32 {
  if (load<u32>(map, MAP_TYPE) !== TYPE_DEVMAP) return hashed(map, excluded, out, capacity, cpu);
  const entries = load<u32>(map, MAP_MAX_ENTRIES);
  let count: u32 = 0;
  for (let i: u32 = 0; i < entries; i++)
    count = add(load<u32>(valueAt(map, i)), excluded, out, capacity, count);
  return count;
}

/** A bucket at a time under the lock: an entry that is replaced has two elements for a moment. */
function hashed(map: usize, excluded: u32, out: usize, capacity: u32, cpu: u32): u32 {
  const mask = load<u32>(map, MAP_BUCKET_MASK);
  const buckets = load<u32>(map, MAP_BUCKETS);
  let bucket: u32 = 0;
  let count: u32 = 0;
  while (bucket <= mask) {
    if (!lock(map, cpu)) return count;
    for (let turns: u32 = 0; bucket <= mask && turns < BUCKETS_A_TURN; turns++, bucket++) {
      let element: usize = load<u32>(buckets + (bucket << 2));
      for (; element !== 0; element = load<u32>(element, ELEMENT_NEXT))
        count = add(load<u32>(valueAddress(map, element)), excluded, out, capacity, count);
    }
    unlock(map);
  }
  return count;
}

/** Counts an interface, and writes it where there is room. 0 is none: of an index that is not in use. */
function add(device: u32, excluded: u32, out: usize, capacity: u32, count: u32): u32 {
  if (device === 0 || device === excluded) return count;
  if (count < capacity) put(out + (count << 2), device);
  return count + 1;
}
