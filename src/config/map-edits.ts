import { u32le } from "../common/bytes.ts";
import { errno } from "../common/errno.ts";
import { eachInSteps, type Steps } from "../common/steps.ts";
import { UserError } from "../common/user-error.ts";
import type { MapAccess } from "../maps/map-access.ts";
import type { MapType } from "../object/object-spec.ts";
import { UPDATE_NOEXIST } from "../runtime/wasm/layout.ts";
import type { EntryTable } from "./entry-table.ts";
import { refusedEntry } from "./refused-entry.ts";

/** Of a list that a map refuses as a whole, so many entries are named. */
const maxErrors = 100;

/**
 * Makes of a map in use, which holds what the config declared `before`, what it declares `now`: first
 * `write`, which can be taken back while nobody else has changed the same keys, then, once nobody runs
 * the plan before, `clear`.
 *
 * Packets go on meanwhile, and each look-up finds what the config has before or what it has now. In
 * an LPM trie that takes an order: new prefixes come the longest first, so that none answers for a
 * longer one that is still to come; old ones go the shortest first, so that none answers for a longer
 * one that has gone.
 */
export class MapEdits {
  readonly #map: MapAccess;
  readonly #before: EntryTable;
  readonly #now: EntryTable;
  /** Entries of `now` that were written, in that order. */
  readonly #written: number[] = [];
  /** What those of them that were there had, by their numbers. */
  readonly #overwritten = new Map<number, Uint8Array[]>();

  constructor(map: MapAccess, before: EntryTable, now: EntryTable) {
    this.#map = map;
    this.#before = before;
    this.#now = now;
  }

  /**
   * Writes new and changed entries, and those again that are missing. All others stay, and so does
   * what a program made of an entry that the config has as before.
   */
  *write(): Steps<UserError[]> {
    const errors: UserError[] = [];
    const numbers = yield* inOrder(this.#map, this.#now, "longest first");
    yield* eachInSteps(numbers, (i) => {
      const result = this.#writeEntry(i);
      if (result !== 0) errors.push(refusedEntry(this.#map, this.#now.where(i), result));
      return errors.length === maxErrors || undefined;
    });
    return errors;
  }

  #writeEntry(i: number): number {
    const key = this.#now.key(i);
    const value = this.#now.value(i);
    if (this.#map.handle.type === "lpm_trie") {
      // A look-up would find a shorter prefix where there is not this one.
      const result = this.#map.initialize(key, value, UPDATE_NOEXIST);
      if (result === 0) this.#written.push(i);
      if (result !== -errno.EEXIST) return result;
    }
    const values = this.#map.lookup(key);
    const old = this.#before.find(key);
    const isSame = old !== undefined && Buffer.compare(this.#before.value(old), value) === 0;
    if (isSame && values !== undefined) return 0;
    const result = this.#map.initialize(key, value);
    if (result !== 0) return result;
    this.#written.push(i);
    if (values !== undefined) this.#overwritten.set(i, values);
    return 0;
  }

  /** Removes what the config has no longer; entries of an array become 0. */
  *clear(): Steps<void> {
    const { type, valueSize } = this.#map.handle;
    const zeros = new Uint8Array(valueSize);
    const numbers = yield* inOrder(this.#map, this.#before, "shortest first");
    yield* eachInSteps(numbers, (i) => {
      const key = this.#before.key(i);
      if (this.#now.find(key) !== undefined) return;
      if (isArray(type)) this.#map.initialize(key, zeros);
      else this.#map.discard(key);
    });
  }

  /** Takes back what was written, the last first. */
  *undo(): Steps<void> {
    yield* eachInSteps(this.#written.splice(0).reverse(), (i) => {
      const values = this.#overwritten.get(i);
      if (values === undefined) this.#map.discard(this.#now.key(i));
      else this.#map.initialize(this.#now.key(i), values);
    });
    this.#overwritten.clear();
  }
}

/** The numbers of a table's entries; those of an LPM trie by the length of their prefixes. */
function* inOrder(
  { handle }: MapAccess,
  table: EntryTable,
  order: "longest first" | "shortest first",
): Steps<Iterable<number>> {
  if (handle.type !== "lpm_trie") return Array(table.length).keys();
  const byLength = new Map<number, number[]>();
  yield* eachInSteps(Array(table.length).keys(), (i) => {
    const length = u32le(table.key(i), 0);
    const entries = byLength.get(length);
    if (entries === undefined) byLength.set(length, [i]);
    else entries.push(i);
  });
  const sign = order === "longest first" ? -1 : 1;
  const lengths = [...byLength.keys()].sort((a, b) => sign * (a - b));
  return concatenated(lengths.map((length) => byLength.get(length)!));
}

function* concatenated(lists: readonly (readonly number[])[]): Generator<number> {
  for (const list of lists) yield* list;
}

/**
 * Whether a map has room for what the config declares now beside what it declared before: then it can
 * be edited while packets go on. Where nothing would go, moving to another map would make no room.
 */
export function* hasRoom(map: MapAccess, before: EntryTable, now: EntryTable): Steps<boolean> {
  const { type, maxEntries } = map.handle;
  if (isArray(type) || type === "devmap") return true;
  if (map.count + now.length <= maxEntries) return true;
  let [there, gone, all] = [0, 0, 0];
  yield* eachInSteps(map.entries(), ({ key }) => {
    all++;
    if (now.find(key) !== undefined) there++;
    else if (before.find(key) !== undefined) gone++;
  });
  return gone === 0 || all + now.length - there <= maxEntries;
}

/**
 * Copies what `from` holds to `to`, a map of the same schema that nobody uses yet and that may have
 * another `max_entries`, without the entries that the config has `before` and no longer `now`. The
 * error says that there is not enough room; zeros of an array need none, and an LRU map forgets.
 */
export function copyEntries(
  from: MapAccess,
  to: MapAccess,
  before: EntryTable,
  now: EntryTable,
): Steps<UserError | undefined> {
  const hasArray = isArray(from.handle.type);
  return eachInSteps(from.entries(), ({ key, values }) => {
    if (before.find(key) !== undefined && now.find(key) === undefined) {
      if (hasArray) to.initialize(key, new Uint8Array(to.handle.valueSize));
      return undefined;
    }
    const result = to.initialize(key, values);
    if (result === 0 || (hasArray && values.every((value) => value.every((byte) => byte === 0))))
      return undefined;
    return tooFull(from, to);
  });
}

/** That a map has too little room for what the one before it holds. */
export function tooFull(from: MapAccess, to: MapAccess): UserError {
  return new UserError(
    "MAP_SCHEMA_CHANGED",
    `map ${to.handle.name}`,
    `cannot keep its contents: its max_entries ${from.handle.maxEntries} became ${to.handle.maxEntries}, and it holds more`,
    "remove entries first, or write onSchemaChange: reset to let it start empty",
  );
}

function isArray(type: MapType): boolean {
  return type === "array" || type === "percpu_array";
}
