import { expect, test, vi } from "vitest";
import { atOnce } from "../../src/common/steps.ts";
import type { UserError } from "../../src/common/user-error.ts";
import { EntryTable } from "../../src/config/entry-table.ts";
import { copyEntries, hasRoom, MapEdits } from "../../src/config/map-edits.ts";
import { successionOf } from "../../src/config/map-succession.ts";
import { createMap, releaseMap } from "../../src/maps/create-map.ts";
import { MapAccess } from "../../src/maps/map-access.ts";
import { unplacedMap } from "../../src/maps/map-handle.ts";
import type { MapSpec, MapType } from "../../src/object/object-spec.ts";
import { seeded } from "../maps/numbers.ts";
import { mapSpec, openArena } from "../maps/open-map.ts";
import { value } from "../proxy/rig.ts";

const { arena, runtime } = openArena();

function mapOf(type: MapType, maxEntries = 4, rest: Partial<MapSpec> = {}): MapAccess {
  const handle = createMap(mapSpec(type, 4, 4, maxEntries, rest), arena, runtime, 2);
  if (!handle.ok) throw handle.error;
  return new MapAccess(handle.value, arena, runtime);
}

const bytes = (n: number): Uint8Array => Uint8Array.of(n, 0, 0, 0);

/** Entries as a config declares them. */
function entries(...pairs: readonly (readonly [key: number, value: number])[]): EntryTable {
  const table = new EntryTable({ keySize: 4, valueSize: 4 });
  for (const [key, value] of pairs) table.add(bytes(key), bytes(value), `at ${key}`);
  return table;
}

const none = entries();

/** Has the map follow the config from one declaration to another, as a reload does. */
function follow(map: MapAccess, before: EntryTable, now: EntryTable): UserError[] {
  const edits = new MapEdits(map, before, now);
  const errors = atOnce(edits.write());
  if (errors.length === 0) atOnce(edits.clear());
  return errors;
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
    // 0 is gone, 1 is as it was, 2 has another value, 4 is new.
    const edits = new MapEdits(map, before, entries([1, 1], [2, 5], [3, 1], [4, 6]));
    expect(atOnce(edits.write())).toEqual([]);
    expect(contents(map)).toEqual({ 0: 1, 1: 77, 2: 5, 3: 1, 4: 6, 9: 9 });
    atOnce(edits.undo());
    expect(contents(map)).toEqual({ 0: 1, 1: 77, 2: 77, 3: 1, 9: 9 });
    expect(atOnce(edits.write())).toEqual([]);
    atOnce(edits.clear());
    expect(contents(map)).toEqual({ 1: 77, 2: 5, 3: 1, 4: 6, 9: 9 });
  });

test("an entry that the config has as before, and that is missing, is written again", () => {
  const map = mapOf("hash");
  const declared = entries([1, 1]);
  expect(follow(map, declared, declared)).toEqual([]);
  expect(contents(map)).toEqual({ 1: 1 });
});

test("a list that does not fit is refused, its entries named with their places, and taken back", () => {
  const map = mapOf("hash", 3);
  const before = entries([1, 1], [2, 1], [3, 1]);
  for (const { key, value } of before) map.initialize(key, value);
  map.remove(bytes(1));
  map.update(bytes(9), bytes(9));
  const edits = new MapEdits(map, before, entries([2, 2], [3, 1], [4, 1]));
  expect(atOnce(edits.write()).map(String)).toEqual([
    "UserError: at 4: map m refuses the entry: the map is full",
  ]);
  atOnce(edits.undo());
  expect(contents(map)).toEqual({ 2: 1, 3: 1, 9: 9 });
});

for (const { name, held, before, now, room } of [
  { name: "more than what is new", held: [1, 2], before: [1, 2], now: [3, 4], room: true },
  { name: "just what is new", held: [1, 2], before: [1, 2], now: [2, 3, 4], room: true },
  { name: "less than what is new", held: [1, 2, 3], before: [1, 2], now: [4, 5], room: false },
  { name: "less, and nothing goes", held: [1, 2, 3], before: [1], now: [1, 4, 5], room: true },
  { name: "less, and what goes has gone", held: [2, 3, 4], before: [1], now: [5, 6], room: true },
])
  test(`a map of four that has room for ${name} ${room ? "is edited" : "has to be moved"}`, () => {
    const map = mapOf("hash", 4);
    for (const key of held) map.initialize(bytes(key), bytes(1));
    const table = (keys: readonly number[]) => entries(...keys.map((key) => [key, 1] as const));
    expect(atOnce(hasRoom(map, table(before), table(now)))).toBe(room);
  });

test("a map that user space may not write follows the config all the same", () => {
  const map = mapOf("hash", 4, { flags: 8 });
  const before = entries([1, 1]);
  expect(follow(map, none, before)).toEqual([]);
  expect(map.remove(bytes(1))).toBeLessThan(0);
  expect(follow(map, before, none)).toEqual([]);
  expect(contents(map)).toEqual({});
});

/** Prefixes over one byte of an address: a key is its length and that byte. */
const trieShape = { keySize: 5, valueSize: 4 };

function trieKey(length: number, byte: number): Uint8Array {
  return Uint8Array.of(length, 0, 0, 0, byte & (0xff00 >> length));
}

