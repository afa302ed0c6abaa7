import { expect, test } from "vitest";
import { createMap, releaseMap, storageBytes } from "../../src/maps/create-map.ts";
import { MapAccess } from "../../src/maps/map-access.ts";
import type { MapSpec } from "../../src/object/object-spec.ts";
import { bytesOf } from "./numbers.ts";
import { mapSpec, openArena, openMap } from "./open-map.ts";

for (const { spec, code, says } of [
  { spec: mapSpec("sockmap", 4, 4, 1), code: "MAP_TYPE_UNSUPPORTED", says: "sockmap" },
  { spec: mapSpec("ringbuf", 0, 0, 4095), code: "MAP_MAX_ENTRIES", says: "a power of two" },
  { spec: mapSpec("ringbuf", 0, 0, 12288), code: "MAP_MAX_ENTRIES", says: "12288" },
  { spec: mapSpec("ringbuf", 0, 4, 4096), code: "MAP_VALUE_SIZE", says: "make it 0 bytes" },
  { spec: mapSpec("queue", 4, 4, 1), code: "MAP_KEY_SIZE", says: "make it 0 bytes" },
  { spec: mapSpec("hash", 4, 4, 1, { extra: 3 }), code: "MAP_EXTRA", says: "take no map_extra" },
  { spec: mapSpec("bloom_filter", 0, 4, 1, { extra: 16 }), code: "MAP_EXTRA", says: "1 to 15" },
  { spec: mapSpec("lru_hash", 4, 8, 1, { spinLock: 0 }), code: "MAP_SPIN_LOCK", says: "lru_hash" },
  { spec: mapSpec("hash_of_maps", 4, 4, 1), code: "MAP_INNER", says: "what its maps are like" },
  {
    spec: mapSpec("array_of_maps", 4, 4, 1, { inner: mapSpec("prog_array", 4, 4, 1) }),
    code: "MAP_INNER",
    says: "cannot hold maps of type prog_array",
  },
  {
    spec: mapSpec("array_of_maps", 4, 4, 1, { inner: mapSpec("hash", 0, 4, 1) }),
    code: "MAP_KEY_SIZE",
    says: "(type hash) is 0 bytes",
  },
  { spec: mapSpec("array", 8, 4, 1), code: "MAP_KEY_SIZE", says: "make it 4 bytes" },
  { spec: mapSpec("hash", 0, 4, 1), code: "MAP_KEY_SIZE", says: "is 0 bytes" },
  { spec: mapSpec("lpm_trie", 4, 4, 1), code: "MAP_KEY_SIZE", says: "make it 5 to 260 bytes" },
  { spec: mapSpec("lpm_trie", 261, 4, 1), code: "MAP_KEY_SIZE", says: "261" },
  { spec: mapSpec("array", 4, 0, 1), code: "MAP_VALUE_SIZE", says: "at least 1 byte" },
  { spec: mapSpec("devmap", 4, 12, 1), code: "MAP_VALUE_SIZE", says: "make it 4 or 8 bytes" },
  { spec: mapSpec("percpu_array", 4, 32_769, 1), code: "MAP_VALUE_SIZE", says: "at most 32768" },
  { spec: mapSpec("hash", 4, 2 ** 22, 1), code: "MAP_VALUE_SIZE", says: "together below" },
  { spec: mapSpec("hash", 4, 4, 0), code: "MAP_MAX_ENTRIES", says: "max_entries is 0" },
  { spec: mapSpec("hash", 4, 4, 2 ** 32), code: "MAP_MAX_ENTRIES", says: "2147483648" },
  {
    spec: mapSpec("array", 4, 4, 1, { flags: 1 }),
    code: "MAP_FLAGS",
    says: "maps of type array do not take BPF_F_NO_PREALLOC",
  },
  {
    spec: mapSpec("lpm_trie", 8, 4, 1, { flags: 0 }),
    code: "MAP_FLAGS",
    says: "need BPF_F_NO_PREALLOC",
  },
  {
    spec: mapSpec("hash", 4, 4, 1, { flags: 0x80000002 }),
    code: "MAP_FLAGS",
    says: "BPF_F_NO_COMMON_LRU, 0x80000000",
  },
  { spec: mapSpec("hash", 4, 4, 1, { flags: 128 | 256 }), code: "MAP_FLAGS", says: "exclude" },
  {
    spec: mapSpec("hash", 4, 4, 1, { contents: [{ key: bytesOf(0, 4), value: bytesOf(0, 3) }] }),
    code: "MAP_CONTENTS",
    says: "make them 4 and 4 bytes",
  },
  {
    spec: mapSpec("array", 4, 4, 1, { contents: [{ key: bytesOf(1, 4), value: bytesOf(0, 4) }] }),
    code: "MAP_CONTENTS",
    says: "error 7",
  },
  { spec: mapSpec("array", 4, 2 ** 20, 2 ** 20), code: "ARENA_FULL", says: "raise memory" },
] as const)
  test(`a map is refused by name: ${says}`, () => {
    const { arena, runtime } = openArena(2 ** 20);
    const result = createMap(spec, arena, runtime, 2);
    expect(result.ok).toBe(false);
    if (result.ok) return;
    expect(result.error.code).toBe(code);
    expect(result.error.message).toMatch(/^map m/);
    expect(result.error.message).toContain(says);
  });

