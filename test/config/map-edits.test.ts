import { expect, test } from "vitest";
import type { EntryBytes } from "../../src/config/config.ts";
import { copyEntries, MapEdits } from "../../src/config/map-edits.ts";
import { successionOf } from "../../src/config/map-succession.ts";
import { createMap } from "../../src/maps/create-map.ts";
import { MapAccess } from "../../src/maps/map-access.ts";
import { unplacedMap } from "../../src/maps/map-handle.ts";
import type { MapSpec, MapType } from "../../src/object/object-spec.ts";
import { mapSpec, openArena } from "../maps/open-map.ts";

const { arena, runtime } = openArena();

function mapOf(type: MapType, maxEntries = 4, rest: Partial<MapSpec> = {}): MapAccess {
  const handle = createMap(mapSpec(type, 4, 4, maxEntries, rest), arena, runtime, 2);
  if (!handle.ok) throw handle.error;
  return new MapAccess(handle.value, arena, runtime);
}

const bytes = (n: number): Uint8Array => Uint8Array.of(n, 0, 0, 0);

/** Entries as a config declares them. */
function entries(...pairs: readonly (readonly [key: number, value: number])[]): EntryBytes[] {
  return pairs.map(([key, value]) => ({
    key: bytes(key),
    value: bytes(value),
    where: `at ${key}`,
  }));
}

/** First value by key, in the order of keys; without zeros. */
function contents(map: MapAccess): Record<number, number> {
  return Object.fromEntries(
    [...map.entries()]
      .map(({ key, values }) => [key[0]!, values[0]![0]!] as const)
      .filter(([, value]) => value !== 0),
  );
}

for (const type of ["hash", "percpu_hash", "lru_hash", "array", "percpu_array"] as const)
  test(`in a map of type ${type} entries follow the config, and those made at run time stay`, () => {
    const map = mapOf(type, 16);
    const before = entries([0, 1], [1, 1], [2, 1], [3, 1]);
    for (const { key, value } of before) map.initialize(key, value);
    // At run time: an entry of its own, and one of the config's changed.
    map.update(bytes(9), bytes(9));
    map.update(bytes(1), bytes(77));
    map.update(bytes(2), bytes(77));
    const edits = new MapEdits(map);
    // 0 is gone, 1 is as it was, 2 has another value, 4 is new.
    const now = entries([1, 1], [2, 5], [3, 1], [4, 6]);
    expect(edits.declare(before, now)).toEqual([]);
    expect(contents(map)).toEqual({ 1: 77, 2: 5, 3: 1, 4: 6, 9: 9 });
    edits.undo();
    expect(contents(map)).toEqual({ 0: 1, 1: 77, 2: 77, 3: 1, 9: 9 });
  });

test("an entry that the config has as before, and that is missing, is written again", () => {
  const map = mapOf("hash");
  const declared = entries([1, 1]);
  expect(new MapEdits(map).declare(declared, declared)).toEqual([]);
  expect(contents(map)).toEqual({ 1: 1 });
});

test("entries that are gone make room first; one too many is named with its place, and all is undone", () => {
  const map = mapOf("hash", 3);
  const before = entries([1, 1], [2, 1], [3, 1]);
  for (const { key, value } of before) map.initialize(key, value);
  const fits = new MapEdits(map);
  expect(fits.declare(before, entries([4, 1], [5, 1], [6, 1]))).toEqual([]);
  fits.undo();
  map.remove(bytes(1));
  map.update(bytes(9), bytes(9));
  const edits = new MapEdits(map);
  const errors = edits.declare(before, entries([2, 2], [3, 1], [4, 1]));
  expect(errors.map(String)).toEqual(["UserError: at 4: map m refuses the entry: the map is full"]);
  edits.undo();
  expect(contents(map)).toEqual({ 2: 1, 3: 1, 9: 9 });
});

test("a map that user space may not write follows the config all the same", () => {
  const map = mapOf("hash", 4, { flags: 8 });
  const before = entries([1, 1]);
  expect(new MapEdits(map).declare([], before)).toEqual([]);
  expect(map.remove(bytes(1))).toBeLessThan(0);
  expect(new MapEdits(map).declare(before, [])).toEqual([]);
  expect(contents(map)).toEqual({});
});

for (const type of ["hash", "percpu_hash", "array", "lru_hash"] as const)
  test(`a larger map of type ${type} gets all that the smaller one has, each CPU's`, () => {
    const [from, to] = [mapOf(type, 3), mapOf(type, 9)];
    const cpus = from.handle.cpus;
    for (let i = 0; i < 3; i++)
      from.initialize(
        bytes(i),
        Array.from({ length: cpus }, (_, cpu) => bytes(10 * i + cpu + 1)),
      );
    copyEntries(from, to);
    for (let i = 0; i < 3; i++) expect(to.lookup(bytes(i))).toEqual(from.lookup(bytes(i)));
  });

const hash = mapSpec("hash", 4, 8, 10);
for (const { name, next, before, result } of [
  { name: "none before", next: hash, before: undefined, result: "fresh" },
  { name: "the same schema", next: hash, before: hash, result: "kept" },
  { name: "more entries", next: mapSpec("hash", 4, 8, 11), before: hash, result: "grown" },
  {
    name: "a data section",
    next: mapSpec("array", 4, 8, 1, { dataSection: ".bss" }),
    before: mapSpec("array", 4, 8, 1),
    result: "fresh",
  },
  {
    name: "a prog_array",
    next: mapSpec("prog_array", 4, 4, 1),
    before: mapSpec("prog_array", 4, 4, 1),
    result: "fresh",
  },
  {
    name: "another type",
    next: mapSpec("lru_hash", 4, 8, 10),
    before: hash,
    result: "its type hash became lru_hash",
  },
  {
    name: "another key size",
    next: mapSpec("hash", 8, 8, 10),
    before: hash,
    result: "its key size 4 became 8",
  },
  {
    name: "another value size",
    next: mapSpec("hash", 4, 4, 10),
    before: hash,
    result: "its value size 8 became 4",
  },
  {
    name: "other flags",
    next: mapSpec("hash", 4, 8, 10, { flags: 1 }),
    before: hash,
    result: "its flags 0 became 1",
  },
  {
    name: "fewer entries",
    next: mapSpec("hash", 4, 8, 9),
    before: hash,
    result: "its max_entries 10 became 9",
  },
])
  test(`a map with ${name} before it: ${result}`, () => {
    const handle = before && unplacedMap(before);
    const succession = successionOf(next, handle);
    expect(succession.ok ? succession.value : succession.error).toBe(result);
  });
