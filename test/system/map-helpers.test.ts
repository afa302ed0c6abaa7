import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { putU32le, toHex } from "../../src/common/bytes.ts";
import type { EngineKind } from "../../src/engine/engine.ts";
import { Workbench } from "../../src/filter/workbench.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { ObjectSpec } from "../../src/object/object-spec.ts";
import { buildWith } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { kernelAnswers } from "./kernel.ts";

/** Programs that note what helpers on maps return: both engines against the kernel. */
const programs = [
  "on_queue",
  "on_stack",
  "on_bloom",
  "on_ring",
  "on_events",
  "on_inner",
  "on_redirect",
  "on_per_cpu",
  "on_locked",
  "on_locked_array",
] as const;
const source = fileURLToPath(new URL("programs/map-helpers.c", import.meta.url));
const runs = 20;
const results = 64;
const packet = Uint8Array.from({ length: 64 }, (_, i) => i);
const cpus = possibleCpus();

for (const [clang, cpu] of [
  ["clang", "v3"],
  ["clang-19", "v4"],
] as const)
  for (const program of programs)
    needing(
      clang,
      "root",
      "kernel bpf()",
    )(
      `${program}, built by ${clang}: helpers return what the kernel's do, and events hold the same`,
      async () => {
        const file = buildWith(clang, source, `-mcpu=${cpu}`);
        const kernel = runInKernel(file, program);
        for (const engine of ["interpreter", "jit"] as const)
          expect(await runHere(file, program, engine), engine).toEqual(kernel);
      },
    );

/** A line for each run, its return value and the results, then one for each event and record. */
function runInKernel(file: string, program: string): string[] {
  const run = [`run ${program} ${toHex(packet)}`, "show results"];
  const lines = Array.from({ length: runs }, () => run).flat();
  const fill = "update workers 00000000 c0000000";
  const asked = [fill, ...lines, "show events", "show ring"];
  const [filled, ...answers] = kernelAnswers(file, asked, program);
  expect(filled).toEqual({ error: 0 });
  const [written, recorded] = answers.slice(-2);
  const events = written!.entries!.map(([, record]) => `event 0 ${record}`);
  const records = recorded!.entries!.map(([, record]) => `record ${record}`);
  const ran = Array.from({ length: runs }, (_, i) => {
    const values = answers[i * 2 + 1]!.entries!.map(([, value]) =>
      Buffer.from(value, "hex").readBigUInt64LE().toString(16),
    );
    return `${answers[i * 2]!.ret} ${values.join(" ")}`;
  });
  return [...ran, ...events, ...records];
}

async function runHere(file: string, name: string, engine: EngineKind): Promise<string[]> {
  const object = read(file);
  const workbench = orThrow(await Workbench.create({ cpus }));
  const maps = orThrow(workbench.createMaps(object.maps));
  const mapOf = (wanted: string) => maps.find((map) => map.name === wanted)!;
  expect(workbench.access(mapOf("workers")).update(u32(0), u32(192))).toBe(0);
  const program = object.programs.find((one) => one.name === name)!;
  const executable = orThrow(workbench.prepare(program, maps, undefined, engine, { object }));
  const noted = workbench.access(mapOf("results"));
  const lines: string[] = [];
  for (let run = 0; run < runs; run++) {
    const outcome = orThrow(workbench.run(executable, packet));
    expect(outcome.fault).toBeUndefined();
    const values = Array.from({ length: results }, (_, i) =>
      Buffer.from(noted.lookup(u32(i))![0]!)
        .readBigUInt64LE()
        .toString(16),
    );
    lines.push(`${outcome.returned} ${values.join(" ")}`);
  }
  for (const { map, cpu, bytes } of workbench.readEvents(maps))
    lines.push(map === "events" ? `event ${cpu} ${toHex(bytes)}` : `record ${toHex(bytes)}`);
  return lines;
}

function read(file: string): ObjectSpec {
  return orThrow(loadObject(readFileSync(file), file));
}

function orThrow<T>(result: { ok: true; value: T } | { ok: false; error: Error }): T {
  if (!result.ok) throw result.error;
  return result.value;
}

function u32(number: number): Uint8Array {
  const bytes = new Uint8Array(4);
  putU32le(bytes, 0, number);
  return bytes;
}

function possibleCpus(): number {
  const text = readFileSync("/sys/devices/system/cpu/possible", "utf8").trim();
  return Number(text.split("-").at(-1)) + 1;
}
