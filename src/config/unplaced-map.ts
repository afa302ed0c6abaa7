import type { MapHandle } from "../maps/map-handle.ts";
import type { MapSpec } from "../object/object-spec.ts";

/** What a map's handle will say, before the map has storage: enough to check what uses it. */
export function unplacedMap(spec: MapSpec): MapHandle {
  const { name, type, keySize, valueSize, maxEntries, flags, readOnly } = spec;
  return { name, type, keySize, valueSize, maxEntries, flags, readOnly, cpus: 1, descriptor: 0 };
}
