import { expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { EntryTable } from "../../src/config/entry-table.ts";
import { bytesOf, seeded } from "../maps/numbers.ts";

for (const { keySize, valueSize } of [
  { keySize: 4, valueSize: 4 },
  { keySize: 1, valueSize: 0 },
  { keySize: 20, valueSize: 3 },
])
  test(`a table of keys of ${keySize} and values of ${valueSize} bytes finds what was put into it, and nothing else`, () => {
    const random = seeded(20_261_123);
    const table = new EntryTable({ keySize, valueSize }, "list.csv");
    const model = new Map<string, { key: Uint8Array; value: Uint8Array; where: string }>();
    for (let i = 0; i < 5_000; i++) {
      const key = bytesOf(random(4_000), keySize);
      const value = bytesOf(random(2 ** 31), valueSize);
      const found = table.find(key);
      const known = model.get(toHex(key));
      expect(found === undefined ? undefined : table.value(found)).toEqual(known?.value);
      if (found !== undefined) continue;
      const inline = model.size < 3;
      table.add(key, value, inline ? `weir.yaml:${i}:1` : { line: i, column: 70_000 });
      const where = inline ? `weir.yaml:${i}:1` : `list.csv:${i}:70000`;
      model.set(toHex(key), { key, value, where });
    }
    expect(model.size).toBeGreaterThan(200);
    expect([...table]).toEqual([...model.values()]);
    expect(table.length).toBe(model.size);
  });

test("entries without keys are never found, and may be the same", () => {
  const table = new EntryTable({ keySize: 0, valueSize: 1 });
  for (let i = 0; i < 2; i++) table.add(new Uint8Array(0), Uint8Array.of(7), `at ${i}`);
  expect(table.find(new Uint8Array(0))).toBeUndefined();
  expect(Array.from(table, ({ value, where }) => [value[0], where])).toEqual([
    [7, "at 0"],
    [7, "at 1"],
  ]);
});

test("tables are equal where keys and values are, in the same order, wherever they stand", () => {
  const of = (...pairs: readonly (readonly [number, number])[]): EntryTable => {
    const table = new EntryTable({ keySize: 1, valueSize: 1 });
    for (const [key, value] of pairs)
      table.add(Uint8Array.of(key), Uint8Array.of(value), String(Math.max(key, value)));
    return table;
  };
  const one = of([1, 2], [3, 4]);
  expect(one.equals(of([1, 2], [3, 4]))).toBe(true);
  for (const other of [of([3, 4], [1, 2]), of([1, 2], [3, 5]), of([1, 2]), of()])
    expect(one.equals(other)).toBe(false);
  const wider = new EntryTable({ keySize: 2, valueSize: 0 });
  wider.add(Uint8Array.of(1, 2), new Uint8Array(0), "");
  expect(of([1, 2]).equals(wider)).toBe(false);
});
