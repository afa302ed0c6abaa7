import { expect, test } from "vitest";
import type { LinkedProgram } from "../../src/engine/engine.ts";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { compileProgram } from "../../src/engine/jit/compile-program.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { printModule } from "../../src/engine/jit/print-module.ts";
import { placeFrame } from "../../src/engine/packet-slot.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import { SLOT_BYTES, SLOT_RETURN_LOW } from "../../src/runtime/wasm/layout.ts";
import { EngineBench, frame, spec, unwrap } from "./engine-bench.ts";
import { linkUnverified } from "./unverified.ts";

/** Slots with packets of 1, 2, … bytes, or so many more, one after the other. */
function slots(bench: EngineBench, count: number, type: ProgramType = "raw"): number {
  // Nothing shorter than an Ethernet header is a frame.
  const least = type === "raw" ? 1 : 14;
  const first = unwrap(bench.arena.allocate(SLOT_BYTES * count, "slots"));
  for (let i = 0; i < count; i++)
    unwrap(placeFrame(bench.arena, first + i * SLOT_BYTES, frame(i + least), type));
  return first;
}

test("a batch runs the program on each slot and leaves each result there", () => {
  const bench = new EngineBench(jit);
  const first = slots(bench, 5);
  const executable = bench.prepare("r0 = r2\nr0 *= 3\nexit", "raw");
  expect(executable.runBatch!(first, SLOT_BYTES, 5)).toEqual([]);
  const results = [0, 1, 2, 3, 4].map((i) =>
    bench.arena.view.getBigUint64(first + i * SLOT_BYTES + SLOT_RETURN_LOW, true),
  );
  expect(results).toEqual([3n, 6n, 9n, 12n, 15n]);
});

test("a fault in a batch ends its own run alone, and says whose it was", () => {
  const bench = new EngineBench(jit);
  const first = slots(bench, 5);
  // Needs three bytes.
  const executable = bench.prepare("r0 = *(u8 *)(r1 + 2)\nr0 += 5\nexit", "raw");
  const faults = executable.runBatch!(first, SLOT_BYTES, 5);
  expect(faults.map(({ packetSlot, fault }) => [packetSlot, fault.code])).toEqual([
    [first, "bad_access"],
    [first + SLOT_BYTES, "bad_access"],
  ]);
  const results = [0, 1, 2, 3, 4].map((i) =>
    bench.arena.view.getBigUint64(first + i * SLOT_BYTES + SLOT_RETURN_LOW, true),
  );
  expect(results).toEqual([0n, 0n, 7n, 7n, 7n]);
  expect(executable.runBatch!(first + 2 * SLOT_BYTES, SLOT_BYTES, 3)).toEqual([]);
});

test("an empty batch runs nothing", () => {
  const bench = new EngineBench(jit);
  const executable = bench.prepare("r0 = *(u8 *)(r1 + 2)\nexit", "raw");
  expect(executable.runBatch!(bench.slot, SLOT_BYTES, 0)).toEqual([]);
});

/** r0 of each slot. */
function results({ arena }: EngineBench, first: number, count: number): bigint[] {
  return Array.from({ length: count }, (_, i) =>
    arena.view.getBigUint64(first + i * SLOT_BYTES + SLOT_RETURN_LOW, true),
  );
}

const padding = (count: number): string => "r9 += 1\n".repeat(count);

/** Programs whose second run could find something of their first, and the ways they may end. */
const programs: readonly {
  readonly name: string;
  readonly text: string;
  readonly type?: ProgramType;
  readonly called?: boolean;
}[] = [
  { name: "a program of one exit", text: "r0 = r2\nr0 *= 3\nexit" },
  {
    name: "registers that begin as zero",
    text: "r0 = r7\nr7 += 5\nr0 += r9\nr9 = r2\nr0 += r4\nr4 = 1\nexit",
  },
  {
    name: "a stack that begins as zero",
    text: "r0 = *(u64 *)(r10 - 8)\nr0 += r2\n*(u64 *)(r10 - 8) = r0\nexit",
  },
  {
    name: "several exits, and a loop",
    text: "r0 = 0\nif r2 > 2 goto +1\nexit\nagain:\nr0 += r2\nr2 -= 1\nif r2 > 0 goto again\nif r0 > 9 goto +1\nexit\nr0 = 99\nexit",
  },
  {
    name: "a jump to its first instruction",
    text: "r2 -= 1\nif r2 s> 0 goto -2\nr0 = r2\nexit",
  },
  {
    name: "a function of its own",
    text: "r1 = r2\ncall twice\nr0 += 1\nexit\ntwice:\nr0 = *(u64 *)(r10 - 8)\n*(u64 *)(r10 - 8) = r1\nr0 += r1\nr0 += r1\nexit",
  },
  {
    name: "packet loads that end it",
    type: "socket",
    text: "r6 = r1\nr7 = 7\nr0 = *(u8 *)skb[16]\nr7 = r0\nr0 = *(u16 *)skb[17]\nr0 += r7\nexit",
  },
  { name: "256 slots", text: `${padding(253)}r0 = r9\nr0 += r2\nexit` },
  { name: "257 slots", text: `${padding(254)}r0 = r9\nr0 += r2\nexit`, called: true },
  {
    name: "a call of itself",
    called: true,
    text: "start:\nr0 = r1\nif r1 == 3 goto +2\nr1 = 3\ncall start\nexit",
  },
];

function linked(text: string, type: ProgramType): LinkedProgram {
  return { ...unwrap(linkUnverified(spec(text), [], type)), verified: true };
}

for (const { name, text, type = "raw", called = false } of programs) {
  test(`a batch does what as many runs do, and the interpreter: ${name}`, () => {
    const count = 7;
    const [bench, oracle] = [new EngineBench(jit), new EngineBench(interpreter)];
    const executable = bench.prepareLinked(linked(text, type));
    const judge = oracle.prepareLinked(linked(text, type));
    const [first, batched] = [slots(bench, count, type), slots(bench, count, type)];
    const judged = slots(oracle, count, type);
    for (let i = 0; i < count; i++) {
      const returned = judge.run(judged + i * SLOT_BYTES);
      expect(executable.run(first + i * SLOT_BYTES)).toBe(returned);
    }
    expect(executable.runBatch!(batched, SLOT_BYTES, count)).toEqual([]);
    const expected = results(oracle, judged, count);
    expect(results(bench, first, count)).toEqual(expected);
    expect(results(bench, batched, count)).toEqual(expected);
  });

  test(`the program ${called ? "is called by" : "stands in"} the code that goes round: ${name}`, () => {
    const { bytes } = compileProgram(linked(text, type), new EngineBench(jit).context);
    const printed = printModule(bytes);
    const batch = printed.slice(printed.indexOf('(export "batch")'));
    const body = batch.slice(0, batch.indexOf("\n  )"));
    expect(body.includes("call $run")).toBe(called);
  });
}

test("a trap in a batch of a program without checks ends its own run alone", () => {
  const bench = new EngineBench(jit);
  const first = slots(bench, 4);
  const executable = bench.prepareLinked(
    linked("r0 = r2\nif r2 != 2 goto +3\nr1 = 0x7ffffff0 ll\nr0 = *(u64 *)(r1 + 64)\nexit", "raw"),
  );
  const faults = executable.runBatch!(first, SLOT_BYTES, 4);
  expect(faults.map(({ packetSlot, fault }) => [packetSlot, fault.code, fault.slot])).toEqual([
    [first + SLOT_BYTES, "bad_access", 4],
  ]);
  expect(results(bench, first, 4)).toEqual([1n, 0n, 3n, 4n]);
});
