/**
 * Nanoseconds a run, each program in each engine, beside the kernel's JIT, in one run:
 *
 *     npm run bench:engine
 *
 * Medians over rounds in which all take turns. "net" is less what the program `pass` takes in the
 * same engine: what is left is the program's own, as far as the CPU did not do it beside the rest. In
 * the kernel that rest is 20 times as long as in a batch here, and hides most of a small program;
 * `parse_256` and `array_counter_256` do the work of their namesakes 256 times a run, where nothing
 * hides it. "verified" is the JIT's code for programs that the verifier has proven, "checked" with the
 * checks of those that it has not. A batch runs 16 packet slots in one call, so each run finds another
 * packet; the kernel's runs, by BPF_PROG_TEST_RUN, all find the same. "C" is the same C functions as
 * machine code by `clang -O2`, 16 packets in turn: what an engine could reach where nothing else hides
 * a program's time.
 *
 * All are CPU times of one thread. Needs clang; the kernel's column needs root and libbpf.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex } from "../../src/common/bytes.ts";
import type { Executable, LinkedProgram } from "../../src/engine/engine.ts";
import { interpreter, observedInterpreter } from "../../src/engine/interpreter/interpreter.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { linkProgram } from "../../src/engine/link.ts";
import { placeFrame } from "../../src/engine/packet-slot.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { SLOT_BYTES } from "../../src/runtime/wasm/layout.ts";
import { EngineBench, unwrap } from "../engine/engine-bench.ts";
import { temporaryFolder } from "../support/processes.ts";
import { threadNs } from "./thread-time.ts";

const rounds = 9;
const samplesPerRound = 15;
const sampleNs = 500_000;
const batchSlots = 16;
const flowCount = 10_000;
const payloadBytes = 1400;
const multiarch = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";

const columnNames = [
  "kernel",
  "C",
  "verified batch",
  "verified",
  "checked batch",
  "checked",
  "interpreter",
] as const;

const folder = temporaryFolder();
try {
  main(folder.path);
} finally {
  folder.remove();
}

function main(path: string): void {
  const object = join(path, "programs.o");
  const source = here("engine-programs.c");
  run("clang", [
    "-O2",
    "-g",
    "-target",
    "bpf",
    "-mcpu=v3",
    `-I/usr/include/${multiarch}`,
    "-c",
    source,
    "-o",
    object,
  ]);
  const packet = udpPacket();
  const others: [(typeof columnNames)[number], Runner][] = [["C", nativeRunner(path, packet)]];
  if (process.getuid?.() === 0) others.push(["kernel", kernelRunner(path, object, packet)]);
  const columns = measure(object, packet, others);
  print(columns);
}

function here(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

function run(command: string, args: readonly string[], input = ""): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr} (${status})`);
  return stdout;
}

/** 10.0.16.146:5242 to 10.1.0.1:53: flow 4242 of those in the table. */
function udpPacket(): Uint8Array {
  const packet = new Uint8Array(42 + payloadBytes);
  const key = flowKey(4242);
  packet.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
  const view = new DataView(packet.buffer);
  view.setUint16(16, packet.length - 14);
  packet.set([64, 17], 22);
  packet.set(key.subarray(0, 8), 26);
  packet.set(key.subarray(8, 12), 34);
  view.setUint16(38, packet.length - 34);
  // Its length field alone decides in `parse`: 53 with more than 512 bytes is dropped.
  view.setUint16(38, 500);
  for (let i = 42; i < packet.length; i++) packet[i] = i * 31;
  return packet;
}

/** Key i of the hash map: struct flow of engine-programs.c. */
function flowKey(i: number): Uint8Array {
  const key = new Uint8Array(16);
  const view = new DataView(key.buffer);
  view.setUint32(0, 0x0a00_0000 + i);
  view.setUint32(4, 0x0a01_0001);
  view.setUint16(8, 1000 + (i % 60_000));
  view.setUint16(10, 53);
  view.setUint32(12, 17, true);
  return key;
}

/** Nanoseconds a run, by program, as another process measures them. */
type Runner = () => Map<string, number>;

function nativeRunner(path: string, packet: Uint8Array): Runner {
  const runner = join(path, "engine-native");
  const include = `-I/usr/include/${multiarch}`;
  run("clang", ["-O2", "-Wall", "-Werror", include, here("engine-native.c"), "-o", runner]);
  return () => answersOf(runner, [], `${toHex(packet)}\n`);
}

function kernelRunner(path: string, object: string, packet: Uint8Array): Runner {
  const runner = join(path, "engine-kernel");
  run("clang", ["-O2", "-Wall", "-Werror", here("engine-kernel.c"), "-o", runner, "-lbpf"]);
  const lines = [packet, ...Array.from({ length: flowCount }, (_, i) => flowKey(i))].map(toHex);
  return () => answersOf(runner, [object], `${lines.join("\n")}\n`);
}

function answersOf(runner: string, args: readonly string[], input: string): Map<string, number> {
  const answers = run(runner, args, input).trim().split("\n");
  return new Map(
    answers.map((line) => {
      const [name, returned, ns] = line.split(" ");
      if (returned !== "2") throw new Error(`${name} returned ${returned} in ${runner}`);
      return [name!, Number(ns)];
    }),
  );
}

