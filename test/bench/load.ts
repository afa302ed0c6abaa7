/**
 * Milliseconds from a program's bytes to its first verdict, by its length, and what takes them:
 *
 *     npm run bench:load
 *
 * "cold" is the first program of a fresh process, whose JavaScript V8 has not yet made fast: as when a
 * proxy starts. "warm" is one of many: as on a reload, or for the later of a process's filters. Each
 * is a median, over processes and over rounds. Programs of a process differ by a constant: V8 knows a
 * module again. "V8" is what it does before anything runs, which is to check the module; it compiles
 * a function as that is first called, so its fast baseline compiler is in "first run". All are CPU
 * times of this thread. Process start and the arena are not counted.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { compileProgram } from "../../src/engine/jit/compile-program.ts";
import { Host } from "../../src/engine/jit/host.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { verifiableProgram } from "../../src/engine/link.ts";
import { placeFrame } from "../../src/engine/packet-slot.ts";
import { surveyProgram } from "../../src/engine/program-survey.ts";
import { runnableProgram } from "../../src/engine/runnable-program.ts";
import { encodeProgram } from "../../src/isa/codec.ts";
import { verify } from "../../src/verifier/verify.ts";
import { assembled, EngineBench, frame, spec, unwrap } from "../engine/engine-bench.ts";
import { threadNs } from "./thread-time.ts";

const lengths = [1_000, 4_000, 10_000, 25_000, 50_000, 100_000];
const processes = 3;
const warmRounds = 5;
/** Rounds before those, in which V8 sees what to make fast. */
const warmUpRounds = 5;

const parts = ["decode", "verify", "translate", "V8", "instantiate", "first run"] as const;
type Part = (typeof parts)[number];
type Times = Record<Part, number>;

/** What one process measured. */
interface Measured {
  readonly cold: Times;
  readonly warm: readonly Times[];
}

const [asked] = process.argv.slice(2);
if (asked === undefined) main();
else console.log(JSON.stringify(measure(Number(asked))));

/** Rows as they are measured; what is being measured is on the other stream. */
function main(): void {
  console.log(line(["instructions", "", ...parts, "total", "µs each"]));
  for (const length of lengths) {
    const all: Measured[] = [];
    for (let i = 1; i <= processes; i++) {
      console.error(`${length.toLocaleString("en")} instructions: process ${i} of ${processes}`);
      all.push(inProcess(length));
    }
    for (const kind of ["cold", "warm"] as const)
      console.log(
        row(
          length,
          kind,
          all.flatMap((one) => one[kind]),
        ),
      );
  }
}

function row(length: number, kind: string, samples: readonly Times[]): string {
  const medians = parts.map((part) => median(samples.map((one) => one[part])));
  const total = median(samples.map((one) => parts.reduce((sum, part) => sum + one[part], 0)));
  const cell = (milliseconds: number): string => milliseconds.toFixed(milliseconds < 10 ? 2 : 0);
  const each = ((total * 1000) / length).toFixed(2);
  return line([length.toLocaleString("en"), kind, ...medians.map(cell), cell(total), each]);
}

function line(cells: readonly string[]): string {
  return cells.map((cell) => cell.padStart(12)).join("");
}

function inProcess(length: number): Measured {
  const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), String(length)], {
    encoding: "utf8",
  });
  if (child.status !== 0) throw new Error(child.stderr);
  return JSON.parse(child.stdout) as Measured;
}

function measure(length: number): Measured {
  const bench = new EngineBench(jit, 1 << 20);
  unwrap(placeFrame(bench.arena, bench.slot, frame(64), "xdp"));
  const cold = load(bench, bytecode(length, 1));
  const warm: Times[] = [];
  for (let round = 2; round < 2 + warmUpRounds + warmRounds; round++)
    warm.push(load(bench, bytecode(length, round)));
  return { cold, warm: warm.slice(warmUpRounds) };
}

/** What `linkProgram` and `jit` do, and a run, part by part. */
function load({ context, slot }: EngineBench, bytes: Uint8Array): Times {
  const times = {} as Times;
  const timed = <T>(part: Part, work: () => T): T => {
    const from = threadNs();
    const result = work();
    times[part] = (threadNs() - from) / 1e6;
    return result;
  };
  const program = timed("decode", () =>
    unwrap(verifiableProgram({ ...spec([]), bytecode: bytes }, [], "xdp")),
  );
  const proof = timed("verify", () => {
    const verdict = verify(program, helpers);
    if (!verdict.ok) throw new Error(verdict.error.message);
    return verdict.value;
  });
  const { name, type, instructions } = program;
  const linked = { name, type, instructions, maps: [], verified: true, proof };
  const { survey, compiled } = timed("translate", () => {
    const survey = surveyProgram(instructions);
    return { survey, compiled: compileProgram(linked, context, survey) };
  });
  const module = timed(
    "V8",
    () => new WebAssembly.Module(compiled.bytes as Uint8Array<ArrayBuffer>),
  );
  const { run } = timed("instantiate", () => {
    const { exports } = new WebAssembly.Instance(module, {
      env: { memory: context.arena.memory },
      host: new Host(runnableProgram(linked, survey), false, compiled.origin, context).imports,
      runtime: context.runtime as unknown as Record<string, unknown>,
    });
    return exports as { run(slot: number): number };
  });
  const returned = timed("first run", () => run(slot));
  if (returned !== 2) throw new Error(`returned ${returned}`);
  return times;
}

/** Loads and stores of packet and stack, arithmetic, and every twentieth instruction a branch. */
function bytecode(length: number, seed: number): Uint8Array {
  const lines = ["r6 = *(u32 *)(r1 + 0)", "r7 = *(u32 *)(r1 + 4)", "r8 = *(u32 *)(r1 + 12)"];
  lines.push("r2 = r6", "r2 += 64", "if r2 <= r7 goto +2", "r0 = 0", "exit", `r9 = ${seed}`);
  const some = [
    (i: number) => `r3 = *(u16 *)(r6 + ${i % 60})`,
    () => "r9 += r3",
    (i: number) => `w9 &= ${0xffff + i}`,
    (i: number) => `*(u64 *)(r10 - ${8 + 8 * (i % 32)}) = r9`,
    () => "r3 = be16 r3",
    (i: number) => `r4 = *(u8 *)(r6 + ${i % 64})`,
    () => "r4 ^= r8",
    () => "r4 <<= 3",
    (i: number) => (i % 20 < 10 ? `if r3 > ${i % 60_000} goto +1` : "r4 |= 1"),
    () => "w9 ^= w4",
  ];
  for (let i = 0; lines.length < length - 3; i++) lines.push(some[i % some.length]!(i));
  return encodeProgram(assembled([...lines, "w9 ^= w4", "r0 = 2", "exit"].join("\n")));
}

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1]!;
}
