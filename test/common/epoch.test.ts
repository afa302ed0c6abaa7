import { expect, test } from "vitest";
import { epochHighWord, epochLowWord } from "../../src/common/epoch.ts";

for (const [seconds, nanoseconds] of [
  [0, 0],
  [0, 1],
  [4, 294_967_295],
  [4, 294_967_296],
  [65_535, 999_999_999],
  [65_536, 0],
  [1_700_000_000, 123_456_789],
  [2 ** 31, 999_999_999],
  [2 ** 33 + 7, 1],
  [-1, 999_999_999],
  [-1_700_000_000, 5],
] as const)
  test(`${seconds} s and ${nanoseconds} ns are the 64-bit number of nanoseconds`, () => {
    const whole = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
    expect(BigInt(epochLowWord(seconds, nanoseconds))).toBe(whole & 0xffff_ffffn);
    expect(BigInt(epochHighWord(seconds, nanoseconds))).toBe(whole >> 32n);
  });
