import { setTimeout as delay } from "node:timers/promises";
import { err, ok, type Result } from "../common/result.ts";
import { inTurns } from "../common/steps.ts";
import { UserError } from "../common/user-error.ts";
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
}

/**
 * Brings the contents of maps that go on to what the next config says. Maps that were moved get what
 * those before them have. In maps that are kept, what is new is written beside what is old, for
 * programs of the plan in force see it at once. Where a map refuses an entry, all is taken back.
 */
export async function settleMaps({
  filters,
}: PreparedProxy): Promise<Result<SettledMaps, readonly UserError[]>> {
  const settled: MapEdits[] = [];
  const errors: UserError[] = [];
  try {
    for (const { name, maps } of filters)
      for (const map of maps) {
        if (map.before === undefined) continue;
        const edits = new MapEdits(map.source, map.before.declared, map.declared);
        settled.push(edits);
        errors.push(...(await settle(map, `filter ${name}`, map.before, edits)));
      }
  } catch (error) {
    // A map whose lock is held: the worker that holds it has died, and is about to be started again.
    if (!(error instanceof UserError)) throw error;
    errors.push(error);
  }
  if (errors.length === 0) return ok({ clear: () => cleared(settled) });
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
    if (error !== undefined)
      return [new UserError(error.code, `${filter}: ${error.where}`, error.what, error.fix)];
  }
  return inTurns(edits.write());
}

/** A worker that died with a map's lock is known to be dead long before. */
const attempts = 5;
const retryMs = 100;

async function cleared(settled: readonly MapEdits[]): Promise<UserError[]> {
  const errors: UserError[] = [];
  for (const edits of settled)
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
