import { setTimeout as delay } from "node:timers/promises";
import { err, ok, type Result } from "../common/result.ts";
import { inTurns } from "../common/steps.ts";
import { UserError } from "../common/user-error.ts";
import { carryInnerMaps, describedEntries, Heirs } from "./carry-inner-maps.ts";
import { copyEntries, MapEdits } from "./map-edits.ts";
import type { PreparedMap } from "./prepare-filter.ts";
import type { PreparedProxy } from "./prepare-plan.ts";

/** Maps that hold what the next config says, and still what only the one before says. */
export interface SettledMaps {
  /**
   * Once every worker runs the next plan: removes the latter. What could not be removed stays, and is
   * told.
   */
  clear(): Promise<UserError[]>;
  /** What could not go on. */
  readonly warnings: readonly string[];
}

/**
 * Brings the contents of maps that go on to what the next config says. Maps that were moved get what
 * those before them have. In maps that are kept, what is new is written beside what is old, for
 * programs of the plan in force see it at once. Where a map refuses an entry, all is taken back.
 */
export async function settleMaps(
  { filters }: PreparedProxy,
  { filters: filtersBefore }: PreparedProxy,
): Promise<Result<SettledMaps, readonly UserError[]>> {
  const settled: MapEdits[] = [];
  /** Those of maps that still hold what only the config before says: copies were made without it. */
  const inPlace: MapEdits[] = [];
  const errors: UserError[] = [];
  const warnings: string[] = [];
  const heirs = new Heirs(filtersBefore, filters);
  const carried = new Set<number>();
  try {
    for (const { name, maps } of filters)
      for (const map of maps) {
        if (map.before === undefined) continue;
        const { before, succession, source, handle } = map;
        const where = `filter ${name}`;
        if (succession !== "carried") {
          const edits = new MapEdits(source, before.declared, map.declared);
          settled.push(edits);
          if (succession === "kept") inPlace.push(edits);
          errors.push(...(await settle(map, where, before, edits)));
          continue;
        }
        const was = describedEntries(before.declared, (place) => heirs.at(name, place));
        const is = describedEntries(map.declared, (place) => maps[place]?.handle);
        const edits = new MapEdits(source, was, is);
        settled.push(edits);
        const told: string[] = [];
        // Filters may share it.
        const isCarried = carried.has(handle.descriptor);
        if (isCarried) inPlace.push(edits);
        const error = isCarried
          ? undefined
          : await inTurns(carryInnerMaps(map, before.source, was, is, heirs, told));
        carried.add(handle.descriptor);
        warnings.push(...told.map((text) => `${where}: ${text}`));
        errors.push(...(error ? [within(where, error)] : await inTurns(edits.write())));
      }
  } catch (error) {
    // A map whose lock is held: the worker that holds it has died, and is about to be started again.
    if (!(error instanceof UserError)) throw error;
    errors.push(error);
  }
  if (errors.length === 0) return ok({ clear: () => cleared(inPlace), warnings });
  for (const edits of settled.reverse()) await inTurns(edits.undo());
  return err(errors);
}

async function settle(
  map: PreparedMap,
  filter: string,
  before: NonNullable<PreparedMap["before"]>,
  edits: MapEdits,
): Promise<UserError[]> {
  if (map.succession !== "kept") {
    const error = await inTurns(
      copyEntries(before.source, map.source, before.declared, map.declared),
    );
    if (error !== undefined) return [within(filter, error)];
  }
  return inTurns(edits.write());
}

function within(filter: string, { code, where, what, fix }: UserError): UserError {
  return new UserError(code, `${filter}: ${where}`, what, fix);
}

/** A worker that died with a map's lock is known to be dead long before. */
const attempts = 5;
const retryMs = 100;

async function cleared(inPlace: readonly MapEdits[]): Promise<UserError[]> {
  const errors: UserError[] = [];
  for (const edits of inPlace)
    for (let attempt = 1; ; attempt++)
      try {
        await inTurns(edits.clear());
        break;
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        if (attempt === attempts) {
          errors.push(error);
          break;
        }
        await delay(retryMs);
      }
  return errors;
}
