import type { SessionLimit } from "./session-limit.ts";

/** An entry's place in its table's order of use, kept in the entry: using it allocates nothing. */
export class SessionLink<Entry> {
  readonly entry: Entry;
  usedAtMs = 0;
  newer: SessionLink<Entry> | undefined;
  older: SessionLink<Entry> | undefined;
  /** Its place among its table's entries; -1: it is in none. */
  place = -1;

  constructor(entry: Entry) {
    this.entry = entry;
  }
}

interface TableOptions<Entry> {
  /** Most entries at a time. */
  readonly limit: SessionLimit;
  readonly idleTimeoutMs: number;
  readonly nowMs: () => number;
  /** An entry has not been used for the idle timeout. It is in no table any more. */
  readonly onIdle: (entry: Entry) => void;
  /** The least recently used entry had to make room. It is in no table any more. */
  readonly onEvicted: (entry: Entry) => void;
}

/** setTimeout's limit; a longer wait is taken in steps. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Sessions in order of use. It ends idle ones with one timer for all of them, and makes room by
 * ending the least recently used. Using an entry moves it to the front: a few writes.
 */
export class SessionTable<Entry extends { readonly link: SessionLink<Entry> }> {
  #options: TableOptions<Entry>;
  #newest: SessionLink<Entry> | undefined;
  #oldest: SessionLink<Entry> | undefined;
  /**
   * Each at its link's place, and which places are free. No Set: V8 makes a Set anew as entries come and
   * go, and what it was made of before holds its old entries, and the next one, until the whole heap is
   * collected: no connection would die young, which is most of what collecting it costs.
   */
  readonly #all: (Entry | undefined)[] = [];
  readonly #free: number[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TableOptions<Entry>) {
    this.#options = options;
  }

  get size(): number {
    return this.#all.length - this.#free.length;
  }

  /** Adds `entry`, after making room for it. */
  add(entry: Entry): void {
    if (this.#options.limit.makesRoom(this.size)) this.#evict();
    const place = this.#free.pop() ?? this.#all.length;
    this.#all[place] = entry;
    entry.link.place = place;
    this.#pushNewest(entry.link);
    this.#arm();
  }

  /**
   * Holds another bound from now on. It is one for new entries: of those beyond it none ends for it
   * until another comes, when the least recently used makes room. Idle ones are found.
   */
  follow(limit: SessionLimit, idleTimeoutMs: number): void {
    this.#options = { ...this.#options, limit, idleTimeoutMs };
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#arm();
  }

  /** Ends an entry if there are too many: of all tables that share the limit, this has the most. */
  makeRoom(): void {
    if (this.#options.limit.isExceeded(this.size)) this.#evict();
  }

  /** `entry` has been used now. */
  touch(entry: Entry): void {
    const link = entry.link;
    if (link.place < 0) return;
    if (link === this.#newest) link.usedAtMs = this.#options.nowMs();
    else {
      this.#unlink(link);
      this.#pushNewest(link);
    }
  }

  /** Takes `entry` out; no event. Nothing happens if it is not in the table. */
  remove(entry: Entry): void {
    const { place } = entry.link;
    if (place < 0) return;
    entry.link.place = -1;
    this.#all[place] = undefined;
    this.#free.push(place);
    this.#unlink(entry.link);
    if (this.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
  }

  /**
   * All entries in no order, to be asked for over many turns: what is there from start to end comes
   * once, what comes or goes meanwhile may.
   */
  *walk(): IterableIterator<Entry> {
    for (const entry of this.#all) if (entry !== undefined) yield entry;
  }

  /** All entries, the least recently used first. */
  entries(): Entry[] {
    const all: Entry[] = [];
    for (let link = this.#oldest; link !== undefined; link = link.newer) all.push(link.entry);
    return all;
  }

  #evict(): void {
    const evicted = this.#oldest?.entry;
    if (evicted === undefined) return;
    this.remove(evicted);
    this.#options.onEvicted(evicted);
  }

  #pushNewest(link: SessionLink<Entry>): void {
    link.usedAtMs = this.#options.nowMs();
    link.older = this.#newest;
    link.newer = undefined;
    if (this.#newest === undefined) this.#oldest = link;
    else this.#newest.newer = link;
    this.#newest = link;
  }

  #unlink(link: SessionLink<Entry>): void {
    if (link.newer === undefined) this.#newest = link.older;
    else link.newer.older = link.older;
    if (link.older === undefined) this.#oldest = link.newer;
    else link.older.newer = link.newer;
    link.newer = undefined;
    link.older = undefined;
  }

  /** Sets the timer for the oldest entry, unless it runs. */
  #arm(): void {
    if (this.#timer !== undefined || this.#oldest === undefined) return;
    const { idleTimeoutMs, nowMs } = this.#options;
    const waitMs = this.#oldest.usedAtMs + idleTimeoutMs - nowMs();
    this.#timer = setTimeout(this.#expire, Math.min(longestTimerMs, Math.max(1, waitMs)));
  }

  readonly #expire = (): void => {
    this.#timer = undefined;
    const deadline = this.#options.nowMs() - this.#options.idleTimeoutMs;
    while (this.#oldest !== undefined && this.#oldest.usedAtMs <= deadline) {
      const idle = this.#oldest.entry;
      this.remove(idle);
      this.#options.onIdle(idle);
    }
    this.#arm();
  };
}
