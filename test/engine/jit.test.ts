import { expect, test } from "vitest";
import { jit } from "../../src/engine/jit/jit.ts";
import { type Instruction, register } from "../../src/isa/instruction.ts";
import { SLOT_FLAGS, SLOT_WROTE } from "../../src/runtime/wasm/layout.ts";
import { caseMaps } from "./case-maps.ts";
import { assembled, EngineBench, frame, spec, unwrap } from "./engine-bench.ts";
import { engineContract } from "./engine-contract.ts";
import { engineFuzz } from "./engine-fuzz.ts";
import { EnginePair, savedCases } from "./engine-pair.ts";
import { linkUnverified } from "./unverified.ts";

engineContract("jit", jit);
engineFuzz("jit", jit);

const saved = savedCases();

test("the folder of saved cases is not empty", () => {
  expect(saved.length).toBeGreaterThan(0);
});

for (const { name, maps, ...one } of saved) {
  const hostile = maps === "hostile";
  // Only programs that need no checks run without.
  for (const verified of hostile ? [false] : [false, true])
    test(`both engines agree on ${name}${verified ? " without checks" : ""}`, () => {
      const pair = new EnginePair(caseMaps[maps]);
      expect(pair.difference({ ...one, verified })).toBeUndefined();
      if (!hostile) expect([...pair.seen.keys()]).toEqual(["none"]);
    });
}

test("a fault is forgotten by the next run", () => {
  const bench = new EngineBench(jit);
  const executable = bench.prepare("r0 = *(u8 *)(r1 + 3)\nexit", "raw");
  expect(bench.run(executable, frame(3)).fault?.code).toBe("bad_access");
  expect(bench.run(executable, frame(4))).toMatchObject({ r0: 3n, fault: undefined });
});

test("the bounds of one packet are not those of the next", () => {
  const bench = new EngineBench(jit);
  const executable = bench.prepare(
    "r0 = *(u8 *)(r1 + 0)\n*(u8 *)(r1 + 1) = 1\nr0 = *(u8 *)(r1 + 9)\nexit",
    "raw",
  );
  expect(bench.run(executable, frame(10)).r0).toBe(9n);
  expect(bench.run(executable, frame(9)).fault).toMatchObject({ code: "bad_access", slot: 2 });
});

test("what a function has touched in its frame is out of reach once it has returned", () => {
  const bench = new EngineBench(jit);
  // The pointer is computed, so that the function's access leaves bounds behind.
  const program = `call leak
    r0 = *(u64 *)(r0 + 0)
    exit
  leak:
    r0 = r10
    r2 = -8
    r0 += r2
    *(u64 *)(r0 + 0) = 7
    exit`;
  const { fault } = bench.run(bench.prepare(program, "raw"), frame(8));
  expect(fault).toMatchObject({ code: "bad_access", slot: 1 });
});

test("programs that share a worker's stack do not see each other's bounds", () => {
  const bench = new EngineBench(jit);
  const map = bench.map("array", { maxEntries: 1, valueSize: 8 });
  const owner = bench.prepare(
    "r1 = map_val(map_by_fd(0)) + 0 ll\n*(u64 *)(r1 + 0) = 7\nr0 = r1\nexit",
    "raw",
    [map],
  );
  const { r0 } = bench.run(owner, frame(8));
  const thief = bench.prepare(`r1 = ${r0} ll\nr0 = *(u64 *)(r1 + 0)\nexit`, "raw");
  expect(bench.run(thief, frame(8)).fault?.code).toBe("bad_access");
});

test("a program in which nothing is proven, run without checks, ends by its trap as by a fault", () => {
  const bench = new EngineBench(jit);
  const run = (text: string) => {
    const linked = unwrap(linkUnverified(spec(text), [], "raw"));
    return bench.run(bench.prepareLinked({ ...linked, verified: true }), frame(8));
  };
  const outside = run("r1 = 0x7ffffff0 ll\nr0 = *(u64 *)(r1 + 64)\nexit");
  expect(outside.fault).toMatchObject({ code: "bad_access", slot: 2, message: /trapped/ });
  expect(outside.r0).toBe(0n);
  const unaligned = run("r2 = 1\nlock *(u64 *)(r1 + 1) += r2\nexit");
  expect(unaligned.fault).toMatchObject({ code: "misaligned_atomic", slot: 1 });
  const inFunction = run(
    "r6 = 0\ncall f\nexit\nf:\nif r6 != 0 goto +2\nr1 = 0x7ffffff0 ll\nr0 = *(u8 *)(r1 + 64)\nexit",
  );
  expect(inFunction.fault).toMatchObject({ code: "bad_access", slot: 6 });
});

