import { putU32le } from "../common/bytes.ts";
import { errno } from "../common/errno.ts";
import type { Arena } from "../runtime/arena.ts";
import { liveMap } from "./live-maps.ts";
import type { MapHandle } from "./map-handle.ts";

/** map_flags, linux/bpf.h: arrays of any length fit where one is expected. */
const innerOfAnyLength = 1 << 12;

/**
 * Why `outer` does not take the map whose descriptor this is: -EBADF where there is none, -EINVAL
 * where it is not like the inner map that `outer` was declared with. 0 where it does.
 */
export function innerMapRefusal(outer: MapHandle, arena: Arena, descriptor: number): number {
  const map = liveMap(arena, descriptor);
  if (map === undefined) return -errno.EBADF;
  return takesMap(outer, map) ? 0 : -errno.EINVAL;
}

/** Whether a map is like those that `outer` was declared to hold. */
export function takesMap({ inner }: MapHandle, map: MapHandle): boolean {
  return inner !== undefined && isLike(inner, map);
}

/** The key of a place that an object gives by number: as libbpf, its first four bytes. */
export function slotKey(index: number, keySize: number): Uint8Array {
  const key = new Uint8Array(Math.max(4, keySize));
  putU32le(key, 0, index);
  return key.subarray(0, keySize);
}

/** Kernel: bpf_map_meta_equal, array_map_meta_equal. */
function isLike(template: MapHandle, map: MapHandle): boolean {
  return (
    template.type === map.type &&
    template.keySize === map.keySize &&
    template.valueSize === map.valueSize &&
    template.flags === map.flags &&
    template.spinLock === map.spinLock &&
    (map.type !== "array" ||
      template.maxEntries === map.maxEntries ||
      (template.flags & innerOfAnyLength) !== 0)
  );
}

/** What a map of maps holds for this map. */
export function innerMapValue(map: MapHandle): Uint8Array {
  const value = new Uint8Array(4);
  putU32le(value, 0, map.descriptor);
  return value;
}
