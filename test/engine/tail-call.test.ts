import { expect, test } from "vitest";
import { putU32le } from "../../src/common/bytes.ts";
import {
  type Engine,
  type Executable,
  maxFrames,
  maxSteps,
  maxTailCalls,
} from "../../src/engine/engine.ts";
import { interpreter, observedInterpreter } from "../../src/engine/interpreter/interpreter.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import { MAP_VALUES } from "../../src/runtime/wasm/layout.ts";
import { assembled, EngineBench, frame, mapSpec, type Run } from "./engine-bench.ts";

interface BenchOptions {
  readonly type?: ProgramType;
  readonly slots?: number;
  /** Maps behind the two. */
  readonly more?: (bench: EngineBench) => readonly MapHandle[];
  /** The programs need no checks. */
  readonly verified?: boolean;
}

/** Programs of one type on one prog_array, map 0, in whose slots 1, 2, … they stand. Map 1 counts. */
class TailCallBench {
  readonly engine: EngineBench;
  readonly counts: MapHandle;
  readonly programs: Executable[] = [];

  constructor(
    engine: Engine,
    texts: readonly string[],
    { type = "xdp", slots = 8, more = () => [], verified = false }: BenchOptions = {},
  ) {
    this.engine = new EngineBench(engine);
    const maps = [
      this.engine.map("prog_array", { valueSize: 4, maxEntries: slots }),
      this.engine.map("array", { valueSize: 8, maxEntries: 1 }),
      ...more(this.engine),
    ];
    this.counts = maps[1]!;
    Object.assign(this.engine.context, { programs: this.programs });
    const access = this.engine.access(maps[0]!);
    for (const [i, text] of texts.entries()) {
      const instructions = assembled(text);
      this.programs.push(
        this.engine.prepareLinked({ name: `program${i + 1}`, type, instructions, maps, verified }),
      );
      expect(access.update(word(i + 1), word(i + 1))).toBe(0);
    }
  }

  /** Runs the first program. */
  run(data = frame(64)): Run {
    return this.engine.run(this.programs[0]!, data);
  }

  get count(): bigint {
    const [value] = this.engine.access(this.counts).lookup(word(0))!;
    return new DataView(value!.buffer, value!.byteOffset).getBigUint64(0, true);
  }
}

/** A ring of records, and an array of maps whose place 0 holds an array. */
function ringAndInnerMap(bench: EngineBench): MapHandle[] {
  const outer = bench.map("array_of_maps", { valueSize: 4, inner: mapSpec("array") });
  bench.access(outer).update(word(0), word(bench.map("array").descriptor));
  return [bench.map("ringbuf", { keySize: 0, valueSize: 0, maxEntries: 4096 }), outer];
}

function word(n: number): Uint8Array {
  const bytes = new Uint8Array(4);
  putU32le(bytes, 0, n);
  return bytes;
}

/** The context is in r6. */
const call = (index: number | string): string => `r1 = r6
  r2 = map_by_fd(0) ll
  r3 = ${index} ll
  call 12
`;
/** Adds 1 to the count. */
const count = `r1 = map_val(map_by_fd(1)) ll
  r2 = 1
  lock *(u64 *)(r1 + 0) += r2
`;

/** Two steps a turn, and one before. */
const loop = (turns: number): string => `r2 = ${turns}\nloop:\nr2 += -1\nif r2 != 0 goto loop\n`;

tailCallContract("interpreter", interpreter);
tailCallContract("jit", jit);

