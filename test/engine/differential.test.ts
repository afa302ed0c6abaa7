import { expect, test } from "vitest";
import { Random } from "../packet/random.ts";
import { edgyBytes } from "./arithmetic-program.ts";
import type { EngineBench } from "./engine-bench.ts";
import { fuzzMaps } from "./engine-fuzz.ts";
import { EnginePair, type PairedCase, shown, shrink } from "./engine-pair.ts";
import { flowProgram } from "./flow-program.ts";
import { hostileProgram } from "./hostile-program.ts";
import { structuredMaps, structuredProgram } from "./structured-program.ts";

/** Runs `count` random programs in both engines; fails with the smallest that differs. */
function compareEngines(
  count: number,
  firstSeed: number,
  makePair: () => EnginePair,
  makeCase: (random: Random, seed: number) => PairedCase,
): ReadonlyMap<string, number> {
  const pair = makePair();
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const one = makeCase(new Random(seed), seed);
    const difference = pair.difference(one);
    if (difference === undefined) continue;
    const smallest = shrink(one, pair);
    expect.fail(
      `seed ${seed}: ${difference}\nSmallest: ${pair.difference(smallest)}\n${shown(smallest)}`,
    );
  }
  return pair.seen;
}

function makeStructuredMaps(bench: EngineBench) {
  return structuredMaps.map((type, i) => {
    const global = i === structuredMaps.length - 1;
    return bench.map(type, {
      name: `${type}${i}`,
      ...(type === "lpm_trie" ? { keySize: 8, flags: 1 } : {}),
      ...(global ? { maxEntries: 1, valueSize: 32 } : {}),
    });
  });
}

const structuredPair = () => new EnginePair(makeStructuredMaps);

test("6,000 programs that keep the verifier's rules do the same in both engines", () => {
  const seen = compareEngines(6000, 1, structuredPair, (random) => ({
    program: structuredProgram(random),
    type: "xdp",
    packet: edgyBytes(random),
  }));
  expect([...seen.keys()]).toEqual(["none"]);
}, 60_000);

test("the same kind of programs does the same without the JIT's checks", () => {
  compareEngines(4000, 1_000_000, structuredPair, (random) => ({
    program: structuredProgram(random),
    type: "xdp",
    packet: edgyBytes(random),
    verified: true,
  }));
}, 60_000);

test("2,000 programs do the same with what the verifier has proven of them", () => {
  compareEngines(2000, 4_000_000, structuredPair, (random) => ({
    program: structuredProgram(random, true),
    type: "xdp",
    packet: edgyBytes(random),
    verified: true,
    proven: true,
  }));
}, 60_000);

test("3,000 programs that jump anywhere go the same way in both engines", () => {
  const seen = compareEngines(
    3000,
    2_000_000,
    () => new EnginePair(),
    (random, seed) => ({
      program: flowProgram(random),
      type: "raw",
      packet: random.bytes(16),
      verified: seed % 2 === 0,
    }),
  );
  expect([...seen.keys()]).toEqual(["none"]);
}, 60_000);

test("3,000 hostile programs fail at the same instruction for the same reason in both engines", () => {
  const seen = compareEngines(
    3000,
    3_000_000,
    () => new EnginePair(fuzzMaps),
    (random, seed) => {
      const type = (["xdp", "raw", "socket"] as const)[seed % 3]!;
      return {
        program: hostileProgram(random, type),
        type,
        packet: random.bytes(14 + random.below(100)),
      };
    },
  );
  for (const fault of ["none", "bad_access", "bad_pointer", "bad_argument", "read_only"])
    expect(seen.get(fault), fault).toBeGreaterThan(10);
}, 60_000);
