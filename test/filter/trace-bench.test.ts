import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { TraceBench, type TracedRun } from "../../src/filter/trace-bench.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { filterOf, objectOf, trace } from "./traced.ts";

/** Slots of the instruction that decided and of the branch before it. */
function decided(run: TracedRun): (number | undefined)[] {
  const { decision, steps } = run;
  return [decision?.decidedAt, decision?.because].map((at) =>
    at === undefined ? undefined : steps[at]!.slot,
  );
}

for (const { name, assembly, slots } of [
  { name: "a constant", assembly: "r0 = 2\nexit", slots: [0, undefined] },
  {
    name: "a constant moved through registers and the stack",
    assembly: "r1 = 1\n*(u64 *)(r10 - 8) = r1\nr6 = *(u64 *)(r10 - 8)\nr0 = r6\nexit",
    slots: [0, undefined],
  },
  {
    name: "the branch that keeps the first value",
    assembly: "r0 = 2\nr1 = *(u32 *)(r1 + 12)\nif r1 == 1000 goto +1\nr0 = 1\nexit",
    slots: [2, undefined],
  },
  {
    name: "the value behind a branch, and that branch",
    assembly: "r0 = 2\nr1 = *(u32 *)(r1 + 12)\nif r1 != 1000 goto +1\nr0 = 1\nexit",
    slots: [3, 2],
  },
  {
    name: "no branch whose two ways return the same",
    assembly: "r0 = 1\nr1 = *(u32 *)(r1 + 12)\nif r1 == 1000 goto +1\nr2 = 7\nexit",
    slots: [0, undefined],
  },
  {
    name: "a branch whose other way has an exit of its own",
    assembly: "r0 = 1\nr1 = *(u32 *)(r1 + 12)\nif r1 == 1000 goto +2\nr0 = 2\nexit\nexit",
    slots: [2, undefined],
  },
  {
    name: "what a function returned, in that function",
    assembly: "call pc+1\nexit\nr0 = 1\nexit",
    slots: [2, undefined],
  },
  {
    name: "the branch of a function that returned the value",
    assembly:
      "call pc+1\nexit\nr0 = 1\nr1 = *(u32 *)(r1 + 12)\nif r1 != 1000 goto +1\nr0 = 2\nexit",
    slots: [5, 4],
  },
  {
    name: "what the caller gave a function that returned it",
    assembly: "r1 = 1\ncall pc+1\nexit\nr0 = r1\nexit",
    slots: [0, undefined],
  },
  {
    name: "the branch before a function that always returns the same",
    assembly:
      "r1 = *(u32 *)(r1 + 12)\nif r1 == 7 goto +2\ncall pc+3\nexit\nr0 = 2\nexit\nr0 = 1\nexit",
    slots: [6, 1],
  },
  {
    name: "what a function wrote into its caller's frame",
    assembly:
      "r1 = 2\n*(u64 *)(r10 - 8) = r1\nr1 = r10\nr1 += -8\ncall pc+2\nr0 = *(u64 *)(r10 - 8)\nexit\nr2 = 1\n*(u64 *)(r1 + 0) = r2\nr0 = 0\nexit",
    slots: [7, undefined],
  },
  {
    name: "no branch before the value was made, whose other way calls a helper",
    assembly: "r1 = *(u32 *)(r1 + 12)\nif r1 == 1000 goto +1\ncall 5\nr0 = 1\nexit",
    slots: [3, undefined],
  },
])
  test(`what decides is ${name}`, async () => {
    const { runs } = await trace([filterOf(objectOf(assembly))]);
    expect(decided(runs[0]!)).toEqual(slots);
  });

test("each step has the registers before it, and the depth of its function", async () => {
  const { runs } = await trace([
    filterOf(objectOf("r6 = 5\ncall pc+1\nexit\nr0 = 2\nr6 = 9\nexit")),
  ]);
  const { steps, count, returned } = runs[0]!;
  expect(steps.map(({ slot, depth }) => [slot, depth])).toEqual([
    [0, 0],
    [1, 0],
    [3, 1],
    [4, 1],
    [5, 1],
    [2, 0],
  ]);
  expect(steps.map(({ registers }) => registers[6])).toEqual([0n, 5n, 5n, 5n, 9n, 5n]);
  expect({ count, returned }).toEqual({ count: 6, returned: 2n });
});

test("of a run that is too long the first steps are kept, and it decides nothing", async () => {
  const loop = "r1 = 100000\nr1 += -1\nif r1 != 0 goto -2\nr0 = 1\nexit";
  const { runs, verdict } = await trace([filterOf(objectOf(loop))], undefined, 50);
  expect(runs[0]!.steps.length).toBe(50);
  expect(runs[0]!.count).toBe(200_003);
  expect(runs[0]!.decision).toBe(undefined);
  expect(verdict?.kind).toBe("drop");
});

test("a program that is not proven safe is refused, with the instruction", async () => {
  const bench = await TraceBench.create([
    filterOf(objectOf("r0 = *(u32 *)(r1 + 400)\nexit", "bad")),
  ]);
  expect(!bench.ok && bench.error.message).toMatch(/, program bad, section "xdp", instruction 0 /);
});

test("a chain goes on with the frame as the filter before left it, as continueOn says", async () => {
  const bounds =
    "r0 = 1\nr2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = r2\nr4 += 1\nif r4 > r3 goto";
  const write = `${bounds} +1\n*(u8 *)(r2 + 0) = 7\nexit`;
  const read = `${bounds} +4\nr0 = *(u8 *)(r2 + 0)\nif r0 == 7 goto +1\nexit\nr0 = 2\nexit`;
  const first = filterOf(objectOf(write, "first"), { continueOn: ["drop"] });
  const { runs, verdict, data } = await trace([first, filterOf(objectOf(read, "second"))]);
  expect(runs.map(({ filter, verdict: own }) => [filter, own?.kind])).toEqual([
    ["first", "drop"],
    ["second", "pass"],
  ]);
  expect(verdict).toEqual({ kind: "pass" });
  expect(data[0]).toBe(7);
  const alone = await trace([
    filterOf(objectOf(write, "first")),
    filterOf(objectOf(read, "second")),
  ]);
  expect(alone.runs.length).toBe(1);
});

test("a shipped filter's look-ups are seen with keys and what they found", async () => {
  const file = fileURLToPath(new URL("../../filters/blocklist.o", import.meta.url));
  const object = loadObject(readFileSync(file), file);
  if (!object.ok) throw object.error;
  const key = Uint8Array.of(24, 0, 0, 0, 203, 0, 113, 0);
  const contents = object.value.maps.map(({ name }) =>
    name === "blocked" ? [{ key, values: [Uint8Array.of(7, 0, 0, 0)] }] : [],
  );
  const frame = Buffer.from(
    "02005e00000102005e0000020800450000210000400040110000cb0071077f00000112340035000d00000000000000",
    "hex",
  );
  const { runs } = await trace([filterOf(object.value, { contents })], frame);
  const calls = runs[0]!.steps.flatMap(({ call }) => call ?? []);
  expect(calls.map(({ helper, map }) => [helper.name, map?.name])).toEqual([
    ["map_lookup_elem", "blocked"],
    ["map_lookup_elem", "blocked_packets_total"],
    ["map_update_elem", "blocked_packets_total"],
  ]);
  expect(calls[0]).toMatchObject({
    key: Uint8Array.of(32, 0, 0, 0, 203, 0, 113, 7),
    found: Uint8Array.of(7, 0, 0, 0),
  });
  expect(calls[1]!.found).toBe(undefined);
});