test("declared contents are there before the first packet", () => {
  const { access, handle } = openMap(
    mapSpec("array", 4, 12, 1, {
      readOnly: true,
      flags: 128,
      dataSection: ".rodata",
      contents: [{ key: bytesOf(0, 4), value: bytesOf(77, 12) }],
    }),
  );
  expect(access.lookup(bytesOf(0, 4))).toEqual([bytesOf(77, 12)]);
  expect(handle.readOnly).toBe(true);
});

const shapes: readonly MapSpec[] = [
  mapSpec("array", 4, 13, 5),
  mapSpec("percpu_array", 4, 13, 5),
  mapSpec("hash", 13, 3, 5),
  mapSpec("percpu_hash", 13, 3, 5),
  mapSpec("lru_hash", 4, 3, 5),
  mapSpec("lru_percpu_hash", 16, 30, 5),
  mapSpec("lpm_trie", 7, 3, 5),
  mapSpec("prog_array", 4, 4, 5),
  mapSpec("devmap", 4, 8, 5),
  mapSpec("devmap_hash", 4, 4, 5),
  mapSpec("cpumap", 4, 8, 5),
  mapSpec("xskmap", 4, 4, 5),
];

for (const spec of shapes)
  test(`a full ${spec.type} stays within the bytes that were computed for it`, () => {
    // A cpumap takes only CPUs there are.
    for (const cpus of spec.type === "cpumap" ? [5, 7] : [1, 3]) {
      const place = openArena(2 ** 20);
      const guard = place.arena.allocate(64, "guard");
      const map = openMap(spec, cpus, place);
      const behind = place.arena.allocate(64, "guard");
      if (!guard.ok || !behind.ok) throw new Error("no room");
      const bytes = storageBytes(spec, cpus);
      expect(map.handle.descriptor + bytes).toBeLessThanOrEqual(behind.value);
      for (let round = 0; round < 4; round++)
        for (let i = 0; i < 5; i++) {
          const key =
            spec.type === "lpm_trie"
              ? new Uint8Array([20, 0, 0, 0, i, i, i])
              : bytesOf(i, spec.keySize);
          const value = ["devmap", "devmap_hash", "cpumap", "xskmap"].includes(spec.type)
            ? bytesOf(1, spec.valueSize)
            : new Uint8Array(spec.valueSize).fill(255);
          expect(map.access.update(key, value)).toBe(0);
          if (round === 1 && !spec.type.includes("array")) expect(map.access.remove(key)).toBe(0);
        }
      expect([...map.access.entries()]).toHaveLength(5);
      const isZero = (at: number): boolean =>
        place.arena.bytes.subarray(at, at + 64).every((byte) => byte === 0);
      expect(isZero(guard.value) && isZero(behind.value)).toBe(true);
      expect(storageBytes(spec, cpus + 1)).toBeGreaterThanOrEqual(bytes);
    }
  });

