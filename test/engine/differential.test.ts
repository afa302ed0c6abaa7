import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Random } from "../packet/random.ts";
import { edgyBytes } from "./arithmetic-program.ts";
import { type CaseMaps, caseMaps } from "./case-maps.ts";
import { EnginePair, type PairedCase, shown, shrink } from "./engine-pair.ts";
import { flowProgram } from "./flow-program.ts";
import { hostileProgram } from "./hostile-program.ts";
import { structuredProgram } from "./structured-program.ts";

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
    const smallest = shrink(one, pair);
    const name = `found-${seed}.asm`;
    writeFileSync(
      new URL(`cases/${name}`, import.meta.url),
      `; maps ${maps}\n${shown(smallest)}\n`,
    );
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
    program: structuredProgram(random, true),
    type: "xdp",
    packet: edgyBytes(random),
    verified: true,
    proven: true,
  }));
}, 240_000);

test("3,000 programs that jump anywhere go the same way in both engines", () => {
  const seen = compareEngines(3000, 2_000_000, "none", (random, seed) => ({
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
