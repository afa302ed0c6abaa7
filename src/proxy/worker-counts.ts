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

/**
 * TCP connections that worker number `worker` has under any of `plans`, each listener's place counted once:
 * a place is the name's, so where UDP has become TCP by one name, or the reverse, its sessions are among them.
 */
export function connectionsOf(plans: Iterable<ProxyPlan>, worker: number): number {
  const byPlace = new Map<number, number>();
  for (const plan of plans) {
    const counters = countersOf(plan, worker);
    const places = plan.workers[worker]!.counters.listeners;
    for (const [index, { protocol }] of plan.listeners.entries())
      if (protocol === "tcp") byPlace.set(places[index]!, counters.readCell(index, "sessions"));
  }
  return [...byPlace.values()].reduce((sum, count) => sum + count, 0);
}

function countersOf({ memory, workers }: ProxyPlan, worker: number): Counters {
  return new Counters(memory, workers[worker]!.counters);
}
