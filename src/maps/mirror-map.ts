import { mapTypes } from "../object/object-spec.ts";
import type { Arena } from "../runtime/arena.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import {
  MAP_DESCRIPTOR_BYTES,
  MAP_VALUE_COUNT,
  MAP_VALUE_STRIDE,
  MAP_VALUES,
  MAP_WORKERS,
} from "../runtime/wasm/layout.ts";
import type { MapHandle } from "./map-handle.ts";

/** Of an array's values no more are copied: configuration is small, and the rest is data. */
const mostCopiedBytes = 1 << 20;

/**
 * Lays out at the same place of another arena a map like `handle`'s. An array gets the values there
 * are now, since programs read their configuration from it; any other map is empty, since its links
 * cannot be copied while workers change them.
 */
export function mirrorMap(handle: MapHandle, from: Arena, to: Arena, runtime: MapRuntime): void {
  const { descriptor, type, keySize, valueSize, maxEntries, flags } = handle;
  runtime.initialize(
    descriptor,
    mapTypes[type],
    keySize,
    valueSize,
    maxEntries,
    flags,
    from.view.getUint32(descriptor + MAP_WORKERS, true),
    descriptor + MAP_DESCRIPTOR_BYTES,
    0,
  );
  if (type !== "array" && type !== "prog_array") return;
  const word = (at: number): number => from.view.getUint32(descriptor + at, true);
  const values = word(MAP_VALUES);
  const bytes = Math.min(word(MAP_VALUE_STRIDE) * word(MAP_VALUE_COUNT), mostCopiedBytes);
  to.bytes.set(from.bytes.subarray(values, values + bytes), values);
}
