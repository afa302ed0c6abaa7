import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { holdsEvents } from "../object/map-rules.ts";
import type { EventSource, FilterEvent } from "../proxy/event-pump.ts";
import type { Control } from "./control.ts";
import { eventData, eventType } from "./event-values.ts";
import type { Inventory, MapItem } from "./inventory.ts";
import { type EventRow, eventRow } from "./replies.ts";
import { type AnyRoute, streaming } from "./route.ts";

/** Readers at a time: each holds a queue. */
const maxReaders = 8;
/** What waits for a reader that is slow: beyond, events are counted as lost to it. */
const maxWaiting = 4096;
const maxWaitingBytes = 4 * 2 ** 20;
/** Events handed on at a time. */
const eventsAtOnce = 256;
/** How often a reader's queue is looked into while it is empty. */
const pollMs = 20;

let readers = 0;

export const eventRoutes: readonly AnyRoute[] = [
  streaming({
    method: "GET",
    path: "/v1/events",
    id: "streamEvents",
    summary: "What filters write into ringbufs and perf_event_arrays, from here on, as it is read",
    parameters: z.strictObject({}),
    query: z.strictObject({
      filter: z.string().optional().describe("Only this filter's."),
      map: z.string().optional().describe("Only this map's: its number, name, or filter/name."),
      type: z
        .string()
        .max(255)
        .optional()
        .describe(
          "The struct of the object's BTF that events are; without it one of the map's name, or event.",
        ),
    }),
    row: eventRow,
    handle: ({ control, query, signal }) => {
      const wanted = wantedOf(control.inventory(), query);
      if (!wanted.ok) return wanted;
      if (readers >= maxReaders)
        return err(
          new UserError("EVENT_LIMIT", "events", `${maxReaders} readers are under way`, "end one"),
        );
      readers++;
      return ok(events(control, wanted.value, signal));
    },
  }),
];

/** By name: a reload may give others the same numbers. */
interface Wanted {
  readonly filter: string | undefined;
  readonly map: string | undefined;
  readonly type: string | undefined;
}

function wantedOf(
  inventory: Inventory,
  query: { readonly [Key in keyof Wanted]?: string | undefined },
): Result<Wanted, UserError> {
  const { filter, type } = query;
  if (filter !== undefined) {
    const known = inventory.chained(filter);
    if (!known.ok) return known;
  }
  let map: MapItem | undefined;
  if (query.map !== undefined) {
    const found = inventory.map(
      filter === undefined || query.map.includes("/") ? query.map : `${filter}/${query.map}`,
    );
    if (!found.ok) return err(withEventMaps(found.error, inventory));
    map = found.value;
    if (!holdsEvents(map.handle.type))
      return err(
        new UserError(
          "EVENT_MAP",
          `map ${map.handle.name}`,
          `a map of type ${map.handle.type} holds no events`,
          "name a ringbuf or a perf_event_array",
        ),
      );
  }
  const wanted = {
    filter: map?.filter ?? filter?.split(":", 1)[0],
    map: map?.handle.name,
    type,
  };
  if (type === undefined) return ok(wanted);
  const sources = inventory.maps.filter(
    (one) => holdsEvents(one.handle.type) && isWanted(wanted, one.filter, one.handle.name),
  );
  const typed = sources.map((source) => eventType(source, type));
  return typed.find((one) => one.ok) !== undefined || typed[0] === undefined
    ? ok(wanted)
    : (typed[0] as Result<never, UserError>);
}

/** Where there is no such map: those that have events, not all. */
function withEventMaps(error: UserError, { maps }: Inventory): UserError {
  if (error.code !== "MAP_UNKNOWN") return error;
  const names = maps.flatMap(({ filter, handle }) =>
    holdsEvents(handle.type) ? [`${filter}/${handle.name}`] : [],
  );
  const fix = names.length === 0 ? "no map holds events" : `events are in ${names.join(", ")}`;
  return new UserError(error.code, error.where, error.what, fix);
}

