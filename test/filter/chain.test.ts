import { expect, test } from "vitest";
import type { Executable, Fault } from "../../src/engine/engine.ts";
import { Chain } from "../../src/filter/chain.ts";
import { Counters, counterBytes } from "../../src/filter/counters.ts";
import { type FaultReport, FaultReporter } from "../../src/filter/fault-reporter.ts";
import { LoadedFilter } from "../../src/filter/loaded-filter.ts";
import type { Verdict, VerdictKind } from "../../src/filter/verdict.ts";
import type { JudgingType } from "../../src/filter/verdict-of.ts";
import { Arena } from "../../src/runtime/arena.ts";
import {
  SLOT_BYTES,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_RETURN_LOW,
} from "../../src/runtime/wasm/layout.ts";
import { placesFrom } from "../support/counter-places.ts";

interface Step {
  readonly type?: JudgingType;
  readonly returns: number;
  readonly fault?: Fault["code"];
  readonly continueOn?: readonly VerdictKind[];
}

/** A chain over fixed results, on a frame of 100 bytes. */
function setUp(steps: readonly Step[]) {
  const arena = Arena.create(1024 * 1024);
  if (!arena.ok) throw arena.error;
  const slot = arena.value.allocate(SLOT_BYTES, "slot");
  const shape = { listeners: 0, filters: steps.length, addresses: 0 };
  const cells = arena.value.allocate(counterBytes(shape), "counters");
  if (!slot.ok || !cells.ok) throw new Error("arena full");
  arena.value.words[(slot.value + SLOT_DATA) >> 2] = slot.value + 512;
  arena.value.words[(slot.value + SLOT_DATA_END) >> 2] = slot.value + 612;
  const counters = new Counters(arena.value.memory, placesFrom(cells.value, shape));
  const reports: FaultReport[] = [];
  const clock = { nowMs: 0 };
  const faults = new FaultReporter(
    (report) => reports.push(report),
    () => clock.nowMs,
  );
  const ran: number[] = [];
  const chain = new Chain(
    steps.map(({ type = "xdp", returns, fault, continueOn }, index) => {
      const executable: Executable = {
        program: { name: `program${index}`, type, maps: [] },
        engine: "interpreter",
        fault: fault && { code: fault, slot: 7, message: "outside" },
        run: () => {
          ran.push(index);
          return returns;
        },
      };
      const filter = new LoadedFilter(
        { name: `filter${index}`, index, type, executable },
        arena.value,
        counters,
        faults,
      );
      return { filter, continueOn };
    }),
  );
  return { judge: () => chain.judge(slot.value), chain, counters, reports, clock, ran };
}

const [DROP, PASS, TX] = [1, 2, 3];

test("an empty chain passes, and says that nobody looks", () => {
  const { chain, judge } = setUp([]);
  expect(chain.isEmpty).toBe(true);
  expect(judge()).toEqual({ kind: "pass" });
});

test("filters are asked in order until one does not pass", () => {
  const { judge, ran, chain } = setUp([{ returns: PASS }, { returns: TX }, { returns: DROP }]);
  expect(judge()).toEqual({ kind: "tx" });
  expect(ran).toEqual([0, 1]);
  expect(chain.isEmpty).toBe(false);
});

test("continueOn names other verdicts to go on after; then pass itself may end the chain", () => {
  const goesOn = setUp([{ returns: TX, continueOn: ["pass", "tx"] }, { returns: DROP }]);
  expect(goesOn.judge()).toMatchObject({ kind: "drop" });
  const ends = setUp([{ returns: PASS, continueOn: ["tx"] }, { returns: DROP }]);
  expect(ends.judge()).toEqual({ kind: "pass" });
  expect(ends.ran).toEqual([0]);
});

test("a chain whose last filter goes on passes, as libxdp's dispatcher does", () => {
  const { judge } = setUp([{ returns: DROP, continueOn: ["drop"] }]);
  expect(judge()).toEqual({ kind: "pass" });
});

test("the filter that ended a chain is known until the next frame; where all went on, none did", () => {
  const ended = setUp([{ returns: PASS }, { returns: DROP }, { returns: PASS }]);
  expect(ended.chain.decider).toBeUndefined();
  ended.judge();
  expect(ended.chain.decider?.name).toBe("filter1");
  const faulted = setUp([{ returns: PASS, fault: "bad_access" }, { returns: PASS }]);
  faulted.judge();
  expect(faulted.chain.decider?.name).toBe("filter0");
  const passing = setUp([{ returns: PASS }, { returns: PASS }]);
  passing.judge();
  expect(passing.chain.decider).toBeUndefined();
});

test("the shortest cut of several socket filters holds", () => {
  const { judge } = setUp([
    { type: "socket", returns: 80 },
    { type: "socket", returns: 60 },
    { type: "socket", returns: 70 },
    { returns: PASS },
  ]);
  expect(judge()).toEqual({ kind: "pass", cutTo: 60 });
});

for (const type of ["xdp", "tc", "socket", "cgroup_skb"] as const)
  test(`a fault in a ${type} program aborts, whatever its return value and continueOn say`, () => {
    const { judge, ran } = setUp([
      { type, returns: 2, fault: "bad_access", continueOn: ["pass", "aborted"] },
      { returns: PASS },
    ]);
    expect(judge()).toEqual({ kind: "aborted", reason: "filter_aborted" });
    expect(ran).toEqual([0]);
  });

