import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import { createMap } from "../../src/maps/create-map.ts";
import type { MapAccess } from "../../src/maps/map-access.ts";
import { type MapSpec, type MapType, mapTypes } from "../../src/object/object-spec.ts";
import { seeded } from "../maps/numbers.ts";
import { mapSpec, openArena, openMap } from "../maps/open-map.ts";
import { needing } from "../support/needing.ts";

const test = needing("root", "cc", "kernel bpf()");
const cpus = possibleCpus();
let folder = "";
let judge = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-kernel-maps-"));
  judge = join(folder, "kernel-maps");
  const source = fileURLToPath(new URL("./kernel-maps.c", import.meta.url));
  // Where there is no compiler the tests below are skipped by that name.
  spawnSync("cc", ["-O1", "-Wall", "-Werror", "-o", judge, source], { stdio: "inherit" });
});

afterAll(() => rmSync(folder, { recursive: true }));

/** One operation: its line for the kernel's side, and the same on ours. */
interface Operation {
  readonly line: string;
  readonly run: (map: MapAccess) => string;
}

const everything = { keys: 24, operations: 600 };

for (const { type, keySize, valueSize, maxEntries } of [
  { type: "array", keySize: 4, valueSize: 8, maxEntries: 9 },
  { type: "array", keySize: 4, valueSize: 13, maxEntries: 16 },
  { type: "percpu_array", keySize: 4, valueSize: 12, maxEntries: 9 },
  { type: "hash", keySize: 4, valueSize: 8, maxEntries: 12 },
  { type: "hash", keySize: 8, valueSize: 3, maxEntries: 1 },
  { type: "hash", keySize: 16, valueSize: 24, maxEntries: 12 },
  { type: "hash", keySize: 21, valueSize: 4, maxEntries: 12 },
  { type: "percpu_hash", keySize: 4, valueSize: 8, maxEntries: 12 },
  { type: "percpu_hash", keySize: 7, valueSize: 5, maxEntries: 12 },
  // Roomy: which entry goes when an LRU map is full is not the kernel's promise either.
  { type: "lru_hash", keySize: 4, valueSize: 8, maxEntries: 4096 },
  { type: "lru_percpu_hash", keySize: 16, valueSize: 8, maxEntries: 4096 },
  { type: "lpm_trie", keySize: 8, valueSize: 8, maxEntries: 20 },
  { type: "lpm_trie", keySize: 20, valueSize: 4, maxEntries: 20 },
  { type: "lpm_trie", keySize: 7, valueSize: 1, maxEntries: 20 },
  { type: "lpm_trie", keySize: 5, valueSize: 1, maxEntries: 300 },
  { type: "devmap", keySize: 4, valueSize: 4, maxEntries: 9 },
  { type: "devmap", keySize: 4, valueSize: 8, maxEntries: 9 },
  { type: "devmap_hash", keySize: 4, valueSize: 4, maxEntries: 9 },
  { type: "devmap_hash", keySize: 4, valueSize: 8, maxEntries: 9 },
  { type: "prog_array", keySize: 4, valueSize: 4, maxEntries: 9 },
  { type: "cpumap", keySize: 4, valueSize: 4, maxEntries: 9 },
  { type: "cpumap", keySize: 4, valueSize: 8, maxEntries: 1 },
] as const)
  test(`${type} with keys of ${keySize} and values of ${valueSize} bytes does as the kernel's`, () => {
    for (let seed = 1; seed <= 8; seed++) {
      const spec = mapSpec(type, keySize, valueSize, maxEntries);
      const operations = randomOperations(spec, seed);
      const answers = askKernel(spec, operations);
      const { access } = openMap(spec, cpus);
      for (const [i, { line, run }] of operations.entries())
        expect(`${line} → ${run(access)}`, `seed ${seed}, operation ${i}`).toBe(
          `${line} → ${withoutPadding(answers.results[i] as string, spec, line)}`,
        );
      expect(contents(access), `seed ${seed}`).toEqual(answers.contents);
    }
  });

