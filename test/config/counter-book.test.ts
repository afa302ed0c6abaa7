import { expect, test } from "vitest";
import { bookCounters, type CounterBook, releaseCounters } from "../../src/config/counter-book.ts";
import { Counters } from "../../src/filter/counters.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { value } from "../proxy/rig.ts";

interface Names {
  readonly listeners?: readonly string[];
  readonly filters?: readonly string[];
  readonly addresses?: readonly string[];
  readonly lanes?: readonly string[];
}

/** One plan after another on two workers, each before released when the next is in force. */
class Reloads {
  readonly arena = value(Arena.create(8 << 20));
  book: CounterBook | undefined;

  next(names: Names): Counters[] {
    const all = { listeners: [], filters: [], addresses: [], lanes: [], ...names };
    const next = value(bookCounters(all, 2, this.arena, this.book));
    if (this.book !== undefined) releaseCounters(this.book, next, this.arena);
    this.book = next;
    return next.places.map((places) => new Counters(this.arena.memory, places));
  }
}

test("what a plan takes away counts on when it comes back, whatever its number is then", () => {
  const reloads = new Reloads();
  const [first] = reloads.next({ listeners: ["a", "b"], filters: ["f"], lanes: ["t p 1"] });
  first!.packet(1, "ingress", "pass", 100);
  first!.filterVerdict(0, "drop");
  first!.laneFrame(0, "egress", 7);
  reloads.next({ listeners: ["a"] });
  reloads.next({ listeners: ["c"], filters: ["g"] });
  const [again, other] = reloads.next({
    listeners: ["b", "a"],
    filters: ["g", "f"],
    lanes: ["t q 1", "t p 1"],
  });
  expect(again!.readPackets(0, "ingress", "pass")).toBe(1);
  expect(again!.readPackets(1, "ingress", "pass")).toBe(0);
  expect(again!.readFilterVerdicts(1, "drop")).toBe(1);
  expect(again!.readFilterVerdicts(0, "drop")).toBe(0);
  expect(again!.readLaneBytes(1, "egress")).toBe(7);
  expect(other!.readPackets(0, "ingress", "pass")).toBe(0);
});

test("a filter that comes back is neither disabled nor promoted; one that stays remains so", () => {
  const reloads = new Reloads();
  for (const counters of reloads.next({ filters: ["stays", "goes"] }))
    for (const filter of [0, 1]) {
      counters.disable(filter, true);
      counters.promote(filter, true);
    }
  reloads.next({ filters: ["stays"] });
  for (const counters of reloads.next({ filters: ["goes", "stays"] })) {
    expect([counters.isDisabled(0), counters.isDisabled(1)]).toEqual([false, true]);
    expect([counters.isPromoted(0), counters.isPromoted(1)]).toEqual([false, true]);
  }
});

test("an address that comes back is a new one", () => {
  const reloads = new Reloads();
  reloads.next({ addresses: ["app 127.0.0.1 53"] })[0]!.upstream(0, false, 5);
  reloads.next({});
  expect(reloads.next({ addresses: ["app 127.0.0.1 53"] })[0]!.readUpstream(0)).toBe(0);
});

test("of more that left than are kept the first that did begin anew, and memory does not grow", () => {
  const reloads = new Reloads();
  reloads.next({ listeners: ["first"] })[0]!.packet(0, "ingress", "pass", 1);
  for (let i = 0; i < 63; i++) reloads.next({ listeners: [`x${i}`] });
  const [kept] = reloads.next({ listeners: ["first"] });
  expect(kept!.readPackets(0, "ingress", "pass")).toBe(1);
  for (let i = 0; i < 65; i++) reloads.next({ listeners: [`y${i}`] });
  const { usedBytes } = reloads.arena;
  for (let i = 0; i < 200; i++) reloads.next({ listeners: [`z${i}`] });
  expect(reloads.arena.usedBytes).toBeLessThanOrEqual(usedBytes);
  expect(reloads.next({ listeners: ["first"] })[0]!.readPackets(0, "ingress", "pass")).toBe(0);
});

test("listeners and filters that left count on, however many lanes left after them", () => {
  const reloads = new Reloads();
  const names = { listeners: ["a"], filters: ["f"] };
  const lanes = Array.from({ length: 300 }, (_, i) => `t p ${i}`);
  const [first] = reloads.next({ ...names, lanes });
  first!.packet(0, "ingress", "pass", 1);
  first!.filterVerdict(0, "drop");
  first!.laneFrame(0, "egress", 7);
  first!.laneFrame(299, "egress", 7);
  reloads.next({ lanes });
  reloads.next({});
  const [again] = reloads.next({ ...names, lanes });
  expect(again!.readPackets(0, "ingress", "pass")).toBe(1);
  expect(again!.readFilterVerdicts(0, "drop")).toBe(1);
  // Of lanes the last 64.
  expect(again!.readLaneBytes(0, "egress")).toBe(0);
  expect(again!.readLaneBytes(299, "egress")).toBe(7);
});
