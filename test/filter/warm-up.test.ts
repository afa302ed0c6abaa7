import { expect, test } from "vitest";
import { putU32le, u32le } from "../../src/common/bytes.ts";
import type { Executable } from "../../src/engine/engine.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { callOnce, warmUp } from "../../src/filter/warm-up.ts";
import { compileRuntime } from "../../src/runtime/instantiate.ts";
import { EngineBench, frame } from "../engine/engine-bench.ts";

const runtime = await compileRuntime();

/** Counts in an array and a hash, prints, writes to the packet, redirects, and tail-calls itself. */
const busy = `r6 = r1
  r1 = map_val(map_by_fd(0)) ll
  r2 = 1
  lock *(u64 *)(r1 + 0) += r2
  *(u32 *)(r10 - 4) = 7
  *(u64 *)(r10 - 16) = 1
  r1 = map_by_fd(1) ll
  r2 = r10
  r2 += -4
  r3 = r10
  r3 += -16
  r4 = 0
  call 2
  *(u64 *)(r10 - 24) = 0x6968
  r1 = r10
  r1 += -24
  r2 = 3
  call 6
  r1 = 5
  r2 = 0
  call 23
  r1 = r6
  r2 = map_by_fd(2) ll
  r3 = 0
  call 12
  r2 = *(u32 *)(r6 + 0)
  *(u8 *)(r2 + 0) = 99
  r0 = 4
  exit`;

test("warming up runs programs and leaves no trace in maps, packets or output", async () => {
  const bench = new EngineBench(jit, 1 << 20);
  const maps = [
    bench.map("array", { maxEntries: 1, valueSize: 8 }),
    bench.map("hash"),
    bench.map("prog_array", { valueSize: 4 }),
  ];
  const programs: Executable[] = [];
  Object.assign(bench.context, { programs });
  programs.push(bench.prepare(busy, "xdp", maps));
  const one = new Uint8Array(4);
  putU32le(one, 0, 1);
  expect(bench.access(maps[2]!).update(new Uint8Array(4), one)).toBe(0);
  const before = bench.arena.bytes.slice();
  await warmUp(programs, bench.context, bench.slot, runtime);
  expect(Buffer.compare(before, bench.arena.bytes)).toBe(0);
  expect(bench.traced).toEqual([]);
  // It is the same program: run in earnest, it does all of that 34 times over.
  const run = bench.run(programs[0]!, frame(64));
  expect(run).toMatchObject({ r0: 4n, fault: undefined, redirect: { ifindex: 5 } });
  expect(bench.traced).toHaveLength(34);
  expect(u32le(bench.access(maps[0]!).lookup(new Uint8Array(4))![0]!, 0)).toBe(34);
});

test("a program that faults or never ends is warmed up and does no harm", async () => {
  const bench = new EngineBench(jit, 1 << 20);
  const faulting = bench.prepare("r0 = *(u8 *)(r1 + 1000)\nexit", "xdp");
  const endless = bench.prepare("again:\nr1 += 1\nif r1 != 0 goto again\nr0 = 2\nexit", "raw");
  await warmUp([faulting, endless], bench.context, bench.slot, runtime);
  expect(bench.run(faulting, frame(64)).fault?.code).toBe("bad_access");
});

test("programs are called once a kind of packet: those that are asked for, where nobody sees it", async () => {
  const bench = new EngineBench(jit, 1 << 20);
  let runs = 0;
  Object.assign(bench.context, { random: () => ++runs });
  const noting = "call 7\n*(u32 *)(r10 - 4) = r0\nr0 = 2\nexit";
  const [asked, other] = [bench.prepare(noting, "xdp"), bench.prepare(noting, "xdp")];
  const before = bench.arena.bytes.slice();
  await callOnce(new Set([asked]), [asked, other], bench.context, bench.slot, runtime);
  expect(runs).toBe(2);
  expect(Buffer.compare(before, bench.arena.bytes)).toBe(0);
});

test("there is nothing to warm up in the interpreter", async () => {
  const { interpreter } = await import("../../src/engine/interpreter/interpreter.ts");
  const bench = new EngineBench(interpreter, 1 << 20);
  const before = bench.arena.bytes.slice();
  await warmUp([bench.prepare("r0 = 2\nexit", "xdp")], bench.context, bench.slot, runtime);
  expect(Buffer.compare(before, bench.arena.bytes)).toBe(0);
});
