import { holdsMaps, refusedMap } from "./map-rules.ts";
import type { LocatedMap, LocatedRefusal } from "./map-table.ts";
import type { RefusedMap } from "./object-spec.ts";

/**
 * Tells the maps that an object declares apart by whether there can be such: what is wrong with one is
 * told of the programs that use it, and of no others. A map of maps goes with those it is to hold.
 */
export function sortMaps(declared: readonly LocatedMap[]): {
  readonly usable: readonly LocatedMap[];
  readonly refused: readonly LocatedRefusal[];
} {
  const refusals = new Map<string, RefusedMap>();
  for (const { spec } of declared) {
    const refusal = refusedMap(spec);
    if (refusal !== undefined) refusals.set(spec.name, refusal);
  }
  const usable: LocatedMap[] = [];
  const refused: LocatedRefusal[] = [];
  for (const map of declared) {
    const { name, type, slots } = map.spec;
    const held = holdsMaps(type) ? slots.find((slot) => refusals.has(slot.name)) : undefined;
    const refusal = refusals.get(name) ?? refusals.get(held?.name ?? "");
    if (refusal === undefined) usable.push(map);
    else {
      const { section, offset } = map;
      const { code, fix } = refusal;
      const what = refusal.name === name ? refusal.what : `map ${refusal.name}: ${refusal.what}`;
      refused.push({ section, offset, refusal: { name, code, what, fix } });
    }
  }
  return { usable, refused };
}