for (const spec of [
  mapSpec("queue", 0, 13, 5),
  mapSpec("stack", 0, 13, 5),
  mapSpec("bloom_filter", 0, 13, 500, { extra: 15 }),
])
  test(`a full ${spec.type} stays within the bytes that were computed for it`, () => {
    const place = openArena(2 ** 20);
    const { access, handle } = openMap(spec, 2, place);
    const behind = place.arena.allocate(64, "guard");
    if (!behind.ok) throw behind.error;
    expect(handle.descriptor + storageBytes(spec, 2)).toBeLessThanOrEqual(behind.value);
    for (let i = 0; i < 1000; i++)
      access.update(new Uint8Array(0), bytesOf(i, 13).fill(255, 4), spec.type === "queue" ? 2 : 0);
    const guard = place.arena.bytes.subarray(behind.value, behind.value + 64);
    expect(guard.every((byte) => byte === 0)).toBe(true);
  });

for (const spec of [mapSpec("ringbuf", 0, 0, 4096), mapSpec("perf_event_array", 4, 4, 2)])
  test(`the rings of a ${spec.type} stay within the bytes that were computed for them`, () => {
    const place = openArena(2 ** 21);
    const { arena, runtime } = place;
    const { handle } = openMap(spec, 2, place);
    const behind = arena.allocate(64, "guard");
    if (!behind.ok) throw behind.error;
    expect(handle.descriptor + storageBytes(spec, 2)).toBeLessThanOrEqual(behind.value);
    const last = spec.type === "ringbuf" ? 0 : 1;
    for (let i = 0; i < 2000; i++) {
      const size = 1 + ((i * 397) % 2900);
      const sample = runtime.reserve(handle.descriptor, last, size, last);
      if (sample === 0) throw new Error(`no room for ${size} bytes`);
      arena.bytes.fill(255, sample, sample + size);
      runtime.commit(sample, i % 3);
      while (runtime.nextRecord(handle.descriptor, last) !== 0)
        runtime.releaseRecord(handle.descriptor, last);
    }
    const guard = arena.bytes.subarray(behind.value, behind.value + 64);
    expect(guard.every((byte) => byte === 0)).toBe(true);
  });

test("a released map's memory serves the next one of its size, empty", () => {
  const { arena, runtime } = openArena();
  const spec = mapSpec("hash", 4, 8, 100);
  const first = openMap(spec, 2, { arena, runtime });
  for (let i = 0; i < 100; i++) first.access.update(bytesOf(i, 4), bytesOf(1, 8));
  const used = arena.usedBytes;
  releaseMap(first.handle, arena);
  expect(arena.usedBytes).toBeLessThan(used);
  const second = createMap(spec, arena, runtime, 2);
  if (!second.ok) throw second.error;
  expect(second.value.descriptor).toBe(first.handle.descriptor);
  expect(arena.usedBytes).toBe(used);
  expect([...new MapAccess(second.value, arena, runtime).entries()]).toEqual([]);
});

test("a refused map gives its memory back", () => {
  const { arena, runtime } = openArena(2 ** 20);
  const contents = [{ key: bytesOf(9, 4), value: new Uint8Array(400_000) }];
  for (let i = 0; i < 10; i++) {
    const result = createMap(mapSpec("array", 4, 400_000, 1, { contents }), arena, runtime, 1);
    expect(result.ok ? "created" : result.error.code).toBe("MAP_CONTENTS");
  }
});
