import { expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import type { MapType } from "../../src/object/object-spec.ts";
import { bytesOf, seeded } from "./numbers.ts";
import { mapSpec, type OpenMap, openMap, place } from "./open-map.ts";

const cpus = 3;
const valueSize = 8;

interface Caller {
  update(key: Uint8Array, number: number, flags: number, cpu: number): number;
  remove(key: Uint8Array, cpu: number): number;
  /** The number in `cpu`'s value. */
  lookup(key: Uint8Array, cpu: number): number | undefined;
}

/** The map as programs call it, on one CPU or another. */
function asProgram({ arena, runtime, handle }: OpenMap): Caller {
  const key = place(arena, new Uint8Array(handle.keySize));
  const value = place(arena, new Uint8Array(valueSize));
  return {
    update(bytes, number, flags, cpu) {
      arena.bytes.set(bytes, key);
      arena.bytes.set(bytesOf(number, valueSize), value);
      return runtime.update(handle.descriptor, key, value, flags, cpu);
    },
    remove(bytes, cpu) {
      arena.bytes.set(bytes, key);
      return runtime.remove(handle.descriptor, key, cpu);
    },
    lookup(bytes, cpu) {
      arena.bytes.set(bytes, key);
      const at = runtime.lookup(handle.descriptor, key, cpu);
      expect(at % 8, "values are aligned to 8 bytes").toBe(0);
      return at === 0 ? undefined : arena.view.getUint32(at, true);
    },
  };
}

for (const { type, keySize, maxEntries } of [
  { type: "hash", keySize: 1, maxEntries: 30 },
  { type: "hash", keySize: 4, maxEntries: 64 },
  { type: "hash", keySize: 8, maxEntries: 3 },
  { type: "hash", keySize: 16, maxEntries: 40 },
  { type: "hash", keySize: 19, maxEntries: 40 },
  { type: "percpu_hash", keySize: 4, maxEntries: 40 },
  { type: "percpu_hash", keySize: 33, maxEntries: 40 },
] as const)
  test(`a ${type} with keys of ${keySize} bytes and room for ${maxEntries} does as a JavaScript map`, () => {
    for (let seed = 1; seed <= 5; seed++) {
      const map = openMap(mapSpec(type, keySize, valueSize, maxEntries), cpus);
      const program = asProgram(map);
      const random = seeded(seed);
      const model = new Map<string, number[]>();
      for (let i = 0; i < 3000; i++) {
        const key = bytesOf(random(60), keySize);
        const text = toHex(key);
        const cpu = random(cpus);
        const here = model.get(text);
        switch (random(6)) {
          case 0:
          case 1: {
            const flags = random(3);
            const isRefused = flags === 1 ? here !== undefined : flags === 2 && here === undefined;
            const isFull = here === undefined && model.size === maxEntries;
            const expected = isRefused ? (flags === 1 ? -17 : -2) : isFull ? -7 : 0;
            expect(program.update(key, i, flags, cpu)).toBe(expected);
            if (expected !== 0) break;
            const values = type === "hash" ? new Array(cpus).fill(i) : (here ?? [0, 0, 0]);
            values[cpu] = i;
            model.set(text, values);
            break;
          }
          case 2:
            expect(program.remove(key, cpu)).toBe(model.delete(text) ? 0 : -2);
            break;
          case 3:
            expect(program.lookup(key, cpu)).toBe(here?.[cpu]);
            break;
          case 4:
            expect(map.access.count).toBe(model.size);
            break;
          default:
            if (random(20) === 0) expectSameContents(map, model);
        }
      }
      expectSameContents(map, model);
    }
  });

function expectSameContents(map: OpenMap, model: ReadonlyMap<string, readonly number[]>): void {
  const values = map.handle.cpus;
  const ours = [...map.access.entries()].map(({ key, values }) => [toHex(key), values.map(toHex)]);
  const theirs = [...model].map(([key, numbers]) => [
    key,
    numbers.slice(0, values).map((number) => toHex(bytesOf(number, valueSize))),
  ]);
  expect(ours.toSorted(byKey)).toEqual(theirs.toSorted(byKey));
  const walked: string[] = [];
  for (let key = map.access.nextKey(); key !== undefined; key = map.access.nextKey(key))
    walked.push(toHex(key));
  expect(walked.toSorted()).toEqual([...model.keys()].toSorted());
}

function byKey(a: readonly unknown[], b: readonly unknown[]): number {
  return String(a[0]) < String(b[0]) ? -1 : 1;
}

for (const keySize of [5, 8, 11, 20, 260])
  test(`an lpm_trie with ${(keySize - 4) * 8} bits does as a list searched for the longest match`, () => {
    for (let seed = 1; seed <= 5; seed++) {
      const maxEntries = 25;
      const map = openMap(mapSpec("lpm_trie", keySize, valueSize, maxEntries), cpus);
      const program = asProgram(map);
      const random = seeded(seed + keySize);
      /** Prefix bits as text, and the number kept with it. */
      const model = new Map<string, number>();
      for (let i = 0; i < 1500; i++) {
        const key = randomPrefix(keySize, random);
        const bits = bitsOf(key);
        switch (random(4)) {
          case 0: {
            const isFull = !model.has(bits) && model.size === maxEntries;
            expect(program.update(key, i, 0, random(cpus))).toBe(isFull ? -28 : 0);
            if (!isFull) model.set(bits, i);
            break;
          }
          case 1:
            expect(program.remove(key, random(cpus))).toBe(model.delete(bits) ? 0 : -2);
            break;
          case 2:
            expect(program.lookup(key, random(cpus))).toBe(longestMatch(model, bits));
            break;
          default:
            if (random(20) === 0) expectOrder(map, model);
        }
      }
      expectOrder(map, model);
    }
  });

/** Bits that repeat, so that prefixes nest and fork at every depth. */
function randomPrefix(keySize: number, random: (below: number) => number): Uint8Array {
  const key = new Uint8Array(keySize);
  const bits = (keySize - 4) * 8;
  const length = random(2) === 0 ? random(bits + 1) : Math.min(bits, random(9));
  key.set([length & 255, length >> 8]);
  for (let i = 4; i < keySize; i++) key[i] = random(2) === 0 ? 0 : 1 << random(8);
  return key;
}

function bitsOf(key: Uint8Array): string {
  const length = key[0]! | (key[1]! << 8);
  const bits = Array.from(key.subarray(4), (byte) => byte.toString(2).padStart(8, "0")).join("");
  return bits.slice(0, length);
}

function longestMatch(model: ReadonlyMap<string, number>, bits: string): number | undefined {
  for (let length = bits.length; length >= 0; length--) {
    const number = model.get(bits.slice(0, length));
    if (number !== undefined) return number;
  }
  return undefined;
}

/** What lies within a prefix comes before it, 0 before 1: text order with an end after all bits. */
function expectOrder(map: OpenMap, model: ReadonlyMap<string, number>): void {
  const expected = [...model.keys()].map((bits) => `${bits}~`).toSorted();
  expect([...map.access.entries()].map(({ key }) => `${bitsOf(key)}~`)).toEqual(expected);
  const walked: string[] = [];
  for (let key = map.access.nextKey(); key !== undefined; key = map.access.nextKey(key))
    walked.push(`${bitsOf(key)}~`);
  expect(walked).toEqual(expected);
  expect(map.access.count).toBe(expected.length);
}

for (const type of ["lru_hash", "lru_percpu_hash"] as const satisfies readonly MapType[])
  test(`a full ${type} makes room by evicting what was used least, and keeps the rest`, () => {
    for (let seed = 1; seed <= 5; seed++) {
      const maxEntries = 40;
      const map = openMap(mapSpec(type, 4, valueSize, maxEntries), cpus);
      const program = asProgram(map);
      const random = seeded(seed);
      const last = new Map<string, number>();
      const used = bytesOf(9999, 4);
      expect(program.update(used, 1, 0, 0)).toBe(0);
      for (let i = 0; i < 3000; i++) {
        const key = bytesOf(random(100), 4);
        const isHere = map.access.lookup(key) !== undefined;
        if (random(3) === 0) {
          expect(program.remove(key, 0)).toBe(isHere ? 0 : -2);
          continue;
        }
        // Never evicts for an entry that is refused or is there already.
        const count = map.access.count;
        const flags = random(3);
        const expected = flags === 1 && isHere ? -17 : flags === 2 && !isHere ? -2 : 0;
        expect(program.update(key, i, flags, 0)).toBe(expected);
        // Looked up as the main thread does: that leaves no mark of use.
        if (expected === 0) {
          last.set(toHex(key), i);
          expect(toHex(map.access.lookup(key)![0]!)).toBe(toHex(bytesOf(i, valueSize)));
        }
        const grows = expected === 0 && !isHere && count < maxEntries;
        expect(map.access.count).toBe(count + (grows ? 1 : 0));
        expect(program.lookup(used, 0), "what each round looks up stays").toBe(1);
      }
      for (const { key, values } of map.access.entries())
        if (toHex(key) !== toHex(used))
          expect(toHex(values[0]!)).toBe(toHex(bytesOf(last.get(toHex(key))!, valueSize)));
    }
  });
