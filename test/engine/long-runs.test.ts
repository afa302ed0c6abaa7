import { expect, test } from "vitest";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { EngineBench, frame } from "./engine-bench.ts";
import { longRuns, prepareLongRun, turnsBegun } from "./long-runs.ts";

/** A run of each engine, and how many turns it began. */
function runBoth(name: string): { readonly code: string | undefined; readonly turns: number }[] {
  const one = longRuns.find((run) => run.name === name)!;
  return [jit, interpreter].map((engine) => {
    const bench = new EngineBench(engine, 512 << 20);
    const run = bench.run(prepareLongRun(bench, one), frame(1400));
    return { code: run.fault?.code, turns: turnsBegun(bench) };
  });
}

for (const [name, most] of [
  ["trace lines", 66_000],
  ["texts of many numbers", 90_000],
  ["texts of a format of 60,000 bytes", 300],
  ["comparisons with a text of 60,000 bytes", 9_000],
  ["copies of the packet", 67_000],
  ["updates of a hash of large values", 520],
  ["updates of a large array entry", 9],
  ["pushes to and pops from a queue of large values", 520],
  ["large keys of a bloom filter", 9_000],
  ["walks over an empty hash of 4 million buckets", 33],
] as const)
  test(`${name}, again and again, end by the budget after as many turns in both engines`, () => {
    const [compiled, interpreted] = runBoth(name);
    expect(compiled!.code).toBe("budget_exceeded");
    expect(interpreted!.code).toBe("budget_exceeded");
    expect(interpreted!.turns).toBeLessThan(most);
    // Where a turn jumps over part of itself, the JIT counts that as well.
    expect(compiled!.turns).toBeLessThanOrEqual(interpreted!.turns);
    expect(compiled!.turns).toBeGreaterThan(interpreted!.turns * 0.8);
  });

for (const name of [
  "updates of a large array entry, no callback",
  "checksums of a megabyte, no callback",
])
  test(`${name}: helpers count where the verifier has bounded the instructions, too`, () => {
    for (const { code } of runBoth(name)) expect(code).toBe("budget_exceeded");
  });

test("instructions that the verifier has bounded end no run, in a chain of tail calls neither", () => {
  for (const { code } of runBoth("33 tail calls, each of 900,000 instructions"))
    expect(code).toBeUndefined();
});
