import { expect, test } from "vitest";
import { errno } from "../../src/common/errno.ts";
import { bytesOf, numberOf, seeded } from "./numbers.ts";
import { mapSpec, openMap, place } from "./open-map.ts";

const valueSize = 12;
const noKey = new Uint8Array(0);

for (const type of ["queue", "stack"] as const)
  for (const maxEntries of [1, 2, 7])
    test(`a ${type} of ${maxEntries} does as a JavaScript array, for programs and user space`, () => {
      for (let seed = 1; seed <= 5; seed++) {
        const map = openMap(mapSpec(type, 0, valueSize, maxEntries));
        const { arena, runtime, handle, access } = map;
        const buffer = place(arena, new Uint8Array(valueSize));
        const random = seeded(seed + maxEntries);
        const model: number[] = [];
        const next = (): number | undefined => (type === "queue" ? model[0] : model.at(-1));
        for (let i = 1; i <= 1500; i++) {
          switch (random(6)) {
            case 0:
            case 1: {
              const flags = random(4);
              const isFull = model.length === maxEntries;
              const expected =
                flags === 1 || flags === 3
                  ? -errno.EINVAL
                  : isFull && flags !== 2
                    ? -errno.E2BIG
                    : 0;
              arena.bytes.set(bytesOf(i, valueSize), buffer);
              const result =
                random(2) === 0
                  ? runtime.push(handle.descriptor, buffer, flags, random(2))
                  : access.update(noKey, bytesOf(i, valueSize), flags);
              expect(result).toBe(expected);
              if (expected !== 0) break;
              if (isFull) model.shift();
              model.push(i);
              break;
            }
            case 2: {
              arena.bytes.fill(9, buffer, buffer + valueSize);
              const expected = next();
              const result = runtime.pop(handle.descriptor, buffer, random(2));
              expect(result).toBe(expected === undefined ? -errno.ENOENT : 0);
              expect(numberOf(arena.bytes.slice(buffer, buffer + valueSize))).toBe(expected ?? 0);
              if (type === "queue") model.shift();
              else model.pop();
              break;
            }
            case 3: {
              const value = access.pop();
              expect(value === undefined ? undefined : numberOf(value)).toBe(next());
              if (type === "queue") model.shift();
              else model.pop();
              break;
            }
            case 4: {
              const [value] = access.lookup(noKey) ?? [];
              expect(value === undefined ? undefined : numberOf(value)).toBe(next());
              break;
            }
            default: {
              const inOrder = type === "queue" ? model : model.toReversed();
              expect([...access.entries()].map(({ values }) => numberOf(values[0]!))).toEqual(
                inOrder,
              );
              expect(access.count).toBe(model.length);
            }
          }
        }
      }
    });

for (const type of ["queue", "stack"] as const)
  test(`a walk over a ${type} gives each value that stays once while others come and go`, () => {
    const many = 4000;
    const { access } = openMap(mapSpec(type, 0, valueSize, many + 200));
    for (let i = 1; i <= many; i++) access.update(noKey, bytesOf(i, valueSize));
    const seen: number[] = [];
    for (const { values } of access.entries()) {
      seen.push(numberOf(values[0]!));
      // Behind the walk and before it: more than one batch is on its way.
      if (seen.length === 100) for (let i = 0; i < 50; i++) access.pop();
      if (seen.length === 200)
        for (let i = 1; i <= 50; i++) access.update(noKey, bytesOf(many + i, valueSize));
    }
    const counts = new Map<number, number>();
    for (const number of seen) counts.set(number, (counts.get(number) ?? 0) + 1);
    for (let i = 51; i <= many - 50; i++) expect(counts.get(i), String(i)).toBe(1);
  });

test("what has no keys is neither walked by key nor removed from", () => {
  for (const type of ["queue", "stack", "bloom_filter"] as const) {
    const { access } = openMap(mapSpec(type, 0, 4, 4));
    access.update(noKey, bytesOf(1, 4));
    expect(access.nextKey()).toBeUndefined();
    expect(access.remove(noKey)).toBe(type === "bloom_filter" ? -errno.EOPNOTSUPP : -errno.EINVAL);
  }
});

test("a bloom filter holds what was pushed, and takes little else for it", () => {
  for (const [size, extra] of [
    [4, undefined],
    [8, 1],
    [20, 15],
    [27, 4],
  ] as const) {
    const { access } = openMap(mapSpec("bloom_filter", 0, size, 1000, { extra }));
    for (let i = 0; i < 1000; i++) expect(access.update(noKey, bytesOf(i * 7, size))).toBe(0);
    for (let i = 0; i < 1000; i++) expect(access.mayHold(bytesOf(i * 7, size))).toBe(true);
    let mistaken = 0;
    for (let i = 0; i < 2000; i++) if (access.mayHold(bytesOf(1_000_000 + i, size))) mistaken++;
    // One hash function over 2,048 bits or less mistakes the most; five and more hardly any.
    expect(mistaken).toBeLessThan(1200);
  }
});
