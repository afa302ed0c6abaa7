import { Counters } from "../filter/counters.ts";
import { directions, verdictKinds } from "../filter/verdict.ts";
import type { ProxyPlan } from "./plan.ts";

/** Packets of all listeners of a plan that worker number `worker` has judged. */
export function packetsOf(plan: ProxyPlan, worker: number): number {
  const counters = countersOf(plan, worker);
  let packets = 0;
  for (const index of plan.listeners.keys())
    for (const direction of directions)
      for (const kind of verdictKinds) packets += counters.readPackets(index, direction, kind);
  return packets;
}

/** TCP connections that worker number `worker` has. */
export function connectionsOf(plan: ProxyPlan, worker: number): number {
  const counters = countersOf(plan, worker);
  return plan.listeners
    .map(({ protocol }, index) => (protocol === "tcp" ? counters.readCell(index, "sessions") : 0))
    .reduce((sum, count) => sum + count, 0);
}

function countersOf({ memory, workers }: ProxyPlan, worker: number): Counters {
  return new Counters(memory, workers[worker]!.counters);
}
