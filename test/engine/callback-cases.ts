import { expect, test } from "vitest";
import { maxCallbacks } from "../../src/engine/engine.ts";
import type { MapType } from "../../src/object/object-spec.ts";
import { type EngineCase, runCases } from "./case-table.ts";
import { type EngineBench, frame, spec, unwrap } from "./engine-bench.ts";
import { linkUnverified } from "./unverified.ts";

/** bpf_loop with this many turns over `body:`, whose context is r10 - 8. */
const loop = (turns: number | string): string => `r1 = ${turns} ll
  r2 = code_addr(body) ll
  r3 = r10
  r3 += -8
  r4 = 0
  call 181
`;

/** Adds r1 + 1 to what r2 points to; goes on. */
const adding = `body:
  r3 = *(u64 *)(r2 + 0)
  r3 += r1
  r3 += 1
  *(u64 *)(r2 + 0) = r3
  r0 = 0
  exit`;

const start = "*(u64 *)(r10 - 8) = 0\n";
const sum = "r1 = *(u64 *)(r10 - 8)\nr0 <<= 32\nr0 |= r1\nexit\n";

const loopCases: readonly EngineCase[] = [
  {
    name: "bpf_loop calls back with 0, 1, 2, … and the context",
    program: `${start}${loop(10)}${sum}${adding}`,
    r0: (10n << 32n) | 55n,
  },
  {
    name: "bpf_loop of no turns calls nothing and returns 0",
    program: `${start}${loop(0)}${sum}${adding}`,
    r0: 0n,
  },
  {
    name: "a callback that returns 1 ends the loop, and its turn counts",
    program: `${start}${loop(10)}${sum}body:\nr0 = 0\nif r1 < 4 goto out\nr0 = 1\nout:\nexit`,
    r0: 5n << 32n,
  },
  {
    name: "a callback whose return is not 0 in its high word alone ends the loop",
    program: `${start}${loop(10)}${sum}body:\nr0 = 1\nr0 <<= 40\nexit`,
    r0: 1n << 32n,
  },
  {
    name: "bpf_loop with flags is -EINVAL",
    program: `r1 = 3\nr2 = code_addr(body) ll\nr3 = 0\nr4 = 1\ncall 181\nexit\nbody:\nr0 = 0\nexit`,
    r0: BigInt.asUintN(64, -22n),
  },
  {
    name: "bpf_loop with flags in the high word is -EINVAL",
    program: `r1 = 3\nr2 = code_addr(body) ll\nr3 = 0\nr4 = 0x100000000 ll\ncall 181\nexit\nbody:\nr0 = 0\nexit`,
    r0: BigInt.asUintN(64, -22n),
  },
  {
    name: "bpf_loop of more than 2^23 turns is -E2BIG",
    program: `${loop(2 ** 23 + 1)}exit\nbody:\nr0 = 1\nexit`,
    r0: BigInt.asUintN(64, -7n),
  },
  {
    name: "bpf_loop of 2^32 turns, which its u32 parameter does not hold, is none",
    program: `${loop("0x100000000")}exit\nbody:\nr0 = 1\nexit`,
    r0: 0n,
  },
  {
    name: "bpf_loop of 2^23 turns is allowed",
    program: `${loop(2 ** 23)}exit\nbody:\nr0 = 1\nexit`,
    r0: 1n,
  },
  {
    name: "a callback begins with registers of 0, and its caller's are kept",
    program: `r6 = 6\nr7 = 7\nr8 = 8\nr9 = 9\nr5 = 5\n${loop(2)}r0 += r1\nr0 += r4\nr0 += r5\nr0 += r6\nr0 += r7\nr0 += r8\nr0 += r9\nexit
      body:\nr0 |= r3\nr0 |= r4\nr0 |= r5\nr0 |= r6\nr0 |= r7\nr0 |= r8\nr0 |= r9\nr6 = 1\nr7 = 1\nr8 = 1\nr9 = 1\nr1 = 99\nr5 = 99\nexit`,
    r0: 2n + 2n + 0n + 5n + 6n + 7n + 8n + 9n,
  },
  {
    name: "each callback has a frame of its own, zeroed",
    program: `${start}${loop(3)}${sum}body:\nr3 = *(u64 *)(r10 - 16)\nr4 = *(u64 *)(r2 + 0)\nr4 += r3\nr4 += 1\n*(u64 *)(r2 + 0) = r4\n*(u64 *)(r10 - 16) = 100\nr0 = 0\nexit`,
    r0: (3n << 32n) | 3n,
  },
  {
    name: "loops nest, and inner ones see the outer's context",
    program: `${start}${loop(3)}${sum}
      body:\nr3 = r2\nr1 = 4\nr2 = code_addr(inner) ll\nr4 = 0\ncall 181\nr0 = 0\nexit
      inner:\nr3 = *(u64 *)(r2 + 0)\nr3 += 1\n*(u64 *)(r2 + 0) = r3\nr0 = 0\nexit`,
    r0: (3n << 32n) | 12n,
  },
  {
    name: "a callback may call functions, and be called as one",
    program: `${start}r1 = 100\nr2 = r10\nr2 += -8\ncall body\n${loop(2)}${sum}
      body:\nr6 = r2\nr1 += 1\ncall twice\nr3 = *(u64 *)(r6 + 0)\nr3 += r0\n*(u64 *)(r6 + 0) = r3\nr0 = 0\nexit
      twice:\nr0 = r1\nr0 += r1\nexit`,
    r0: (2n << 32n) | (202n + 2n + 4n),
  },
  {
    name: "the function that is called back may depend on the path",
    program: `r6 = 0\nouter:\nr2 = code_addr(one) ll\nif r6 == 0 goto go\nr2 = code_addr(two) ll\ngo:\nr1 = 3\nr3 = r10\nr3 += -8\nr4 = 0\ncall 181\nr6 += 1\nif r6 < 2 goto outer\nr0 = *(u64 *)(r10 - 8)\nexit
      one:\nr3 = *(u64 *)(r2 + 0)\nr3 += 1\n*(u64 *)(r2 + 0) = r3\nr0 = 0\nexit
      two:\nr3 = *(u64 *)(r2 + 0)\nr3 += 100\n*(u64 *)(r2 + 0) = r3\nr0 = 0\nexit`,
    r0: 303n,
  },
  {
    name: "a callback that is no function of the program ends the run",
    program: `r1 = 3\nr2 = 77\nr3 = 0\nr4 = 0\ncall 181\nr2 = code_addr(body) ll\nexit\nbody:\nr0 = 0\nexit`,
    fault: {
      code: "bad_argument",
      slot: 4,
      says: /^loop, argument r2: not a function of this program$/,
    },
  },
  {
    name: "a fault in a callback names its instruction",
    program: `${loop(3)}exit\nbody:\nr0 = *(u8 *)(r1 + 0)\nexit`,
    fault: { code: "bad_pointer", slot: 9, says: /null/ },
  },
  {
    name: "a helper that calls back cannot be called by a register",
    program: `r1 = 3\nr2 = code_addr(body) ll\nr3 = 0\nr4 = 0\nr6 = 181\ncallx r6\nexit\nbody:\nr0 = 0\nexit`,
    fault: { code: "bad_argument", slot: 6, says: /^loop cannot be called by a register$/ },
  },
  {
    name: "callbacks nest as deep as functions do",
    program: `${loop(1)}exit\nbody:\nr2 = code_addr(body) ll\nr1 = 1\nr3 = 0\nr4 = 0\ncall 181\nr0 = 0\nexit`,
    fault: { code: "call_depth", slot: 14, says: /more than 8/ },
  },
];

