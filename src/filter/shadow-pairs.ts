import type { Counters } from "./counters.ts";
import { type VerdictKind, verdictKinds } from "./verdict.ts";

/** How many packets had this verdict of their chain and this one of a shadow. */
export interface ShadowPair {
  readonly live: VerdictKind;
  readonly shadow: VerdictKind;
  readonly packets: number;
}

/**
 * How often filter number `filter` ran, over all workers: on packets that it decided about, and as a
 * shadow. One that was a shadow once keeps those runs.
 */
export function filterRuns(counters: readonly Counters[], filter: number): number {
  const asked = shadowPairs(counters, filter).reduce((sum, { packets }) => sum + packets, 0);
  return counters.reduce(
    (sum, worker) =>
      verdictKinds.reduce((all, kind) => all + worker.readFilterVerdicts(filter, kind), sum),
    asked,
  );
}

/** What filter number `filter` said as a shadow, over all workers: the pairs that have occurred. */
export function shadowPairs(counters: readonly Counters[], filter: number): ShadowPair[] {
  return verdictKinds.flatMap((live) =>
    verdictKinds.flatMap((shadow) => {
      const packets = counters.reduce(
        (sum, worker) => sum + worker.readShadowVerdicts(filter, live, shadow),
        0,
      );
      return packets === 0 ? [] : [{ live, shadow, packets }];
    }),
  );
}
