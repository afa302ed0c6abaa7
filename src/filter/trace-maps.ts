import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { EngineContext } from "../engine/engine.ts";
import { createMap, storageBytes } from "../maps/create-map.ts";
import { MapAccess, type MapContent } from "../maps/map-access.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { placeInnerMaps, putInner } from "../maps/place-inner-maps.ts";
import { holdsMaps } from "../object/map-rules.ts";
import type { MapSpec, ObjectSpec } from "../object/object-spec.ts";
import { allocationBytes } from "../runtime/arena.ts";

/** A place of a map of maps, and what is there. */
export interface NestedMap {
  /** The map of maps: its index in the object. */
  readonly map: number;
  readonly key: Uint8Array;
  /** One of the object's maps, by index, or another filter's. */
  readonly inner: number | ForeignMap;
}

/** A map that is not the object's, and what it held. */
export interface ForeignMap {
  readonly spec: MapSpec;
  readonly contents: readonly MapContent[];
}

/** What a filter's maps held when they were copied. */
export interface MapSnapshot {
  /** By index into the object's maps; of maps of entries only. */
  readonly contents: readonly (readonly MapContent[])[];
  readonly nested: readonly NestedMap[];
}

/** What the maps of a trace take of its arena. */
export function bytesOfMaps({ maps }: ObjectSpec, { nested }: MapSnapshot, cpus: number): number {
  return [...maps, ...foreignMaps(nested).map(({ spec }) => spec)].reduce(
    (bytes, spec) => bytes + allocationBytes(storageBytes(spec, cpus)),
    0,
  );
}

function foreignMaps(nested: readonly NestedMap[]): ForeignMap[] {
  return [...new Set(nested.flatMap(({ inner }) => (typeof inner === "number" ? [] : inner)))];
}

/**
 * Makes an object's maps and those of other filters that its maps of maps hold, and puts back what
 * they held. The object's come first, in its order.
 */
export function makeMaps(
  object: ObjectSpec,
  { contents, nested }: MapSnapshot,
  context: EngineContext,
  cpus: number,
): Result<readonly MapHandle[], UserError> {
  const { arena, runtime } = context;
  const foreign = foreignMaps(nested);
  const specs = [...object.maps, ...foreign.map(({ spec }) => spec)];
  const entries = [
    ...object.maps.map((_, i) => contents[i] ?? []),
    ...foreign.map((map) => map.contents),
  ];
  const handles: MapHandle[] = [];
  for (const [i, spec] of specs.entries()) {
    const handle = createMap(spec, arena, runtime, cpus);
    if (!handle.ok) return handle;
    handles.push(handle.value);
    if (spec.type === "prog_array" || holdsMaps(spec.type)) continue;
    const refusal = fill(new MapAccess(handle.value, arena, runtime), spec, entries[i]!);
    if (refusal !== undefined) return err(refusal);
  }
  const misplaced = placeInnerMaps(object.maps, handles, arena, runtime);
  if (misplaced !== undefined) return err(misplaced);
  for (const { map, key, inner } of nested) {
    const index = typeof inner === "number" ? inner : object.maps.length + foreign.indexOf(inner);
    const outer = new MapAccess(handles[map]!, arena, runtime);
    const refused = putInner(outer, key, handles[index]!, `map ${specs[map]!.name}`);
    if (refused !== undefined) return err(refused);
  }
  return ok(handles);
}

function fill(
  map: MapAccess,
  spec: MapSpec,
  entries: readonly MapContent[],
): UserError | undefined {
  const { cpus } = map.handle;
  const refuse = (what: string): UserError =>
    new UserError("MAP_CONTENTS", `map ${spec.name}`, what);
  // What is popped last was pushed first.
  for (const { key, values } of spec.type === "stack" ? entries.toReversed() : entries) {
    if (key.length !== spec.keySize || values.some((one) => one.length !== spec.valueSize))
      return refuse("an entry has another size");
    const all = values.length === cpus ? values : Array.from({ length: cpus }, () => values[0]!);
    const result = map.initialize(key, all);
    if (result !== 0) return refuse(`refuses an entry with error ${-result} (errno(3))`);
  }
  return undefined;
}
