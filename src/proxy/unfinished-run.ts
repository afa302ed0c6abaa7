import { Counters } from "../filter/counters.ts";
import type { Direction } from "../filter/verdict.ts";
import {
  SLOT_BYTES,
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
  for (const [index, { name, program }] of filters.entries()) {
    const run = counters.takeRun(index);
    if (run === undefined) continue;
    const { slot, count } = run;
    const ifindex = words[(slot + SLOT_INGRESS_IFINDEX) >> 2];
    const direction: Direction =
      (words[(slot + SLOT_FLAGS) >> 2]! & SLOT_OUTGOING) === 0 ? "ingress" : "egress";
    const place = listeners.findIndex((listener) => listener.ifindex === ifindex);
    for (let i = 0, at = slot; i < count && place >= 0; i++, at += SLOT_BYTES) {
      const bytes = words[(at + SLOT_DATA_END) >> 2]! - words[(at + SLOT_DATA) >> 2]!;
      counters.packet(place, direction, "aborted", bytes);
      counters.drop(place, direction, "filter_aborted");
      counters.filterVerdict(index, "aborted");
    }
    const where = place < 0 ? "" : ` of listener ${listeners[place]!.name}, ${direction}`;
    const packets = count === 1 ? "a packet" : `${count} packets`;
    return `it was running filter ${name}, program ${program.name}, on ${packets}${where}`;
  }
  return undefined;
}
