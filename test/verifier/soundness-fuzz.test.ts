import { expect, test } from "vitest";
import type { Executable } from "../../src/engine/engine.ts";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { interpreter, observedInterpreter } from "../../src/engine/interpreter/interpreter.ts";
import { disassembleProgram } from "../../src/isa/disassembler.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import type { VerifiableProgram, VerifiedMap } from "../../src/verifier/program.ts";
import { forbiddenInstruction } from "../../src/verifier/structure.ts";
import { given } from "../../src/verifier/verified.ts";
import { verify } from "../../src/verifier/verify.ts";
import { assembled, EngineBench, spec, unwrap } from "../engine/engine-bench.ts";
import { linkUnverified } from "../engine/unverified.ts";
import { Random } from "../packet/random.ts";
import { typed } from "./function-types.ts";
import { randomCallbacks } from "./random-callbacks.ts";
import { randomCounting } from "./random-counting.ts";
import { randomGlobals } from "./random-globals.ts";
import { leavingTargets, randomLeaving } from "./random-leaving.ts";
import { fuzzMapSpecs, mutated, randomProgram } from "./random-program.ts";

/** WEIR_FUZZ_PROGRAMS asks for more than CI has time for; the seed then makes the run another. */
const programCount = Number(process.env.WEIR_FUZZ_PROGRAMS ?? 200);
const seed = Number(process.env.WEIR_FUZZ_SEED ?? 5);
const inputsEach = 1000;
/** A run of loops in loops is long. */
const callbackInputs = Number(process.env.WEIR_FUZZ_CALLBACK_INPUTS ?? 20);
/** Enough for what is written here, and little enough for many programs. */
const shortly = { maxVisited: 50_000 };

function fuzzed(
  type: ProgramType,
  instructions: readonly Instruction[],
  maps: readonly VerifiedMap[],
): VerifiableProgram {
  return { object: "fuzz", name: "fuzz", type, instructions, maps, functions: [], lines: [] };
}

/**
 * The interpreter checks every access against the object it points into. What the verifier has
 * accepted must give it nothing to find.
 */
test(`no accepted program breaks a rule when it runs (${programCount} programs, ${inputsEach} inputs each)`, () => {
  const random = new Random(seed);
  const bench = new EngineBench(interpreter);
  const maps = fuzzMapSpecs.map((spec) => bench.map(spec.type, spec));
  let accepted = 0;
  let runs = 0;
  const violations: string[] = [];
  for (let i = 0; i < programCount; i++) {
    const type = i % 4 === 3 ? "socket" : "xdp";
    const plain = randomProgram(random, type);
    const program = i % 3 === 0 ? mutated(random, plain) : plain;
    if (program === undefined) continue;
    const verdict = verify(fuzzed(type, program, maps), helpers, shortly);
    // An engine takes no program that holds what its type may not call, reached or not.
    if (!verdict.ok || !runsHere(program, type)) continue;
    accepted++;
    const executable = bench.prepare(program, type, maps);
    for (let n = 0; n < inputsEach; n++) {
      scramble(bench, maps, random);
      const run = bench.run(executable, packet(random));
      runs++;
      if (run.fault === undefined || run.fault.code === "budget_exceeded") continue;
      violations.push(`${run.fault.message} at ${run.fault.slot}:\n${disassembleProgram(program)}`);
      break;
    }
    bench.traced.length = 0;
  }
  expect(violations).toEqual([]);
  expect(accepted).toBeGreaterThan(programCount / 3);
  expect(runs).toBe(accepted * inputsEach);
  if (process.env.WEIR_FUZZ_PROGRAMS !== undefined)
    console.log(`${programCount} programs, ${accepted} accepted, ${runs} runs, no violation`);
}, 3_600_000);

