import { expect, test } from "vitest";
import { dropReasons } from "../../src/common/drop-reason.ts";
import {
  Counters,
  counterBytes,
  listenerCells,
  receiveErrors,
  runBounds,
} from "../../src/filter/counters.ts";
import { directions, verdictKinds } from "../../src/filter/verdict.ts";
import { placesFrom } from "../support/counter-places.ts";

const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });

test("no two counters share a cell", () => {
  const shape = { listeners: 3, filters: 2, addresses: 2 };
  const counters = new Counters(memory, placesFrom(1024, shape));
  // Each gets an amount of its own; all are then still what they were given.
  const expected: [read: () => number, amount: number][] = [];
  let amount = 0;
  for (let listener = 0; listener < shape.listeners; listener++) {
    for (const direction of directions) {
      for (const kind of verdictKinds) {
        counters.packets(listener, direction, kind, ++amount, amount * 1000);
        const given = amount;
        expected.push([() => counters.readPackets(listener, direction, kind), given]);
        expected.push([() => counters.readBytes(listener, direction, kind), given * 1000]);
      }
      for (const reason of dropReasons) {
        counters.drop(listener, direction, reason);
        expected.push([() => counters.readDrops(listener, direction, reason), 1]);
      }
    }
    for (const cell of listenerCells) {
      counters.add(listener, cell, ++amount);
      const given = amount;
      expected.push([() => counters.readCell(listener, cell), given]);
    }
    for (const reason of receiveErrors) {
      counters.receiveError(listener, reason, ++amount);
      const given = amount;
      expected.push([() => counters.readReceiveErrors(listener, reason), given]);
    }
  }
  for (let filter = 0; filter < shape.filters; filter++) {
    for (const kind of verdictKinds) {
      counters.filterVerdict(filter, kind);
      expected.push([() => counters.readFilterVerdicts(filter, kind), 1]);
    }
    const times = [...runBounds, 1];
    for (const seconds of times) counters.filterRun(filter, seconds);
    for (const bucket of times.keys())
      expected.push([() => counters.readFilterRuns(filter)[bucket]!, 1]);
    const sum = times.reduce((all, seconds) => all + seconds, 0);
    expected.push([() => counters.readFilterRunSum(filter), sum]);
    counters.disable(filter, filter === 0);
    expected.push([() => Number(counters.isDisabled(filter)), Number(filter === 0)]);
  }
  for (let address = 0; address < shape.addresses; address++) {
    counters.upstream(address, address === 0, 1_000 + address);
    expected.push([() => counters.readUpstream(address), address === 0 ? 1_000 : -1_001]);
  }
  for (const [read, value] of expected) expect(read()).toBe(value);
  // Places are whole cache lines: no two workers share one.
  expect(counterBytes(shape)).toBeGreaterThanOrEqual(expected.length * 8);
  expect(counterBytes(shape) % 64).toBe(0);
});

test("another thread's Counters over the same cells read what was counted", () => {
  const shape = { listeners: 1, filters: 0, addresses: 0 };
  const writer = new Counters(memory, placesFrom(65_536, shape));
  const reader = new Counters(memory, placesFrom(65_536, shape));
  writer.packet(0, "ingress", "pass", 60);
  writer.packet(0, "ingress", "pass", 1500);
  writer.add(0, "sessions", 2);
  writer.add(0, "sessions", -1);
  expect(reader.readPackets(0, "ingress", "pass")).toBe(2);
  expect(reader.readBytes(0, "ingress", "pass")).toBe(1560);
  expect(reader.readCell(0, "sessions")).toBe(1);
});