for (const { type, valueSize, maxEntries, extra } of [
  { type: "queue", valueSize: 8, maxEntries: 5 },
  { type: "queue", valueSize: 13, maxEntries: 1 },
  { type: "stack", valueSize: 4, maxEntries: 5 },
  { type: "stack", valueSize: 3, maxEntries: 64 },
  { type: "bloom_filter", valueSize: 8, maxEntries: 40 },
  { type: "bloom_filter", valueSize: 12, maxEntries: 300, extra: 1 },
  { type: "bloom_filter", valueSize: 13, maxEntries: 40, extra: 15 },
  { type: "bloom_filter", valueSize: 3, maxEntries: 1, extra: 2 },
] as const satisfies readonly KeylessMap[])
  test(`${type} with values of ${valueSize} bytes and map_extra ${extra ?? 0} does as the kernel's`, () => {
    for (let seed = 1; seed <= 8; seed++) {
      // With a seed of 0 even what a bloom filter takes for another is the same.
      const flags = type === "bloom_filter" ? 64 : 0;
      const spec = mapSpec(type, 0, valueSize, maxEntries, { flags, extra });
      const operations = keylessOperations(spec, seed);
      const lines = [createLine(spec), ...operations.map(({ line }) => line)];
      const [, created, ...results] = runJudge(`${lines.join("\n")}\n`);
      expect(created).toBe("0");
      const { access } = openMap(spec, cpus);
      for (const [i, { line, run }] of operations.entries())
        expect(`${line} → ${run(access)}`, `seed ${seed}, operation ${i}`).toBe(
          `${line} → ${results[i]!.trim()}`,
        );
    }
  });

interface KeylessMap {
  readonly type: MapType;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly extra?: number;
}

function keylessOperations(spec: MapSpec, seed: number): readonly Operation[] {
  const random = seeded(seed * 104_729 + mapTypes[spec.type]);
  const noKey = new Uint8Array(0);
  const shown = (value: Uint8Array | undefined): string =>
    value === undefined ? "-2" : `0 ${toHex(value)}`;
  return Array.from({ length: everything.operations }, (): Operation => {
    const value = new Uint8Array(spec.valueSize);
    for (let i = 0; i < value.length; i++) value[i] = i < 2 ? random(12) : 0;
    const kind = random(4);
    if (kind < 2) {
      const flags = randomFlags(random);
      return {
        line: `update - ${toHex(value)} ${flags}`,
        run: (map) => String(map.update(noKey, value, flags)),
      };
    }
    if (spec.type === "bloom_filter")
      return { line: `holds ${toHex(value)}`, run: (map) => (map.mayHold(value) ? "0" : "-2") };
    return kind === 2
      ? { line: "pop", run: (map) => shown(map.pop()) }
      : { line: "lookup -", run: (map) => shown(map.lookup(noKey)?.[0]) };
  });
}

test("maps are created or refused as the kernel does", () => {
  const specs = creations();
  const input = specs.map((spec) => createLine(spec)).join("\n");
  const results = runJudge(`${input}\n`).slice(1);
  expect(results).toHaveLength(specs.length);
  const { arena, runtime } = openArena(2 ** 28);
  const ours = specs.map(
    (spec) => `${createLine(spec)}: ${createMap(spec, arena, runtime, cpus).ok}`,
  );
  expect(ours).toEqual(specs.map((spec, i) => `${createLine(spec)}: ${results[i] === "0"}`));
});

