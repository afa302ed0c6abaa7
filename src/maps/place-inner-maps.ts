import { UserError } from "../common/user-error.ts";
import { holdsMaps } from "../object/map-rules.ts";
import type { MapSpec } from "../object/object-spec.ts";
import type { Arena } from "../runtime/arena.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import { slotKey } from "./inner-maps.ts";
import { MapAccess } from "./map-access.ts";
import type { MapHandle } from "./map-handle.ts";

/**
 * Puts the maps that an object's maps of maps name (`values = { [0] = &one }`) where they belong.
 * `handles` are the object's maps, in the order of `specs`. The first refusal, where there is one.
 */
export function placeInnerMaps(
  specs: readonly MapSpec[],
  handles: readonly MapHandle[],
  arena: Arena,
  runtime: MapRuntime,
): UserError | undefined {
  for (const [i, { name, type, keySize, slots }] of specs.entries()) {
    if (!holdsMaps(type)) continue;
    const outer = new MapAccess(handles[i]!, arena, runtime);
    for (const slot of slots) {
      const where = `map ${name}[${slot.index}]`;
      const inner = handles.find((handle) => handle.name === slot.name);
      if (inner === undefined)
        return new UserError("INNER_MAP_UNKNOWN", where, `the object has no map "${slot.name}"`);
      const refused = putInner(outer, slotKey(slot.index, keySize), inner, where);
      if (refused !== undefined) return refused;
    }
  }
  return undefined;
}

/** Puts `inner` into a map of maps, or says at `where` why it does not go there. */
export function putInner(
  outer: MapAccess,
  key: Uint8Array,
  inner: MapHandle,
  where: string,
): UserError | undefined {
  const result = outer.putMap(key, inner);
  if (result === 0) return undefined;
  const { handle } = outer;
  const template = handle.inner;
  if (template !== undefined && !outer.takes(inner))
    return new UserError(
      "INNER_MAP_MISMATCH",
      where,
      `map ${inner.name} (${shapeOf(inner)}) is not what map ${handle.name} holds (${shapeOf(template)})`,
      "declare both alike",
    );
  return new UserError(
    "INNER_MAP_REFUSED",
    where,
    `map ${handle.name} does not take map ${inner.name}: error ${-result} (errno(3))`,
    `its max_entries is ${handle.maxEntries}`,
  );
}

function shapeOf({ type, keySize, valueSize, maxEntries, flags }: MapHandle): string {
  return `${type}, key ${keySize}, value ${valueSize}, max_entries ${maxEntries}, flags ${flags}`;
}