/** What tail calls do, whatever the engine. */
function tailCallContract(label: string, engine: Engine): void {
  for (const type of ["xdp", "socket"] as const)
    test(`${label}: a ${type} program that calls another never goes on, and the other's return is the run's`, () => {
      const bench = new TailCallBench(
        engine,
        [`r6 = r1\n${call(2)}r0 = 1\nexit`, "r0 = *(u32 *)(r1 + 0)\nr0 = 42\nexit"],
        { type },
      );
      expect(bench.run()).toMatchObject({ r0: 42n, fault: undefined });
    });

  for (const { name, index, slots } of [
    { name: "an empty slot", index: "3" },
    { name: "an index of max_entries", index: "8" },
    { name: "the largest index", index: "0xffffffff" },
    { name: "a value no program has", index: "2", slots: [[2, 99]] },
  ])
    test(`${label}: ${name} lets the program go on with its registers as they were`, () => {
      const bench = new TailCallBench(engine, [
        `r6 = r1\nr0 = 1\nr4 = 10\nr5 = 100\n${call(index)}r3 <<= 32\nr3 >>= 32\nr2 -= 2\nr0 += r4\nr0 += r5\nif r1 == r6 goto same\nr0 = 0\nsame:\nexit`,
      ]);
      const map = bench.programs[0]!.program.maps[0]!;
      for (const [at, value] of slots ?? [])
        bench.engine.access(map).update(word(at!), word(value!));
      expect(bench.run()).toMatchObject({ r0: 111n, fault: undefined });
    });

  test(`${label}: only the low 32 bits of the index count`, () => {
    const bench = new TailCallBench(engine, [
      `r6 = r1\n${call("0xffffffff00000002")}r0 = 1\nexit`,
      "r0 = 42\nexit",
    ]);
    expect(bench.run().r0).toBe(42n);
  });

  test(`${label}: a run makes 33 tail calls, and the next finds nothing`, () => {
    const bench = new TailCallBench(engine, [`r6 = r1\n${count}${call(1)}r0 = 7\nexit`]);
    for (let runs = 1; runs <= 3; runs++) {
      expect(bench.run()).toMatchObject({ r0: 7n, fault: undefined });
      expect(bench.count).toBe(BigInt(runs * (maxTailCalls + 1)));
    }
  });

  test(`${label}: calls that find nothing do not count towards the 33`, () => {
    const bench = new TailCallBench(engine, [`r6 = r1\n${count}${call(5)}${call(1)}r0 = 7\nexit`]);
    expect(bench.run().r0).toBe(7n);
    expect(bench.count).toBe(34n);
  });

  test(`${label}: the 33 are for all programs and functions of a run together`, () => {
    const bench = new TailCallBench(engine, [
      `r6 = r1\ncall again\nr7 = r0\nr1 = r6\ncall again\nr0 += r7\nexit\nagain:\nr6 = r1\n${call(2)}r0 = 1000\nexit`,
      `r6 = r1\n${count}${call(2)}r0 = 5\nexit`,
    ]);
    // The first function's calls take all 33; the second falls through at once.
    expect(bench.run()).toMatchObject({ r0: 1005n, fault: undefined });
    expect(bench.count).toBe(33n);
  });

  test(`${label}: a target called from a function returns to that function's caller, whose r6 to r9 and stack are kept`, () => {
    const bench = new TailCallBench(engine, [
      `r6 = r1
     r7 = 7
     r8 = 8
     r9 = 9
     *(u64 *)(r10 - 8) = 100
     call inner
     r0 += r7
     r0 += r8
     r0 += r9
     r2 = *(u64 *)(r10 - 8)
     r0 += r2
     exit
     inner:
     r6 = r1
     *(u64 *)(r10 - 8) = 5555
     ${call(2)}
     r0 = 1
     exit`,
      // Its own frame is the inner function's, zeroed.
      `r7 = 1000
     r9 = 3000
     r0 = *(u64 *)(r10 - 8)
     *(u64 *)(r10 - 8) = 6
     r0 += 200000
     call deeper
     exit
     deeper:
     *(u64 *)(r10 - 8) = 77
     r0 += r7
     r6 = 1
     r0 = 200000
     exit`,
    ]);
    expect(bench.run()).toMatchObject({ r0: 200_124n, fault: undefined });
  });

  test(`${label}: programs that call each other out of nested functions all return to the right callers`, () => {
    const bench = new TailCallBench(engine, [
      // program1 → its inner → program2 → its inner → program1 again, which then finds r9 = 0.
      `r6 = r1
     r8 = 1
     call inner
     r0 *= 10
     r0 += r8
     exit
     inner:
     r6 = r1
     ${call(2)}
     r0 = 9
     exit`,
      `r6 = r1
     r8 = 2
     call inner
     r0 *= 10
     r0 += r8
     exit
     inner:
     r6 = r1
     ${call(3)}
     r0 = 8
     exit`,
      `r6 = r1
     ${count}
     r1 = map_val(map_by_fd(1)) ll
     r2 = *(u64 *)(r1 + 0)
     if r2 != 1 goto end
     ${call(1)}
     end:
     r0 = 3
     exit`,
    ]);
    // 1 → 2 → 3 → 1 → 2 → 3: each of 1 and 2 is entered twice, two functions deep each time.
    expect(bench.run()).toMatchObject({ r0: 32121n, fault: undefined });
  });

  for (const verified of [false, true])
    for (const { what, target, slot } of [
      { what: "call a function more", target: "call f", slot: 0 },
      {
        what: "have one called back",
        target: "r1 = 1\nr2 = code_addr(f) ll\nr3 = 0\nr4 = 0\ncall 181",
        slot: 5,
      },
    ])
      test(`${label}: a${verified ? " verified" : ""} target at the deepest frame may not ${what}`, () => {
        const nested = Array.from(
          { length: maxFrames - 1 },
          (_, i) => `call f${i}\nexit\nf${i}:`,
        ).join("\n");
        const bench = new TailCallBench(
          engine,
          [
            `${nested}\nr6 = r1\n${call(2)}r0 = 1\nexit`,
            `${target}\nexit\nf:\n*(u64 *)(r10 - 8) = -1\nr0 = 1\nexit`,
          ],
          { verified },
        );
        const { context, arena } = bench.engine;
        const below = (): Uint8Array => arena.bytes.slice(context.stack - 512, context.stack);
        const before = below();
        expect(bench.run().fault).toMatchObject({ code: "call_depth", slot, program: "program2" });
        expect(below()).toEqual(before);
      });

  for (const [verified, target] of [
    [false, 2],
    [false, 1],
    [true, 2],
    [true, 1],
  ] as const)
    test(`${label}: a${verified ? " verified" : ""} program goes on with a map and a record behind calls of functions, where one of them became ${target === 1 ? "the program itself" : "another program"}`, () => {
      const bench = new TailCallBench(
        engine,
        [
          `r7 = r1
     r1 = map_val(map_by_fd(1)) ll
     r2 = *(u64 *)(r1 + 0)
     if r2 != 0 goto again
     *(u64 *)(r1 + 0) = 1
     r1 = map_by_fd(2) ll
     r2 = 8
     r3 = 0
     call 131
     r6 = r0
     *(u32 *)(r10 - 4) = 0
     r2 = r10
     r2 += -4
     r1 = map_by_fd(3) ll
     call 1
     r8 = r0
     call nothing
     r2 = r10
     r2 += -4
     r1 = r8
     call 1
     *(u64 *)(r6 + 0) = 7
     *(u64 *)(r0 + 0) = 8
     r1 = r6
     r2 = 0
     call 132
     r1 = r7
     call inner
     r2 = r10
     r2 += -4
     r1 = r8
     call 1
     r0 = *(u64 *)(r0 + 0)
     exit
     again:
     call 7
     exit
     nothing:
     r0 = 0
     exit
     inner:
     r6 = r1
     ${call(target)}
     r0 = 1
     exit`,
          "call 7\nexit",
        ],
        { verified, more: ringAndInnerMap },
      );
      expect(bench.run()).toMatchObject({ r0: 8n, fault: undefined });
      const ring = bench.programs[0]!.program.maps[2]!;
      expect(bench.engine.context.runtime.nextRecord(ring.descriptor, 0)).not.toBe(0);
    });

  test(`${label}: what a target has reserved is given back where a fault ends the run`, () => {
    const reserve = "r1 = map_by_fd(2) ll\nr2 = 8\nr3 = 0\ncall 131\n";
    const bench = new TailCallBench(
      engine,
      [
        `r6 = r1\n${call(2)}r0 = 1\nexit`,
        `${reserve}r0 = *(u64 *)(r0 + 8)\nexit`,
        `${reserve}r1 = r0\nr2 = 0\ncall 132\nr0 = 1\nexit`,
      ],
      { more: ringAndInnerMap },
    );
    expect(bench.run().fault).toMatchObject({ code: "bad_access", program: "program2" });
    expect(bench.engine.run(bench.programs[2]!, frame(64)).fault).toBeUndefined();
    // The reader stops at what is still reserved.
    const ring = bench.programs[0]!.program.maps[2]!;
    expect(bench.engine.context.runtime.nextRecord(ring.descriptor, 0)).not.toBe(0);
  });

  test(`${label}: a target's stack is zeroed though the same frame was full`, () => {
    const fill = Array.from({ length: 64 }, (_, i) => `*(u64 *)(r10 - ${8 * (i + 1)}) = -1`);
    const sum = Array.from(
      { length: 64 },
      (_, i) => `r2 = *(u64 *)(r10 - ${8 * (i + 1)})\nr0 |= r2`,
    );
    const bench = new TailCallBench(engine, [
      `r6 = r1\n${fill.join("\n")}\n${call(2)}r0 = 1\nexit`,
      `r0 = 0\n${sum.join("\n")}\nexit`,
    ]);
    expect(bench.run()).toMatchObject({ r0: 0n, fault: undefined });
  });

  test(`${label}: registers but r1 and r10 are 0 in a target`, () => {
    const bench = new TailCallBench(engine, [
      `r6 = r1\nr7 = -1\nr8 = -1\nr9 = -1\nr0 = -1\nr4 = -1\nr5 = -1\n${call(2)}exit`,
      "r0 |= r2\nr0 |= r3\nr0 |= r4\nr0 |= r5\nr0 |= r6\nr0 |= r7\nr0 |= r8\nr0 |= r9\nexit",
    ]);
    expect(bench.run().r0).toBe(0n);
  });

  test(`${label}: a target reaches its own maps and not its caller's`, () => {
    const bench = new TailCallBench(engine, [`r6 = r1\n${call(2)}exit`, `${count}r0 = 2\nexit`]);
    expect(bench.run().r0).toBe(2n);
    expect(bench.count).toBe(1n);
    const { view } = bench.engine.arena;
    const address = view.getUint32(bench.counts.descriptor + MAP_VALUES, true);
    // The same layout again: the address is right, and the target has no such map.
    const hostile = new TailCallBench(engine, [
      `r6 = r1\n${count}${call(2)}exit`,
      `r2 = ${address} ll\nr0 = *(u64 *)(r2 + 0)\nexit`,
    ]);
    expect(hostile.counts.descriptor).toBe(bench.counts.descriptor);
    expect(hostile.run().fault).toMatchObject({ code: "bad_access", program: "program2", slot: 2 });
    expect(hostile.count).toBe(1n);
  });

  test(`${label}: a packet that a target has shortened is as short for the function it returns to`, () => {
    const bench = new TailCallBench(engine, [
      `r6 = r1
     call inner
     r1 = *(u32 *)(r6 + 0)
     r0 = *(u8 *)(r1 + 60)
     exit
     inner:
     r6 = r1
     ${call(2)}
     r0 = 1
     exit`,
      "r2 = -10\ncall 65\nexit",
    ]);
    expect(bench.run().fault).toMatchObject({ code: "bad_access", slot: 3, program: "program1" });
    expect(bench.run(frame(80))).toMatchObject({ r0: 60n, fault: undefined });
  });

  test(`${label}: what a caller has written and chosen stays after a tail call`, () => {
    const bench = new TailCallBench(engine, [
      `r6 = r1\nr2 = *(u32 *)(r6 + 0)\n*(u8 *)(r2 + 0) = 99\nr1 = 5\nr2 = 0\ncall 23\n${call(2)}exit`,
      "r0 = 4\nexit",
    ]);
    const run = bench.run();
    expect(run).toMatchObject({ r0: 4n, wrote: true, redirect: { ifindex: 5, flags: 0 } });
    expect(run.data[0]).toBe(99);
  });

  test(`${label}: a socket program's cb survives a tail call`, () => {
    const bench = new TailCallBench(
      engine,
      [
        `r6 = r1\nr2 = 4321\n*(u32 *)(r6 + 48) = r2\n${call(2)}exit`,
        "r0 = *(u32 *)(r1 + 48)\nexit",
      ],
      { type: "socket" },
    );
    expect(bench.run().r0).toBe(4321n);
  });

  test(`${label}: a function's caller goes on with what its target has left of the budget`, () => {
    const bench = new TailCallBench(engine, [
      `r6 = r1\ncall inner\n${loop(maxSteps / 4)}r0 = 1\nexit\ninner:\nr6 = r1\n${call(2)}exit`,
      `${loop(maxSteps / 4)}r0 = 2\nexit`,
    ]);
    expect(bench.run().fault).toMatchObject({ code: "budget_exceeded", program: "program1" });
  });

  test(`${label}: a fault without a tail call names no program, and is forgotten by the next run`, () => {
    const bench = new TailCallBench(engine, ["r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 63)\nexit"]);
    expect(bench.run(frame(20)).fault).not.toHaveProperty("program");
    const calling = new TailCallBench(engine, [
      `r6 = r1\n${call(2)}exit`,
      "r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 63)\nexit",
    ]);
    expect(calling.run(frame(20)).fault).toMatchObject({ code: "bad_access", program: "program2" });
    expect(calling.run(frame(64))).toMatchObject({ r0: 63n, fault: undefined });
  });

  for (const { name, program, message } of [
    {
      name: "a context that is none",
      program: "r1 += 8\nr2 = map_by_fd(0) ll\nr3 = 1\ncall 12\nexit",
      message: "tail_call, argument r1: not the program's context",
    },
    {
      name: "a map of another type",
      program: "r2 = map_by_fd(1) ll\nr3 = 1\ncall 12\nexit",
      message:
        "tail_call, argument r2: map array is of type array, which this helper does not take",
    },
    {
      name: "a call by register",
      program: "r2 = map_by_fd(0) ll\nr3 = 1\nr6 = 12\ncallx r6\nexit",
      message: "tail_call cannot be called by a register",
    },
  ])
    test(`${label}: a tail call with ${name} ends the run`, () => {
      const { r0, fault } = new TailCallBench(engine, [program, "r0 = 1\nexit"]).run();
      expect({ r0, fault }).toMatchObject({ r0: 0n, fault: { code: "bad_argument", message } });
    });

  test(`${label}: without a table of programs every tail call goes on`, () => {
    const bench = new EngineBench(engine);
    const map = bench.map("prog_array", { valueSize: 4 });
    bench.access(map).update(word(1), word(1));
    const run = bench.run(
      bench.prepare(`r6 = r1\n${call(1)}r0 = 7\nexit`, "xdp", [map]),
      frame(14),
    );
    expect(run).toMatchObject({ r0: 7n, fault: undefined });
  });
}

