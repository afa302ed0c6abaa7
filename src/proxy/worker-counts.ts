import { scratch, scratchAddress } from "../engine/jit/scratch.ts";
import { Counters } from "../filter/counters.ts";
import { directions, verdictKinds } from "../filter/verdict.ts";
import type { ProxyPlan } from "./plan.ts";

/**
 * A number that is another as worker number `worker` gets on: the packets of all listeners of a plan that it has
 * judged, and the slot of the one that it runs a program on. A batch's packets are counted at its end, and
 * each of them may take a run as long as a run may be.
 */
export function progressOf(plan: ProxyPlan, worker: number): number {
  const counters = countersOf(plan, worker);
  const slotAt = scratchAddress(plan.workers[worker]!.stack) + scratch.slot;
  let packets = new DataView(plan.memory.buffer).getUint32(slotAt, true);
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
