import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { encodeProgram } from "../../src/isa/codec.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import { mapTypes } from "../../src/object/object-spec.ts";
import { Random } from "../packet/random.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder } from "../support/processes.ts";
import { arithmeticProgram, edgyBytes } from "./arithmetic-program.ts";
import { EngineBench, spec, unwrap } from "./engine-bench.ts";
import { shown } from "./engine-pair.ts";
import { structuredMaps, structuredProgram } from "./structured-program.ts";
import { linkUnverified } from "./unverified.ts";

const test = needing("clang", "kernel bpf()");
const folder = temporaryFolder();
afterAll(() => folder.remove());

interface Case {
  readonly program: readonly Instruction[];
  readonly packet: Uint8Array;
}

/** Maps of a structured program that is made for the kernel. */
const mapNames = structuredMaps.slice(0, 3);

/** r0's low word and the packet as the kernel's JIT leaves them; "-" and why where it refused. */
function kernelRuns(cases: readonly Case[]): string[] {
  const runner = `${folder.path}/run-in-kernel`;
  const source = fileURLToPath(new URL("run-in-kernel.c", import.meta.url));
  const built = spawnSync("clang", ["-O1", source, "-o", runner], { encoding: "utf8" });
  expect(built.status, built.stderr).toBe(0);
  const maps = mapNames.map((type) => `${mapTypes[type]}:4:8:4`).join(",");
  const input = cases.map(
    ({ program, packet }) => `xdp ${maps} ${toHex(encodeProgram(program))} ${toHex(packet)}\n`,
  );
  const run = spawnSync(runner, { input: input.join(""), encoding: "utf8", maxBuffer: 1 << 28 });
  expect(run.status, run.stderr).toBe(0);
  return run.stdout.trimEnd().split("\n");
}

/** The same of the JIT, on maps of this program's own. */
function ourRun({ program, packet }: Case, verified: boolean): string {
  const bench = new EngineBench(jit, 1 << 20);
  const maps = mapNames.map((type) => bench.map(type));
  const linked = unwrap(linkUnverified(spec(program), maps, "xdp"));
  const run = bench.run(bench.prepareLinked({ ...linked, verified }), packet);
  if (run.fault !== undefined) return `fault at ${run.fault.slot}: ${run.fault.message}`;
  return `${BigInt.asUintN(32, run.r0).toString(16)} ${toHex(run.meta)}${toHex(run.data)}`;
}

test("the JIT gives what the kernel's JIT gives, with checks and without, for what the kernel accepts", () => {
  const random = new Random(618);
  const cases = Array.from({ length: 800 }, (_, i) => ({
    program: i % 2 === 0 ? structuredProgram(random, true) : arithmeticProgram(random),
    packet: edgyBytes(random),
  }));
  const answers = kernelRuns(cases);
  expect(answers).toHaveLength(cases.length);
  let accepted = 0;
  for (const [i, one] of cases.entries()) {
    if (answers[i]!.startsWith("-")) continue;
    accepted++;
    const text = shown({ ...one, type: "xdp" });
    for (const verified of [false, true]) expect(ourRun(one, verified), text).toBe(answers[i]);
  }
  expect(accepted).toBeGreaterThan(cases.length * 0.9);
}, 120_000);
