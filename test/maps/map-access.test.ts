import { expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { UserError } from "../../src/common/user-error.ts";
import type { MapType } from "../../src/object/object-spec.ts";
import { MAP_ELEMENT_STRIDE, MAP_ELEMENTS, MAP_LOCK } from "../../src/runtime/wasm/layout.ts";
import { bytesOf } from "./numbers.ts";
import { mapSpec, openMap } from "./open-map.ts";

const ENOENT = -2;
const EPERM = -1;
const E2BIG = -7;
const EBADF = -9;
const EEXIST = -17;
const EINVAL = -22;

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));

/** What a fresh map of two indexes or entries answers, step by step. */
const tables: readonly {
  readonly type: MapType;
  readonly valueSize: number;
  readonly steps: readonly (readonly [
    "update" | "remove",
    string,
    number,
    ...(string | number)[],
  ])[];
  readonly contents: readonly string[];
}[] = [
  {
    type: "array",
    valueSize: 4,
    steps: [
      ["update", "01000000", 0, "0000000b", 0],
      ["update", "00000000", 0, "0000000a", 2],
      ["update", "00000000", EEXIST, "00000000", 1],
      ["update", "00000000", EINVAL, "00000000", 3],
      ["update", "00000000", EINVAL, "00000000", 4],
      ["update", "02000000", E2BIG, "00000000", 0],
      ["remove", "00000000", EINVAL],
    ],
    contents: ["00000000 0000000a", "01000000 0000000b"],
  },
  {
    type: "hash",
    valueSize: 4,
    steps: [
      ["update", "07000000", ENOENT, "00000000", 2],
      ["update", "07000000", 0, "0000000a", 1],
      ["update", "07000000", EEXIST, "00000000", 1],
      ["update", "07000000", 0, "0000000b", 2],
      ["update", "08000000", 0, "0000000c", 0],
      ["update", "09000000", E2BIG, "00000000", 0],
      ["update", "08000000", EINVAL, "00000000", 4],
      ["remove", "08000000", 0],
      ["remove", "08000000", ENOENT],
    ],
    contents: ["07000000 0000000b"],
  },
  {
    type: "devmap",
    valueSize: 8,
    steps: [
      ["update", "00000000", 0, "0200000000000000", 0],
      ["update", "01000000", 0, "03000000ffffffff", 2],
      ["update", "01000000", EEXIST, "0300000000000000", 1],
      ["update", "02000000", E2BIG, "0300000000000000", 0],
      ["update", "01000000", EINVAL, "0300000005000000", 0],
      ["update", "00000000", 0, "0000000000000000", 0],
      ["remove", "00000000", 0],
      ["remove", "02000000", EINVAL],
    ],
    contents: ["01000000 0300000000000000"],
  },
  {
    type: "devmap_hash",
    valueSize: 8,
    steps: [
      ["update", "09000000", EINVAL, "0000000000000000", 0],
      ["update", "09000000", 0, "03000000ffffffff", 2],
      ["update", "09000000", EEXIST, "0300000000000000", 1],
      ["update", "08000000", 0, "0400000000000000", 0],
      ["update", "07000000", E2BIG, "0400000000000000", 0],
      ["remove", "08000000", 0],
      ["remove", "08000000", ENOENT],
    ],
    contents: ["09000000 0300000000000000"],
  },
  {
    type: "prog_array",
    valueSize: 4,
    steps: [
      ["update", "00000000", EBADF, "00000000", 0],
      ["update", "00000000", EINVAL, "05000000", 2],
      ["update", "02000000", E2BIG, "05000000", 0],
      ["update", "01000000", 0, "05000000", 0],
      ["update", "00000000", 0, "06000000", 0],
      ["remove", "00000000", 0],
      ["remove", "00000000", ENOENT],
      ["remove", "02000000", E2BIG],
    ],
    contents: ["01000000 05000000"],
  },
];

for (const { type, valueSize, steps, contents } of tables)
  test(`a ${type} answers updates and deletes with the kernel's codes`, () => {
    const { access } = openMap(mapSpec(type, 4, valueSize, 2));
    for (const [operation, key, expected, value, flags] of steps) {
      const result =
        operation === "remove"
          ? access.remove(hex(key))
          : access.update(hex(key), hex(value as string), flags as number);
      expect(result, [operation, key, value, flags].join(" ")).toBe(expected);
    }
    const entries = [...access.entries()];
    expect(entries.map(({ key, values }) => `${toHex(key)} ${values.map(toHex)}`)).toEqual(
      contents,
    );
    expect(access.count).toBe(contents.length);
    for (const { key, values } of entries) expect(access.lookup(key)).toEqual(values);
  });