function randomPrefixes(random: (below: number) => number): EntryTable {
  const table = new EntryTable(trieShape);
  for (let i = 0; i < 12; i++) {
    const key = trieKey(random(9), random(256));
    if (table.find(key) === undefined) table.add(key, bytes(1 + random(2)), "here");
  }
  return table;
}

/** What a list of prefixes says of an address: the longest one's value. */
function answer(table: EntryTable, address: number): number | undefined {
  for (let length = 8; length >= 0; length--) {
    const entry = table.find(trieKey(length, address));
    if (entry !== undefined) return table.value(entry)[0];
  }
  return undefined;
}

/** What the map says of it. */
function found(map: MapAccess, address: number): number | undefined {
  return map.lookup(trieKey(8, address))?.[0]?.[0];
}

test("whatever prefixes come and go, each look-up on the way finds what the one list says or the other", () => {
  const random = seeded(20_261_123);
  let probes = 0;
  for (let round = 0; round < 40; round++) {
    const handle = value(createMap(mapSpec("lpm_trie", 5, 4, 64), arena, runtime, 1));
    const map = new MapAccess(handle, arena, runtime);
    const [before, now] = [randomPrefixes(random), randomPrefixes(random)];
    for (const { key, value: held } of before) map.initialize(key, held);
    const probe = (): void => {
      for (let address = 0; address < 256; address += 5) {
        expect([answer(before, address), answer(now, address)]).toContain(found(map, address));
        probes++;
      }
    };
    const edits = new MapEdits(map, before, now);
    for (const name of ["initialize", "discard"] as const) {
      const original = map[name].bind(map) as (...args: unknown[]) => number;
      vi.spyOn(map, name).mockImplementation((...args: unknown[]) => {
        const result = original(...args);
        probe();
        return result;
      });
    }
    expect(atOnce(edits.write())).toEqual([]);
    atOnce(edits.undo());
    for (let address = 0; address < 256; address++)
      expect(found(map, address)).toBe(answer(before, address));
    expect(atOnce(edits.write())).toEqual([]);
    atOnce(edits.clear());
    for (let address = 0; address < 256; address++)
      expect(found(map, address)).toBe(answer(now, address));
    releaseMap(handle, arena);
  }
  expect(probes).toBeGreaterThan(40_000);
});

test("a prefix that the config has as before, and that is missing below a shorter one, is written again", () => {
  const handle = value(createMap(mapSpec("lpm_trie", 5, 4, 4), arena, runtime, 1));
  const map = new MapAccess(handle, arena, runtime);
  const declared = new EntryTable(trieShape);
  declared.add(trieKey(8, 7), bytes(1), "here");
  map.initialize(trieKey(0, 0), bytes(2));
  expect(follow(map, declared, declared)).toEqual([]);
  expect(map.lookup(trieKey(8, 7))).toEqual([bytes(1)]);
  expect(map.lookup(trieKey(8, 8))).toEqual([bytes(2)]);
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
    expect(atOnce(copyEntries(from, to, none, none))).toBeUndefined();
    for (let i = 0; i < 3; i++) expect(to.lookup(bytes(i))).toEqual(from.lookup(bytes(i)));
  });

for (const { type, held, gone, result } of [
  { type: "hash", held: [1, 2, 3], gone: [], result: undefined },
  { type: "hash", held: [1, 2, 3, 4], gone: [2], result: undefined },
  {
    type: "hash",
    held: [1, 2, 3, 4],
    gone: [],
    result: /max_entries 4 became 3, and it holds more/,
  },
  { type: "array", held: [0, 1, 2], gone: [], result: undefined },
  { type: "array", held: [0, 3], gone: [3], result: undefined },
  { type: "array", held: [0, 3], gone: [], result: /max_entries 4 became 3, and it holds more/ },
] as const)
  test(`a smaller map of type ${type} ${result === undefined ? "takes" : "does not take"} ${held} without ${gone.length === 0 ? "any gone" : gone}`, () => {
    const [from, to] = [mapOf(type, 4), mapOf(type, 3)];
    for (const key of held) from.initialize(bytes(key), bytes(key + 1));
    const before = entries(...gone.map((key) => [key, 1] as const));
    const error = atOnce(copyEntries(from, to, before, none));
    if (result !== undefined) {
      expect(error?.message).toMatch(result);
      return;
    }
    expect(error).toBeUndefined();
    const kept = held.filter((key) => !gone.some((one) => one === key));
    expect(contents(to)).toEqual(Object.fromEntries(kept.map((key) => [key, key + 1])));
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
    name: "a map of maps, even a larger one,",
    next: mapSpec("hash_of_maps", 4, 4, 9),
    before: mapSpec("hash_of_maps", 4, 4, 1),
    result: "carried",
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
    result: "moved",
  },
  {
    name: "fewer entries, which have no keys,",
    next: mapSpec("queue", 0, 8, 9),
    before: mapSpec("queue", 0, 8, 10),
    result: "its max_entries 10 became 9",
  },
])
  test(`a map with ${name} before it: ${result}`, () => {
    const handle = before && unplacedMap(before);
    const succession = successionOf(next, handle);
    expect(succession.ok ? succession.value : succession.error).toBe(result);
  });
