import { expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { errno } from "../../src/common/errno.ts";
import { storageBytes } from "../../src/maps/create-map.ts";
import type { MapType } from "../../src/object/object-spec.ts";
import { compileRuntime, instantiateRuntime } from "../../src/runtime/instantiate.ts";
import { MAP_FRESH_FORK, MAP_LOCK, MAP_SEQUENCE } from "../../src/runtime/wasm/layout.ts";
import { bytesOf, seeded } from "../maps/numbers.ts";
import { mapSpec, openArena, openMap, place } from "../maps/open-map.ts";
import { budgetAt, dies, stopping } from "./stopping-runtime.ts";

const sound = await compileRuntime();

const maxEntries = 6;
const keys = 9;
const valueSize = 8;
const cpus = 2;

for (const { type, keySize, key } of [
  { type: "hash", keySize: 4, key: (i: number) => bytesOf(i, 4) },
  { type: "hash", keySize: 16, key: (i: number) => bytesOf(i, 16) },
  { type: "percpu_hash", keySize: 4, key: (i: number) => bytesOf(i, 4) },
  { type: "lru_hash", keySize: 4, key: (i: number) => bytesOf(i, 4) },
  { type: "lru_percpu_hash", keySize: 8, key: (i: number) => bytesOf(i, 8) },
  { type: "devmap_hash", keySize: 4, key: (i: number) => bytesOf(i, 4) },
  { type: "lpm_trie", keySize: 8, key: prefix },
  { type: "lpm_trie", keySize: 7, key: (i: number) => prefix(i).slice(0, 7) },
] as const)
  test(`a ${type} with keys of ${keySize} bytes is repaired after a death before any write`, () => {
    let deaths = 0;
    for (let seed = 1; seed <= 20; seed++) deaths += killEverywhere(type, keySize, key, seed);
    expect(deaths, "deaths while the lock was held").toBeGreaterThan(200);
  });

test("repair leaves alone a map whose lock another worker holds", () => {
  const { arena, runtime, handle } = openMap(mapSpec("hash", 4, 8, 4));
  arena.view.setUint32(handle.descriptor + MAP_LOCK, 1 + 1, true);
  expect(runtime.repair(handle.descriptor, 0)).toBe(0);
  expect(arena.view.getUint32(handle.descriptor + MAP_LOCK, true)).toBe(2);
  expect(runtime.repair(handle.descriptor, 1)).toBe(1);
  expect(arena.view.getUint32(handle.descriptor + MAP_LOCK, true)).toBe(0);
});

/** Nine prefixes that nest, fork and stand side by side. */
const prefixes: readonly (readonly number[])[] = [
  [8, 10, 0, 0],
  [16, 10, 1, 0],
  [17, 10, 1, 128],
  [24, 10, 1, 0],
  [24, 10, 1, 128],
  [24, 10, 1, 129],
  [8, 11, 0, 0],
  [0, 0, 0, 0],
  [15, 10, 2, 0],
];

function prefix(i: number): Uint8Array {
  const [length, ...bytes] = prefixes[i] as readonly number[];
  return new Uint8Array([length as number, 0, 0, 0, ...bytes, 0]);
}

/**
 * Brings a map into a random state, then does one operation again and again from there, killed
 * before its first write, its second, and so on until it gets through. Returns how often the lock
 * was held.
 */
function killEverywhere(
  type: MapType,
  keySize: number,
  keyOf: (i: number) => Uint8Array,
  seed: number,
): number {
  const random = seeded(seed);
  const there = openArena(2 ** 20);
  const runtime = instantiateRuntime(stopping, there.arena);
  const spec = mapSpec(type, keySize, valueSize, maxEntries);
  const map = openMap(spec, cpus, { arena: there.arena, runtime });
  const { arena, handle, access } = map;
  const { descriptor } = handle;
  const key = place(arena, new Uint8Array(keySize));
  const value = place(arena, new Uint8Array(valueSize));
  const operate = (kind: number, at: number, number: number, cpu: number): number => {
    arena.bytes.set(keyOf(at), key);
    arena.bytes.set(bytesOf(number, 4), value);
    if (kind === 0) return runtime.remove(descriptor, key, cpu);
    return runtime.update(descriptor, key, value, 0, cpu);
  };
  for (let i = random(24); i > 0; i--)
    operate(random(3), random(keys), 1 + random(1000), random(cpus));

  const kind = random(3);
  const at = random(keys);
  const cpu = random(cpus);
  const start = arena.bytes.slice(descriptor, descriptor + storageBytes(spec, cpus));
  const before = contentsOf(map);
  operate(kind, at, 5000, cpu);
  const after = contentsOf(map);

  let deaths = 0;
  for (let budget = 1; ; budget++) {
    arena.bytes.set(start, descriptor);
    arena.view.setUint32(budgetAt, budget, true);
    const isThrough = !dies(() => operate(kind, at, 5000, cpu));
    arena.view.setUint32(budgetAt, 0, true);
    if (isThrough) return deaths;
    deaths += instantiateRuntime(sound, arena).repair(descriptor, cpu);

    const where = `seed ${seed}, operation ${kind} on ${at}, write ${budget}`;
    expect(isOneOf(contentsOf(map), before, after, type, keyOf(at)), where).toBe(true);
    expect(access.count, where).toBe(contentsOf(map).size);
    expect(arena.view.getUint32(descriptor + MAP_LOCK, true), where).toBe(0);
    expect(arena.view.getUint32(descriptor + MAP_SEQUENCE, true) % 2, where).toBe(0);
    // Repairs lose no room either.
    for (let again = 0; again < maxEntries; again++) {
      arena.view.setUint32(descriptor + MAP_LOCK, 1, true);
      expect(runtime.repair(descriptor, 0), where).toBe(1);
    }
    expect(arena.view.getUint32(descriptor + MAP_FRESH_FORK, true), where).toBeLessThan(maxEntries);
    expectSound(map, operate, keyOf, where);
  }
}

function contentsOf({ access }: ReturnType<typeof openMap>): Map<string, string> {
  const contents = new Map<string, string>();
  for (const { key, values } of access.entries()) {
    expect(contents.has(toHex(key)), "no entry twice").toBe(false);
    contents.set(toHex(key), values.map(toHex).join());
  }
  return contents;
}

/**
 * All or nothing. Per-CPU values are written in place, as in the kernel, so that entry's may be
 * half written; an LRU map may have made room and no more.
 */
function isOneOf(
  now: Map<string, string>,
  before: Map<string, string>,
  after: Map<string, string>,
  type: MapType,
  key: Uint8Array,
): boolean {
  const same = (a: Map<string, string>, b: Map<string, string>): boolean =>
    a.size === b.size &&
    [...a].every(
      ([k, v]) => b.get(k) === v || (type.includes("percpu") && k === toHex(key) && b.has(k)),
    );
  if (same(now, before) || same(now, after)) return true;
  const room = new Map([...before].filter(([k]) => after.has(k)));
  return type.startsWith("lru") && same(now, room);
}

/** The map takes exactly as many entries as it should, replaces and removes all of them. */
function expectSound(
  map: ReturnType<typeof openMap>,
  operate: (kind: number, at: number, number: number, cpu: number) => number,
  keyOf: (i: number) => Uint8Array,
  where: string,
): void {
  const full = map.handle.type === "lpm_trie" ? -errno.ENOSPC : -errno.E2BIG;
  const isLru = map.handle.type.startsWith("lru");
  for (let i = 0; i < keys; i++) {
    const contents = contentsOf(map);
    const fits = contents.has(toHex(keyOf(i))) || contents.size < maxEntries || isLru;
    expect(operate(1, i, i + 1, i % cpus), where).toBe(fits ? 0 : full);
  }
  for (let cpu = 0; cpu < cpus; cpu++)
    for (const key of [...contentsOf(map).keys()]) {
      const i = Array.from({ length: keys }, (_, n) => n).find((n) => toHex(keyOf(n)) === key)!;
      expect(operate(1, i, 77 + cpu, cpu), where).toBe(0);
      expect(map.access.lookup(keyOf(i))?.[map.handle.cpus === 1 ? 0 : cpu], where).toEqual(
        bytesOf(77 + cpu, valueSize),
      );
    }
  for (const key of contentsOf(map).keys()) expect(map.access.remove(fromHex(key)), where).toBe(0);
  expect(map.access.count, where).toBe(0);
  expect(contentsOf(map).size, where).toBe(0);
}

function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}
