import type { EventReader, MapEvent } from "../maps/event-reader.ts";

/** One perf_event_array or ringbuf of a filter. */
export interface EventSource {
  /** The filter whose map it is; of a map that several share, the first. */
  readonly filter: string;
  readonly reader: EventReader;
}

/** An event, and whose it is. */
export interface FilterEvent extends MapEvent {
  readonly filter: string;
}

/** Milliseconds between two looks at quiet rings. */
const intervalMs = 50;
/** Events taken from a map at once: what is held in memory, and for how long nothing else runs. */
const mostAtOnce = 512;
/** Rounds of reading from maps that a reload lets go. */
const mostRounds = 64;

/**
 * Reads what filters write for user space, on the main thread, while workers go on. Events are read
 * whether anyone listens or not, so that a full ring means that they come too fast.
 */
export class EventPump {
  #sources: readonly EventSource[];
  /** Events read, of each source. */
  readonly #totals = new WeakMap<EventSource, number>();
  readonly #listeners = new Set<(event: FilterEvent) => void>();
  #isStarted = false;
  #timer: NodeJS.Timeout | undefined;
  #again: NodeJS.Immediate | undefined;

  constructor(sources: readonly EventSource[]) {
    this.#sources = sources;
  }

  get sources(): readonly EventSource[] {
    return this.#sources;
  }

  /** Reads from other sources from now on, and what is left in those before. */
  follow(sources: readonly EventSource[]): void {
    // Not forever: workers may write as fast as this reads.
    for (let i = 0; i < mostRounds && this.#readAll(); i++);
    this.#sources = sources;
    if (this.#isStarted) this.start();
  }

  /** Begins to look at the rings, from time to time; the process may end meanwhile. */
  start(): void {
    this.#isStarted = true;
    if (this.sources.length === 0 || this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#look(), intervalMs);
    this.#timer.unref();
  }

  /** Reads what is left and looks no more. */
  stop(): void {
    clearInterval(this.#timer);
    clearImmediate(this.#again);
    this.#timer = undefined;
    this.#again = undefined;
    while (this.#readAll());
  }

  /** Calls `listener` for each event from here on, until the function that is returned is called. */
  subscribe(listener: (event: FilterEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Events read from a source. */
  total(source: EventSource): number {
    return this.#totals.get(source) ?? 0;
  }

  /** Events that found no room in a source's rings. */
  lost({ reader }: EventSource): number {
    return reader.lost;
  }

  /** Rings that were full of events are looked at again at once, after whatever else waits. */
  #look(): void {
    if (this.#again !== undefined) return;
    if (!this.#readAll()) return;
    this.#again = setImmediate(() => {
      this.#again = undefined;
      this.#look();
    });
  }

  /** Whether any source had more than was read. */
  #readAll(): boolean {
    let isMore = false;
    for (const source of this.#sources) {
      const { filter, reader } = source;
      const events = reader.read(mostAtOnce);
      this.#totals.set(source, this.total(source) + events.length);
      if (events.length === mostAtOnce) isMore = true;
      for (const listener of this.#listeners)
        for (const event of events) listener({ filter, ...event });
    }
    return isMore;
  }
}
