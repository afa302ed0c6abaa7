import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { compileRuntime } from "../../src/runtime/instantiate.ts";
import { MAP_LOCK } from "../../src/runtime/wasm/layout.ts";
import { bytesOf } from "../maps/numbers.ts";
import { mapSpec, type OpenMap, openArena, openMap } from "../maps/open-map.ts";
import {
  batchSlots,
  type CountingTask,
  counted,
  reportOf,
  workerBytes,
} from "./counting-worker.ts";
import { unwrap } from "./engine-bench.ts";

const workers = 4;
const batches = 15_000;
const keys = 40;
const lockedEntries = 4;

/** In the order in which the program names them. */
const specs = {
  array: mapSpec("array", 4, 8, keys),
  hash: mapSpec("hash", 4, 8, 100),
  // Room for all: what is evicted would not be counted.
  lru_hash: mapSpec("lru_hash", 4, 8, 200),
  lpm_trie: mapSpec("lpm_trie", 8, 8, 100),
  // A spin lock, then two numbers of which the second is twice the first.
  locked: mapSpec("array", 4, 24, lockedEntries + 1, { spinLock: 0 }),
  percpu_array: mapSpec("percpu_array", 4, 8, keys),
};
type Name = keyof typeof specs;
const names = Object.keys(specs) as Name[];

const lookup = (name: Name, key: number): string => `
  r1 = map_by_fd(${names.indexOf(name)}) ll
  r2 = r10
  r2 += ${key}
  call 1`;
const addOne = `
  if r0 == 0 goto missing
  r1 = 1
  lock *(u64 *)(r0 + 0) += r1`;
/** Counts on an entry that the first to come makes. */
const countOrInsert = (name: Name): string => `${lookup(name, -4)}
  if r0 != 0 goto have_${name}
  *(u64 *)(r10 - 16) = 0
  r1 = map_by_fd(${names.indexOf(name)}) ll
  r2 = r10
  r2 += -4
  r3 = r10
  r3 += -16
  r4 = 1
  call 2${lookup(name, -4)}
have_${name}:${addOne}`;

const program = `
  r6 = *(u32 *)(r1 + 0)
  r7 = *(u32 *)(r1 + 4)
  r2 = r6
  r2 += 1
  if r2 > r7 goto missing
  r8 = *(u8 *)(r6 + 0)
  *(u32 *)(r10 - 4) = r8
  ${lookup("array", -4)}${addOne}
  ${countOrInsert("hash")}
  ${countOrInsert("lru_hash")}
  *(u32 *)(r10 - 24) = 32
  *(u32 *)(r10 - 20) = 0x0907000a
  *(u8 *)(r10 - 19) = r8
  ${lookup("lpm_trie", -24)}${addOne}
  w8 &= ${lockedEntries - 1}
  *(u32 *)(r10 - 8) = r8
  ${lookup("locked", -8)}
  if r0 == 0 goto missing
  r9 = r0
  r1 = r9
  call 93
  r1 = *(u64 *)(r9 + 8)
  r1 += 1
  *(u64 *)(r9 + 8) = r1
  r1 = *(u64 *)(r9 + 16)
  r1 += 2
  *(u64 *)(r9 + 16) = r1
  r1 = r9
  call 94
  ${lookup("percpu_array", -4)}
  if r0 == 0 goto missing
  r1 = *(u64 *)(r0 + 0)
  r1 += 1
  *(u64 *)(r0 + 0) = r1
  r0 = 2
  exit
missing:
  r0 = 1
  exit`;

const host = (i: number): Uint8Array => new Uint8Array([32, 0, 0, 0, 10, i, 7, 9]);

test("compiled programs on four workers count exactly on every kind of map while the main thread changes others of their entries", async () => {
  const scene = await prepare(batches);
  const running = await startAll(scene);
  let changes = 0;
  while (scene.tasks.some((task) => figure(scene, task, "done") === 0)) {
    changeOthers(scene, changes++);
    await turn();
  }
  await Promise.all(running.map(({ exit }) => exit));
  expect(changes).toBeGreaterThan(0);
  for (const task of scene.tasks) expect(figure(scene, task, "odd")).toBe(0);
  const total = workers * batches * batchSlots;
  for (const name of ["array", "hash", "lru_hash", "lpm_trie"] as const)
    expect(sum(scene, name), name).toBe(total);
  expect(lockedSums(scene)).toEqual([total, 2 * total]);
  expect(perCpuSums(scene)).toEqual(new Array(workers).fill(batches * batchSlots));
}, 60_000);

