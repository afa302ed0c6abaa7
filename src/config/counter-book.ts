import { ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import { type CounterPlaces, Counters, placeBytes } from "../filter/counters.ts";
import type { Arena } from "../runtime/arena.ts";

/** Names of all that is counted, by the plan's numbers. */
export type CounterNames = { readonly [Kind in keyof CounterPlaces]: readonly string[] };

/**
 * Places of counters in the arena, by name: what stays in the next plan keeps its place. So does what
 * has left, for when it comes back: its counters go on where they were, unless `maxAbsent` others of
 * its kind have left since, or with it.
 */
export interface CounterBook {
  /** One a worker, by the plan's numbers. */
  readonly places: readonly CounterPlaces[];
  /** Kind and name → offsets, one a worker. */
  readonly byName: ReadonlyMap<string, NamedPlaces>;
  /** Of these, those that the plan has not: of each kind the one that left first before all others. */
  readonly absent: ReadonlySet<string>;
}

interface NamedPlaces {
  readonly kind: keyof CounterPlaces;
  readonly offsets: readonly number[];
}

/** How many of a kind that are not there keep their places: a tunnel's lanes push out no listener. */
const maxAbsent = 64;

const kinds: readonly (keyof CounterPlaces)[] = ["listeners", "filters", "addresses", "lanes"];

/**
 * Finds or makes places for `names` on each of `workers` workers. Where the arena is full, nothing
 * stays allocated.
 */
export function bookCounters(
  names: CounterNames,
  workers: number,
  arena: Arena,
  before: CounterBook | undefined,
): Result<CounterBook, UserError> {
  const byName = new Map<string, NamedPlaces>();
  const returned: number[] = [];
  const places: { [Kind in keyof CounterPlaces]: number[] }[] = Array.from(
    { length: workers },
    () => ({ listeners: [], filters: [], addresses: [], lanes: [] }),
  );
  for (const kind of kinds)
    for (const [index, name] of names[kind].entries()) {
      const key = `${kind} ${name}`;
      if (kind === "filters" && before?.absent.has(key)) returned.push(index);
      let named = byName.get(key) ?? before?.byName.get(key);
      if (named === undefined) {
        const made = allocatePlaces(kind, workers, arena);
        if (!made.ok) {
          releaseCounters({ places, byName, absent: new Set() }, before, arena);
          return made;
        }
        named = { kind, offsets: made.value };
      }
      byName.set(key, named);
      for (const [worker, offset] of named.offsets.entries()) places[worker]![kind].push(offset);
    }
  for (const place of places) {
    const counters = new Counters(arena.memory, place);
    // Of a filter that was taken away only the counts stay.
    for (const filter of returned) {
      counters.disable(filter, false);
      counters.promote(filter, false);
    }
  }
  const absent = absentOf(before, byName);
  for (const key of absent) byName.set(key, before!.byName.get(key)!);
  return ok({ places, byName, absent });
}

/** What `before` has and `byName` not, as far as it is kept. */
function absentOf(
  before: CounterBook | undefined,
  byName: ReadonlyMap<string, NamedPlaces>,
): ReadonlySet<string> {
  if (before === undefined) return new Set();
  const left = [...before.byName.keys()].filter((key) => !before.absent.has(key));
  const gone = [...before.absent, ...left].filter((key) => !byName.has(key));
  return new Set(
    kinds.flatMap((kind) =>
      // What is known of an address is no count: should it come back, it is a new one.
      kind === "addresses"
        ? []
        : gone.filter((key) => before.byName.get(key)!.kind === kind).slice(-maxAbsent),
    ),
  );
}

/** Gives back the places of `book` that `kept` has not. */
export function releaseCounters(
  book: CounterBook,
  kept: CounterBook | undefined,
  arena: Arena,
): void {
  for (const [key, named] of book.byName)
    if (kept?.byName.get(key) !== named)
      for (const offset of named.offsets) arena.release(offset, placeBytes[named.kind]);
}

function allocatePlaces(
  kind: keyof CounterPlaces,
  workers: number,
  arena: Arena,
): Result<number[], UserError> {
  const offsets: number[] = [];
  for (let worker = 0; worker < workers; worker++) {
    const offset = arena.allocate(placeBytes[kind], `worker ${worker}: counters`);
    if (!offset.ok) {
      for (const made of offsets) arena.release(made, placeBytes[kind]);
      return offset;
    }
    offsets.push(offset.value);
  }
  return ok(offsets);
}
