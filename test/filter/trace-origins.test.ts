import { expect, test } from "vitest";
import { type Origin, originsOf } from "../../src/filter/trace-origins.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import { filterOf, objectOf, trace } from "./traced.ts";

type Kinds = Readonly<Record<string, Origin["kind"] | "number">>;

/** Programs, and what their registers hold before the last instruction. */
const cases: readonly {
  readonly name: string;
  readonly type?: ProgramType;
  readonly assembly: string;
  readonly kinds: Kinds;
}[] = [
  {
    name: "the context's packet pointers are the packet's, and its other fields numbers",
    assembly:
      "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = *(u32 *)(r1 + 8)\nr5 = *(u32 *)(r1 + 12)\nr0 = 2\nexit",
    kinds: { r1: "context", r2: "packet", r3: "packet_end", r4: "packet", r5: "number" },
  },
  {
    name: "those of __sk_buff lie elsewhere",
    type: "tc",
    assembly:
      "r2 = *(u32 *)(r1 + 76)\nr3 = *(u32 *)(r1 + 80)\nr4 = *(u32 *)(r1 + 140)\nr5 = *(u32 *)(r1 + 0)\nr0 = 0\nexit",
    kinds: { r2: "packet", r3: "packet_end", r4: "packet", r5: "number" },
  },
  {
    name: "a number is one, whatever lies at that address",
    assembly: "r2 = 66368\nr3 = 65536\nr4 = 132883\nr0 = 2\nexit",
    kinds: { r2: "number", r3: "number", r4: "number", r10: "stack" },
  },
  {
    name: "a pointer and a number are a pointer in either order, two pointers a number",
    assembly:
      "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = 5\nr4 += r2\nr5 = r2\nr5 += 5\nr3 -= r2\nr0 = 2\nexit",
    kinds: { r2: "packet", r3: "number", r4: "packet", r5: "packet" },
  },
  {
    name: "half of a pointer is a number",
    assembly: "r2 = *(u32 *)(r1 + 0)\nw3 = w2\nr0 = 2\nexit",
    kinds: { r2: "packet", r3: "number" },
  },
  {
    name: "a pointer comes back from the stack as one",
    assembly:
      "r2 = *(u32 *)(r1 + 0)\n*(u64 *)(r10 - 8) = r2\nr3 = r10\nr3 += -8\nr4 = *(u64 *)(r3 + 0)\nr0 = 2\nexit",
    kinds: { r3: "stack", r4: "packet" },
  },
  {
    name: "what is written over a spilled pointer is none",
    assembly:
      "r2 = *(u32 *)(r1 + 0)\n*(u64 *)(r10 - 8) = r2\nr3 = 5\n*(u64 *)(r10 - 8) = r3\nr4 = *(u64 *)(r10 - 8)\nr0 = 2\nexit",
    kinds: { r4: "number" },
  },
  {
    name: "a function has its arguments, and its caller's other registers come back",
    assembly: "r6 = r1\nr1 = r10\ncall pc+2\nr7 = r0\nexit\nr6 = 7\nr2 = r1\nr0 = 2\nexit",
    kinds: { r0: "number", r6: "context", r7: "number", r10: "stack" },
  },
];

for (const { name, type, assembly, kinds } of cases)
  test(name, async () => {
    const { runs } = await trace([filterOf(objectOf(assembly, "program", type))]);
    const { steps, fault } = runs[0]!;
    expect(fault).toBe(undefined);
    const last = originsOf(steps).at(-1)!;
    const found = Object.keys(kinds).map((register) => [
      register,
      last[Number(register.slice(1))]?.kind ?? "number",
    ]);
    expect(Object.fromEntries(found)).toEqual(kinds);
  });

test("a function's frame is told from its caller's", async () => {
  const { runs } = await trace([
    filterOf(objectOf("r1 = r10\ncall pc+2\nr0 = 2\nexit\nr2 = r10\nr0 = 0\nexit")),
  ]);
  const { steps } = runs[0]!;
  const origins = originsOf(steps);
  const inside = steps.findLastIndex(({ depth }) => depth === 1);
  expect(origins[inside]!.slice(1, 3)).toMatchObject([
    { kind: "stack", depth: 0 },
    { kind: "stack", depth: 1 },
  ]);
});

test("a packet load beyond the packet ends the run and is what decides", async () => {
  const { runs, verdict } = await trace([
    filterOf(objectOf("r6 = r1\nr0 = *(u16 *)skb[200]\nr0 = 1\nexit", "program", "socket")),
  ]);
  expect(runs[0]).toMatchObject({ count: 2, returned: 0n, fault: undefined });
  expect(runs[0]!.decision).toEqual({ decidedAt: 1, because: undefined });
  expect(verdict).toEqual({ kind: "drop", reason: "filter_drop" });
});
