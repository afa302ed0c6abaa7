import { beforeEach, describe, expect, test } from "vitest";
import { describeFrame } from "../../src/engine/packet-slot.ts";
import type { ProxyPlan } from "../../src/proxy/plan.ts";
import { countUnfinishedRun } from "../../src/proxy/unfinished-run.ts";
import { SLOT_FLAGS, SLOT_OUTGOING } from "../../src/runtime/wasm/layout.ts";
import { PlanBench } from "./plan-of.ts";

let bench: PlanBench;
let plan: ProxyPlan;
let slot: number;

beforeEach(async () => {
  bench = new PlanBench();
  plan = await bench.plan({
    upstreams: [{ name: "app", addresses: [] }],
    listeners: [{}, { protocol: "vxlan", upstream: undefined }],
    filters: [{ assembly: "r0 = 2\nexit" }],
    ports: [
      { ifindex: 7, upstream: 0 },
      { ifindex: 8, listener: 1, peer: 0 },
    ],
  });
  slot = plan.workers[0]!.slots;
});

describe("of a worker that has ended in the middle of a run", () => {
  test("each packet is aborted with its own length, however far apart they lay", () => {
    const [counters] = bench.counters;
    const stride = 2048;
    for (const [i, bytes] of [60, 100, 1000].entries())
      describeFrame(bench.arena, slot + i * stride, bytes, 1000, 0);
    counters!.beginRun(0, slot, 3, stride);
    expect(countUnfinishedRun(plan, 0)).toBe(
      "it was running filter filter0, program program0, on 3 packets of listener listener0, ingress",
    );
    expect(counters!.readPackets(0, "ingress", "aborted")).toBe(3);
    expect(counters!.readBytes(0, "ingress", "aborted")).toBe(1160);
    expect(counters!.readDrops(0, "ingress", "filter_aborted")).toBe(3);
    expect(counters!.readFilterVerdicts(0, "aborted")).toBe(3);
  });

  test("a packet of a tunnel's peer that is a port is its tunnel's", () => {
    const [counters] = bench.counters;
    describeFrame(bench.arena, slot, 60, 8, 0);
    bench.arena.words[(slot + SLOT_FLAGS) >> 2] = SLOT_OUTGOING;
    counters!.beginRun(0, slot, 1, 0);
    expect(countUnfinishedRun(plan, 0)).toMatch(/on a packet of listener listener1, egress$/);
    expect(counters!.readPackets(1, "egress", "aborted")).toBe(1);
    expect(counters!.readPackets(0, "egress", "aborted")).toBe(0);
  });

  test("a packet of a number that is no listener's is told of, and counted nowhere", () => {
    const [counters] = bench.counters;
    describeFrame(bench.arena, slot, 60, 7, 0);
    counters!.beginRun(0, slot, 1, 0);
    expect(countUnfinishedRun(plan, 0)).toMatch(/on a packet$/);
    expect(counters!.readFilterVerdicts(0, "aborted")).toBe(0);
  });

  test("a shadow has no verdict, but its packet is lost too", () => {
    const [counters] = bench.counters;
    const shadowed = { ...plan, filters: [{ ...plan.filters[0]!, shadow: true }] };
    describeFrame(bench.arena, slot, 60, 1000, 0);
    counters!.beginRun(0, slot, 1, 0);
    expect(countUnfinishedRun(shadowed, 0)).toMatch(/filter filter0/);
    expect(counters!.readPackets(0, "ingress", "aborted")).toBe(1);
    expect(counters!.readFilterVerdicts(0, "aborted")).toBe(0);
    counters!.promote(0, true);
    counters!.beginRun(0, slot, 1, 0);
    countUnfinishedRun(shadowed, 0);
    expect(counters!.readFilterVerdicts(0, "aborted")).toBe(1);
  });

  test("nothing is told or counted twice", () => {
    bench.counters[0]!.beginRun(0, slot, 1, 0);
    expect(countUnfinishedRun(plan, 0)).toBeDefined();
    expect(countUnfinishedRun(plan, 0)).toBeUndefined();
    bench.counters[0]!.beginRun(0, slot, 1, 0);
    bench.counters[0]!.endRun(0);
    expect(countUnfinishedRun(plan, 0)).toBeUndefined();
  });
});