test(`what is told to be an address has a high word of 0 whenever it is computed (${programCount} programs)`, () => {
  const random = new Random(seed + 2);
  let givenBy: Uint8Array = new Uint8Array(0);
  let program: readonly Instruction[] = [];
  let before = -1;
  let addresses = 0;
  const violations = new Set<string>();
  const watching = observedInterpreter((slot, registers) => {
    if (before >= 0 && givenBy[before] === given.address) {
      addresses++;
      const { dst } = program[before] as { dst: number };
      if (registers[2 * dst + 1] !== 0)
        violations.add(`r${dst} at ${before}:\n${disassembleProgram(program)}`);
    }
    before = slot;
  });
  const bench = new EngineBench(watching);
  const maps = fuzzMapSpecs.map((spec) => bench.map(spec.type, spec));
  for (let i = 0; i < programCount; i++) {
    program = randomProgram(random, "xdp");
    const verdict = verify(fuzzed("xdp", program, maps), helpers, shortly);
    if (!verdict.ok) continue;
    ({ givenBy } = verdict.value);
    const executable = bench.prepare(program, "xdp", maps);
    for (let n = 0; n < 20; n++) {
      scramble(bench, maps, random);
      before = -1;
      bench.run(executable, packet(random));
    }
  }
  expect([...violations]).toEqual([]);
  expect(addresses).toBeGreaterThan(1000);
}, 600_000);

const callbackWriters = [
  {
    what: "with callbacks",
    write: randomCallbacks,
    ends: ["STACK_BOUNDS", "CALLBACK"],
    leastAccepted: 1 / 3,
  },
  {
    what: "that counts in callbacks",
    write: randomCounting,
    ends: ["STACK_BOUNDS", "MAP_VALUE_BOUNDS", "PACKET_BOUNDS"],
    leastAccepted: 1 / 8,
  },
];

/**
 * What a function was given may be of any object, and at any place in it: the interpreter, which checks
 * what is proven too, finds each access within some object.
 */
test(`no accepted program of global functions breaks a rule when it runs (${programCount} programs, ${callbackInputs} inputs each)`, () => {
  const random = new Random(seed + 3);
  const bench = new EngineBench(interpreter, undefined, () => random.below(2 ** 32));
  const maps = fuzzMapSpecs.map((spec) => bench.map(spec.type, spec));
  const endedAs = new Map<string, number>();
  const violations: string[] = [];
  for (let i = 0; i < programCount; i++) {
    const { instructions, globals } = randomGlobals(random);
    const verdict = verify(typed(fuzzed("xdp", instructions, maps), globals), helpers);
    const end = verdict.ok ? "accepted" : verdict.error.code;
    endedAs.set(end, (endedAs.get(end) ?? 0) + 1);
    if (!verdict.ok) continue;
    const linked = unwrap(linkUnverified(spec(instructions), maps, "xdp"));
    const executable = bench.prepareLinked({ ...linked, verified: true, proof: verdict.value });
    for (let n = 0; n < callbackInputs; n++) {
      scramble(bench, maps, random);
      const { fault } = bench.run(executable, packet(random));
      if (fault === undefined || fault.code === "misaligned_atomic") continue;
      violations.push(`${fault.message} at ${fault.slot}:\n${disassembleProgram(instructions)}`);
      break;
    }
  }
  expect(violations).toEqual([]);
  expect(endedAs.get("accepted")).toBeGreaterThan(programCount / 4);
  expect([...endedAs.keys()]).toEqual(
    expect.arrayContaining(["FUNCTION_ARGUMENT", "MEMORY_BOUNDS", "MAYBE_NULL"]),
  );
  if (process.env.WEIR_FUZZ_PROGRAMS !== undefined) console.log("global functions", endedAs);
}, 3_600_000);

for (const { what, write, ends, leastAccepted } of callbackWriters)
  test(`no accepted program ${what} breaks a rule when it runs (${programCount} programs, ${callbackInputs} inputs each)`, () => {
    const random = new Random(seed + 1);
    // What the helper for random numbers gives is the input of most.
    const bench = new EngineBench(interpreter, undefined, () => random.below(2 ** 32));
    const maps = fuzzMapSpecs.map((spec) => bench.map(spec.type, spec));
    const endedAs = new Map<string, number>();
    const violations: string[] = [];
    for (let i = 0; i < programCount; i++) {
      const text = write(random);
      const program = assembled(text);
      const verdict = verify(fuzzed("xdp", program, maps), helpers, shortly);
      const end = verdict.ok ? "accepted" : verdict.error.code;
      endedAs.set(end, (endedAs.get(end) ?? 0) + 1);
      if (!verdict.ok) continue;
      const executable = bench.prepare(program, "xdp", maps);
      for (let n = 0; n < callbackInputs; n++) {
        const { fault } = bench.run(executable, packet(random));
        if (fault === undefined || fault.code === "budget_exceeded") continue;
        violations.push(`${fault.message} at ${fault.slot}:\n${text}`);
        break;
      }
    }
    expect(violations).toEqual([]);
    expect(endedAs.get("accepted")).toBeGreaterThan(programCount * leastAccepted);
    expect([...endedAs.keys()]).toEqual(expect.arrayContaining(ends));
    if (process.env.WEIR_FUZZ_PROGRAMS !== undefined) console.log(what, endedAs);
  }, 3_600_000);