function isWanted(wanted: Wanted, filter: string, map: string): boolean {
  return (
    (wanted.filter === undefined || wanted.filter === filter) &&
    (wanted.map === undefined || wanted.map === map)
  );
}

/** Events of one reader that it has not taken yet: bounded, whatever it does. */
class Waiting {
  #events: { event: FilterEvent; atMs: number }[] = [];
  #bytes = 0;
  #lost = 0;

  add(event: FilterEvent): void {
    if (this.#events.length >= maxWaiting || this.#bytes + event.bytes.length > maxWaitingBytes) {
      this.#lost++;
      return;
    }
    this.#bytes += event.bytes.length;
    this.#events.push({ event, atMs: performance.timeOrigin + performance.now() });
  }

  take(most: number): { event: FilterEvent; atMs: number }[] {
    const taken = this.#events.splice(0, most);
    for (const { event } of taken) this.#bytes -= event.bytes.length;
    return taken;
  }

  /** How many found no room since this was asked last. */
  takeLost(): number {
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }
}

/** Events that found no room in rings, since the reader came. A reload may bring other rings. */
class RingLosses {
  readonly #control: Control;
  readonly #wanted: Wanted;
  readonly #seen = new Map<EventSource, number>();

  constructor(control: Control, wanted: Wanted) {
    this.#control = control;
    this.#wanted = wanted;
    for (const source of control.events.sources)
      this.#seen.set(source, control.events.lost(source));
  }

  take(): EventRow[] {
    const { events } = this.#control;
    const rows: EventRow[] = [];
    for (const source of events.sources) {
      const now = events.lost(source);
      const lost = now - (this.#seen.get(source) ?? 0);
      this.#seen.set(source, now);
      const { filter, reader } = source;
      const map = reader.handle.name;
      if (lost > 0 && isWanted(this.#wanted, filter, map))
        rows.push({ lost, filter, map, reason: "ring_full" });
    }
    for (const source of this.#seen.keys())
      if (!events.sources.includes(source)) this.#seen.delete(source);
    return rows;
  }
}

/** Rows until the client goes. The first tells that events are read from now on. */
async function* events(
  control: Control,
  wanted: Wanted,
  signal: AbortSignal,
): AsyncGenerator<EventRow[]> {
  const waiting = new Waiting();
  const ringLosses = new RingLosses(control, wanted);
  const unsubscribe = control.events.subscribe((event) => {
    if (isWanted(wanted, event.filter, event.map)) waiting.add(event);
  });
  try {
    yield [{ lost: 0, reason: "slow_reader" }];
    while (!signal.aborted) {
      const inventory = control.inventory();
      const rows: EventRow[] = waiting
        .take(eventsAtOnce)
        .map(({ event, atMs }) => rowOf(inventory, event, atMs, wanted.type));
      const lost = waiting.takeLost();
      if (lost > 0) rows.push({ lost, reason: "slow_reader" });
      rows.push(...ringLosses.take());
      if (rows.length > 0) yield rows;
      // The client has gone: the loop's condition tells.
      else await delay(pollMs, undefined, { signal }).catch(() => {});
    }
  } finally {
    readers--;
    unsubscribe();
  }
}

function rowOf(
  inventory: Inventory,
  { filter, map: name, cpu, bytes }: FilterEvent,
  atMs: number,
  typeName: string | undefined,
): EventRow {
  const map = inventory.maps.find((one) => one.filter === filter && one.handle.name === name);
  const type = map === undefined ? undefined : eventType(map, typeName);
  return {
    seconds: Math.floor(atMs / 1000),
    nanoseconds: Math.floor((atMs % 1000) * 1e6),
    filter,
    map: name,
    ...(cpu === undefined ? {} : { cpu }),
    length: bytes.length,
    ...eventData(map?.btf, type?.ok ? type.value : undefined, bytes),
  };
}
