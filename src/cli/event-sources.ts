import type { PreparedProxy } from "../config/prepare-plan.ts";
import { EventReader } from "../maps/event-reader.ts";
import { holdsEvents } from "../object/map-rules.ts";
import type { EventSource } from "../proxy/event-pump.ts";

/**
 * The maps of a prepared proxy that filters write events into, each once. `known`: sources of a plan
 * before, which are the same where a map is: what was read of it is not read again.
 */
export function eventSources(
  { filters, arena, runtime }: PreparedProxy,
  known: readonly EventSource[] = [],
): EventSource[] {
  const sources = new Map<number, EventSource>();
  for (const { name, maps } of filters)
    for (const { handle } of maps) {
      if (!holdsEvents(handle.type) || sources.has(handle.descriptor)) continue;
      const before = known.find(({ reader }) => reader.handle.descriptor === handle.descriptor);
      const reader = before?.reader ?? new EventReader(handle, arena, runtime);
      const source = before?.filter === name ? before : { filter: name, reader };
      sources.set(handle.descriptor, source);
    }
  return [...sources.values()];
}
