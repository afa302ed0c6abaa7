import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { toHex, u32le } from "../../src/common/bytes.ts";
import type { MapType } from "../../src/object/object-spec.ts";
import { compileRuntime } from "../../src/runtime/instantiate.ts";
import { MAP_LOCK } from "../../src/runtime/wasm/layout.ts";
import {
  type ChurnTask,
  figures,
  reportBytes,
  tagOf,
  valueFor,
  valueSize,
} from "./churn-worker.ts";
import { bytesOf } from "./numbers.ts";
import { mapSpec, type OpenMap, openMap, place } from "./open-map.ts";

const workers = 4;
const rounds = 20_000;
const lastingCount = 40;
const passingCount = 60;

interface Scene {
  readonly type: MapType;
  readonly keySize: number;
  readonly maxEntries: number;
  readonly lasting: (i: number) => Uint8Array;
  readonly passing: (i: number) => Uint8Array;
}

const numbered = (keySize: number) => ({
  keySize,
  lasting: (i: number) => bytesOf(i, keySize),
  passing: (i: number) => bytesOf(0x10000 + i, keySize),
});

const trie = {
  keySize: 8,
  // 10.i.7.9/32, found whatever wider or neighbouring prefixes come and go.
  lasting: (i: number) => new Uint8Array([32, 0, 0, 0, 10, i, 7, 9]),
  passing: (i: number) =>
    new Uint8Array([8 + (i % 24), 0, 0, 0, 10, Math.floor(i / 3), 7 ^ (i & 1), 9 ^ (i & 2)]),
};

const scenes: readonly Scene[] = [
  { type: "hash", maxEntries: 80, ...numbered(4) },
  { type: "hash", maxEntries: 200, ...numbered(16) },
  { type: "percpu_hash", maxEntries: 80, ...numbered(8) },
  // Room for all: what an LRU map evicts would be missed.
  { type: "lru_hash", maxEntries: 100, ...numbered(4) },
  { type: "lru_percpu_hash", maxEntries: 100, ...numbered(21) },
  { type: "lpm_trie", maxEntries: 80, ...trie },
];

for (const scene of scenes)
  test(`four workers and the main thread lose nothing on a ${scene.type} with keys of ${scene.keySize} bytes`, async () => {
    const map = openMap(mapSpec(scene.type, scene.keySize, valueSize, scene.maxEntries), workers);
    const tasks = await prepare(map, scene, rounds);
    const running = tasks.map((task) => start(task));
    let walks = 0;
    while (!tasks.every((task) => figure(map, task, "done") === 1)) {
      expectLastingEntriesOnce(map, scene);
      walks++;
      await turn();
    }
    await Promise.all(running.map(({ exit }) => exit));
    expectLastingEntriesOnce(map, scene);
    expect(walks).toBeGreaterThan(0);
    for (const task of tasks) {
      expect(figure(map, task, "counted")).toBe(rounds);
      expect(figure(map, task, "missed")).toBe(0);
      expect(figure(map, task, "odd")).toBe(0);
    }
    expectCounts(map, scene, workers * rounds);
    const inserted = sum(map, tasks, "inserted");
    expect(inserted).toBeGreaterThan(100);
    expect(map.access.count).toBe(lastingCount + inserted - sum(map, tasks, "removed"));
    expect([...map.access.entries()]).toHaveLength(map.access.count);
  });

test("a full LRU map takes every new entry from four workers and stays full", async () => {
  const scene: Scene = { type: "lru_hash", maxEntries: 50, ...numbered(8) };
  const map = openMap(mapSpec("lru_hash", 8, valueSize, scene.maxEntries), workers);
  const tasks = await prepare(map, scene, rounds);
  await Promise.all(tasks.map((task) => start(task).exit));
  for (const task of tasks) expect(figure(map, task, "odd")).toBe(0);
  for (let i = 0; i < 100; i++) {
    const key = scene.passing(i % passingCount);
    expect(map.access.update(key, valueFor("passing", i % passingCount))).toBe(0);
    expect(map.access.lookup(key)).toBeDefined();
  }
  expect(map.access.count).toBe(scene.maxEntries);
  const entries = [...map.access.entries()];
  expect(new Set(entries.map(({ key }) => toHex(key))).size).toBe(scene.maxEntries);
  for (const { key, values } of entries) {
    const n = u32le(key, 0);
    const tag = n < 0x10000 ? tagOf("lasting", n) : tagOf("passing", n - 0x10000);
    expect(u32le(values[0]!, 8)).toBe(tag);
  }
});

