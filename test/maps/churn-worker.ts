/**
 * A data worker of the concurrency tests: counts on lasting entries while it inserts, replaces and
 * removes others, as a program does. Its figures go to the arena.
 */
import { workerData } from "node:worker_threads";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { instantiateRuntime } from "../../src/runtime/instantiate.ts";
import { bytesOf, seeded } from "./numbers.ts";

/** Words of a worker's report, at `report`. */
export const figures = {
  done: 0,
  /** Lookups of lasting entries, and how many found nothing or another entry's value. */
  counted: 1,
  missed: 2,
  /** Entries inserted and removed, by the map's own answers. */
  inserted: 3,
  removed: 4,
  /** Answers that were neither of those expected. */
  odd: 5,
} as const;
export const reportBytes = 64;

export interface ChurnTask {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly handle: MapHandle;
  readonly cpu: number;
  readonly rounds: number;
  readonly report: number;
  /** Offsets of one key a lasting entry, and of one a passing entry, `keySize` apart. */
  readonly lasting: number;
  readonly lastingCount: number;
  readonly passing: number;
  readonly passingCount: number;
}

/** A value: a counter, and a tag that says whose value it is. */
export const valueSize = 16;
const tagAt = 8;

export function tagOf(type: "lasting" | "passing", index: number): number {
  return (type === "lasting" ? 0x1000000 : 0x2000000) + index;
}

export function valueFor(type: "lasting" | "passing", index: number): Uint8Array {
  const value = new Uint8Array(valueSize);
  value.set(bytesOf(tagOf(type, index), 4), tagAt);
  return value;
}

export function churn(task: ChurnTask, stop: () => boolean = () => false): void {
  const { handle, cpu, report } = task;
  const arena = Arena.attach(task.memory);
  const runtime = instantiateRuntime(task.module, arena);
  const { descriptor, keySize, type } = handle;
  const random = seeded(cpu + 1);
  const words = arena.words;
  const count = (figure: number): number => Atomics.add(words, (report >> 2) + figure, 1);
  const value = report + reportBytes;
  // Reference maps take no update, and tries answer ENOSPC where hashes answer E2BIG.
  const full = type === "lpm_trie" ? -28 : -7;
  for (let round = 0; round < task.rounds && !stop(); round++) {
    const lasting = random(task.lastingCount);
    const at = runtime.lookup(descriptor, task.lasting + lasting * keySize, cpu);
    count(figures.counted);
    if (at === 0) count(figures.missed);
    else {
      // A per-CPU entry's tag is every CPU's.
      if (words[(at + tagAt) >> 2] !== tagOf("lasting", lasting)) count(figures.missed);
      Atomics.add(words, at >> 2, 1);
    }
    const passing = random(task.passingCount);
    const key = task.passing + passing * keySize;
    arena.bytes.set(valueFor("passing", passing), value);
    switch (random(4)) {
      case 0: {
        const result = runtime.update(descriptor, key, value, 1, cpu);
        if (result === 0) count(figures.inserted);
        else if (result !== -17 && result !== full) count(figures.odd);
        break;
      }
      case 1: {
        const result = runtime.remove(descriptor, key, cpu);
        if (result === 0) count(figures.removed);
        else if (result !== -2) count(figures.odd);
        break;
      }
      case 2: {
        const result = runtime.update(descriptor, key, value, 2, cpu);
        if (result !== 0 && result !== -2) count(figures.odd);
        break;
      }
      default:
        runtime.lookup(descriptor, key, cpu);
    }
  }
  Atomics.store(words, (report >> 2) + figures.done, 1);
}

if (workerData !== null) churn(workerData as ChurnTask);
