import { Arena } from "../runtime/arena.ts";
import { instantiateRuntime } from "../runtime/instantiate.ts";
import type { ProxyPlan } from "./plan.ts";

/**
 * Releases and repairs every map of a plan's programs that a dead worker held: the others, and the
 * main thread, wait for its locks. For the main thread, once the worker's thread has ended.
 */
export function repairMaps(
  { filters, tailCalled = [], memory, runtime }: ProxyPlan,
  worker: number,
): void {
  const maps = [...filters, ...tailCalled].flatMap(({ program }) => program.maps);
  const descriptors = new Set(maps.map(({ descriptor }) => descriptor));
  const instance = instantiateRuntime(runtime, Arena.attach(memory));
  for (const descriptor of descriptors) instance.repair(descriptor, worker);
}
