import { expect, test } from "vitest";
import type { Executable, Fault } from "../../src/engine/engine.ts";
import { Chain } from "../../src/filter/chain.ts";
import { Counters, counterBytes } from "../../src/filter/counters.ts";
import { FaultReporter } from "../../src/filter/fault-reporter.ts";
import { LoadedFilter } from "../../src/filter/loaded-filter.ts";
import { filterRuns, shadowPairs } from "../../src/filter/shadow-pairs.ts";
import { ShadowStage } from "../../src/filter/shadow-stage.ts";
import type { VerdictKind } from "../../src/filter/verdict.ts";
import { Arena } from "../../src/runtime/arena.ts";
import {
  SLOT_BYTES,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_FLAGS,
  SLOT_REDIRECT_IFINDEX,
  SLOT_WROTE,
} from "../../src/runtime/wasm/layout.ts";
import { value } from "../proxy/rig.ts";
import { placesFrom } from "../support/counter-places.ts";

interface Step {
  readonly shadow?: boolean;
  readonly returns: number;
  readonly ifindex?: number;
  readonly fault?: Fault["code"];
  readonly continueOn?: readonly VerdictKind[];
}

const [ABORTED, DROP, PASS, TX, REDIRECT] = [0, 1, 2, 3, 4];
const frameBytes = 100;

/** A chain over fixed results; each shadow writes over all of its slot that a program could reach. */
function setUp(steps: readonly Step[]) {
  const arena = value(Arena.create(1 << 20));
  const slot = value(arena.allocate(SLOT_BYTES, "slot"));
  const shape = { listeners: 0, filters: steps.length, addresses: 0 };
  const cells = value(arena.allocate(counterBytes(shape), "counters"));
  const counters = new Counters(arena.memory, placesFrom(cells, shape));
  const faults = new FaultReporter(
    () => {},
    () => 0,
  );
  const network = { muted: false };
  /** What each filter saw: the slot as it was, and whether copies went nowhere. */
  const seen: { filter: number; slot: Uint8Array; muted: boolean }[] = [];
  const end = slot + 512 + frameBytes;
  const chain = new Chain(
    steps.map(({ shadow, returns, ifindex = 0, fault, continueOn }, index) => {
      const executable: Executable = {
        program: { name: `program${index}`, type: "xdp", maps: [] },
        engine: "interpreter",
        fault: fault && { code: fault, slot: 7, message: "outside" },
        run: () => {
          seen.push({
            filter: index,
            slot: arena.bytes.slice(slot, end),
            muted: network.muted,
          });
          if (shadow === true) {
            arena.bytes.fill(0xee, slot + 64, end + 200);
            arena.words[(slot + SLOT_DATA) >> 2] = slot + 400;
            arena.words[(slot + SLOT_DATA_END) >> 2] = end + 200;
            arena.words[(slot + SLOT_FLAGS) >> 2]! |= SLOT_WROTE;
          }
          arena.words[(slot + SLOT_REDIRECT_IFINDEX) >> 2] = ifindex;
          return returns;
        },
      };
      const parts = { name: `filter${index}`, index, type: "xdp", executable, shadow } as const;
      return { filter: new LoadedFilter(parts, arena, counters, faults), continueOn };
    }),
    new ShadowStage(arena, network),
  );
  const judge = () => {
    seen.length = 0;
    arena.bytes.fill(0x11, slot, slot + SLOT_BYTES);
    arena.words[(slot + SLOT_DATA) >> 2] = slot + 512;
    arena.words[(slot + SLOT_DATA_END) >> 2] = end;
    arena.words[(slot + SLOT_FLAGS) >> 2] = 0;
    return chain.judge(slot);
  };
  const pairs = (filter: number) =>
    shadowPairs([counters], filter).map(
      ({ live, shadow, packets }) => `${live} ${shadow} ${packets}`,
    );
  return { arena, slot, chain, counters, judge, seen, pairs };
}

