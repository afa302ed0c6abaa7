/**
 * A data worker of the tests of several: runs a verified, compiled program over batches of packets
 * whose first byte is a key of that many. How many runs there were, and how many did not pass, goes
 * to the arena.
 */
import { isMainThread, workerData } from "node:worker_threads";
import { type LinkedProgram, stackBytes } from "../../src/engine/engine.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { linkProgram } from "../../src/engine/link.ts";
import { frameOffset, placeFrame } from "../../src/engine/packet-slot.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { instantiateRuntime } from "../../src/runtime/instantiate.ts";
import { SLOT_BYTES, SLOT_RETURN_LOW } from "../../src/runtime/wasm/layout.ts";
import { seeded } from "../maps/numbers.ts";
import { spec, unwrap } from "./engine-bench.ts";

const xdpPass = 2;
export const batchSlots = 16;

/** Words of a worker's report. It waits for `start`, so that all run at once. */
export const counted = { done: 0, runs: 1, odd: 2, ready: 3, start: 4 } as const;

/** What one worker has of the arena: its stack, its packet slots behind that, its report behind them. */
export const workerBytes = stackBytes + batchSlots * SLOT_BYTES + 64;

export interface CountingTask {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly program: string;
  readonly maps: readonly MapHandle[];
  readonly cpu: number;
  readonly keys: number;
  readonly batches: number;
  /** Offset of `workerBytes`. */
  readonly place: number;
}

/** Where a task's report is. */
export function reportOf({ place }: CountingTask): number {
  return place + workerBytes - 64;
}

function count(task: CountingTask): void {
  const arena = Arena.attach(task.memory);
  const { cpu, place } = task;
  const linked: LinkedProgram = unwrap(linkProgram(spec(task.program), task.maps, "xdp"));
  const executable = unwrap(
    jit(linked, {
      arena,
      runtime: instantiateRuntime(task.module, arena),
      cpu,
      stack: place,
      clock: { low: 0, high: 0 },
      random: () => 0,
      trace: () => {},
    }),
  );
  const first = place + stackBytes;
  const slots = Array.from({ length: batchSlots }, (_, i) => first + i * SLOT_BYTES);
  for (const slot of slots) unwrap(placeFrame(arena, slot, new Uint8Array(64), "xdp"));
  const random = seeded(cpu + 1);
  const report = reportOf(task) >> 2;
  Atomics.store(arena.words, report + counted.ready, 1);
  Atomics.wait(arena.words, report + counted.start, 0);
  for (let batch = 0; batch < task.batches; batch++) {
    for (const slot of slots) arena.bytes[slot + frameOffset] = random(task.keys);
    executable.runBatch!(first, SLOT_BYTES, batchSlots);
    const odd = slots.filter((slot) => arena.words[(slot + SLOT_RETURN_LOW) >> 2] !== xdpPass);
    Atomics.add(arena.words, report + counted.odd, odd.length);
    Atomics.add(arena.words, report + counted.runs, batchSlots);
  }
  Atomics.store(arena.words, report + counted.done, 1);
}

// Not while modules are loaded: V8 14.6 aborts the process where one that awaits is ended meanwhile.
if (!isMainThread && workerData?.place !== undefined)
  setImmediate(() => count(workerData as CountingTask));
