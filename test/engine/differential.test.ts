import { expect, test } from "vitest";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import type { VerifiableProgram } from "../../src/verifier/program.ts";
import { verify } from "../../src/verifier/verify.ts";
import { Random } from "../packet/random.ts";
import { typed } from "../verifier/function-types.ts";
import { randomCallbacks } from "../verifier/random-callbacks.ts";
import { randomCounting } from "../verifier/random-counting.ts";
import { randomGlobals } from "../verifier/random-globals.ts";
import { fuzzMapSpecs, randomProgram } from "../verifier/random-program.ts";
import { edgyBytes } from "./arithmetic-program.ts";
import { type CaseMaps, caseMaps } from "./case-maps.ts";
import { assembled } from "./engine-bench.ts";
import { EnginePair, type PairedCase, save, shown, shrink } from "./engine-pair.ts";
import { flowProgram } from "./flow-program.ts";
import { hostileProgram } from "./hostile-program.ts";
import { structuredProgram, structuredTargets } from "./structured-program.ts";

/** Runs `count` random programs in both engines; saves the smallest that differs, and fails. */
function compareEngines(
  count: number,
  firstSeed: number,
  maps: CaseMaps,
  makeCase: (random: Random, seed: number) => PairedCase,
): ReadonlyMap<string, number> {
  const pair = new EnginePair(caseMaps[maps]);
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const one = makeCase(new Random(seed), seed);
    const difference = pair.difference(one);
    if (difference === undefined) continue;
    const smallest = shrink(one, (smaller) => pair.differs(smaller));
    const name = `found-${seed}.asm`;
    save(name, maps, smallest);
    expect.fail(
      `seed ${seed}: ${difference}\nSmallest, saved as cases/${name}: ${pair.difference(smallest)}\n${shown(smallest)}`,
    );
  }
  return pair.seen;
}

test("6,000 programs that keep the verifier's rules do the same in both engines", () => {
  const seen = compareEngines(6000, 1, "structured", (random) => ({
    program: structuredProgram(random),
    type: "xdp",
    packet: edgyBytes(random),
  }));
  expect([...seen.keys()]).toEqual(["none"]);
}, 240_000);

test("the same kind of programs does the same without the JIT's checks", () => {
  compareEngines(4000, 1_000_000, "structured", (random) => ({
    program: structuredProgram(random),
    type: "xdp",
    packet: edgyBytes(random),
    verified: true,
  }));
}, 240_000);

test("2,000 programs do the same with what the verifier has proven of them", () => {
  compareEngines(2000, 4_000_000, "structured", (random) => ({
    program: structuredProgram(random, { forKernel: true }),
    type: "xdp",
    packet: edgyBytes(random),
    verified: true,
    proven: true,
  }));
}, 240_000);

for (const proven of [false, true])
  test(`${proven ? 100 : 1000} programs that tail-call each other, seven functions deep, do the same ${proven ? "with what is proven of them" : "with and without checks"}`, () => {
    compareEngines(
      proven ? 100 : 1000,
      proven ? 6_000_000 : 5_000_000,
      "tail_calls",
      (random, seed) => {
        const shape = { tailCalls: true, deep: true, provable: proven };
        return {
          program: structuredProgram(random, shape),
          targets: Array.from({ length: structuredTargets }, () =>
            structuredProgram(random, shape),
          ),
          type: "xdp",
          packet: edgyBytes(random),
          verified: proven || seed % 2 === 0,
          proven,
        };
      },
    );
  }, 240_000);

test("800 programs of global functions do the same with what the verifier has proven of them", () => {
  const seen = compareEngines(800, 5_000_000, "globals", (random) => ({
    ...acceptedGlobals(random),
    type: "xdp",
    packet: edgyBytes(random),
    verified: true,
    proven: true,
  }));
  expect(seen.get("none")).toBeGreaterThan(500);
}, 240_000);

/** A program that the verifier accepts, after some that it does not. */
function acceptedGlobals(random: Random): Pick<PairedCase, "program" | "globals"> {
  for (;;) {
    const { instructions, globals } = randomGlobals(random);
    if (verify(typed(fuzzed(instructions), globals), helpers).ok)
      return { program: instructions, globals };
  }
}

test("1,000 programs with helpers, callbacks and counted loops do the same with what the verifier has proven of them", () => {
  const plain = (random: Random) => randomProgram(random, "xdp");
  const callbacks = (random: Random) => assembled(randomCallbacks(random));
  const counting = (random: Random) => assembled(randomCounting(random));
  const seen = compareEngines(1000, 7_000_000, "globals", (random, seed) => ({
    // Loops in loops run long.
    program: accepted(random, seed % 20 === 0 ? callbacks : seed % 20 === 1 ? counting : plain),
    type: "xdp",
    packet: edgyBytes(random),
    verified: true,
    proven: true,
  }));
  expect(seen.get("none")).toBeGreaterThan(800);
}, 240_000);

/** A program that the verifier accepts, without much ado, after some that it does not. */
function accepted(random: Random, write: (random: Random) => Instruction[]): Instruction[] {
  for (;;) {
    const program = write(random);
    if (verify(fuzzed(program), helpers, { maxVisited: 50_000 }).ok) return program;
  }
}

function fuzzed(instructions: readonly Instruction[]): VerifiableProgram {
  const maps = fuzzMapSpecs.map((map) => ({ ...map, flags: 0, readOnly: false }));
  return {
    object: "test",
    name: "test",
    type: "xdp",
    instructions,
    maps,
    functions: [],
    lines: [],
  };
}

test("5,000 programs that jump anywhere go the same way in both engines", () => {
  const seen = compareEngines(5000, 2_000_000, "none", (random, seed) => ({
    program: flowProgram(random),
    type: "raw",
    packet: random.bytes(16),
    verified: seed % 2 === 0,
  }));
  expect([...seen.keys()]).toEqual(["none"]);
}, 240_000);

test("3,000 hostile programs fail at the same instruction for the same reason in both engines", () => {
  const seen = compareEngines(3000, 3_000_000, "hostile", (random, seed) => {
    const type = (["xdp", "raw", "socket"] as const)[seed % 3]!;
    return {
      program: hostileProgram(random, type),
      type,
      packet: random.bytes(14 + random.below(100)),
    };
  });
  for (const fault of ["none", "bad_access", "bad_pointer", "bad_argument", "read_only"])
    expect(seen.get(fault), fault).toBeGreaterThan(10);
}, 240_000);

test("what is saved of a difference is the instructions that make it", () => {
  const packet = new Uint8Array(14);
  const program = assembled("r0 = 7\nr2 = 5 ll\nr2 += 1\nr0 *= 3\nif r2 > 4 goto +0\nexit");
  const multiplies = (one: PairedCase) => one.program.some(isMultiplication);
  const smallest = shrink({ program, type: "xdp", packet }, multiplies);
  const left = smallest.program.filter(({ kind }) => kind !== "jump");
  expect(left.map(({ kind }) => kind)).toEqual(["alu", "exit"]);
  expect(isMultiplication(left[0]!)).toBe(true);
});

function isMultiplication(instruction: Instruction): boolean {
  return instruction.kind === "alu" && instruction.op === "mul";
}