test("workers that are killed while their compiled programs run go unnoticed by the others, and what they counted stays", async () => {
  const scene = await prepare(batches, 2);
  const running = await startAll(scene);
  const victims = scene.tasks.slice(0, 2);
  while (victims.some((task) => figure(scene, task, "runs") < 100 * batchSlots)) await turn();
  await Promise.all(running.slice(0, 2).map(({ worker }) => worker.terminate()));
  for (const { cpu } of victims)
    for (const { runtime, handle } of Object.values(scene.maps))
      runtime.repair(handle.descriptor, cpu);
  await Promise.all(running.slice(2).map(({ exit }) => exit));
  const survivors = scene.tasks.slice(2);
  for (const task of survivors) {
    expect(figure(scene, task, "odd")).toBe(0);
    expect(figure(scene, task, "runs")).toBe(batches * batchSlots);
  }
  // Of a victim's last batch nobody knows how far it came.
  const least = scene.tasks.reduce((total, task) => total + figure(scene, task, "runs"), 0);
  const most = least + victims.length * batchSlots;
  const within = (n: number, what: string): void => {
    expect(n, what).toBeGreaterThanOrEqual(least);
    expect(n, what).toBeLessThanOrEqual(most);
  };
  for (const name of ["array", "hash", "lru_hash", "lpm_trie"] as const)
    within(sum(scene, name), name);
  const [once, twice] = lockedSums(scene) as [number, number];
  within(once, "under a lock");
  // What a lock guards stays as its dead owner left it.
  expect(2 * once - twice).toBeGreaterThanOrEqual(0);
  expect(2 * once - twice).toBeLessThanOrEqual(2 * victims.length);
  expect(perCpuSums(scene).slice(2)).toEqual(new Array(2).fill(batches * batchSlots));
  for (const [name, { arena, runtime, handle, access }] of Object.entries(scene.maps)) {
    expect(arena.view.getUint32(handle.descriptor + MAP_LOCK, true), name).toBe(0);
    expect([...access.entries()], name).toHaveLength(access.count);
    runtime.repair(handle.descriptor, 0);
  }
}, 60_000);

interface Scene {
  readonly maps: Readonly<Record<Name, OpenMap>>;
  readonly tasks: readonly CountingTask[];
}

/** Maps, and a task a worker; the first `endless` of them have no end. */
async function prepare(rounds: number, endless = 0): Promise<Scene> {
  const place = openArena();
  const module = await compileRuntime();
  const maps = Object.fromEntries(
    names.map((name) => [name, openMap(specs[name], workers, place)]),
  ) as Record<Name, OpenMap>;
  for (let i = 0; i < keys; i++)
    expect(maps.lpm_trie.access.update(host(i), bytesOf(0, 8))).toBe(0);
  const tasks = Array.from({ length: workers }, (_, cpu) => ({
    memory: place.arena.memory,
    module,
    program,
    maps: names.map((name) => maps[name].handle),
    cpu,
    keys,
    batches: cpu < endless ? 2 ** 31 : rounds,
    place: unwrap(place.arena.allocate(workerBytes, "worker")),
  }));
  return { maps, tasks };
}

function start(task: CountingTask): { worker: Worker; exit: Promise<unknown> } {
  const worker = new Worker(new URL("./counting-worker.ts", import.meta.url), { workerData: task });
  return { worker, exit: once(worker, "exit") };
}

/** All workers, which begin to run their programs together. */
async function startAll(scene: Scene): Promise<ReturnType<typeof start>[]> {
  const running = scene.tasks.map(start);
  while (scene.tasks.some((task) => figure(scene, task, "ready") === 0)) await turn();
  const { words } = scene.maps.array.arena;
  for (const task of scene.tasks) {
    Atomics.store(words, (reportOf(task) >> 2) + counted.start, 1);
    Atomics.notify(words, (reportOf(task) >> 2) + counted.start);
  }
  return running;
}

/** Entries that no program asks for come, change and go, among and around those that are counted on. */
function changeOthers({ maps }: Scene, n: number): void {
  const other = bytesOf(1000 + (n % 20), 4);
  const value = bytesOf(n, 8);
  const wider = new Uint8Array([8 + (n % 24), 0, 0, 0, 10, n % keys, 7, 9]);
  for (const [{ access }, key] of [
    [maps.hash, other],
    [maps.lru_hash, other],
    [maps.lpm_trie, wider],
  ] as const) {
    expect(access.update(key, value)).toBe(0);
    expect(access.lookup(key)?.[0]).toEqual(value);
    expect([...access.entries()].length).toBeGreaterThan(0);
    if (n % 3 !== 0) expect(access.remove(key)).toBe(0);
  }
  expect(maps.locked.access.update(bytesOf(lockedEntries, 4), new Uint8Array(24).fill(n))).toBe(0);
}

function figure({ maps }: Scene, task: CountingTask, name: keyof typeof counted): number {
  return Atomics.load(maps.array.arena.words, (reportOf(task) >> 2) + counted[name]);
}

function numbersAt(map: OpenMap, key: Uint8Array, at: number): number[] {
  return (map.access.lookup(key) ?? []).map((value) =>
    Number(new DataView(value.buffer, value.byteOffset).getBigUint64(at, true)),
  );
}

/** What was counted on a map's keys, over all workers. */
function sum({ maps }: Scene, name: "array" | "hash" | "lru_hash" | "lpm_trie"): number {
  let total = 0;
  for (let i = 0; i < keys; i++)
    total += numbersAt(maps[name], name === "lpm_trie" ? host(i) : bytesOf(i, 4), 0)[0] ?? 0;
  return total;
}

function lockedSums({ maps }: Scene): number[] {
  return [8, 16].map((at) => {
    let total = 0;
    for (let i = 0; i < lockedEntries; i++)
      total += numbersAt(maps.locked, bytesOf(i, 4), at)[0] ?? 0;
    return total;
  });
}

function perCpuSums({ maps }: Scene): number[] {
  const sums = new Array<number>(workers).fill(0);
  for (let i = 0; i < keys; i++)
    for (const [cpu, n] of numbersAt(maps.percpu_array, bytesOf(i, 4), 0).entries())
      sums[cpu]! += n;
  return sums;
}