function creations(): readonly MapSpec[] {
  const types: readonly MapType[] = [
    "array",
    "percpu_array",
    "hash",
    "percpu_hash",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "prog_array",
    "devmap",
    "devmap_hash",
    "cpumap",
    "xskmap",
    "queue",
    "stack",
    "bloom_filter",
    "perf_event_array",
  ];
  const specs: MapSpec[] = [];
  for (const type of types) {
    const base = type === "lpm_trie" ? 1 : 0;
    // Without a number libbpf gives a perf_event_array one; the kernel would refuse it.
    for (const keySize of [0, 1, 3, 4, 5, 8, 16, 260, 261])
      for (const valueSize of [0, 1, 4, 5, 8, 12])
        for (const maxEntries of type === "perf_event_array" ? [1, 3] : [0, 1, 3])
          specs.push(mapSpec(type, keySize, valueSize, maxEntries, { flags: base }));
    // Flags beyond 1 << 12 need a token, a BTF object or a VMA: they change what is asked for.
    for (let bit = 0; bit <= 12; bit++)
      // Key and value sizes that the type takes; BPF_F_NUMA_NODE names node 0.
      for (const more of [0, base])
        specs.push(mapSpec(type, type === "lpm_trie" ? 8 : 4, 4, 2, { flags: (1 << bit) | more }));
    for (const flags of [8 | 16, 128 | 256])
      specs.push(mapSpec(type, type === "lpm_trie" ? 8 : 4, 4, 2, { flags: flags | base }));
    specs.push(mapSpec(type, type === "lpm_trie" ? 8 : 4, 32_768, 1, { flags: base }));
    specs.push(mapSpec(type, type === "lpm_trie" ? 8 : 4, 32_769, 1, { flags: base }));
  }
  for (const maxEntries of [0, 1, 2048, 4095, 4096, 8192, 12_288, 2 ** 20])
    for (const [keySize, valueSize] of [
      [0, 0],
      [4, 0],
      [0, 4],
    ] as const)
      specs.push(mapSpec("ringbuf", keySize, valueSize, maxEntries));
  for (let bit = 0; bit <= 12; bit++)
    specs.push(mapSpec("ringbuf", 0, 0, 4096, { flags: 1 << bit }));
  for (const type of ["queue", "stack", "bloom_filter"] as const)
    for (let bit = 0; bit <= 12; bit++) specs.push(mapSpec(type, 0, 4, 2, { flags: 1 << bit }));
  for (const type of ["hash", "bloom_filter", "queue"] as const)
    for (const extra of [1, 15, 16])
      specs.push(mapSpec(type, type === "hash" ? 4 : 0, 4, 2, { extra }));
  return specs;
}

function randomOperations(spec: MapSpec, seed: number): readonly Operation[] {
  const random = seeded(seed * 7919 + mapTypes[spec.type]);
  const operations: Operation[] = [];
  // The order in hashes is each implementation's own.
  const hasOrder =
    spec.type.includes("array") || ["lpm_trie", "devmap", "cpumap"].includes(spec.type);
  for (let i = 0; i < everything.operations; i++) {
    const key = randomKey(spec, random);
    const kind = random(hasOrder ? 10 : 9);
    if (kind < 5) operations.push(updateOf(key, randomValue(spec, random), randomFlags(random)));
    else if (kind < 7) operations.push(lookupOf(key));
    else if (kind < 9) operations.push(removeOf(key));
    else operations.push(nextOf(random(8) === 0 ? undefined : key));
  }
  return operations;
}

function randomFlags(random: (below: number) => number): number {
  return [0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 64][random(12)] as number;
}

function randomKey(spec: MapSpec, random: (below: number) => number): Uint8Array {
  const key = new Uint8Array(spec.keySize);
  if (spec.type !== "lpm_trie") {
    key[0] = random(everything.keys);
    if (spec.keySize > 4) key[spec.keySize - 1] = key[0] % 3;
    if (random(20) === 0) key[3] = 0xff;
    return key;
  }
  const bits = (spec.keySize - 4) * 8;
  // One in twenty is too long; few distinct bits, so that prefixes nest and fork.
  key[0] = random(20) === 0 ? bits + 1 : random(bits + 1);
  for (let i = 4; i < spec.keySize; i++) key[i] = random(3) === 0 ? 1 << random(8) : 0;
  return key;
}

function randomValue(spec: MapSpec, random: (below: number) => number): Uint8Array[] {
  const values: Uint8Array[] = [];
  for (let cpu = 0; cpu < (spec.type.includes("percpu") ? cpus : 1); cpu++) {
    const value = new Uint8Array(spec.valueSize);
    for (let i = 0; i < value.length; i++) value[i] = random(256);
    if (spec.type.startsWith("devmap")) {
      // Interface 0 or the loopback; a program that is none, or absent. Others depend on the host.
      value.fill(0);
      value[0] = random(4) === 0 ? 0 : loopback();
      if (spec.valueSize === 8 && random(3) === 0) value.fill(0xff, 4);
    }
    if (spec.type === "cpumap") {
      // Queues of 0, some, the most and too many; a program that is none, or absent.
      value.fill(0);
      value.set(
        [
          [0, 0],
          [192, 0],
          [0, 64],
          [1, 64],
        ][random(4)]!,
      );
      if (spec.valueSize === 8 && random(3) === 0) value.fill(0xff, 4);
    }
    if (spec.type === "prog_array") value.set([1, 0, 0, 0]);
    values.push(value);
  }
  return values;
}

