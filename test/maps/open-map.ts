import { createMap } from "../../src/maps/create-map.ts";
import { MapAccess } from "../../src/maps/map-access.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { MapSpec, MapType } from "../../src/object/object-spec.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { compileRuntime, instantiateRuntime } from "../../src/runtime/instantiate.ts";
import type { MapRuntime } from "../../src/runtime/map-runtime.ts";

const module = await compileRuntime();

/** A map's declaration; what a test does not say is as an object without frills has it. */
export function mapSpec(
  type: MapType,
  keySize: number,
  valueSize: number,
  maxEntries: number,
  rest: Partial<MapSpec> = {},
): MapSpec {
  return {
    name: "m",
    type,
    keySize,
    valueSize,
    maxEntries,
    flags: type === "lpm_trie" ? 1 : 0,
    pinning: "none",
    keyType: undefined,
    valueType: undefined,
    readOnly: false,
    contents: [],
    dataSection: undefined,
    inner: undefined,
    slots: [],
    ...rest,
  };
}

/** An arena with an instance of the runtime. */
export function openArena(bytes = 2 ** 26): { arena: Arena; runtime: MapRuntime } {
  const arena = Arena.create(bytes);
  if (!arena.ok) throw arena.error;
  return { arena: arena.value, runtime: instantiateRuntime(module, arena.value) };
}

export interface OpenMap {
  readonly arena: Arena;
  readonly runtime: MapRuntime;
  readonly handle: MapHandle;
  readonly access: MapAccess;
}

export function openMap(spec: MapSpec, cpus = 2, place = openArena()): OpenMap {
  const handle = createMap(spec, place.arena, place.runtime, cpus);
  if (!handle.ok) throw handle.error;
  const access = new MapAccess(handle.value, place.arena, place.runtime);
  return { ...place, handle: handle.value, access };
}

/** Puts bytes where map operations can read them; for calls as a program makes them. */
export function place(arena: Arena, bytes: Uint8Array): number {
  const at = arena.allocate(bytes.length, "test");
  if (!at.ok) throw at.error;
  arena.bytes.set(bytes, at.value);
  return at.value;
}
