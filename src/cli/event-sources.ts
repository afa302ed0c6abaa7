import type { PreparedProxy } from "../config/prepare-plan.ts";
import { EventReader } from "../maps/event-reader.ts";
import { holdsEvents } from "../maps/map-rules.ts";
import type { EventSource } from "../proxy/event-pump.ts";

/** The maps of a prepared proxy that filters write events into, each once. */
export function eventSources({ filters, arena, runtime }: PreparedProxy): EventSource[] {
  const sources = new Map<number, EventSource>();
  for (const { name, maps } of filters)
    for (const { handle } of maps)
      if (holdsEvents(handle.type) && !sources.has(handle.descriptor))
        sources.set(handle.descriptor, {
          filter: name,
          reader: new EventReader(handle, arena, runtime),
        });
  return [...sources.values()];
}
