import { expect, test } from "vitest";
import { EventReader } from "../../src/maps/event-reader.ts";
import { MAP_LOCK, MAP_VALUES } from "../../src/runtime/wasm/layout.ts";
import { bytesOf } from "../maps/numbers.ts";
import { mapSpec, openMap, place } from "../maps/open-map.ts";

for (const [type, size] of [
  ["ringbuf", 4096],
  ["perf_event_array", 2],
] as const)
  test(`records that a dead worker reserved in a ${type} no longer keep its reader waiting`, () => {
    const map =
      type === "ringbuf" ? openMap(mapSpec(type, 0, 0, size)) : openMap(mapSpec(type, 4, 4, size));
    const { arena, runtime, handle } = map;
    const reader = new EventReader(handle, arena, runtime);
    const ring = type === "ringbuf" ? 0 : 1;
    const write = (number: number, cpu: number): number => {
      const sample = runtime.reserve(handle.descriptor, ring, 4, cpu);
      arena.bytes.set(bytesOf(number, 4), sample);
      return sample;
    };
    runtime.commit(write(1, 1), 0);
    write(2, 1);
    const open = write(3, type === "ringbuf" ? 0 : 1);
    runtime.commit(write(4, 1), 0);
    const numbers = () => reader.read(10).map(({ bytes }) => bytes[0]);
    expect(numbers()).toEqual([1]);
    expect(numbers()).toEqual([]);
    expect(runtime.repair(handle.descriptor, 1), "the map's lock was not its").toBe(0);
    if (type === "ringbuf") {
      expect(numbers(), "another worker's record is waited for").toEqual([]);
      runtime.commit(open, 0);
      expect(numbers()).toEqual([3, 4]);
    } else expect(numbers()).toEqual([4]);
  });

test("the lock of a ringbuf, queue or stack is freed after its owner, and all they hold is there", () => {
  for (const type of ["queue", "stack"] as const) {
    const { arena, runtime, handle, access } = openMap(mapSpec(type, 0, 4, 3));
    access.update(new Uint8Array(0), bytesOf(5, 4));
    arena.view.setUint32(handle.descriptor + MAP_LOCK, 2, true);
    expect(runtime.repair(handle.descriptor, 1)).toBe(1);
    expect(arena.view.getUint32(handle.descriptor + MAP_LOCK, true)).toBe(0);
    expect([...access.entries()].map(({ values }) => values[0]![0])).toEqual([5]);
  }
  const { arena, runtime, handle } = openMap(mapSpec("ringbuf", 0, 0, 4096));
  arena.view.setUint32(handle.descriptor + MAP_LOCK, 2, true);
  expect(runtime.repair(handle.descriptor, 1)).toBe(1);
  expect(runtime.reserve(handle.descriptor, 0, 8, 0)).not.toBe(0);
});

for (const type of ["hash", "array"] as const)
  test(`a spin lock in a value of a ${type} is freed after its owner, and no other's`, () => {
    const spec = mapSpec(type, 4, 16, 4, { spinLock: 4 });
    const { arena, runtime, handle, access } = openMap(spec);
    const key = place(arena, bytesOf(1, 4));
    const other = place(arena, bytesOf(2, 4));
    access.update(bytesOf(1, 4), new Uint8Array(16).fill(7));
    access.update(bytesOf(2, 4), new Uint8Array(16).fill(8));
    const lockOf = (at: number): number => runtime.lookup(handle.descriptor, at, 0) + 4;
    expect(arena.view.getUint32(handle.descriptor + MAP_VALUES, true)).toBeGreaterThan(0);
    expect(arena.view.getUint32(lockOf(key), true), "a value given does not set its lock").toBe(0);
    expect(runtime.spinLock(lockOf(key), 1)).toBe(1);
    expect(runtime.spinLock(lockOf(other), 0)).toBe(1);
    const shown = access.lookup(bytesOf(1, 4))![0]!;
    expect([...shown.subarray(0, 8)], "nobody is shown who holds it").toEqual([
      7, 7, 7, 7, 0, 0, 0, 0,
    ]);
    runtime.repair(handle.descriptor, 1);
    expect(arena.view.getUint32(lockOf(key), true)).toBe(0);
    expect(arena.view.getUint32(lockOf(other), true)).toBe(1);
    runtime.spinUnlock(lockOf(other));
    expect(arena.view.getUint32(lockOf(other), true)).toBe(0);
  });