function loopback(): number {
  expect(networkInterfaces().lo, "the loopback interface is there").toBeDefined();
  return Number(readFileSync("/sys/class/net/lo/ifindex", "utf8"));
}

function updateOf(key: Uint8Array, values: Uint8Array[], flags: number): Operation {
  const padded = values.length === 1 ? toHex(values[0]!) : values.map(padTo8).join("");
  return {
    line: `update ${toHex(key)} ${padded} ${flags}`,
    run: (map) => String(map.update(key, values, flags)),
  };
}

function lookupOf(key: Uint8Array): Operation {
  const run = (map: MapAccess): string => {
    const values = map.lookup(key);
    return values === undefined ? "-2" : `0 ${values.map(toHex).join(" ")}`;
  };
  return { line: `lookup ${toHex(key)}`, run };
}

function removeOf(key: Uint8Array): Operation {
  return { line: `delete ${toHex(key)}`, run: (map) => String(map.remove(key)) };
}

function nextOf(key: Uint8Array | undefined): Operation {
  const run = (map: MapAccess): string => {
    const next = map.nextKey(key);
    return next === undefined ? "-2" : `0 ${toHex(next)}`;
  };
  return { line: `next ${key === undefined ? "-" : toHex(key)}`, run };
}

function padTo8(value: Uint8Array): string {
  return toHex(value).padEnd(Math.ceil(value.length / 8) * 16, "0");
}

function createLine(spec: MapSpec): string {
  const { type, keySize, valueSize, maxEntries, flags, extra = 0 } = spec;
  return `create ${mapTypes[type]} ${keySize} ${valueSize} ${maxEntries} ${flags} ${extra}`;
}

function runJudge(input: string): string[] {
  const { status, stdout, stderr } = spawnSync(judge, { input, encoding: "utf8" });
  if (status !== 0) throw new Error(`kernel-maps: ${stderr}`);
  return stdout.trimEnd().split("\n");
}

function askKernel(
  spec: MapSpec,
  operations: readonly Operation[],
): { results: readonly string[]; contents: readonly string[] } {
  const lines = [createLine(spec), ...operations.map(({ line }) => line), "dump"];
  const [kernelCpus, created, ...answers] = runJudge(`${lines.join("\n")}\n`);
  expect(kernelCpus).toBe(String(cpus));
  expect(created, "the kernel creates the map").toBe("0");
  const results = answers.slice(0, operations.length);
  const dump = answers.slice(operations.length, -1).map((line) => {
    const [key, value] = line.split(" ");
    return `${key} ${splitValues(value as string, spec)}`;
  });
  return { results, contents: ordered(spec, dump) };
}

/** The kernel's answer as ours is written: CPUs' values apart, without what rounds them up. */
function withoutPadding(answer: string, spec: MapSpec, line: string): string {
  const [result, rest] = answer.split(" ");
  if (!rest) return result as string;
  return line.startsWith("lookup") ? `${result} ${splitValues(rest, spec)}` : answer;
}

function splitValues(hex: string, spec: MapSpec): string {
  if (!spec.type.includes("percpu")) return hex;
  const bytes = parseHex(hex) as Uint8Array;
  const stride = Math.ceil(spec.valueSize / 8) * 8;
  const values: string[] = [];
  for (let at = 0; at < bytes.length; at += stride)
    values.push(toHex(bytes.subarray(at, at + spec.valueSize)));
  return values.join(" ");
}

function contents(map: MapAccess): readonly string[] {
  const lines = [...map.entries()].map(
    ({ key, values }) => `${toHex(key)} ${values.map(toHex).join(" ")}`,
  );
  return ordered(map.handle, lines);
}

function ordered(map: { readonly type: MapType }, lines: readonly string[]): readonly string[] {
  return map.type.includes("hash") ? lines.toSorted() : lines;
}

function possibleCpus(): number {
  try {
    const text = readFileSync("/sys/devices/system/cpu/possible", "utf8").trim();
    return Number(text.split("-").at(-1)) + 1;
  } catch {
    return 1;
  }
}