const walkOver = (flags = 0): string => `r1 = map_by_fd(0) ll
  r2 = code_addr(body) ll
  r3 = r10
  r3 += -8
  r4 = ${flags}
  call 164
`;
/** Adds the key and the value of an entry. */
const addingEntries = `body:
  r5 = *(u64 *)(r4 + 0)
  r1 = *(u32 *)(r2 + 0)
  r5 += r1
  r1 = *(u64 *)(r3 + 0)
  r5 += r1
  *(u64 *)(r4 + 0) = r5
  r0 = 0
  exit`;

function filled(bench: EngineBench, type: MapType, flags = 0) {
  const map = bench.map(type, { maxEntries: 4, flags });
  const values = bench.access(map);
  for (const key of [0, 1, 3]) {
    // CPU 1's must not be seen.
    const value = [10 * (key + 1), 200].map((n) => Uint8Array.of(n, 0, 0, 0, 0, 0, 0, 0));
    values.update(Uint8Array.of(key, 0, 0, 0), type.includes("percpu") ? value : value[0]!);
  }
  return [map];
}

const walkCases: readonly EngineCase[] = [
  ...(["hash", "lru_hash", "percpu_hash", "lru_percpu_hash"] as const).map(
    (type): EngineCase => ({
      name: `for_each_map_elem gives each entry of a ${type} once, with this CPU's value`,
      program: `${start}${walkOver()}${sum}${addingEntries}`,
      maps: (bench) => filled(bench, type),
      r0: (3n << 32n) | (4n + 70n),
    }),
  ),
  ...(["array", "percpu_array"] as const).map(
    (type): EngineCase => ({
      name: `for_each_map_elem gives each index of a ${type}`,
      program: `${start}${walkOver()}${sum}${addingEntries}`,
      maps: (bench) => filled(bench, type),
      r0: (4n << 32n) | (6n + 70n),
    }),
  ),
  {
    name: "for_each_map_elem with flags is -EINVAL",
    program: `${start}${walkOver(1)}exit\n${addingEntries}`,
    maps: (bench) => filled(bench, "hash"),
    r0: BigInt.asUintN(64, -22n),
  },
  {
    name: "a callback's 1 ends the walk, and its entry counts",
    program: `${start}${walkOver()}exit\nbody:\nr0 = 1\nexit`,
    maps: (bench) => filled(bench, "array"),
    r0: 1n,
  },
  {
    name: "a callback gets the map, and may delete the entry it is given",
    program: `${start}${walkOver()}r6 = r0\n${walkOver()}r0 <<= 8\nr0 |= r6\nexit\nbody:\ncall 3\nr0 = 0\nexit`,
    maps: (bench) => filled(bench, "hash"),
    r0: 3n,
  },
  {
    name: "a callback that updates each entry is given none twice",
    program: `${start}${walkOver()}exit\nbody:\nr6 = r1\nr5 = *(u64 *)(r3 + 0)\nr5 += 1\n*(u64 *)(r10 - 8) = r5\nr3 = r10\nr3 += -8\nr4 = 0\ncall 2\nr0 = 0\nexit`,
    maps: (bench) => filled(bench, "hash"),
    r0: 3n,
  },
  {
    name: "a value that a callback writes stays written",
    program: `${start}${walkOver()}${start}${walkOver()}r0 = *(u64 *)(r10 - 8)\nexit\nbody:\nr5 = *(u64 *)(r3 + 0)\nr1 = *(u64 *)(r4 + 0)\nr1 += r5\n*(u64 *)(r4 + 0) = r1\nr5 += 100\n*(u64 *)(r3 + 0) = r5\nr0 = 0\nexit`,
    maps: (bench) => filled(bench, "hash"),
    r0: 70n + 300n,
  },
  {
    name: "walks nest",
    program: `${start}${walkOver()}${sum}
      body:\nr3 = r4\nr2 = code_addr(inner) ll\nr4 = 0\nr6 = r1\ncall 164\nr0 = 0\nexit
      inner:\nr5 = *(u64 *)(r4 + 0)\nr1 = *(u32 *)(r2 + 0)\nr5 += r1\n*(u64 *)(r4 + 0) = r5\nr0 = 0\nexit`,
    maps: (bench) => filled(bench, "hash"),
    r0: (3n << 32n) | 12n,
  },
  {
    name: "the key that a callback is given is read-only",
    program: `${start}${walkOver()}exit\nbody:\n*(u32 *)(r2 + 0) = 1\nr0 = 0\nexit`,
    maps: (bench) => filled(bench, "hash"),
    fault: { code: "read_only", slot: 10, says: /key of a map's entry/ },
  },
  {
    name: "behind the key there is nothing to read",
    program: `${start}${walkOver()}exit\nbody:\nr0 = *(u8 *)(r2 + 4)\nr0 = 0\nexit`,
    maps: (bench) => filled(bench, "hash"),
    fault: { code: "bad_access", slot: 10, says: /no object/ },
  },
  {
    name: "after the walk its key is out of reach",
    program: `${start}${walkOver()}r1 = *(u64 *)(r10 - 8)\nr0 = *(u8 *)(r1 + 0)\nexit\nbody:\n*(u64 *)(r4 + 0) = r2\nr0 = 0\nexit`,
    maps: (bench) => filled(bench, "hash"),
    fault: { code: "bad_access", slot: 10, says: /no object/ },
  },
  {
    name: "a trie cannot be walked",
    program: `${start}${walkOver()}exit\n${addingEntries}`,
    maps: (bench) => [bench.map("lpm_trie", { keySize: 8, flags: 1 })],
    fault: { code: "bad_argument", slot: 8, says: /lpm_trie, which this helper does not take/ },
  },
];

/** bpf_loop and bpf_for_each_map_elem, whatever the engine. */
export function callbackCases(label: string, bench: EngineBench): void {
  runCases(label, bench, loopCases);
  runCases(label, bench, walkCases);
  test(`${label}: a fault in the middle of a walk leaves no key to read`, () => {
    const maps = filled(bench, "hash");
    const text = `${start}${walkOver()}exit\nbody:\n*(u64 *)(r4 + 0) = r2\nr0 = *(u8 *)(r2 + 100)\nexit`;
    const failed = bench.run(bench.prepare(text, "raw", maps), frame(64));
    expect(failed.fault?.message).toMatch(/0x/);
    const address = Number.parseInt(/at 0x([0-9a-f]+)/.exec(failed.fault!.message)![1]!, 16) - 100;
    const reading = `r1 = ${address} ll\nr0 = *(u8 *)(r1 + 0)\nexit`;
    expect(bench.run(bench.prepare(reading, "raw", maps), frame(64)).fault?.code).toBe(
      "bad_access",
    );
  });
  test(`${label}: a record that was reserved before a loop is the program's until it submits it`, () => {
    const ring = bench.map("ringbuf", { keySize: 0, valueSize: 0, maxEntries: 4096 });
    const text = `r1 = map_by_fd(0) ll\nr2 = 8\nr3 = 0\ncall 131\nr6 = r0\n${loop(2)}*(u64 *)(r6 + 0) = 7\nr1 = r6\nr2 = 0\ncall 132\nr0 = 1\nexit\nbody:\nr0 = 0\nexit`;
    const run = bench.run(bench.prepare(text, "raw", [ring]), frame(1));
    expect(run).toMatchObject({ r0: 1n, fault: undefined });
    expect(bench.context.runtime.nextRecord(ring.descriptor, 0)).not.toBe(0);
  });
  test(`${label}: callbacks have one budget in a run, over all its loops`, () => {
    const over = `${loop(1)}${loop(2 ** 23)}r0 = 1\nexit\nbody:\nr0 = 0\nexit`;
    const linked = unwrap(linkUnverified(spec(over), [], "raw"));
    const run = bench.run(bench.prepareLinked({ ...linked, verified: true }), frame(1));
    expect(run.fault).toMatchObject({ code: "budget_exceeded" });
    if (run.fault!.slot === 15) expect(run.fault!.message).toContain(`${maxCallbacks}`);
  });
}