for (const [name, engine] of [
  ["interpreter", interpreter],
  ["observed interpreter", observedInterpreter(() => {})],
] as const)
  test(`the ${name}'s budget is one for all programs of a run`, () => {
    const half = maxSteps / 4;
    // Of the call 6 steps: a wide instruction takes two.
    const ends = (turns: number) =>
      new TailCallBench(engine, [
        `r6 = r1\n${loop(half)}${call(2)}r0 = 1\nexit`,
        `${loop(turns)}r0 = 2\nexit`,
      ]).run();
    const turns = (maxSteps - (2 + 2 * half + 6) - 3) / 2;
    expect(ends(Math.floor(turns))).toMatchObject({ r0: 2n, fault: undefined });
    expect(ends(Math.floor(turns) + 1).fault).toMatchObject({
      code: "budget_exceeded",
      program: "program2",
    });
  });

/** Without checks: loads from where no arena reaches. */
const trap = "r1 = 0x7ffffff0 ll\nr0 = *(u64 *)(r1 + 64)\nexit";

for (const { name, texts, fault } of [
  {
    name: "before it calls any",
    texts: [`r6 = r1\n${trap}\n${call(2)}exit`, "r0 = 1\nexit"],
    fault: { slot: 3, program: undefined },
  },
  {
    name: "after one that another called",
    texts: [`r6 = r1\n${call(2)}exit`, `r6 = r1\n${call(3)}exit`, `r0 = 1\n${trap}`],
    fault: { slot: 3, program: "program3" },
  },
  {
    name: "in a function of the one that was called",
    texts: [`r6 = r1\n${call(2)}exit`, `r0 = 1\ncall f\nexit\nf:\n${trap}`],
    fault: { slot: 5, program: "program2" },
  },
  {
    name: "after a function of its own has been left for another",
    texts: [`r6 = r1\ncall f\n${trap}\nf:\nr6 = r1\n${call(2)}exit`, "r0 = 1\nexit"],
    fault: { slot: 4, program: undefined },
  },
  {
    name: "as itself again",
    texts: [`r6 = r1\nr0 = *(u32 *)(r1 + 0)\n${call(2)}exit`, `r6 = r1\n${call(1)}${trap}`],
    // Program 1 and 2 call each other until no call is left, which is in the second.
    fault: { slot: 9, program: "program2" },
  },
])
  test(`jit: a trap tells the program and the instruction: ${name}`, () => {
    const bench = new TailCallBench(jit, texts, { verified: true });
    const { code, slot, program } = bench.run().fault!;
    expect({ code, slot, program }).toEqual({ code: "bad_access", ...fault });
  });