for (const { name, returns, ifindex, fault, kind } of [
  { name: "drops", returns: DROP, kind: "drop" },
  { name: "answers", returns: TX, kind: "tx" },
  { name: "redirects", returns: REDIRECT, ifindex: 7, kind: "redirect" },
  { name: "aborts", returns: ABORTED, kind: "aborted" },
  { name: "faults", returns: PASS, fault: "bad_access", kind: "aborted" },
] as const)
  test(`a shadow that ${name} changes no verdict, frame or context, and is counted beside the chain`, () => {
    const { judge, seen, pairs, chain, counters, arena, slot } = setUp([
      { shadow: true, returns, ...(ifindex && { ifindex }), ...(fault && { fault }) },
      { returns: PASS },
      { shadow: true, returns: PASS },
    ]);
    expect(judge()).toEqual({ kind: "pass" });
    expect(seen.map(({ filter, muted }) => [filter, muted])).toEqual([
      [0, true],
      [1, false],
      [2, true],
    ]);
    expect(seen[1]!.slot).toEqual(seen[0]!.slot);
    expect(seen[2]!.slot.subarray(512)).toEqual(seen[0]!.slot.subarray(512));
    expect(arena.words[(slot + SLOT_FLAGS) >> 2]).toBe(0);
    expect(pairs(0)).toEqual([`pass ${kind} 1`]);
    expect(pairs(2)).toEqual(["pass pass 1"]);
    // No packet had its verdict: it is counted beside the chain's alone.
    expect(counters.readFilterVerdicts(0, kind)).toBe(0);
    expect(filterRuns([counters], 0)).toBe(1);
    expect(chain.decider).toBeUndefined();
    expect(chain.lastAsked?.name).toBe("filter1");
    expect(chain.hasAsked("filter0")).toBe(true);
    expect(chain.differing(undefined)).toMatchObject({
      filter: { name: "filter0" },
      verdict: { kind },
    });
    expect(chain.differing("filter2")).toBeUndefined();
  });

test("a shadow is compared with its chain's verdict, whichever filter that is of", () => {
  const { judge, pairs } = setUp([
    { shadow: true, returns: PASS },
    { returns: PASS },
    { returns: DROP },
    { shadow: true, returns: PASS },
  ]);
  judge();
  judge();
  expect(pairs(0)).toEqual(["drop pass 2"]);
  // The chain had ended before it.
  expect(pairs(3)).toEqual([]);
});

test("a redirect elsewhere differs, though both verdicts are redirects", () => {
  const elsewhere = setUp([
    { shadow: true, returns: REDIRECT, ifindex: 8 },
    { returns: REDIRECT, ifindex: 7 },
  ]);
  expect(elsewhere.judge()).toEqual({ kind: "redirect", ifindex: 7 });
  expect(elsewhere.chain.differing(undefined)).toMatchObject({ verdict: { ifindex: 8 } });
  const same = setUp([
    { shadow: true, returns: REDIRECT, ifindex: 7 },
    { returns: REDIRECT, ifindex: 7 },
  ]);
  same.judge();
  expect(same.chain.differing(undefined)).toBeUndefined();
});

test("a promoted shadow judges as any filter, and a disabled one is not asked", () => {
  const { judge, pairs, counters, seen, chain } = setUp([
    { shadow: true, returns: DROP, continueOn: ["drop"] },
    { shadow: true, returns: TX },
    { returns: PASS },
  ]);
  counters.disable(0, true);
  expect(judge()).toEqual({ kind: "pass" });
  expect(pairs(0)).toEqual([]);
  expect(chain.hasAsked("filter0")).toBe(false);
  counters.disable(0, false);
  counters.promote(0, true);
  expect(judge()).toEqual({ kind: "pass" });
  expect(seen[0]!.muted).toBe(false);
  counters.promote(1, true);
  expect(judge()).toEqual({ kind: "tx" });
  expect(chain.decider?.name).toBe("filter1");
  expect(pairs(1)).toEqual(["pass tx 2"]);
  expect(chain.differing(undefined)).toBeUndefined();
});