test("an index that holds nothing is no entry of a devmap, yet a key of it", () => {
  const { access } = openMap(mapSpec("devmap", 4, 4, 3));
  expect(access.update(bytesOf(2, 4), bytesOf(7, 4))).toBe(0);
  expect(access.lookup(bytesOf(0, 4))).toBeUndefined();
  expect(access.nextKey()).toEqual(bytesOf(0, 4));
  expect(access.nextKey(bytesOf(2, 4))).toBeUndefined();
  expect(access.nextKey(bytesOf(9, 4))).toEqual(bytesOf(0, 4));
});

test("a per-CPU map takes one value for all CPUs, or one for each", () => {
  for (const type of ["percpu_array", "percpu_hash", "lru_percpu_hash"] as const) {
    const { access } = openMap(mapSpec(type, 4, 5, 4), 3);
    const one = hex("0102030405");
    expect(access.update(bytesOf(1, 4), one)).toBe(0);
    expect(access.lookup(bytesOf(1, 4))).toEqual([one, one, one]);
    const each = [hex("0000000001"), hex("0000000002"), hex("0000000003")];
    expect(access.update(bytesOf(1, 4), each)).toBe(0);
    expect(access.lookup(bytesOf(1, 4))).toEqual(each);
    expect(() => access.update(bytesOf(1, 4), each.slice(1))).toThrow(RangeError);
  }
});

test("keys and values of a wrong length are the caller's mistake", () => {
  const { access } = openMap(mapSpec("hash", 8, 4, 4));
  const key = new Uint8Array(8);
  for (const wrong of [new Uint8Array(7), new Uint8Array(9)]) {
    expect(() => access.lookup(wrong)).toThrow(/key of \d bytes, expected 8/);
    expect(() => access.remove(wrong)).toThrow(RangeError);
    expect(() => access.nextKey(wrong)).toThrow(RangeError);
    expect(() => access.update(wrong, new Uint8Array(4))).toThrow(RangeError);
  }
  expect(() => access.update(key, new Uint8Array(5))).toThrow(/value of 5 bytes, expected 4/);
});

test("what lookup returns is a copy", () => {
  const { access } = openMap(mapSpec("array", 4, 4, 1));
  const before = access.lookup(bytesOf(0, 4))!;
  access.update(bytesOf(0, 4), bytesOf(5, 4));
  expect(before).toEqual([new Uint8Array(4)]);
  expect(before[0]!.buffer).toBeInstanceOf(ArrayBuffer);
});

test("a map with BPF_F_RDONLY and a frozen data section refuse changes from user space", () => {
  const contents = [{ key: bytesOf(0, 4), value: bytesOf(6, 4) }];
  for (const rest of [
    { flags: 8, contents },
    { flags: 128, contents, readOnly: true, dataSection: ".rodata" },
  ]) {
    const { access } = openMap(mapSpec("array", 4, 4, 1, rest));
    expect(access.update(bytesOf(0, 4), bytesOf(9, 4))).toBe(EPERM);
    expect(access.remove(bytesOf(0, 4))).toBe(EPERM);
    expect(access.lookup(bytesOf(0, 4))).toEqual([bytesOf(6, 4)]);
  }
});

for (const type of ["hash", "lpm_trie"] as const)
  test(`a walk over a ${type} goes on while entries come and go, and gives each lasting one once`, () => {
    const { access } = openMap(mapSpec(type, 8, 64, 3000));
    const key = (i: number, kind: number): Uint8Array =>
      new Uint8Array([32, 0, 0, 0, kind, 0, i >> 8, i & 255]);
    for (let i = 0; i < 1000; i++) expect(access.update(key(i, 1), bytesOf(i, 64))).toBe(0);
    for (let i = 0; i < 1000; i++) expect(access.update(key(i, 2), bytesOf(i, 64))).toBe(0);
    const seen = new Map<string, number>();
    let given = 0;
    for (const entry of access.entries()) {
      seen.set(toHex(entry.key), (seen.get(toHex(entry.key)) ?? 0) + 1);
      // Moves lasting entries, removes passing ones (the one just given first) and adds others.
      if (entry.key[4] === 2) access.remove(entry.key);
      access.update(key((given * 7) % 1000, 1), bytesOf(given, 64));
      access.remove(key((given * 13) % 1000, 2));
      access.update(key(given % 1000, 3), bytesOf(0, 64));
      given++;
    }
    for (let i = 0; i < 1000; i++) expect(seen.get(toHex(key(i, 1))), `entry ${i}`).toBe(1);
    expect(Math.max(...seen.values())).toBe(1);
  });

