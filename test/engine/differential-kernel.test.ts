import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { encodeProgram } from "../../src/isa/codec.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import { mapTypes } from "../../src/object/object-spec.ts";
import { Random } from "../packet/random.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder } from "../support/processes.ts";
import { arithmeticProgram, edgyBytes } from "./arithmetic-program.ts";
import { EngineBench, spec, unwrap } from "./engine-bench.ts";
import { type PairedCase, prove, save, savedCases, shown, shrink } from "./engine-pair.ts";
import { structuredMaps, structuredProgram } from "./structured-program.ts";
import { linkUnverified } from "./unverified.ts";

const test = needing("clang", "kernel bpf()");
const folder = temporaryFolder();
afterAll(() => folder.remove());

type Case = Pick<PairedCase, "program" | "packet">;

/** Maps of a structured program that is made for the kernel. */
const mapNames = structuredMaps.slice(0, 3);

const runner = `${folder.path}/run-in-kernel`;

/** r0's low word, the packet and the maps as the kernel's JIT leaves them; "-" and why where it refused. */
function kernelRuns(cases: readonly Case[]): string[] {
  const maps = mapNames.map((type) => `${mapTypes[type]}:4:8:4`).join(",");
  const input = cases.map(
    ({ program, packet }) => `xdp ${maps} ${toHex(encodeProgram(program))} ${toHex(packet)}\n`,
  );
  const run = spawnSync(runner, ["maps"], {
    input: input.join(""),
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  expect(run.status, run.stderr).toBe(0);
  return run.stdout.trimEnd().split("\n").map(normalized);
}

/** Entries in order of their keys; of a per-CPU value the sum of its CPUs', for it ran on any one. */
function normalized(answer: string): string {
  if (answer.startsWith("-")) return answer;
  const [returned, packet, maps] = answer.split(" ") as [string, string, string];
  const sorted = maps
    .split("/")
    .slice(0, -1)
    .map((entries) =>
      entries
        .split(",")
        .slice(0, -1)
        .map((entry) => {
          const [key, value] = entry.split("=") as [string, string];
          return `${key}=${value.match(/.{16}/g)!.reduce((sum, one) => sum + BigInt(`0x${one}`), 0n)}`;
        })
        .sort()
        .join(),
    );
  return `${returned} ${packet} ${sorted.join("/")}`;
}

/** An engine whose maps are as new for each program. */
class FreshBench {
  readonly #bench: EngineBench;
  readonly #maps: readonly MapHandle[];
  readonly #clean: Uint8Array;

  constructor(engine: Engine) {
    this.#bench = new EngineBench(engine, 1 << 20);
    this.#maps = mapNames.map((type) => this.#bench.map(type));
    this.#clean = this.#bench.arena.bytes.slice(0, this.#bench.arena.usedBytes);
  }

  /** The same as of the kernel. */
  run({ program, packet }: Case, mode: "checked" | "verified" | "proven"): string {
    const bench = this.#bench;
    bench.arena.bytes.set(this.#clean);
    const linked = unwrap(linkUnverified(spec(program), this.#maps, "xdp"));
    const proof = mode === "proven" ? { proof: prove(program, "xdp", this.#maps) } : {};
    const run = bench.run(
      bench.prepareLinked({ ...linked, verified: mode !== "checked", ...proof }),
      packet,
    );
    if (run.fault !== undefined) return `fault at ${run.fault.slot}: ${run.fault.message}`;
    const maps = this.#maps.map((map) =>
      [...bench.access(map).entries()]
        .map(({ key, values }) => `${toHex(key)}=${values.map(toHex).join("")},`)
        .join(""),
    );
    const returned = BigInt.asUintN(32, run.r0).toString(16);
    return normalized(`${returned} ${toHex(run.meta)}${toHex(run.data)} ${maps.join("/")}/`);
  }
}

const ours = { interpreter: new FreshBench(interpreter), jit: new FreshBench(jit) };

/** What differs from the kernel's answer; undefined where nothing does, or the kernel refused it. */
function differenceFrom(answer: string, one: Case, proven: boolean): string | undefined {
  if (answer.startsWith("-")) return undefined;
  const found = [
    ours.interpreter.run(one, "checked"),
    ours.jit.run(one, "checked"),
    ours.jit.run(one, proven ? "proven" : "verified"),
  ];
  const wrong = found.find((result) => result !== answer);
  return wrong === undefined ? undefined : `kernel: ${answer}\nours:   ${wrong}`;
}

/** Saves the smallest form that still differs, as the tests of both engines keep running it. */
function saveSmallest(name: string, one: Case, proven: boolean): PairedCase {
  const smallest = shrink({ ...one, type: "xdp" }, (smaller) => {
    const [answer] = kernelRuns([smaller]);
    return differenceFrom(answer!, smaller, proven) !== undefined;
  });
  save(name, "structured", smallest);
  return smallest;
}

beforeAll(() => {
  const source = fileURLToPath(new URL("run-in-kernel.c", import.meta.url));
  const built = spawnSync("clang", ["-O1", source, "-o", runner], { encoding: "utf8" });
  expect(built.status, built.stderr).toBe(0);
});

const total = 20_000;
const seed = 618;
/** Every so many programs run with the verifier's proof, which takes as long as all the rest. */
const provenEvery = 10;

test(`${total} programs: interpreter and JIT, with checks and without, do what the kernel's JIT does with what the kernel accepts`, () => {
  const random = new Random(seed);
  let accepted = 0;
  for (let done = 0; done < total; done += 1000) {
    const cases = Array.from({ length: 1000 }, (_, i) => ({
      program:
        i % 2 === 0
          ? structuredProgram(random, { forKernel: true, deep: i % 16 === 0 })
          : arithmeticProgram(random),
      packet: edgyBytes(random),
    }));
    const answers = kernelRuns(cases);
    expect(answers).toHaveLength(cases.length);
    for (const [i, one] of cases.entries()) {
      if (!answers[i]!.startsWith("-")) accepted++;
      const proven = i % provenEvery === 0;
      const difference = differenceFrom(answers[i]!, one, proven);
      if (difference === undefined) continue;
      const name = `kernel-${seed}-${done + i}.asm`;
      const smallest = saveSmallest(name, one, proven);
      expect.fail(`${difference}\nSmallest, saved as cases/${name}:\n${shown(smallest)}`);
    }
  }
  expect(accepted).toBeGreaterThan(total * 0.9);
}, 900_000);

for (const one of savedCases().filter(({ name }) => name.startsWith("kernel-")))
  test(`the kernel's JIT and both engines agree on ${one.name}`, () => {
    const [answer] = kernelRuns([one]);
    expect(answer, "the kernel refuses it").not.toMatch(/^-/);
    expect(differenceFrom(answer!, one, true)).toBeUndefined();
  });
