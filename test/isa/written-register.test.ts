import { describe, expect, test } from "vitest";
import { assemble } from "../../src/isa/assembler.ts";
import { writtenRegister } from "../../src/isa/written-register.ts";

describe("the register an instruction writes", () => {
  for (const [text, written] of [
    ["r3 += r4", 3],
    ["w3 = w4", 3],
    ["r3 = (s8)r4", 3],
    ["r3 = -r3", 3],
    ["r3 = be16 r3", 3],
    ["r3 = 5 ll", 3],
    ["r3 = *(u32 *)(r4 + 0)", 3],
    ["r3 = *(s8 *)(r4 + 0)", 3],
    ["*(u32 *)(r3 + 0) = r4", undefined],
    ["lock *(u64 *)(r3 + 0) += r4", undefined],
    ["r4 = atomic_fetch_add((u64 *)(r3 + 0), r4)", 4],
    ["r4 = xchg_64(r3 + 0, r4)", 4],
    ["r0 = cmpxchg_64(r3 + 0, r0, r4)", 0],
    ["r0 = *(u16 *)skb[12]", 0],
    ["if r3 == r4 goto +0", undefined],
    ["goto +0", undefined],
    ["call 5", undefined],
    ["exit", undefined],
  ] as const)
    test(`${text}: ${written === undefined ? "none" : `r${written}`}`, () => {
      const assembled = assemble(text);
      if (!assembled.ok) throw new AggregateError(assembled.error, text);
      expect(writtenRegister(assembled.value[0]!)).toBe(written);
    });
});