test("a trap of which V8 tells no place is said to be of an unknown one", () => {
  const bench = new EngineBench(jit);
  const linked = unwrap(
    linkUnverified(spec("r1 = 0x7ffffff0 ll\nr0 = *(u64 *)(r1 + 64)\nexit"), [], "raw"),
  );
  const executable = bench.prepareLinked({ ...linked, verified: true });
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    expect(bench.run(executable, frame(8)).fault).toMatchObject({
      slot: 0,
      message: /at an instruction that V8 does not tell/,
    });
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
});

test("a store is noted in the slot with and without checks, where it hits the packet and only there", () => {
  const bench = new EngineBench(jit);
  const map = bench.map("array", { maxEntries: 1, valueSize: 8 });
  const wrote = (text: string, verified: boolean): boolean => {
    const linked = unwrap(linkUnverified(spec(text), [map], "xdp"));
    bench.run(bench.prepareLinked({ ...linked, verified }), frame(64));
    return (bench.arena.view.getUint32(bench.slot + SLOT_FLAGS, true) & SLOT_WROTE) !== 0;
  };
  for (const verified of [false, true]) {
    expect(wrote("r2 = *(u32 *)(r1 + 0)\n*(u8 *)(r2 + 63) = 0\nexit", verified)).toBe(true);
    expect(wrote("r2 = *(u32 *)(r1 + 4)\n*(u8 *)(r2 - 64) = 0\nexit", verified)).toBe(true);
    expect(wrote("r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 63)\nexit", verified)).toBe(false);
    const spilled =
      "r2 = map_val(map_by_fd(0)) + 0 ll\n*(u64 *)(r10 - 8) = r2\nr2 = *(u64 *)(r10 - 8)\n*(u8 *)(r2 + 0) = 0\nexit";
    expect(wrote(spilled, verified)).toBe(false);
    const throughNull =
      "r6 = *(u32 *)(r1 + 0)\n*(u32 *)(r10 - 4) = 9\nr2 = r10\nr2 += -4\nr1 = map_by_fd(0) ll\ncall 1\nr0 += r6\n*(u8 *)(r0 + 0) = 0\nexit";
    expect(wrote(throughNull, verified)).toBe(true);
    const throughDifference =
      "r6 = *(u32 *)(r1 + 0)\nr2 = map_val(map_by_fd(0)) + 0 ll\nr3 = r2\nr2 -= r3\nr2 += r6\n*(u8 *)(r2 + 0) = 0\nexit";
    expect(wrote(throughDifference, verified)).toBe(true);
  }
});

/** r1 is memory that the caller has in its packet or on its stack, r2 the context. */
const helperWrites = {
  strtol:
    "r4 = r1\n*(u8 *)(r10 - 1) = 55\nr1 = r10\nr1 += -1\nr2 = 1\nr3 = 0\ncall 105\nr0 = 0\nexit",
  check_mtu: "r3 = r1\nr1 = r2\nr2 = 1\nr4 = 0\nr5 = 0\ncall 163\nr0 = 0\nexit",
  xdp_load_bytes: "r3 = r1\nr1 = r2\nr2 = 0\nr4 = 4\ncall 189\nr0 = 0\nexit",
} as const;

test.each(Object.entries(helperWrites))(
  "what %s writes to memory that a global function was given is noted in the slot where it is the packet, and only there",
  (_, writes) => {
    const pair = new EnginePair();
    const wrote = (memory: string): boolean => {
      const program = assembled(
        `r2 = r1\nr6 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = r6\nr4 += 64\nif r4 > r3 goto out\n*(u64 *)(r10 - 8) = 0\nr1 = ${memory}\ncall global\nout:\nr0 = 2\nexit\nglobal:\n${writes}`,
      );
      const start = program.findIndex(({ kind }) => kind === "exit") + 1;
      const globals = new Map([[start, [{ bytes: 8, nonnull: true }, "context"] as const]]);
      const proven = { verified: true, proven: true, globals };
      return pair.wrote({ program, type: "xdp", packet: frame(64), ...proven });
    };
    expect(wrote("r6")).toBe(true);
    expect(wrote("r6\nr1 += 56")).toBe(true);
    expect(wrote("r10\nr1 += -8")).toBe(false);
  },
);

