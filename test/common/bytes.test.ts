import { expect, test } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";

const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const text = Array.from(all, (byte) => byte.toString(16).padStart(2, "0")).join("");

test("hex has two lower-case digits a byte, of a part of memory that threads share too", () => {
  const shared = new Uint8Array(new SharedArrayBuffer(300), 40, 256);
  shared.set(all);
  expect(toHex(all)).toBe(text);
  expect(toHex(shared)).toBe(text);
  expect(toHex(all.subarray(3, 3))).toBe("");
});

test("hex is read with white space, colons and capitals, into memory of its own", () => {
  const read = parseHex(` ${text.toUpperCase().match(/../g)!.join(": ")}\n`)!;
  expect(read).toEqual(all);
  expect(read.buffer.byteLength).toBe(256);
  for (const wrong of ["0", "0g", "0x12", "é0"]) expect(parseHex(wrong)).toBeUndefined();
});

test("hex takes the memory of its digits, and not a multiple for each byte", () => {
  const bytes = new Uint8Array(2 ** 20);
  const before = process.memoryUsage().heapUsed;
  const digits = toHex(bytes);
  const taken = process.memoryUsage().heapUsed - before;
  expect(digits).toHaveLength(2 ** 21);
  expect(taken).toBeLessThan(8 * 2 ** 20);
});
