import { expect, test } from "vitest";
import { EventReader } from "../../src/maps/event-reader.ts";
import { bytesOf, numberOf, seeded } from "./numbers.ts";
import { mapSpec, type OpenMap, openMap } from "./open-map.ts";

/** A record as a program writes it: `size` bytes that begin with `number`. */
function write(map: OpenMap, ring: number, number: number, size: number): boolean {
  const { arena, runtime, handle } = map;
  const sample = runtime.reserve(handle.descriptor, ring, size, ring);
  if (sample === 0) return false;
  arena.bytes.set(bytesOf(number, size), sample);
  runtime.commit(sample, 0);
  return true;
}

test("a ringbuf gives its records in the order they were reserved, as a list of bounded length", () => {
  const dataBytes = 4096;
  const bytesFor = (size: number): number => Math.ceil((size + 8) / 8) * 8;
  for (let seed = 1; seed <= 5; seed++) {
    const map = openMap(mapSpec("ringbuf", 0, 0, dataBytes));
    const { arena, runtime, handle } = map;
    const reader = new EventReader(handle, arena, runtime);
    const random = seeded(seed);
    /** What lies in the ring; `done` 1: committed, 2: discarded. */
    let ring: { number: number; size: number; sample: number; done: number }[] = [];
    let lost = 0;
    for (let i = 0; i < 5000; i++) {
      const kind = random(8);
      if (kind < 4) {
        const size = random(4) === 0 ? random(1500) : random(64);
        const used = ring.reduce((sum, one) => sum + bytesFor(one.size), 0);
        const sample = runtime.reserve(handle.descriptor, 0, size, random(2));
        expect(sample !== 0, `${used} bytes in use, ${size} asked for`).toBe(
          used + bytesFor(size) < dataBytes,
        );
        if (sample === 0) lost++;
        else {
          arena.bytes.set(bytesOf(i, size), sample);
          ring.push({ number: size < 4 ? numberOf(bytesOf(i, size)) : i, size, sample, done: 0 });
        }
      } else if (kind < 7) {
        const open = ring.filter(({ done }) => done === 0);
        const one = open[random(Math.max(1, open.length))];
        if (one === undefined) continue;
        one.done = random(4) === 0 ? 2 : 1;
        runtime.commit(one.sample, one.done === 2 ? 1 : 0);
      } else {
        const end = ring.findIndex(({ done }) => done === 0);
        const most = 1 + random(6);
        const ready = ring.slice(0, end < 0 ? ring.length : end);
        const given = ready.filter(({ done }) => done === 1).slice(0, most);
        const read = reader.read(most).map(({ bytes }) => [bytes.length, numberOf(bytes)]);
        expect(read).toEqual(given.map(({ size, number }) => [size, number]));
        // Discarded ones go with the reader that passes them by, up to the last it was asked for.
        const last = given.length === most ? ring.indexOf(given.at(-1)!) + 1 : ready.length;
        ring = ring.slice(last);
      }
    }
    expect(reader.lost).toBe(lost);
  }
});

test("events of a perf_event_array are read by CPU, and what finds no room is counted as lost", () => {
  const cpus = 3;
  const map = openMap(mapSpec("perf_event_array", 4, 4, 0), cpus);
  expect(map.handle.maxEntries).toBe(cpus);
  const reader = new EventReader(map.handle, map.arena, map.runtime);
  for (let cpu = 0; cpu < cpus; cpu++) expect(write(map, cpu, cpu + 10, 20)).toBe(true);
  const read = () => reader.read(100).map(({ cpu, bytes }) => [cpu, numberOf(bytes)]);
  expect(read().toSorted()).toEqual([
    [0, 10],
    [1, 11],
    [2, 12],
  ]);
  expect(read()).toEqual([]);
  let written = 0;
  while (write(map, 1, written, 1000)) written++;
  expect(written).toBeGreaterThan(100);
  expect(reader.lost).toBe(1);
  expect(write(map, 2, 5, 4), "another worker's ring has room").toBe(true);
  const all = reader.read(10_000);
  expect(all.filter(({ cpu }) => cpu === 1).map(({ bytes }) => numberOf(bytes))).toEqual(
    Array.from({ length: written }, (_, i) => i),
  );
  expect(write(map, 1, 1, 1000), "what was read gives its room back").toBe(true);
});

test("a busy ring does not keep the others from being read", () => {
  const map = openMap(mapSpec("perf_event_array", 4, 4, 4), 2);
  const reader = new EventReader(map.handle, map.arena, map.runtime);
  for (let i = 0; i < 100; i++) write(map, 0, i, 8);
  write(map, 1, 7, 8);
  const first = [...reader.read(10), ...reader.read(10)];
  expect(first.some(({ cpu }) => cpu === 1)).toBe(true);
});

test("a record longer than the ring is refused, one that fills it is taken", () => {
  const map = openMap(mapSpec("ringbuf", 0, 0, 4096));
  const { runtime, handle } = map;
  for (const size of [0x7fffffff, 0xffffffff, 4096, 4089])
    expect(runtime.reserve(handle.descriptor, 0, size, 0), String(size)).toBe(0);
  // One byte of the ring always stays free, as in the kernel.
  expect(runtime.reserve(handle.descriptor, 0, 4080, 0)).not.toBe(0);
});
