import type { Arena } from "../runtime/arena.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import {
  MAP_RING_COUNT,
  MAP_RING_STRIDE,
  MAP_RINGS,
  RECORD_HEADER_BYTES,
  RECORD_LENGTH,
  RING_LOST,
} from "../runtime/wasm/layout.ts";
import type { MapHandle } from "./map-handle.ts";

/** What a program has written for user space to read. */
export interface MapEvent {
  readonly map: string;
  /** The worker that wrote it into a perf_event_array; undefined for a ringbuf, which all share. */
  readonly cpu: number | undefined;
  /** A copy. */
  readonly bytes: Uint8Array;
}

/**
 * Reads the rings of one perf_event_array or ringbuf while workers write to them. Main thread only;
 * one reader a map: what it has read is gone.
 */
export class EventReader {
  readonly handle: MapHandle;
  readonly #arena: Arena;
  readonly #runtime: MapRuntime;
  readonly #rings: number;
  /** The ring to begin with, so that a busy one does not keep the others from being read. */
  #first = 0;

  constructor(handle: MapHandle, arena: Arena, runtime: MapRuntime) {
    this.handle = handle;
    this.#arena = arena;
    this.#runtime = runtime;
    this.#rings = arena.view.getUint32(handle.descriptor + MAP_RING_COUNT, true);
  }

  /** Up to `most` events, in the order each ring has them. Never waits. */
  read(most: number): MapEvent[] {
    const { descriptor, name, type } = this.handle;
    const events: MapEvent[] = [];
    for (let i = 0; i < this.#rings && events.length < most; i++) {
      const ring = (this.#first + i) % this.#rings;
      const cpu = type === "ringbuf" ? undefined : ring;
      while (events.length < most) {
        const record = this.#runtime.nextRecord(descriptor, ring);
        if (record === 0) break;
        const start = record + RECORD_HEADER_BYTES;
        const size = this.#arena.view.getUint32(record + RECORD_LENGTH, true);
        events.push({ map: name, cpu, bytes: this.#arena.bytes.slice(start, start + size) });
        this.#runtime.releaseRecord(descriptor, ring);
      }
    }
    this.#first = (this.#first + 1) % this.#rings;
    return events;
  }

  /** Events that found no room in a ring, since the map was made. */
  get lost(): number {
    const { view } = this.#arena;
    const { descriptor } = this.handle;
    const rings = view.getUint32(descriptor + MAP_RINGS, true);
    const stride = view.getUint32(descriptor + MAP_RING_STRIDE, true);
    let lost = 0;
    for (let i = 0; i < this.#rings; i++)
      lost += Number(view.getBigUint64(rings + i * stride + RING_LOST, true));
    return lost;
  }
}