interface Row {
  readonly name: string;
  readonly instructions: number;
  /** Samples by column. */
  readonly samples: ReadonlyMap<string, number[]>;
}

function measure(
  object: string,
  packet: Uint8Array,
  others: readonly [(typeof columnNames)[number], Runner][],
): Row[] {
  const bench = new EngineBench(jit, 64 << 20);
  const { arena } = bench;
  const spec = unwrap(loadObject(readFileSync(object), "engine-programs.o"));
  const maps = spec.maps.map((map) => bench.map(map.type, map));
  const flows = bench.access(maps[spec.maps.findIndex(({ name }) => name === "flows")]!);
  for (let i = 0; i < flowCount; i++) flows.update(flowKey(i), new Uint8Array(8));
  const first = unwrap(arena.allocate(SLOT_BYTES * batchSlots, "slots"));
  for (let i = 0; i < batchSlots; i++)
    unwrap(placeFrame(arena, first + i * SLOT_BYTES, packet, "xdp"));
  let steps = 0;
  const counting = observedInterpreter(() => steps++);
  const prepared = spec.programs.map((program) => {
    const linked = unwrap(linkProgram(program, maps, "xdp"));
    steps = 0;
    expectPass(unwrap(counting(linked, bench.context)), first);
    return {
      row: {
        name: program.name,
        instructions: steps,
        samples: new Map(columnNames.map((name) => [name, [] as number[]])),
      },
      measures: measuresOf(linked, bench, first),
    };
  });
  for (let round = -1; round < rounds; round++) {
    const theirs = others.map(([name, runner]) => [name, runner()] as const);
    for (const { row, measures } of prepared) {
      for (const [name, one] of measures) {
        const samples = timed(one);
        // The first round warms up.
        if (round >= 0) row.samples.get(name)!.push(...samples);
      }
      for (const [name, times] of theirs) {
        const ns = times.get(row.name);
        if (ns !== undefined && round >= 0) row.samples.get(name)!.push(ns);
      }
    }
  }
  return prepared.map(({ row }) => row);
}

/** Does `count` runs or a few more; how many. */
type Measure = (count: number) => number;

function measuresOf(
  linked: LinkedProgram,
  { context }: EngineBench,
  first: number,
): [(typeof columnNames)[number], Measure][] {
  const checked = unwrap(jit({ ...linked, verified: false }, context));
  const verified = unwrap(jit(linked, context));
  const interpreted = unwrap(interpreter(linked, context));
  for (const one of [checked, verified, interpreted]) expectPass(one, first);
  return [
    ["verified batch", batches(verified, first)],
    ["verified", calls(verified, first)],
    ["checked batch", batches(checked, first)],
    ["checked", calls(checked, first)],
    ["interpreter", calls(interpreted, first)],
  ];
}

function calls(executable: Executable, slot: number): Measure {
  return (count) => {
    for (let i = 0; i < count; i++) executable.run(slot);
    return count;
  };
}

function batches(executable: Executable, first: number): Measure {
  return (count) => {
    const turns = Math.ceil(count / batchSlots);
    for (let i = 0; i < turns; i++) executable.runBatch!(first, SLOT_BYTES, batchSlots);
    return turns * batchSlots;
  };
}

function expectPass(executable: Executable, slot: number): void {
  const returned = executable.run(slot);
  if (returned !== 2)
    throw new Error(
      `${executable.program.name} returned ${returned} (${executable.fault?.message}) in the ${executable.engine}`,
    );
}

/** Nanoseconds a run, several times. */
function timed(measure: Measure): number[] {
  const samples: number[] = [];
  for (let count = 16; samples.length < samplesPerRound; ) {
    const start = threadNs();
    const done = measure(count);
    const ns = threadNs() - start;
    if (ns >= sampleNs) samples.push(ns / done);
    else count *= ns < sampleNs / 8 ? 4 : 2;
  }
  return samples;
}

function median(samples: readonly number[]): number | undefined {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1];
}

function print(rows: readonly Row[]): void {
  const cell = (ns: number | undefined): string =>
    ns === undefined ? "-" : ns.toFixed(ns < 10 ? 2 : ns < 100 ? 1 : 0);
  const ratio = (ours: number | undefined, theirs: number | undefined): string =>
    !theirs || ours === undefined ? "-" : (ours / theirs).toFixed(2);
  const gross = (row: Row, name: string) => median(row.samples.get(name) ?? []);
  const net = (row: Row, name: string): number | undefined => {
    const [own, pass] = [gross(row, name), gross(rows[0]!, name)];
    return own === undefined || pass === undefined ? undefined : own - pass;
  };
  const table = rows.map((row) => {
    const [ours, kernels, natives] = ["verified batch", "kernel", "C"].map((name) =>
      net(row, name),
    );
    return {
      program: `${row.name} (${row.instructions})`,
      ...Object.fromEntries(columnNames.map((name) => [name, cell(gross(row, name))])),
      "kernel net": cell(kernels),
      "C net": cell(natives),
      "verified net": cell(ours),
      "checked net": cell(net(row, "checked batch")),
      "to kernel's": ratio(ours, kernels),
      "to C's": ratio(ours, natives),
    };
  });
  console.table(table);
}
