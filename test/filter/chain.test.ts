import { expect, test } from "vitest";
import type { Executable, Fault } from "../../src/engine/engine.ts";
import { Chain } from "../../src/filter/chain.ts";
import { Counters, counterBytes } from "../../src/filter/counters.ts";
import { type FaultReport, FaultReporter } from "../../src/filter/fault-reporter.ts";
import { LoadedFilter } from "../../src/filter/loaded-filter.ts";
import type { VerdictKind } from "../../src/filter/verdict.ts";
import type { JudgingType } from "../../src/filter/verdict-of.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { SLOT_BYTES, SLOT_DATA, SLOT_DATA_END } from "../../src/runtime/wasm/layout.ts";
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
        program: { name: `program${index}`, type, instructions: [], maps: [] },
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