for (const scene of [scenes[1]!, scenes[5]!])
  test(`a ${scene.type} is whole again after a worker was killed at work on it`, async () => {
    const map = openMap(mapSpec(scene.type, scene.keySize, valueSize, scene.maxEntries), workers);
    let total = 0;
    for (let death = 0; death < 4; death++) {
      const tasks = await prepare(map, scene, 2 ** 31, death === 0);
      const victims = tasks.slice(0, 2).map((task) => start(task));
      while (sum(map, tasks, "counted") < 5_000) await turn();
      await Promise.all(victims.map(({ worker }) => worker.terminate()));
      for (const { cpu } of tasks) map.runtime.repair(map.handle.descriptor, cpu);
      expect(map.arena.view.getUint32(map.handle.descriptor + MAP_LOCK, true)).toBe(0);
      expectLastingEntriesOnce(map, scene);
      total += sum(map, tasks, "counted");
      expect(sum(map, tasks, "missed")).toBe(0);
      expect([...map.access.entries()]).toHaveLength(map.access.count);
    }
    // A victim may have died between the two counts of its last round.
    const counted = totalCount(map, scene);
    expect(counted).toBeLessThanOrEqual(total);
    expect(counted).toBeGreaterThanOrEqual(total - 8);
  });

/** Lays out keys, reports and lasting entries; each worker's task. */
async function prepare(
  map: OpenMap,
  scene: Scene,
  rounds: number,
  fills = true,
): Promise<ChurnTask[]> {
  const module = await compileRuntime();
  const keys = (keyOf: (i: number) => Uint8Array, count: number): number => {
    const all = Array.from({ length: count }, (_, i) => [...keyOf(i)]).flat();
    return place(map.arena, new Uint8Array(all));
  };
  const lasting = keys(scene.lasting, lastingCount);
  const passing = keys(scene.passing, passingCount);
  for (let i = 0; fills && i < lastingCount; i++)
    expect(map.access.update(scene.lasting(i), valueFor("lasting", i))).toBe(0);
  return Array.from({ length: workers }, (_, cpu) => ({
    memory: map.arena.memory,
    module,
    handle: map.handle,
    cpu,
    rounds,
    report: place(map.arena, new Uint8Array(reportBytes + valueSize)),
    lasting,
    lastingCount,
    passing,
    passingCount,
  }));
}

function start(task: ChurnTask): { worker: Worker; exit: Promise<unknown> } {
  const worker = new Worker(new URL("./churn-worker.ts", import.meta.url), { workerData: task });
  return { worker, exit: once(worker, "exit") };
}

function figure(map: OpenMap, task: ChurnTask, name: keyof typeof figures): number {
  return Atomics.load(map.arena.words, (task.report >> 2) + figures[name]);
}

function sum(map: OpenMap, tasks: readonly ChurnTask[], name: keyof typeof figures): number {
  return tasks.reduce((total, task) => total + figure(map, task, name), 0);
}

function expectLastingEntriesOnce(map: OpenMap, scene: Scene): void {
  const seen = new Map<string, number>();
  for (const { key, values } of map.access.entries()) {
    const text = toHex(key);
    seen.set(text, (seen.get(text) ?? 0) + 1);
    // A program that inserts a per-CPU entry writes its own CPU's value, the others are zero.
    expect(values.some((value) => u32le(value, 8) >>> 24 !== 0)).toBe(true);
  }
  for (let i = 0; i < lastingCount; i++) {
    expect(seen.get(toHex(scene.lasting(i)))).toBe(1);
    const values = map.access.lookup(scene.lasting(i));
    expect(values === undefined ? 0 : u32le(values[0]!, 8)).toBe(tagOf("lasting", i));
  }
}

function totalCount(map: OpenMap, scene: Scene): number {
  let total = 0;
  for (let i = 0; i < lastingCount; i++)
    for (const value of map.access.lookup(scene.lasting(i)) ?? []) total += u32le(value, 0);
  return total;
}

function expectCounts(map: OpenMap, scene: Scene, total: number): void {
  expect(totalCount(map, scene)).toBe(total);
  if (!scene.type.includes("percpu")) return;
  const perCpu = new Array<number>(workers).fill(0);
  for (let i = 0; i < lastingCount; i++)
    for (const [cpu, value] of (map.access.lookup(scene.lasting(i)) ?? []).entries())
      perCpu[cpu]! += u32le(value, 0);
  expect(perCpu).toEqual(new Array(workers).fill(rounds));
}
