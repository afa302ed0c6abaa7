import { captureRingMemory } from "../../src/filter/capture-ring.ts";
import type { CaptureOrder } from "../../src/filter/capture-tap.ts";

/** An order for all packets, with one ring, but for what `parts` says. */
export function orderOf(parts: Partial<CaptureOrder> = {}): CaptureOrder {
  return {
    id: 1,
    rings: [captureRingMemory(65_536)],
    snapLength: 100,
    perSecond: 1000,
    listener: undefined,
    verdict: undefined,
    direction: undefined,
    filter: undefined,
    shadow: undefined,
    expression: undefined,
    ...parts,
  };
}
