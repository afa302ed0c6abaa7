/**
 * Milliseconds that verifying a program takes, beside what loading it takes the kernel, in one run:
 *
 *     npm run bench:verifier
 *
 * "cold" is the first program of a fresh process, as when a proxy starts; "warm" the fastest of the
 * rounds after it; both are CPU times of this thread. "RSS" is the most that the process has held up to
 * the end of the first, in MiB, Node itself and the loaded objects included. The kernel's is the fastest of three BPF_PROG_LOAD without a
 * log, its JIT included; it needs root and clang. Objects are those of filters/ and, where they are
 * installed, of xdp-tools.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { verifiableProgram } from "../../src/engine/link.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { VerifiableProgram } from "../../src/verifier/program.ts";
import { verify } from "../../src/verifier/verify.ts";
import { assembled } from "../engine/engine-bench.ts";
import { type KernelVerdict, kernelVerdicts } from "../verifier/kernel-verdicts.ts";
import { threadNs } from "./thread-time.ts";

const rounds = 8;
const multiarch = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
const folders = [
  fileURLToPath(new URL("../../filters/", import.meta.url)),
  `/usr/lib/${multiarch}/bpf/`,
];

/** What one process measured. */
interface Measured {
  readonly instructions: number;
  readonly visited: number;
  readonly cold: number;
  readonly warm: number;
  readonly rss: number;
}

const [only] = process.argv.slice(2);
if (only === undefined) main();
else console.log(JSON.stringify(measure(subjects().get(only)!())));

function main(): void {
  const all = new Map<string, VerifiableProgram>();
  for (const [name, make] of subjects()) {
    const program = make();
    const verdict = verify(program, helpers);
    if (verdict.ok) all.set(name, program);
    else console.log(`left out: ${verdict.error.message}`);
  }
  const kernels = kernelTimes([...all.values()]);
  const table = [...all.keys()].map((name, i) => {
    const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), name], {
      encoding: "utf8",
    });
    if (child.status !== 0) throw new Error(child.stderr);
    const { instructions, visited, cold, warm, rss } = JSON.parse(child.stdout) as Measured;
    return {
      program: name,
      instructions,
      visited,
      "cold ms": cold.toFixed(1),
      "warm ms": warm.toFixed(1),
      "kernel ms": kernels[i]?.milliseconds?.toFixed(1) ?? "-",
      "kernel visited": kernels[i]?.log.split(" ")[1] ?? "-",
      "RSS MiB": rss.toFixed(0),
    };
  });
  console.table(table);
}

/** Nothing where this process may not ask the kernel. */
function kernelTimes(
  programs: readonly VerifiableProgram[],
): readonly (KernelVerdict | undefined)[] {
  if (process.getuid?.() !== 0) return [];
  return kernelVerdicts(programs, { timed: true }).map((verdict) =>
    verdict.accepted ? verdict : undefined,
  );
}

function measure(program: VerifiableProgram): Measured {
  const times: number[] = [];
  let visited = 0;
  let rss = 0;
  for (let round = 0; round <= rounds; round++) {
    const from = threadNs();
    const verdict = verify(program, helpers);
    if (!verdict.ok) throw new Error(verdict.error.message);
    ({ visited } = verdict.value);
    times.push((threadNs() - from) / 1e6);
    rss ||= process.resourceUsage().maxRSS / 1024;
    // A long one is warm by itself.
    if (times[0]! > 1000 && round === 1) break;
  }
  return {
    instructions: program.instructions.length,
    visited,
    cold: times[0]!,
    warm: Math.min(...times.slice(1)),
    rss,
  };
}

/** All programs that engines here can run, by name. */
function subjects(): Map<string, () => VerifiableProgram> {
  const all = new Map([
    ["4,000 straight", () => made(straight(4_000))],
    ["100,000 with loops", () => made(loops(100_000))],
  ]);
  for (const folder of folders.filter((path) => existsSync(path)))
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".o"))) {
      const object = loadObject(new Uint8Array(readFileSync(join(folder, file))), file);
      if (!object.ok) continue;
      for (const spec of object.value.programs) {
        const source = { object: object.value };
        const program = verifiableProgram(spec, object.value.maps, spec.type, source);
        if (program.ok) all.set(`${file} ${spec.name}`, () => program.value);
      }
    }
  return all;
}

/** Arithmetic, stack and packet accesses, one after the other. */
function straight(count: number): string {
  const lines = ["r6 = *(u32 *)(r1 + 0)", "r7 = *(u32 *)(r1 + 4)", "r8 = *(u32 *)(r1 + 12)"];
  lines.push("r2 = r6", "r2 += 64", "if r2 > r7 goto out", "r9 = 0");
  const some = [
    (i: number) => `r3 = *(u16 *)(r6 + ${i % 60})`,
    () => "r9 += r3",
    () => "r9 &= 0xffff",
    (i: number) => `*(u64 *)(r10 - ${8 + 8 * (i % 32)}) = r9`,
    (i: number) => `r4 = *(u32 *)(r10 - ${8 + 8 * ((i - 1) % 32)})`,
    () => "r4 ^= r8",
    () => "r4 <<= 3",
    () => "w9 = w4",
  ];
  for (let i = 0; lines.length < count - 2; i++) lines.push(some[i % some.length]!(i));
  return [...lines, "out: r0 = 2", "exit"].join("\n");
}

/** Blocks of a loop of three rounds each, and in some a branch on what nobody knows. */
function loops(count: number): string {
  const lines = ["r8 = *(u32 *)(r1 + 12)"];
  for (let i = 0; lines.length < count - 14; i++)
    lines.push(
      "r2 = 0",
      `l${i}: r3 = r8`,
      "r3 >>= 2",
      "r3 &= 7",
      "*(u64 *)(r10 - 8) = r3",
      "r2 += 1",
      `if r2 < 3 goto l${i}`,
      ...(i % 4 === 0 ? ["r4 = r8", "r4 &= 1", `if r4 == 0 goto m${i}`] : []),
      "r8 ^= 1",
      `m${i}: r8 += r3`,
    );
  return [...lines, "r0 = 2", "exit"].join("\n");
}

function made(text: string): VerifiableProgram {
  const instructions = assembled(text);
  const name = "made";
  return { object: name, name, type: "xdp", instructions, maps: [], functions: [], lines: [] };
}
