import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SessionLimit } from "../../src/proxy/session-limit.ts";
import { SessionLink, SessionTable } from "../../src/proxy/session-table.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

class Entry {
  readonly link = new SessionLink<Entry>(this);
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

function setUp(capacity: number, idleTimeoutMs = 1000) {
  const events: string[] = [];
  const table = new SessionTable<Entry>({
    limit: SessionLimit.alone(capacity),
    idleTimeoutMs,
    nowMs: () => Date.now(),
    onIdle: (entry) => events.push(`idle ${entry.name}`),
    onEvicted: (entry) => events.push(`evicted ${entry.name}`),
  });
  const add = (name: string): Entry => {
    const entry = new Entry(name);
    table.add(entry);
    return entry;
  };
  return { table, events, add, names: () => table.entries().map((entry) => entry.name) };
}

test("entries stand in order of use", () => {
  const { table, add, names } = setUp(10);
  const [a, b, c] = [add("a"), add("b"), add("c")];
  expect(names()).toEqual(["a", "b", "c"]);
  table.touch(a);
  expect(names()).toEqual(["b", "c", "a"]);
  table.touch(c);
  table.touch(c);
  expect(names()).toEqual(["b", "a", "c"]);
  table.remove(a);
  expect(names()).toEqual(["b", "c"]);
  table.remove(b);
  table.remove(c);
  expect([names(), table.size]).toEqual([[], 0]);
});

test("a full table ends the least recently used entry for a new one", () => {
  const { table, events, add, names } = setUp(2);
  const a = add("a");
  add("b");
  table.touch(a);
  add("c");
  expect(events).toEqual(["evicted b"]);
  expect(names()).toEqual(["a", "c"]);
});

test("an entry ends when it was not used for the timeout, not before", () => {
  const { table, events, add } = setUp(10, 1000);
  const a = add("a");
  add("b");
  vi.advanceTimersByTime(999);
  expect(events).toEqual([]);
  table.touch(a);
  vi.advanceTimersByTime(1);
  expect(events).toEqual(["idle b"]);
  vi.advanceTimersByTime(998);
  expect(events).toEqual(["idle b"]);
  vi.advanceTimersByTime(1);
  expect(events).toEqual(["idle b", "idle a"]);
});

test("one timer serves all entries, and none runs for an empty table", () => {
  const { table, add } = setUp(1000);
  const entries = Array.from({ length: 100 }, (_, i) => add(`${i}`));
  expect(vi.getTimerCount()).toBe(1);
  for (const entry of entries) table.remove(entry);
  expect(vi.getTimerCount()).toBe(0);
});

test("removing or touching what is not in the table changes nothing", () => {
  const { table, add, names } = setUp(10);
  const a = add("a");
  add("b");
  table.remove(a);
  table.remove(a);
  table.touch(a);
  expect([names(), table.size]).toEqual([["b"], 1]);
});

test("a timeout beyond setTimeout's limit is waited for in steps", () => {
  const fortyDays = 40 * 24 * 3600 * 1000;
  const { events, add } = setUp(10, fortyDays);
  add("a");
  vi.advanceTimersByTime(fortyDays - 1);
  expect(events).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(events).toEqual(["idle a"]);
});

test("a walk meets once each entry that is there from its start to its end, whatever comes and goes", () => {
  const { table, add } = setUp(100);
  const [a, b, c] = [add("a"), add("b"), add("c")];
  const walk = table.walk();
  const met = [walk.next().value!.name];
  table.remove(a);
  table.remove(b);
  add("d");
  add("e");
  add("f");
  table.touch(c);
  for (const { name } of walk) met.push(name);
  expect(met.filter((name) => name === "c")).toEqual(["c"]);
  expect(met).not.toContain("b");
  expect(new Set(met).size).toBe(met.length);
  expect(table.size).toBe(4);
  expect([...table.walk()].map(({ name }) => name).sort()).toEqual(["c", "d", "e", "f"]);
});
