import { expect, test } from "vitest";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { formatRejection } from "../../src/verifier/rejection.ts";
import { given, regions } from "../../src/verifier/verified.ts";
import { verify } from "../../src/verifier/verify.ts";
import { programOf } from "./rules/rule-case.ts";

const unchecked = programOf(
  "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr0 = *(u8 *)(r2 + 13)\nexit",
  "xdp",
  {
    lines: [
      { slot: 0, file: "filter.c", line: 11, column: 3, text: "  void *data = ctx->data;" },
      { slot: 2, file: "filter.c", line: 14, column: 3, text: "  return eth->h_proto;" },
    ],
  },
);

test("a packet pointer too far for compares is told from one that was not compared", () => {
  const far = programOf(`r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r5 = *(u32 *)(r1 + 12)
    r5 &= 0xffff
    r2 += r5
    r4 = r2
    r4 += 1
    if r4 > r3 goto out
    r0 = *(u8 *)(r2 + 0)
    out: r0 = 1
    exit`);
  const verdict = verify(far, helpers);
  if (verdict.ok) return expect.fail("accepted");
  expect(verdict.error.registers).toEqual([
    "r2: packet data + (0 to 65535), too far for a compare with data_end to count",
  ]);
  return undefined;
});

test("a rejection says where, what the registers hold, why, and what would mend it", () => {
  const verdict = verify(unchecked, helpers);
  if (verdict.ok) return expect.fail("accepted");
  expect(formatRejection(verdict.error).split("\n")).toEqual([
    "test.o: program test is refused (PACKET_BOUNDS)",
    "  filter.c:14: return eth->h_proto;",
    "  instruction 2: r0 = *(u8 *)(r2 + 13)",
    "    r2: packet data, not compared with data_end yet",
    "  Packet byte 13 is accessed, and none is known to be there.",
    "  To mend it: compare r2 + 14 with data_end before this, and leave where it is greater.",
  ]);
  expect(verdict.error).toMatchObject({
    code: "PACKET_BOUNDS",
    object: "test.o",
    program: "test",
    slot: 2,
    source: { file: "filter.c", line: 14 },
  });
  return undefined;
});

test("the log has the kernel's form", () => {
  const lines: string[] = [];
  verify(unchecked, helpers, { log: (line) => lines.push(line) });
  expect(lines).toEqual([
    "0: R1=ctx() R10=fp0",
    "; void *data = ctx->data; @ filter.c:11",
    "0: (61) r2 = *(u32 *)(r1 +0)             ; R2=pkt(r=0)",
    "1: (61) r3 = *(u32 *)(r1 +4)             ; R3=pkt_end()",
    "; return eth->h_proto; @ filter.c:14",
    "2: (71) r0 = *(u8 *)(r2 +13)",
    "packet byte 13 is accessed, and none is known to be there",
    "processed 3 insns, 0 states kept",
  ]);
});

test("the log shows where paths part and where an earlier one covers the rest", () => {
  const lines: string[] = [];
  const text =
    "r6 = *(u32 *)(r1 + 12)\nr7 = 0\nr8 = 0\nif r6 > 1 goto l\nr7 = 1\nl: if r6 > 2 goto m\nr8 = 1\nr8 = 2\nr8 = 3\nm: r0 = 0\nexit";
  const verdict = verify(programOf(text), helpers, { log: (line) => lines.push(line) });
  expect(verdict.ok).toBe(true);
  expect(lines.filter((line) => line.startsWith("from ")).length).toBeGreaterThan(0);
  expect(lines.some((line) => line.endsWith(": safe"))).toBe(true);
});

test("what was proven is told by instruction", () => {
  const verdict = verify(
    programOf(`*(u32 *)(r10 - 8) = 0
      r1 = map_by_fd(1) ll
      r2 = r10
      r2 += -8
      call 1
      if r0 == 0 goto out
      r1 = *(u64 *)(r0 + 0)
      *(u64 *)(r10 - 16) = r0
      r3 = *(u64 *)(r10 - 16)
      r3 += 4
      r3 += -65600
      r1 += 4
      r2 = 1
      if r2 == 1 goto out
      r1 = 5
    out: r0 = 0
      exit`),
    helpers,
  );
  if (!verdict.ok) return expect.fail(verdict.error.message);
  const { reached, regionsOf, mapOfCall, givenBy, stackBytes, readsUnwritten } = verdict.value;
  expect(Array.from(reached)).toEqual([1, 1, 0, ...new Array(12).fill(1), 0, 1, 1]);
  const { stack, mapValue } = regions;
  expect(Array.from(regionsOf).slice(0, 10)).toEqual([
    stack,
    0,
    0,
    0,
    0,
    stack,
    0,
    mapValue,
    stack,
    stack,
  ]);
  const { address, other } = given;
  // A pointer filled, moved, moved to before the arena's own start; a number.
  expect(Array.from(givenBy).slice(4, 13)).toEqual([
    address,
    0,
    0,
    other,
    0,
    address,
    address,
    other,
    other,
  ]);
  expect(mapOfCall[5]).toBe(1);
  expect(stackBytes.get(0)).toBe(16);
  // Of an 8-byte key only 4 were written.
  expect(readsUnwritten[5]).toBe(1);
  return undefined;
});

test.each([
  { title: "the way that writes", branch: "if r6 s> 5 goto met\n*(u32 *)(r10 - 4) = r6" },
  { title: "the way that does not", branch: "if r6 s> 5 goto write\ngoto met" },
])(
  "what was never written is told as read also where a way meets one that wrote: $title comes first",
  ({ branch }) => {
    const verdict = verify(
      programOf(`call 7
      r6 = r0
      r3 = 0
      ${"r3 += 1\n".repeat(9)}
      ${branch}
    met: ${"r3 += 1\n".repeat(6)}
      r0 = *(u32 *)(r10 - 4)
      exit${branch.includes("write") ? "\nwrite: *(u32 *)(r10 - 4) = r6\ngoto met" : ""}`),
      helpers,
    );
    if (!verdict.ok) return expect.fail(verdict.error.message);
    expect(verdict.value.readsUnwritten).toContain(1);
    return undefined;
  },
);
