import { Counters } from "../filter/counters.ts";
import type { Direction } from "../filter/verdict.ts";
import {
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_FLAGS,
  SLOT_INGRESS_IFINDEX,
  SLOT_OUTGOING,
} from "../runtime/wasm/layout.ts";
import type { ProxyPlan } from "./plan.ts";

/**
 * Counts the packets that worker number `worker`, which has ended, was running a filter of `plan` on: they
 * went no further, so they are aborted. What it was running, in words; undefined: nothing of this plan.
 */
export function countUnfinishedRun(plan: ProxyPlan, worker: number): string | undefined {
  const { memory, workers, filters, listeners } = plan;
  const counters = new Counters(memory, workers[worker]!.counters);
  const words = new Int32Array(memory.buffer);
  for (const [index, { name, program, shadow }] of filters.entries()) {
    const slots = counters.takeRun(index);
    if (slots === undefined) continue;
    const decides = shadow !== true || counters.isPromoted(index);
    const [first] = slots;
    const place = placeOf(plan, words[(first! + SLOT_INGRESS_IFINDEX) >> 2]!);
    const direction: Direction =
      (words[(first! + SLOT_FLAGS) >> 2]! & SLOT_OUTGOING) === 0 ? "ingress" : "egress";
    for (const slot of place === undefined ? [] : slots) {
      const bytes = words[(slot + SLOT_DATA_END) >> 2]! - words[(slot + SLOT_DATA) >> 2]!;
      counters.packet(place!, direction, "aborted", bytes);
      counters.drop(place!, direction, "filter_aborted");
      if (decides) counters.filterVerdict(index, "aborted");
    }
    const where = place === undefined ? "" : ` of listener ${listeners[place]!.name}, ${direction}`;
    const packets = slots.length === 1 ? "a packet" : `${slots.length} packets`;
    return `it was running filter ${name}, program ${program.name}, on ${packets}${where}`;
  }
  return undefined;
}

/** The listener whose number this is, or that of a peer of it; undefined where it is none of this plan's. */
function placeOf({ listeners, ports }: ProxyPlan, ifindex: number): number | undefined {
  const own = listeners.findIndex((listener) => listener.ifindex === ifindex);
  if (own >= 0) return own;
  const peer = ports.find((port) => port.ifindex === ifindex);
  return peer !== undefined && "peer" in peer ? peer.listener : undefined;
}
