import type { Arena } from "../runtime/arena.ts";
import type { MapHandle } from "./map-handle.ts";

/**
 * The maps that have storage in an arena, by descriptor: what a map of maps may be given, as file
 * descriptors name what there is in the kernel. Known to the thread that creates maps.
 */
const live = new WeakMap<Arena, Map<number, MapHandle>>();

export function addLiveMap(arena: Arena, handle: MapHandle): void {
  const maps = live.get(arena);
  if (maps === undefined) live.set(arena, new Map([[handle.descriptor, handle]]));
  else maps.set(handle.descriptor, handle);
}

export function removeLiveMap(arena: Arena, handle: MapHandle): void {
  live.get(arena)?.delete(handle.descriptor);
}

export function liveMap(arena: Arena, descriptor: number): MapHandle | undefined {
  return live.get(arena)?.get(descriptor);
}
