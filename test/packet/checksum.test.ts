import { expect, test } from "vitest";
import { parseHex } from "../../src/common/bytes.ts";
import {
  checksum,
  finishSum,
  partialSum,
  pseudoHeaderSum,
  updateChecksum,
} from "../../src/packet/checksum.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { compileRuntime, instantiateRuntime } from "../../src/runtime/instantiate.ts";
import { unwrap } from "../engine/engine-bench.ts";
import { Random } from "./random.ts";

/** RFC 1071 §4.1, word for word. */
function naiveChecksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] as number) * 256 + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

test("checksum is the one of RFC 1071's example", () => {
  expect(checksum(parseHex("0001f203f4f5f6f7")!, 0, 8)).toBe(0xffff - 0xddf2);
});

test("checksum of no bytes is all ones", () => {
  expect(checksum(new Uint8Array(8), 3, 3)).toBe(0xffff);
});

test("checksum of all ones is 0, and not the other zero", () => {
  for (const length of [2, 30, 32, 64, 65_534])
    expect(checksum(new Uint8Array(length).fill(0xff), 0, length)).toBe(0);
});

for (const [what, buffer] of [
  ["a plain buffer", new ArrayBuffer(4096)],
  ["shared memory", new SharedArrayBuffer(4096)],
] as const)
  test(`checksum over ${what} agrees with the naive sum at every offset and length`, () => {
    const random = new Random(1071);
    const bytes = new Uint8Array(buffer, 5, 3000);
    bytes.set(random.bytes(3000));
    const plain = Array.from(bytes);
    for (let length = 0; length < 100; length++)
      for (let from = 0; from < 8; from++)
        expect(checksum(bytes, from, from + length)).toBe(
          naiveChecksum(plain.slice(from, from + length)),
        );
    for (let i = 0; i < 300; i++) {
      const from = random.below(1400);
      const to = from + random.below(1500);
      expect(checksum(bytes, from, to)).toBe(naiveChecksum(plain.slice(from, to)));
    }
  });

test("checksum is right for arrays far beyond a packet", () => {
  const bytes = new Uint8Array(300_001).fill(0xfe);
  expect(checksum(bytes, 0, bytes.length)).toBe(naiveChecksum(Array.from(bytes)));
});

test("checksum keeps buffers apart when they take turns", () => {
  const ones = new Uint8Array(64).fill(1);
  const twos = new Uint8Array(64).fill(2);
  for (let i = 0; i < 3; i++) {
    expect(checksum(ones, 0, 64)).toBe(naiveChecksum(Array.from(ones)));
    expect(checksum(twos, 0, 64)).toBe(naiveChecksum(Array.from(twos)));
  }
});

test("partialSum of adjoining pieces adds up to the sum of the whole", () => {
  const random = new Random(7);
  for (let i = 0; i < 200; i++) {
    const bytes = random.bytes(1 + random.below(400));
    const cut = 2 * random.below(bytes.length / 2);
    const first = partialSum(bytes, 0, cut);
    expect(finishSum(partialSum(bytes, cut, bytes.length, first))).toBe(
      checksum(bytes, 0, bytes.length),
    );
  }
});

test("pseudoHeaderSum sums what RFC 9293 and RFC 8200 put in front of the transport", () => {
  const random = new Random(8200);
  for (const [family, addressBytes] of [
    [4, 8],
    [6, 32],
  ] as const) {
    const bytes = random.bytes(addressBytes + 3);
    const length = 65_527;
    const header = [...bytes.subarray(3), 0, 0, length >> 8, length & 255, 0, 0, 0, 17];
    expect(finishSum(pseudoHeaderSum(bytes, 3, family, 17, length))).toBe(naiveChecksum(header));
  }
});

test("updateChecksum gives RFC 1624's example, where RFC 1141 gives the other zero", () => {
  expect(updateChecksum(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
});

test("updateChecksum agrees with summing again", () => {
  const random = new Random(1624);
  for (let i = 0; i < 2000; i++) {
    const bytes = random.bytes(20);
    const before = checksum(bytes, 0, 20);
    const at = 2 * random.below(10);
    const old = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    bytes[at] = random.below(256);
    bytes[at + 1] = random.below(256);
    const now = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    expect(updateChecksum(before, old, now)).toBe(checksum(bytes, 0, 20));
  }
});

test("the runtime's sum agrees with partialSum at every offset, length and content", async () => {
  const arena = unwrap(Arena.create(4 << 20));
  const { internetSum } = instantiateRuntime(await compileRuntime(), arena);
  const random = new Random(1071);
  const at = unwrap(arena.allocate(70_000, "bytes"));
  for (let i = 0; i < 2000; i++) {
    const from = at + random.below(64);
    const length = i < 200 ? i : random.below(i % 20 === 0 ? 65_536 : 2_000);
    const fill = random.below(3);
    for (let byte = from; byte < from + length; byte++)
      arena.bytes[byte] = fill === 0 ? 0xff : fill === 1 ? 0 : random.below(256);
    const sum = internetSum(from, from + length);
    expect(sum).toBeLessThanOrEqual(0xffff);
    expect(finishSum(sum)).toBe(finishSum(partialSum(arena.bytes, from, from + length)));
  }
});

test("the runtime copies what it sums, and nothing beside it", async () => {
  const arena = unwrap(Arena.create(4 << 20));
  const { copySum, internetSum } = instantiateRuntime(await compileRuntime(), arena);
  const random = new Random(791);
  const source = unwrap(arena.allocate(70_000, "source"));
  const target = unwrap(arena.allocate(70_000, "target"));
  arena.bytes.set(random.bytes(70_000), source);
  for (let i = 0; i < 500; i++) {
    const from = source + random.below(64);
    const to = target + 1 + random.below(64);
    const length = i < 200 ? i : random.below(i % 20 === 0 ? 65_536 : 2_000);
    arena.bytes.fill(0xee, target, target + 70_000);
    expect(copySum(from, from + length, to)).toBe(internetSum(from, from + length));
    const copied = arena.viewOf(to, length);
    expect(copied.equals(arena.viewOf(from, length))).toBe(true);
    expect([arena.bytes[to - 1], arena.bytes[to + length]]).toEqual([0xee, 0xee]);
  }
});
