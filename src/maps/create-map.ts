import { randomFillSync } from "node:crypto";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { bloomHashes, checkMap } from "../object/map-rules.ts";
import { type MapSpec, mapTypes } from "../object/object-spec.ts";
import type { Arena } from "../runtime/arena.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import {
  F_RDONLY_PROG,
  MAP_DESCRIPTOR_BYTES,
  MAP_HASHES,
  MAP_SCRATCH,
  MAP_SPIN_LOCK,
  MAP_WORKERS,
} from "../runtime/wasm/layout.ts";
import { addLiveMap, removeLiveMap } from "./live-maps.ts";
import { MapAccess } from "./map-access.ts";
import { type MapHandle, unplacedMap } from "./map-handle.ts";
import { scratchOffset, storageBytes, valuesOf } from "./map-storage.ts";

export { storageBytes } from "./map-storage.ts";

/** map_flags, linux/bpf.h: hash with a seed of 0, for tests that compare orders. */
const zeroSeed = 64;

/**
 * Gives a declared map its storage and first contents. `cpus` is the number of workers. Refuses
 * what the kernel would refuse, by name; a per-CPU map's contents are every CPU's.
 */
export function createMap(
  spec: MapSpec,
  arena: Arena,
  runtime: MapRuntime,
  cpus: number,
): Result<MapHandle, UserError> {
  const refusal = checkMap(spec);
  if (refusal !== undefined) return err(refusal);
  const size = storageBytes(spec, cpus);
  const storage = arena.allocate(size, `map ${spec.name}`);
  if (!storage.ok) return storage;
  const descriptor = storage.value;
  const { name, type, keySize, valueSize, flags, extra, spinLock } = spec;
  // Only a perf_event_array may leave it open: libbpf gives it an entry for each CPU.
  const maxEntries = spec.maxEntries === 0 ? cpus : spec.maxEntries;
  const { view } = arena;
  if (type === "bloom_filter") view.setUint32(descriptor + MAP_HASHES, bloomHashes(extra), true);
  if (spinLock !== undefined) view.setUint32(descriptor + MAP_SPIN_LOCK, spinLock + 1, true);
  const result = runtime.initialize(
    descriptor,
    mapTypes[type],
    keySize,
    valueSize,
    maxEntries,
    flags,
    cpus,
    descriptor + MAP_DESCRIPTOR_BYTES,
    (flags & zeroSeed) === 0 ? randomSeed() : 0,
  );
  if (result !== 0) throw new Error(`map ${name}: the runtime does not know type ${type}`);
  view.setUint32(descriptor + MAP_SCRATCH, descriptor + scratchOffset(spec, cpus), true);
  const handle: MapHandle = {
    name,
    type,
    keySize,
    valueSize,
    maxEntries,
    flags,
    cpus: valuesOf(type, cpus),
    descriptor,
    readOnly: spec.readOnly || (flags & F_RDONLY_PROG) !== 0,
    frozen: spec.readOnly && spec.dataSection !== undefined,
    extra,
    spinLock,
    inner: spec.inner === undefined ? undefined : unplacedMap(spec.inner),
  };
  const refused = fill(spec, handle, arena, runtime);
  if (refused === undefined) {
    addLiveMap(arena, handle);
    return ok(handle);
  }
  arena.release(descriptor, size);
  return err(refused);
}

/** Gives the map's storage back. No program, no thread and no map of maps may use it any more. */
export function releaseMap(handle: MapHandle, arena: Arena): void {
  removeLiveMap(arena, handle);
  const cpus = arena.view.getUint32(handle.descriptor + MAP_WORKERS, true);
  arena.release(handle.descriptor, storageBytes(handle, cpus));
}

function fill(
  spec: MapSpec,
  handle: MapHandle,
  arena: Arena,
  runtime: MapRuntime,
): UserError | undefined {
  const access = new MapAccess(handle, arena, runtime);
  for (const [i, { key, value }] of spec.contents.entries()) {
    const where = `map ${spec.name}, entry ${i}`;
    if (key.length !== spec.keySize || value.length !== spec.valueSize)
      return new UserError(
        "MAP_CONTENTS",
        where,
        `key and value are ${key.length} and ${value.length} bytes`,
        `make them ${spec.keySize} and ${spec.valueSize} bytes`,
      );
    const result = access.initialize(key, value);
    if (result !== 0)
      return new UserError("MAP_CONTENTS", where, `is refused with error ${-result} (errno(3))`);
  }
  return undefined;
}

function randomSeed(): number {
  return randomFillSync(new Uint32Array(1))[0] as number;
}
