import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { disassembleProgram } from "../../src/isa/disassembler.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import { mapTypes } from "../../src/object/object-spec.ts";
import { Random } from "../packet/random.ts";
import { needing } from "../support/needing.ts";
import { arithmeticProgram, edgyBytes } from "./arithmetic-program.ts";
import { EngineBench, frame, spec } from "./engine-bench.ts";

const test = needing("clang", "kernel bpf()");
const folder = mkdtempSync(join(tmpdir(), "weir-engine-kernel-"));
afterAll(() => rmSync(folder, { recursive: true }));

const bench = new EngineBench(interpreter);

interface Program {
  /** Assembly text, or the instructions. */
  readonly text: string | readonly Instruction[];
  readonly packet: Uint8Array;
  readonly type?: "xdp" | "socket";
  readonly maps?: readonly MapHandle[];
}

/** What the kernel gives for each program: r0's low word and the packet from data_meta on. */
function kernelRuns(programs: readonly Program[]): string[] {
  const runner = join(folder, "run-in-kernel");
  const source = fileURLToPath(new URL("run-in-kernel.c", import.meta.url));
  const built = spawnSync("clang", ["-O1", "-Wall", "-Werror", source, "-o", runner]);
  if (built.status !== 0) throw new Error(String(built.stderr));
  const input = programs.map(({ text, packet, type = "xdp", maps = [] }) => {
    const specs = maps.map(
      (map) => `${mapTypes[map.type]}:${map.keySize}:${map.valueSize}:${map.maxEntries}`,
    );
    return `${type} ${specs.join(",") || "-"} ${toHex(spec(text).bytecode)} ${toHex(packet)}`;
  });
  const run = spawnSync(runner, {
    input: `${input.join("\n")}\n`,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  expect(run.status, run.stderr).toBe(0);
  const answers = run.stdout.trimEnd().split("\n");
  expect(answers).toHaveLength(programs.length);
  return answers;
}

/** The same of ours, in the same form. */
function ourRun({ text, packet, maps }: Program): string {
  const run = bench.run(bench.prepare(text, "xdp", maps), packet);
  if (run.fault !== undefined) return `fault at ${run.fault.slot}: ${run.fault.message}`;
  return `${BigInt.asUintN(32, run.r0).toString(16)} ${toHex(run.meta)}${toHex(run.data)}`;
}

/** Every program must be accepted by the kernel, and give the same here. */
function expectKernelAgrees(programs: readonly Program[]): void {
  const answers = kernelRuns(programs);
  for (const [i, program] of programs.entries())
    expect(ourRun(program), shown(program)).toBe(answers[i]);
}

function shown({ text, packet }: Program): string {
  const program = typeof text === "string" ? text : disassembleProgram(text);
  return `${program}\npacket ${toHex(packet)}`;
}

test("random arithmetic, jumps, atomics and stack accesses give what the kernel's JIT gives", () => {
  const random = new Random(2026);
  expectKernelAgrees(
    Array.from({ length: 600 }, () => ({
      text: arithmeticProgram(random),
      packet: edgyBytes(random),
    })),
  );
});

for (const { type, bytes } of [
  { type: "xdp", bytes: 24 },
  { type: "socket", bytes: 192 },
] as const)
  test(`every access to the context of ${type} programs is allowed exactly where the kernel's verifier allows it`, () => {
    const packet = frame(64);
    const programs: Program[] = [];
    for (let offset = 0; offset < bytes; offset++)
      for (const bits of [8, 16, 32, 64]) {
        const access = (sign: string) => `*(${sign}${bits} *)(r1 + ${offset})`;
        programs.push(
          { text: `r0 = ${access("u")}\nr0 = 1\nexit`, packet, type },
          { text: `r0 = 1\n${access("u")} = r0\nexit`, packet, type },
        );
        if (bits < 64) programs.push({ text: `r0 = ${access("s")}\nr0 = 1\nexit`, packet, type });
      }
    const refused = (answer: string) => answer.startsWith("-");
    const answers = kernelRuns(programs);
    for (const [i, { text }] of programs.entries()) {
      const { fault } = bench.run(bench.prepare(text, type), packet);
      expect(fault !== undefined, `${text}: ${answers[i]}`).toBe(refused(answers[i]!));
    }
    expect(answers.filter(refused).length).toBeLessThan(programs.length);
  });

test("moving the head of a packet has the kernel's limits and moves the same bytes", () => {
  const deltas = [
    0,
    1,
    14,
    50,
    51,
    64,
    65,
    -1,
    -14,
    -215,
    -216,
    -217,
    -256,
    -257,
    2 ** 31 - 1,
    -(2 ** 31),
  ];
  expectKernelAgrees(
    deltas.map((delta) => ({ text: `r2 = ${delta}\ncall 44\nexit`, packet: frame(64) })),
  );
});

test("moving the tail of a packet has the kernel's limits and zeroes what is gained", () => {
  const deltas = [0, 1, -1, -50, -51, -64, 100, 3456, 3457, 4000, 2 ** 31 - 1, -(2 ** 31)];
  expectKernelAgrees(
    deltas.flatMap((delta) =>
      [64, 15, 3520].map((length) => ({
        text: `r2 = ${delta}\ncall 65\nexit`,
        packet: frame(length),
      })),
    ),
  );
});

test("a tail that shrinks and grows again comes back zeroed", () => {
  expectKernelAgrees([
    { text: "r6 = r1\nr2 = -20\ncall 65\nr1 = r6\nr2 = 10\ncall 65\nexit", packet: frame(64) },
  ]);
});

test("metadata has the kernel's limits, and moves with the head", () => {
  const deltas = [0, 4, -4, -3, -32, -36, -216, -217, -220, -252, -256, 2 ** 31 - 1];
  const heads = [0, 4, -4, -100, -184, -212, -216];
  expectKernelAgrees(
    deltas.flatMap((delta) =>
      heads.map((head) => ({
        text: `r6 = r1
          r2 = ${delta}
          call 54
          r7 = r0
          r1 = r6
          r2 = ${head}
          call 44
          r7 <<= 8
          r0 += r7
          r2 = *(u32 *)(r6 + 0)
          r3 = *(u32 *)(r6 + 8)
          r2 -= r3
          r2 <<= 20
          r0 += r2
          exit`,
        packet: frame(64),
      })),
    ),
  );
});

test("metadata written before a head move is still there after it", () => {
  expectKernelAgrees([
    {
      text: `r6 = r1
        r0 = 0
        r2 = -8
        call 54
        r2 = *(u32 *)(r6 + 8)
        r3 = *(u32 *)(r6 + 0)
        r4 = r2
        r4 += 8
        if r4 > r3 goto out
        *(u64 *)(r2 + 0) = 0x11223344
        r1 = r6
        r2 = -20
        call 44
        r2 = *(u32 *)(r6 + 8)
        r3 = *(u32 *)(r6 + 0)
        r4 = r2
        r4 += 8
        if r4 > r3 goto out
        r0 = *(u32 *)(r2 + 0)
      out:
        exit`,
      packet: frame(64),
    },
  ]);
});

test("csum_diff gives the kernel's sums for any sizes", () => {
  const random = new Random(28);
  const programs: Program[] = [];
  const seeds = [0, 1, 0xffff, 0x10000, -1, 0x7fffffff, -0x80000000];
  for (const fromSize of [0, 4, 20, 2, 7])
    for (const toSize of [0, 4, 24, 1])
      for (const seed of seeds)
        for (const packet of [random.bytes(64), new Uint8Array(64), new Uint8Array(64).fill(0xff)])
          programs.push({ text: checksumProgram(fromSize, toSize, seed), packet });
  expectKernelAgrees(programs);
});

/** csum_diff of the packet's first bytes and of those from 32 on; an empty buffer is null. */
function checksumProgram(fromSize: number, toSize: number, seed: number): string {
  return `r6 = *(u32 *)(r1 + 0)
    r7 = *(u32 *)(r1 + 4)
    r2 = r6
    r2 += 64
    r0 = 99
    if r2 > r7 goto out
    r1 = ${fromSize === 0 ? "0" : "r6"}
    r2 = ${fromSize}
    r3 = ${toSize === 0 ? "0" : "r6"}
    ${toSize === 0 ? "" : "r3 += 32"}
    r4 = ${toSize}
    w5 = ${seed}
    call 28
  out:
    exit`;
}

/** BPF_PROG_TEST_RUN starts socket filters behind the Ethernet header, we before it. */
const skippedBytes = 14;
const SKF_NET_OFF = -0x10_0000;
const SKF_LL_OFF = -0x20_0000;

test("packet loads reach what the kernel's reach, and end the program where the kernel's do", () => {
  const packet = new Random(5).bytes(64);
  const loads: { ours: string; kernels: string }[] = [];
  const add = (bits: number, ours: number, kernels: number): void => {
    const load = (offset: number) => `r0 = *(u${bits} *)skb[${offset}]`;
    const indexed = (offset: number) => `r7 = ${offset - 3}\nr0 = *(u${bits} *)skb[r7 + 3]`;
    for (const form of [load, indexed]) loads.push({ ours: form(ours), kernels: form(kernels) });
  };
  for (const bits of [8, 16, 32]) {
    for (const offset of [0, 1, 2, 45, 46, 47, 48, 49, 50, 51, 1000, 0x7fff_fff0])
      add(bits, offset + skippedBytes, offset);
    for (const offset of [0, 1, 9, 46, 48, 49, 50, 1000])
      add(bits, SKF_NET_OFF + offset, SKF_NET_OFF + offset);
    for (const offset of [0, 6, 12, 14, 60, 62, 63, 64, 1000])
      add(bits, SKF_LL_OFF + offset, SKF_LL_OFF + offset);
    for (const offset of [-1, -2, -4, -4096, -4095, SKF_LL_OFF - 1, -0x7fff_fff0])
      add(bits, offset, offset);
  }
  const program = (load: string) => `r6 = r1\nr0 = 7\n${load}\nr0 ^= 0x55\nexit`;
  const answers = kernelRuns(
    loads.map(({ kernels }) => ({ text: program(kernels), packet, type: "socket" })),
  );
  for (const [i, { ours }] of loads.entries()) {
    const run = bench.run(bench.prepare(program(ours), "socket"), packet);
    expect(BigInt.asUintN(32, run.r0).toString(16), ours).toBe(answers[i]!.split(" ")[0]);
  }
});

test("trace_printk takes and refuses the formats that the kernel's does, and gives the same lengths", () => {
  const formats = [
    "a",
    "%d",
    "%5d|",
    "%-5d|",
    "%05d",
    "%+d",
    "% d",
    "%llx",
    "%lu",
    "%X",
    "%c",
    "%%",
    "%p",
    "%px",
    "%pI4",
    "%pi4",
    "%pI6",
    "%s",
    "%8s",
    "%i",
    "%hd",
    "%.3d",
    "%#x",
    "%q",
    "%",
    "%d%d%d",
    "%d%d%d%d",
    "%lll",
    "%sx",
    "%s.",
    "%pz",
    "%pI5",
    "\x01",
    "\x80",
    "tab\there",
    ...Array.from({ length: 255 }, (_, i) => String.fromCharCode(i + 1)),
    ...Array.from({ length: 255 }, (_, i) => `%s${String.fromCharCode(i + 1)}`),
    ...Array.from({ length: 255 }, (_, i) => `%${String.fromCharCode(i + 1)}`),
    // A symbol's length is that of a kernel address, which ours are not.
    ...Array.from({ length: 255 }, (_, i) => `%p${String.fromCharCode(i + 1)}`).filter(
      (format) => !/%p[sSB]/.test(format),
    ),
  ];
  expectKernelAgrees(
    formats.map((format) => {
      const bytes = [...format].map((c) => c.charCodeAt(0));
      const stores = [...bytes, 0].map((byte, i) => `*(u8 *)(r10 - ${32 - i}) = ${byte}`);
      return {
        text: `*(u64 *)(r10 - 8) = 0x00796b73
          *(u64 *)(r10 - 16) = 0
          ${stores.join("\n")}
          r1 = r10
          r1 += -32
          r2 = ${bytes.length + 1}
          r3 = ${/s|pI|pi/.test(format) ? "r10\nr3 += -8" : "-77"}
          r4 = 5
          r5 = 123456789
          call 6
          exit`,
        packet: frame(64),
      };
    }),
  );
});

test("the redirect helpers return what the kernel's return", () => {
  const devmap = bench.map("devmap", { maxEntries: 4, valueSize: 4 });
  const hash = bench.map("devmap_hash", { maxEntries: 4, valueSize: 8 });
  for (const map of [devmap, hash]) bench.access(map).update(keyOne, one(map.valueSize), 0);
  const flags = [0, 1, 2, 3, 4, 8, 9, 16, 24, 32, "0x100000000 ll", -1];
  const keys = [0, 1, 4, "0x100000001 ll", -1];
  expectKernelAgrees([
    ...flags.map((flag) => ({ text: `r1 = 1\nr2 = ${flag}\ncall 23\nexit`, packet: frame(64) })),
    ...[devmap, hash].flatMap((map) =>
      keys.flatMap((key) =>
        flags.map((flag) => ({
          text: `r1 = map_by_fd(0) ll\nr2 = ${key}\nr3 = ${flag}\ncall 51\nexit`,
          packet: frame(64),
          maps: [map],
        })),
      ),
    ),
  ]);
});

const keyOne = Uint8Array.of(1, 0, 0, 0);
function one(length: number): Uint8Array {
  const value = new Uint8Array(length);
  value[0] = 1;
  return value;
}
