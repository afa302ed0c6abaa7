import fc from "fast-check";
import { expect, test, vi } from "vitest";
import type { ListenerPlan, ProxyPlan } from "../../src/proxy/plan.ts";
import { SourceCounts } from "../../src/proxy/source-counts.ts";
import { sourceMemory, withSourceMemory } from "../../src/proxy/source-memory.ts";
import { SourceTable } from "../../src/proxy/source-table.ts";

function tables(maxSessions: number, workers: number): SourceTable[] {
  const memory = sourceMemory(maxSessions, workers);
  return Array.from(
    { length: workers },
    (_, worker) => new SourceTable(memory, { workers, worker }),
  );
}

test("each worker sees what the others have of an address, and not its own", () => {
  const [one, two, three] = tables(10, 3);
  one!.set("192.0.2.1", 2);
  two!.set("192.0.2.1", 3);
  two!.set("2001:db8::1", 1);
  expect(one!.ofOthers("192.0.2.1")).toBe(3);
  expect(two!.ofOthers("192.0.2.1")).toBe(2);
  expect(three!.ofOthers("192.0.2.1")).toBe(5);
  expect(three!.ofOthers("2001:db8::1")).toBe(1);
  expect(three!.ofOthers("2001:db8::2")).toBe(0);
});

test("an IPv4 client is the same on a socket for both families", () => {
  const [one, two] = tables(10, 2);
  one!.set("::ffff:192.0.2.1", 1);
  expect(two!.ofOthers("192.0.2.1")).toBe(1);
});

test("what a dead worker had goes with its table, and nothing else does; the next one begins empty", () => {
  const sources = sourceMemory(10, 3);
  const plan = { workers: Array(3) } as unknown as ProxyPlan;
  const of = (worker: number): SourceTable =>
    SourceTable.of(plan, { sources } as ListenerPlan, worker)!;
  const [one, two, three] = [of(0), of(1), of(2)];
  one.set("192.0.2.1", 2);
  two.set("192.0.2.1", 1);
  one.abandon();
  expect(three.ofOthers("192.0.2.1")).toBe(1);
  const next = of(0);
  expect(three.ofOthers("192.0.2.1")).toBe(1);
  next.set("192.0.2.1", 4);
  expect(three.ofOthers("192.0.2.1")).toBe(5);
  // A plan that comes later finds what is there.
  of(0);
  expect(three.ofOthers("192.0.2.1")).toBe(5);
});

test("counts are written again into other memory, and not into the same", () => {
  const [one, other] = [sourceMemory(10, 2), sourceMemory(10, 2)];
  const table = (memory: SharedArrayBuffer) => new SourceTable(memory, { workers: 2, worker: 0 });
  const counts = new SourceCounts(table(one));
  counts.admit("192.0.2.1", 1);
  for (const { memory, writes } of [
    { memory: one, writes: 0 },
    { memory: other, writes: 1 },
  ]) {
    const next = table(memory);
    const set = vi.spyOn(next, "set");
    counts.follow(next);
    expect(set).toHaveBeenCalledTimes(writes);
    const neighbour = new SourceTable(memory, { workers: 2, worker: 1 });
    expect(neighbour.ofOthers("192.0.2.1")).toBe(1);
  }
});

/** A plan for so many workers whose listeners each limit a source, unless they say otherwise. */
function planOf(workers: number, ...listeners: readonly Partial<ListenerPlan>[]): ProxyPlan {
  const listen = { host: "127.0.0.1", port: 53 };
  const limited = { protocol: "udp", listen, maxSessions: 10, maxSessionsPerSource: 1 } as const;
  return {
    workers: Array(workers),
    listeners: listeners.map((listener) => ({ ...limited, ...listener })),
  } as unknown as ProxyPlan;
}

const memoriesOf = ({ listeners }: ProxyPlan) => listeners.map(({ sources }) => sources);

test("each limited listener of several workers has memory for its own sessions, whatever others have", () => {
  const huge = { listen: { host: "127.0.0.1", port: 54 }, maxSessions: 100_000 };
  const free = { maxSessionsPerSource: undefined };
  const [own, large, none] = memoriesOf(withSourceMemory(planOf(2, {}, huge, free)));
  expect(own?.byteLength).toBe(sourceMemory(10, 2).byteLength);
  expect(large?.byteLength).toBe(sourceMemory(100_000, 2).byteLength);
  expect(none).toBeUndefined();
  expect(memoriesOf(withSourceMemory(planOf(1, {})))).toEqual([undefined]);
});

const moved = { listen: { host: "127.0.0.1", port: 54 } };
for (const { name, listener, isSame, room = 10 } of [
  { name: "is as it was", listener: {}, isSame: true },
  { name: "has another name", listener: { name: "other" }, isSame: true },
  { name: "has more sessions that fit", listener: { maxSessions: 14 }, isSame: true },
  { name: "has fewer sessions", listener: { maxSessions: 1 }, isSame: true },
  {
    name: "has more sessions than fit",
    listener: { maxSessions: 1000 },
    isSame: false,
    room: 1000,
  },
  { name: "has another address", listener: moved, isSame: false },
  { name: "has another protocol", listener: { protocol: "tcp" as const }, isSame: false },
])
  test(`a listener that ${name} has ${isSame ? "the same" : "other"} source memory in the next plan`, () => {
    const before = withSourceMemory(planOf(2, {}));
    const [memory] = memoriesOf(withSourceMemory(planOf(2, listener), before));
    expect(memory === memoriesOf(before)[0]).toBe(isSame);
    expect(memory?.byteLength).toBe(sourceMemory(room, 2).byteLength);
  });

test("a limit that comes back finds room for the sessions that go on from before, and nothing stale", () => {
  const first = withSourceMemory(planOf(2, { maxSessions: 1000 }));
  const without = withSourceMemory(planOf(2, { maxSessionsPerSource: undefined }), first);
  const [memory] = memoriesOf(withSourceMemory(planOf(2, {}), without));
  expect(memory).not.toBe(memoriesOf(first)[0]);
  expect(memory?.byteLength).toBe(sourceMemory(1000, 2).byteLength);
});

test("tables that are full to their limit, and change, hold what a map would", () => {
  const maxSessions = 24;
  const source = fc
    .nat(63)
    .map((number) => (number % 2 === 0 ? `10.0.${number}.1` : `2001:db8::${number}`));
  const steps = fc.array(fc.tuple(source, fc.nat(2), source), { minLength: 50, maxLength: 400 });
  fc.assert(
    fc.property(steps, (changes) => {
      const [own, other] = tables(maxSessions, 2);
      const model = new Map<string, number>();
      for (const [changed, sessions, asked] of changes) {
        if (!model.has(changed) && model.size > maxSessions) continue;
        own!.set(changed, sessions);
        if (sessions === 0) model.delete(changed);
        else model.set(changed, sessions);
        expect(other!.ofOthers(asked)).toBe(model.get(asked) ?? 0);
      }
      for (const [known, sessions] of model) expect(other!.ofOthers(known)).toBe(sessions);
    }),
    { numRuns: 50, seed: 20_261 },
  );
});