/** What may leave bytes from r10 - 16 on as they were, and that is read then. */
const leavesBytes = {
  "a store at an index":
    "r2 = *(u32 *)(r1 + 12)\nr2 &= 15\nr3 = r10\nr3 += -16\nr3 += r2\n*(u8 *)(r3 + 0) = 7",
  "xdp_load_bytes of what the packet does not hold":
    "r2 = 5000\nr3 = r10\nr3 += -16\nr4 = 16\ncall 189",
  "a helper that is given up to 16 bytes":
    "r4 = *(u32 *)(r1 + 12)\nr4 &= 15\nr4 += 1\nr2 = 0\nr3 = r10\nr3 += -16\ncall 189",
  "snprintf of a short text":
    "r1 = r10\nr1 += -16\nr2 = 16\nr3 = map_val(map_by_fd(0)) + 0 ll\nr4 = 0\nr5 = 0\ncall 165",
} as const;

test.each(Object.entries(leavesBytes))(
  "after %s a proven program finds zeros, not what an earlier run left on the stack",
  (_, leaves) => {
    const pair = new EnginePair((bench) => {
      const text = bench.map("array", { maxEntries: 1, valueSize: 16, readOnly: true });
      return [Object.assign(text, { frozenValue: new Uint8Array(16) })];
    });
    const packet = frame(64);
    const fills = "*(u64 *)(r10 - 8) = -1\n*(u64 *)(r10 - 16) = -1\nr0 = 0\nexit";
    const reads = "r0 = *(u64 *)(r10 - 8)\nr2 = *(u64 *)(r10 - 16)\nr0 += r2\nexit";
    for (const text of [fills, `${leaves}\n${reads}`]) {
      const program = assembled(text);
      expect(
        pair.difference({ program, type: "xdp", packet, verified: true, proven: true }),
      ).toBeUndefined();
    }
  },
);

test("a program without checks starts with a zeroed stack wherever it reads it", () => {
  const bench = new EngineBench(jit);
  const run = (text: string) => {
    const linked = unwrap(linkUnverified(spec(text), [], "raw"));
    return bench.run(bench.prepareLinked({ ...linked, verified: true }), frame(8));
  };
  const dirty = Array.from({ length: 64 }, (_, i) => `*(u64 *)(r10 - ${8 * i + 8}) = -1`);
  for (const read of [
    "r0 = *(u64 *)(r10 - 8)",
    "r0 = *(u64 *)(r10 - 511)",
    "r2 = r10\nr2 += -300\nr0 = *(u64 *)(r2 - 9)",
    "r2 = r10\nr2 -= r3\nr0 = *(u64 *)(r2 - 400)",
    "r1 = r10\ncall inner\nexit\ninner:\nr0 = *(u64 *)(r1 - 500)",
    "call inner\nexit\ninner:\nr0 = *(u64 *)(r10 - 24)",
  ]) {
    run(`call all\n${dirty.join("\n")}\nexit\nall:\n${dirty.join("\n")}\nr0 = 0\nexit`);
    expect(run(`r3 = 0\n${read}\nexit`).r0, read).toBe(0n);
  }
});

test("a call tree that never jumps back ends by its budget", () => {
  const bench = new EngineBench(jit);
  const level = (n: number) =>
    `f${n}:\n${n === 7 ? "" : Array.from({ length: 32 }, () => `call f${n + 1}`).join("\n")}\nr0 = 1\nexit`;
  const program = [0, 1, 2, 3, 4, 5, 6, 7].map(level).join("\n");
  expect(bench.run(bench.prepare(program, "raw"), frame(1)).fault?.code).toBe("budget_exceeded");
});

test("a program too large for V8 is refused by name", () => {
  const body: Instruction = {
    kind: "byte_order",
    to: "be",
    bits: 64,
    dst: register(2),
  };
  const bench = new EngineBench(jit);
  const program = [...new Array<Instruction>(200_000).fill(body), { kind: "exit" } as const];
  const linked = unwrap(linkUnverified(spec(program), [], "raw"));
  const refused = jit(linked, bench.context);
  expect(refused).toMatchObject({
    ok: false,
    error: { code: "JIT_PROGRAM_TOO_LARGE", fix: /interpreter/ },
  });
});

test("a long program of branches to one exit, to many, and over each other compiles and runs", () => {
  const bench = new EngineBench(jit);
  const count = 20_000;
  const branch = (offset: number): Instruction => ({
    kind: "branch",
    op: "eq",
    width: 64,
    dst: register(1),
    src: { immediate: 7 },
    offset,
  });
  const exit: Instruction = { kind: "exit" };
  const toEnd = Array.from({ length: count }, (_, i) => branch(count - 1 - i));
  const overNext = Array.from({ length: count }, (_, i) => branch(Math.min(1, count - 1 - i)));
  const back = Array.from({ length: count }, (_, i) => branch(i === 0 ? 0 : -2));
  for (const program of [toEnd, overNext, back])
    expect(bench.run(bench.prepare([...program, exit], "raw"), frame(1))).toMatchObject({
      r0: 0n,
      fault: undefined,
    });
});