test("a program that ran too long is aborted for its budget", () => {
  const { judge } = setUp([{ returns: 0, fault: "budget_exceeded" }]);
  expect(judge()).toEqual({ kind: "aborted", reason: "budget_exceeded" });
});

test("each filter that ran has its verdict counted, the others none", () => {
  const { judge, counters } = setUp([{ returns: PASS }, { returns: DROP }, { returns: PASS }]);
  judge();
  judge();
  expect(counters.readFilterVerdicts(0, "pass")).toBe(2);
  expect(counters.readFilterVerdicts(1, "drop")).toBe(2);
  expect(counters.readFilterVerdicts(2, "pass")).toBe(0);
});

test("faults are reported at most once a second, with how many were not", () => {
  const { judge, reports, clock } = setUp([{ returns: 0, fault: "bad_access" }]);
  for (const ms of [0, 1, 999, 1000, 1500]) {
    clock.nowMs = ms;
    judge();
  }
  const report = {
    filter: "filter0",
    program: "program0",
    code: "bad_access",
    slot: 7,
    message: "outside",
  };
  expect(reports).toEqual([
    { ...report, suppressed: 0 },
    { ...report, suppressed: 2 },
  ]);
});

test("judging gives the same objects again: a packet costs no allocation", () => {
  const { judge } = setUp([{ type: "socket", returns: 60 }]);
  expect(judge()).toBe(judge());
});

/** A filter of a batch engine: what each run returns, and which of them fault. */
function batchChain(returns: readonly number[], faults: readonly number[], goesOn?: VerdictKind[]) {
  const arena = Arena.create(8 << 20);
  if (!arena.ok) throw arena.error;
  const shape = { listeners: 0, filters: 1, addresses: 0 };
  const first = arena.value.allocate(SLOT_BYTES * returns.length, "slots");
  const cells = arena.value.allocate(counterBytes(shape), "counters");
  if (!first.ok || !cells.ok) throw new Error("arena full");
  const counters = new Counters(arena.value.memory, placesFrom(cells.value, shape));
  const reports: FaultReport[] = [];
  const { words } = arena.value;
  const executable: Executable = {
    program: { name: "program", type: "xdp", maps: [] },
    engine: "jit",
    fault: undefined,
    run: () => {
      throw new Error("one at a time");
    },
    runBatch: (from, stride, count) => {
      for (let i = 0; i < count; i++)
        words[(from + i * stride + SLOT_RETURN_LOW) >> 2] = faults.includes(i) ? 0 : returns[i]!;
      return faults.map((i) => ({
        packetSlot: from + i * stride,
        fault: { code: i === 3 ? "budget_exceeded" : "bad_access", slot: 7, message: "outside" },
      }));
    },
  };
  const filter = new LoadedFilter(
    { name: "filter", index: 0, type: "xdp", executable },
    arena.value,
    counters,
    new FaultReporter(
      (report) => reports.push(report),
      () => 0,
    ),
  );
  const chain = new Chain([{ filter, continueOn: goesOn }]);
  const verdicts: Verdict[] = [];
  return {
    chain,
    counters,
    reports,
    judge: () => {
      chain.judgeBatch(first.value, SLOT_BYTES, returns.length, verdicts);
      return verdicts.map((verdict) => ("reason" in verdict ? verdict.reason : verdict.kind));
    },
  };
}

test("a batch has the verdict of each packet, faults in their places, and all are counted", () => {
  const { chain, judge, counters, reports } = batchChain([2, 1, 3, 2, 2, 0], [3, 4]);
  expect(chain.canBatch).toBe(true);
  expect(judge()).toEqual([
    "pass",
    "filter_drop",
    "tx",
    "budget_exceeded",
    "filter_aborted",
    "filter_aborted",
  ]);
  const counted = (["pass", "drop", "tx", "aborted"] as const).map((kind) =>
    counters.readFilterVerdicts(0, kind),
  );
  expect(counted).toEqual([1, 1, 1, 3]);
  expect(reports.length).toBe(1);
});

test("continueOn holds in a batch, but not for runs that faulted", () => {
  const { judge } = batchChain([1, 0, 0], [2], ["pass", "drop", "aborted"]);
  expect(judge()).toEqual(["pass", "pass", "filter_aborted"]);
});

test("a disabled filter passes a batch, and counts nothing", () => {
  const { judge, counters } = batchChain([1, 1], []);
  counters.disable(0, true);
  expect(judge()).toEqual(["pass", "pass"]);
  expect(counters.readFilterVerdicts(0, "drop")).toBe(0);
});

test("one run in 128 is timed in batches too: as a share of its batch", () => {
  const { judge, counters } = batchChain(Array(32).fill(2), []);
  for (let i = 0; i < 400; i++) judge();
  const runs = counters.readFilterRuns(0).reduce((sum, count) => sum + count, 0);
  expect(runs).toBeGreaterThan(40);
  expect(runs).toBeLessThan(250);
  expect(counters.readFilterRunSum(0)).toBeGreaterThan(0);
});

test("several filters are asked a packet at a time", () => {
  expect(setUp([{ returns: 2 }, { returns: 2 }]).chain.canBatch).toBe(false);
  expect(setUp([{ returns: 2 }]).chain.canBatch).toBe(false);
  expect(setUp([]).chain.canBatch).toBe(false);
});