/**
 * What a tail call leads to returns to the caller of the function that makes it, and so does a packet load
 * that fails, from places in the function where it does not exit.
 */
for (const type of ["xdp", "socket"] as const)
  test(`no accepted ${type} program whose functions are left without an exit breaks a rule when it runs (${programCount} programs, ${callbackInputs} inputs each)`, () => {
    const random = new Random(seed + 4);
    const bench = new EngineBench(interpreter, undefined, () => random.below(2 ** 32));
    const programs: Executable[] = [];
    Object.assign(bench.context, { programs });
    const array = { name: "programs", keySize: 4, valueSize: 4, maxEntries: 4 };
    const maps = [
      ...fuzzMapSpecs.map((spec) => bench.map(spec.type, spec)),
      bench.map("prog_array", array),
    ];
    for (const [i, text] of leavingTargets[type].entries()) {
      programs.push(bench.prepare(text, type, maps));
      const number = Uint8Array.of(i + 1, 0, 0, 0);
      expect(bench.access(maps[3]!).update(number, number)).toBe(0);
    }
    const endedAs = new Map<string, number>();
    const violations: string[] = [];
    for (let i = 0; i < programCount; i++) {
      const text = randomLeaving(random, type);
      const instructions = assembled(text);
      const verdict = verify(typed(fuzzed(type, instructions, maps)), helpers);
      const end = verdict.ok ? "accepted" : verdict.error.code;
      endedAs.set(end, (endedAs.get(end) ?? 0) + 1);
      if (!verdict.ok) continue;
      const executable = bench.prepare(instructions, type, maps);
      for (let n = 0; n < callbackInputs; n++) {
        const { fault } = bench.run(executable, packet(random));
        if (fault === undefined) continue;
        violations.push(`${fault.message} at ${fault.slot}:\n${text}`);
        break;
      }
    }
    expect(violations).toEqual([]);
    expect(endedAs.get("accepted")).toBeGreaterThan(programCount / 8);
    const ends = type === "xdp" ? ["NOT_A_POINTER", "PACKET_BOUNDS"] : [];
    expect([...endedAs.keys()]).toEqual(
      expect.arrayContaining(["POINTER_OFFSET", "STACK_BOUNDS", ...ends]),
    );
    if (process.env.WEIR_FUZZ_PROGRAMS !== undefined) console.log("left early", type, endedAs);
  }, 3_600_000);

function runsHere(program: readonly Instruction[], type: "xdp" | "socket"): boolean {
  return program.every((one) => forbiddenInstruction(type, one, helpers) === undefined);
}

/** Maps hold anything; keys that programs ask for are mostly there. */
function scramble(bench: EngineBench, maps: readonly MapHandle[], random: Random): void {
  const [array, hash, globals] = maps as [MapHandle, MapHandle, MapHandle];
  const key = (size: number, value: number): Uint8Array => {
    const bytes = new Uint8Array(size);
    bytes[0] = value;
    return bytes;
  };
  bench.access(array).update(key(4, random.below(4)), edgy(random, 16));
  bench.access(globals).update(key(4, 0), edgy(random, 64));
  for (let n = 0; n < 3; n++) bench.access(hash).update(key(8, random.below(5)), edgy(random, 32));
}

/** Random bytes, or those around which ranges end. */
function edgy(random: Random, length: number): Uint8Array {
  const fill = [0, 1, 0x7f, 0x80, 0xff, undefined, undefined][random.below(7)];
  return fill === undefined ? random.bytes(length) : new Uint8Array(length).fill(fill);
}

function packet(random: Random): Uint8Array {
  return edgy(random, 14 + random.below(random.below(2) === 0 ? 60 : 300));
}
