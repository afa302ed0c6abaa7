/**
 * How long a verified program can hold its worker: programs that do what takes longest for what it
 * counts, in both engines, each until its budget ends it or it ends of itself.
 *
 * npm run bench:budget [-- NAME…]
 */
import { loadavg } from "node:os";
import { maxProvenSteps } from "../../src/engine/engine.ts";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { EngineBench, frame } from "../engine/engine-bench.ts";
import { longRuns, prepareLongRun } from "../engine/long-runs.ts";

const wanted = process.argv.slice(2);
console.log(`budget ${maxProvenSteps} steps; load ${loadavg()[0]!.toFixed(1)}; CPU ms of a run`);
for (const one of longRuns) {
  if (wanted.length > 0 && !wanted.some((name) => one.name.includes(name))) continue;
  const cells = [jit, interpreter].map((engine) => {
    const bench = new EngineBench(engine, 900 << 20);
    const program = prepareLongRun(bench, one);
    const before = process.threadCpuUsage();
    const run = bench.run(program, frame(1400));
    const used = process.threadCpuUsage(before);
    bench.traced.length = 0;
    const ms = (used.user + used.system) / 1000;
    return `${ms.toFixed(0).padStart(7)} ${run.fault === undefined ? "ends" : run.fault.message.includes("iterations") ? "turns" : run.fault.code === "budget_exceeded" ? "budget" : run.fault.message}`;
  });
  console.log(`${one.name.padEnd(52)} jit ${cells[0]}   interpreter ${cells[1]}`);
}
