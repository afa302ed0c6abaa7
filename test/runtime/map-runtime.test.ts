import { expect, test } from "vitest";
import { MAIN_THREAD } from "../../src/runtime/map-runtime.ts";
import {
  MAP_CPU_STRIDE,
  MAP_VALUE_COUNT,
  MAP_VALUE_STRIDE,
  MAP_VALUES,
} from "../../src/runtime/wasm/layout.ts";
import { bytesOf } from "../maps/numbers.ts";
import { mapSpec, type OpenMap, openMap, place } from "../maps/open-map.ts";

/** One key and one value in the arena, as on a program's stack. */
function stack({ arena, handle }: OpenMap): { key: number; value: number } {
  const key = place(arena, new Uint8Array(handle.keySize));
  const value = place(arena, new Uint8Array(handle.valueSize));
  return { key, value };
}

for (const spec of [
  mapSpec("hash", 4, 8, 4),
  mapSpec("hash", 13, 8, 4),
  mapSpec("lru_hash", 8, 8, 4),
  mapSpec("lpm_trie", 8, 8, 4),
])
  test(`a program that holds the address of a ${spec.type}'s value sees the old one after an update`, () => {
    const map = openMap(spec);
    const { arena, runtime, handle } = map;
    const { key, value } = stack(map);
    arena.bytes[value] = 1;
    expect(runtime.update(handle.descriptor, key, value, 0, 0)).toBe(0);
    const held = runtime.lookup(handle.descriptor, key, 0);
    arena.bytes[value] = 2;
    expect(runtime.update(handle.descriptor, key, value, 0, 0)).toBe(0);
    // Another CPU replaces with a spare of its own.
    arena.bytes[value] = 3;
    expect(runtime.update(handle.descriptor, key, value, 0, 1)).toBe(0);
    expect(arena.bytes[held]).toBe(1);
    expect(arena.bytes[runtime.lookup(handle.descriptor, key, 0)]).toBe(3);
  });

test("an update by a program changes its own CPU's value; a new entry is zero on the others", () => {
  for (const type of ["percpu_hash", "lru_percpu_hash", "percpu_array"] as const) {
    const map = openMap(mapSpec(type, 4, 8, 4), 3);
    const { arena, runtime, handle } = map;
    const { key, value } = stack(map);
    const seen = (): (number | undefined)[] =>
      [0, 1, 2].map((cpu) => arena.bytes[runtime.lookup(handle.descriptor, key, cpu)]);
    // Leaves its mark in the element that the next insertion takes.
    map.access.update(bytesOf(0, 4), bytesOf(9, 8));
    if (type !== "percpu_array") map.access.remove(bytesOf(0, 4));
    else map.access.update(bytesOf(0, 4), bytesOf(0, 8));
    arena.bytes[value] = 5;
    expect(runtime.update(handle.descriptor, key, value, 0, 1)).toBe(0);
    expect(seen()).toEqual([0, 5, 0]);
    arena.bytes[value] = 6;
    expect(runtime.update(handle.descriptor, key, value, 0, 2)).toBe(0);
    expect(seen()).toEqual([0, 5, 6]);
  }
});

test("a program's lookup saves an LRU entry from the next eviction, the main thread's does not", () => {
  for (const { cpu, keeps } of [
    { cpu: 0, keeps: true },
    { cpu: MAIN_THREAD, keeps: false },
  ]) {
    const map = openMap(mapSpec("lru_hash", 4, 8, 3));
    const { arena, runtime, handle, access } = map;
    for (let i = 0; i < 3; i++) access.update(bytesOf(i, 4), bytesOf(i, 8));
    const { key } = stack(map);
    arena.bytes.set(bytesOf(0, 4), key);
    expect(runtime.lookup(handle.descriptor, key, cpu)).not.toBe(0);
    access.update(bytesOf(7, 4), bytesOf(7, 8));
    expect(access.lookup(bytesOf(0, 4)) !== undefined).toBe(keeps);
    expect(access.count).toBe(3);
  }
});

test("every direct lookup finds what the general one finds, within the map's geometry", () => {
  for (const { spec, direct } of [
    { spec: mapSpec("array", 4, 12, 5), direct: "lookupArray" },
    { spec: mapSpec("percpu_array", 4, 12, 5), direct: "lookupArray" },
    { spec: mapSpec("hash", 4, 12, 5), direct: "lookupHash4" },
    { spec: mapSpec("percpu_hash", 8, 12, 5), direct: "lookupHash8" },
    { spec: mapSpec("hash", 16, 12, 5), direct: "lookupHash16" },
    { spec: mapSpec("percpu_hash", 9, 12, 5), direct: "lookupHashN" },
    { spec: mapSpec("devmap_hash", 4, 8, 5), direct: "lookupHash4" },
    { spec: mapSpec("lru_hash", 4, 12, 5), direct: "lookupLru4" },
    { spec: mapSpec("lru_percpu_hash", 8, 12, 5), direct: "lookupLru8" },
    { spec: mapSpec("lru_hash", 16, 12, 5), direct: "lookupLru16" },
    { spec: mapSpec("lru_percpu_hash", 5, 12, 5), direct: "lookupLruN" },
    { spec: mapSpec("lpm_trie", 8, 12, 5), direct: "lookupTrie" },
    { spec: mapSpec("lpm_trie", 20, 12, 5), direct: "lookupTrie" },
  ] as const) {
    const map = openMap(spec, 3);
    const { arena, runtime, handle, access } = map;
    const { key } = stack(map);
    const word = (field: number): number => arena.view.getUint32(handle.descriptor + field, true);
    for (let i = 0; i < 5; i++) {
      const bytes = bytesOf(i, spec.keySize);
      expect(access.update(bytes, spec.valueSize === 8 ? bytesOf(1, 8) : bytesOf(i, 12))).toBe(0);
      arena.bytes.set(bytes, key);
      for (const cpu of [0, 1, 2]) {
        const found = runtime[direct](handle.descriptor, key, cpu);
        expect(found, `${spec.type} by ${direct}`).toBe(
          runtime.lookup(handle.descriptor, key, cpu),
        );
        const object = (found - word(MAP_VALUES)) / word(MAP_VALUE_STRIDE);
        expect(Number.isInteger(object)).toBe(true);
        expect(object).toBeGreaterThanOrEqual(0);
        expect(object).toBeLessThan(word(MAP_VALUE_COUNT));
        expect(found).toBe(runtime[direct](handle.descriptor, key, 0) + cpu * word(MAP_CPU_STRIDE));
      }
    }
    arena.bytes.set(bytesOf(spec.type === "lpm_trie" ? 255 : 77, spec.keySize), key);
    expect(runtime[direct](handle.descriptor, key, 0)).toBe(0);
  }
});

test("update flags that no map knows are refused, all 32 bits of them", () => {
  for (const spec of [
    mapSpec("array", 4, 8, 2),
    mapSpec("hash", 4, 8, 2),
    mapSpec("lpm_trie", 8, 8, 2),
  ]) {
    const map = openMap(spec);
    const { key, value } = stack(map);
    for (const flags of [3, 4, 8, 0x80000000, 0xffffffff])
      expect(map.runtime.update(map.handle.descriptor, key, value, flags, 0)).toBe(-22);
  }
});

test("a type that has no storage here is refused", () => {
  const { runtime, arena } = openMap(mapSpec("array", 4, 8, 1));
  const map = place(arena, new Uint8Array(1024));
  expect(runtime.initialize(map, 26, 4, 8, 1, 0, 1, map + 512, 1)).toBe(-22);
});
