import { Counters } from "../filter/counters.ts";
import type { PreparedProxy } from "./prepare-plan.ts";

/**
 * Promotions over a reload: a filter that was promoted stays live for as long as the config has it
 * as a shadow. They lie in its counters' places, which are found by name (`bookCounters`).
 */

/**
 * Makes live what belongs to a filter that was promoted: programs of it that chains name for the
 * first time. Before the plan comes into force, so that none of them is a shadow for a moment.
 */
export function extendPromotions(prepared: PreparedProxy): void {
  for (const { counters, indexes, isShadow } of placesOf(prepared))
    if (isShadow && counters.isPromoted(indexes[0]!))
      for (const index of indexes) counters.promote(index, true);
}

/**
 * Forgets promotions of filters that the config has live by now: should it have them as shadows
 * again, they are candidates again. The names of those that a promotion keeps live.
 */
export function settlePromotions(prepared: PreparedProxy): string[] {
  const promoted = new Set<string>();
  for (const { name, counters, indexes, isShadow } of placesOf(prepared)) {
    if (isShadow && counters.isPromoted(indexes[0]!)) promoted.add(name);
    if (!isShadow) for (const index of indexes) counters.promote(index, false);
  }
  return [...promoted];
}

/** The programs of each filter in the counters of each worker. */
function* placesOf({ plan, filters }: PreparedProxy) {
  for (const worker of plan.workers) {
    const counters = new Counters(plan.memory, worker.counters);
    for (const { name, plans } of filters) {
      const indexes = plans.map((one) =>
        plan.filters.findIndex((known) => known.name === one.name),
      );
      yield { name, counters, indexes, isShadow: plans[0]?.shadow === true };
    }
  }
}
