import { expect, test } from "vitest";
import { maxSteps } from "../../src/engine/engine.ts";
import { interpreter, observedInterpreter } from "../../src/engine/interpreter/interpreter.ts";
import { EngineBench, frame } from "./engine-bench.ts";
import { engineContract } from "./engine-contract.ts";
import { engineFuzz } from "./engine-fuzz.ts";

engineContract("interpreter", interpreter);
engineFuzz("interpreter", interpreter);

test("an observer sees each instruction before it is done, with the registers as they are then", () => {
  const seen: [slot: number, r0: number | undefined, r1: number | undefined][] = [];
  const engine = observedInterpreter((slot, r) => seen.push([slot, r[0], r[2]]));
  const bench = new EngineBench(engine);
  const program = "r1 = 2\nloop:\nr0 += 5\nr1 += -1\nif r1 != 0 goto loop\nr2 = 1 ll\nexit";
  const run = bench.run(bench.prepare(program, "raw"), frame(1));
  expect(run.r0).toBe(10n);
  expect(seen.slice(1)).toEqual([
    [1, 0, 2],
    [2, 5, 2],
    [3, 5, 1],
    [1, 5, 1],
    [2, 10, 1],
    [3, 10, 0],
    [4, 10, 0],
    // An instruction of two slots is one.
    [6, 10, 0],
  ]);
});

test("an observed program has the same budget", () => {
  let steps = 0;
  const bench = new EngineBench(observedInterpreter(() => steps++));
  const run = bench.run(bench.prepare("loop:\ngoto loop", "raw"), frame(1));
  expect(run.fault?.code).toBe("budget_exceeded");
  expect(steps).toBe(maxSteps);
});

test("a program of exactly the budget still ends, and one instruction more does not", () => {
  const bench = new EngineBench(interpreter);
  const loop = (turns: number) =>
    `r1 = ${turns}\nloop:\nr1 += -1\nif r1 != 0 goto loop\nr0 = 7\nexit`;
  const turns = (maxSteps - 3) / 2;
  const even = Math.floor(turns);
  const steps = 1 + 2 * even + 2;
  expect(steps).toBeLessThanOrEqual(maxSteps);
  expect(bench.run(bench.prepare(loop(even), "raw"), frame(1)).r0).toBe(7n);
  expect(bench.run(bench.prepare(loop(even + 1), "raw"), frame(1)).fault?.code).toBe(
    "budget_exceeded",
  );
});

test("a map made after the arena has grown is reached", () => {
  const bench = new EngineBench(interpreter, 64 << 20);
  const before = bench.prepare("r0 = *(u8 *)(r1 + 0)\nexit", "raw");
  const map = bench.map("array", { maxEntries: 1, valueSize: 1 << 20 });
  const program = `r1 = map_val(map_by_fd(0)) + ${(1 << 20) - 8} ll
    *(u64 *)(r1 + 0) = 3
    r0 = *(u64 *)(r1 + 0)
    exit`;
  expect(bench.run(bench.prepare(program, "raw", [map]), frame(1)).r0).toBe(3n);
  expect(bench.run(before, frame(1)).fault).toBeUndefined();
});

test("a fault is forgotten by the next run", () => {
  const bench = new EngineBench(interpreter);
  const executable = bench.prepare("r0 = *(u8 *)(r1 + 3)\nexit", "raw");
  expect(bench.run(executable, frame(3)).fault?.code).toBe("bad_access");
  expect(bench.run(executable, frame(4))).toMatchObject({ r0: 3n, fault: undefined });
});