test("keys whose hashes are the same are told apart", () => {
  // With BPF_F_ZERO_SEED hashes do not change from map to map; 200,000 keys have some that collide.
  const zeroSeed = { flags: 64 };
  const large = openMap(mapSpec("hash", 8, 8, 200_000, zeroSeed));
  const { arena, handle } = large;
  const word = (at: number): number => arena.view.getUint32(at, true);
  const keyOf = (i: number): Uint8Array => hex(i.toString(16).padStart(16, "0"));
  for (let i = 0; i < 200_000; i++) large.access.update(keyOf(i), bytesOf(i, 8));
  const byHash = new Map<number, number>();
  const pairs: (readonly [number, number])[] = [];
  for (let i = 0; i < 200_000; i++) {
    const element =
      word(handle.descriptor + MAP_ELEMENTS) + i * word(handle.descriptor + MAP_ELEMENT_STRIDE);
    const hash = word(element + 4);
    const other = byHash.get(hash);
    if (other !== undefined) pairs.push([other, i]);
    byHash.set(hash, i);
  }
  expect(pairs.length).toBeGreaterThan(0);
  const numbers = pairs.flat();
  const { access } = openMap(mapSpec("hash", 8, 8, numbers.length, zeroSeed));
  for (const i of numbers) expect(access.update(keyOf(i), bytesOf(i, 8))).toBe(0);
  for (const i of numbers) expect(access.lookup(keyOf(i))).toEqual([bytesOf(i, 8)]);
  const sorted = numbers.map(keyOf).map(toHex).toSorted();
  expect([...access.entries()].map(({ key }) => toHex(key)).toSorted()).toEqual(sorted);
  const walked: string[] = [];
  for (let key = access.nextKey(); key !== undefined; key = access.nextKey(key))
    walked.push(toHex(key));
  expect(walked.toSorted()).toEqual(sorted);
  for (const [first, second] of pairs) {
    expect(access.remove(keyOf(first))).toBe(0);
    expect(access.lookup(keyOf(first))).toBeUndefined();
    expect(access.lookup(keyOf(second))).toEqual([bytesOf(second, 8)]);
  }
});

test("two walks at a time do not disturb each other", () => {
  const { access } = openMap(mapSpec("hash", 4, 512, 200));
  for (let i = 0; i < 200; i++) access.update(bytesOf(i, 4), bytesOf(i, 512));
  const outer = new Set<string>();
  for (const { key } of access.entries()) {
    outer.add(toHex(key));
    if (outer.size % 50 === 0) expect([...access.entries()]).toHaveLength(200);
  }
  expect(outer.size).toBe(200);
});

test("entries larger than a batch come one at a time", () => {
  const { access } = openMap(mapSpec("percpu_hash", 300, 20_000, 3), 4);
  for (let i = 0; i < 3; i++) expect(access.update(bytesOf(i, 300), bytesOf(i, 20_000))).toBe(0);
  const numbers = [...access.entries()].map(({ values }) => values[3]![0]);
  expect(numbers.toSorted()).toEqual([0, 1, 2]);
});

test("a lock that a dead worker holds makes a named error, not a stop", () => {
  const { access, arena, handle, runtime } = openMap(mapSpec("hash", 4, 4, 4));
  access.update(bytesOf(1, 4), bytesOf(5, 4));
  arena.view.setUint32(handle.descriptor + MAP_LOCK, 1, true);
  expect(access.lookup(bytesOf(1, 4)), "readers need no lock").toEqual([bytesOf(5, 4)]);
  const failure = (() => {
    try {
      access.update(bytesOf(1, 4), bytesOf(6, 4));
    } catch (cause) {
      return cause;
    }
  })();
  expect(failure).toBeInstanceOf(UserError);
  expect((failure as UserError).code).toBe("MAP_BUSY");
  expect(runtime.repair(handle.descriptor, 0)).toBe(1);
  expect(access.update(bytesOf(1, 4), bytesOf(6, 4))).toBe(0);
});
