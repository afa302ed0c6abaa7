import { expect, test } from "vitest";
import { storageBytes } from "../../src/maps/create-map.ts";
import { EventReader } from "../../src/maps/event-reader.ts";
import { compileRuntime, instantiateRuntime } from "../../src/runtime/instantiate.ts";
import { MAP_LOCK } from "../../src/runtime/wasm/layout.ts";
import { bytesOf, numberOf, seeded } from "../maps/numbers.ts";
import { mapSpec, openArena, openMap, place } from "../maps/open-map.ts";
import { budgetAt, dies, stopping } from "./stopping-runtime.ts";

const sound = await compileRuntime();
const room = 4;
const operations = ["push", "push over the oldest", "pop", "peek"] as const;

for (const type of ["queue", "stack"] as const)
  for (const operation of operations)
    test(`a ${type} holds what it held before or after a ${operation} whose worker died before any of its writes`, () => {
      let deaths = 0;
      for (let seed = 1; seed <= 25; seed++) deaths += killEverywhere(type, operation, seed);
      expect(deaths, "deaths while the lock was held").toBeGreaterThan(20);
    });

function killEverywhere(
  type: "queue" | "stack",
  operation: (typeof operations)[number],
  seed: number,
): number {
  const random = seeded(seed);
  const { arena } = openArena(2 ** 20);
  const runtime = instantiateRuntime(stopping, arena);
  const spec = mapSpec(type, 0, 8, room);
  const map = openMap(spec, 2, { arena, runtime });
  const { descriptor } = map.handle;
  const value = place(arena, new Uint8Array(8));
  let next = 1;
  const push = (flags: number): number => {
    arena.bytes.set(bytesOf(next++, 8), value);
    return runtime.push(descriptor, value, flags, 1);
  };
  // Any place of the ring may be the oldest.
  for (let i = random(12); i > 0; i--) {
    push(2);
    if (random(3) === 0) runtime.pop(descriptor, value, 1);
  }
  const operate = (): void => {
    next = 1000;
    if (operation === "push") push(0);
    else if (operation === "push over the oldest") push(2);
    else if (operation === "pop") runtime.pop(descriptor, value, 1);
    else runtime.peek(descriptor, value, 1);
  };
  const contents = (): number[] =>
    [...map.access.entries()].map(({ values }) => numberOf(values[0]!));
  const start = arena.bytes.slice(descriptor, descriptor + storageBytes(spec, 2));
  const before = contents();
  operate();
  const after = contents();
  // Of a push that makes room first, the room alone may have been made.
  const made = before.filter((n) => after.includes(n));
  let deaths = 0;
  for (let budget = 1; ; budget++) {
    arena.bytes.set(start, descriptor);
    arena.view.setUint32(budgetAt, budget, true);
    const isThrough = !dies(operate);
    arena.view.setUint32(budgetAt, 0, true);
    if (isThrough) return deaths;
    deaths += instantiateRuntime(sound, arena).repair(descriptor, 1);
    const where = `seed ${seed}, write ${budget}`;
    expect([before, after, made], where).toContainEqual(contents());
    expect(arena.view.getUint32(descriptor + MAP_LOCK, true), where).toBe(0);
    expectSound(type, map, where);
  }
}

/** It still takes as many values as it should, and gives them back in order. */
function expectSound(
  type: "queue" | "stack",
  { access, arena, runtime, handle }: ReturnType<typeof openMap>,
  where: string,
): void {
  const held = [...access.entries()].map(({ values }) => numberOf(values[0]!));
  const value = place(arena, bytesOf(7, 8));
  for (let n = held.length; n < room; n++)
    expect(runtime.push(handle.descriptor, value, 0, 0), where).toBe(0);
  expect(runtime.push(handle.descriptor, value, 0, 0), where).toBeLessThan(0);
  const sevens = new Array<number>(room - held.length).fill(7);
  for (const expected of type === "queue" ? [...held, ...sevens] : [...sevens, ...held]) {
    expect(runtime.pop(handle.descriptor, value, 0), where).toBe(0);
    expect(numberOf(arena.bytes.subarray(value, value + 8)), where).toBe(expected);
  }
  expect(runtime.pop(handle.descriptor, value, 0), where).toBeLessThan(0);
}

test("a ringbuf gives all that others committed, once and in order, wherever a worker died in writing its record", () => {
  let deaths = 0;
  for (let before = 0; before < 12; before++)
    for (let budget = 1; ; budget++) {
      const { arena } = openArena(2 ** 20);
      const runtime = instantiateRuntime(stopping, arena);
      const { handle } = openMap(mapSpec("ringbuf", 0, 0, 4096), 2, { arena, runtime });
      const reader = new EventReader(handle, arena, runtime);
      const write = (n: number, cpu: number): void => {
        const sample = runtime.reserve(handle.descriptor, 0, 400, cpu);
        expect(sample).not.toBe(0);
        arena.bytes.set(bytesOf(n, 4), sample);
        runtime.commit(sample, 0);
      };
      const read = (): number[] => reader.read(20).map(({ bytes }) => numberOf(bytes));
      // The ring goes round: its records stand at other places each time.
      for (let n = 1; n <= before; n++) {
        write(n, 0);
        expect(read()).toEqual([n]);
      }
      write(100, 0);
      arena.view.setUint32(budgetAt, budget, true);
      const died = dies(() => write(200, 1));
      arena.view.setUint32(budgetAt, 0, true);
      const mended = instantiateRuntime(sound, arena);
      mended.repair(handle.descriptor, 1);
      const where = `${before} records before, write ${budget}`;
      for (const n of [300, 301, 302]) write(n, 0);
      const got = read();
      expect(
        [
          [100, 300, 301, 302],
          [100, 200, 300, 301, 302],
        ],
        where,
      ).toContainEqual(got);
      if (!died) {
        expect(got, where).toContain(200);
        break;
      }
      deaths++;
      // Nor is room lost.
      for (let round = 0; round < 30; round++) {
        write(round, 0);
        expect(read(), where).toEqual([round]);
      }
    }
  expect(deaths).toBeGreaterThan(50);
});
