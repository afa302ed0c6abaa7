import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { copyEntries, MapEdits } from "./map-edits.ts";
import type { PreparedMap } from "./prepare-filter.ts";
import type { PreparedProxy } from "./prepare-plan.ts";

/**
 * Brings the contents of maps that go on to what the next config says: grown maps get what the
 * smaller ones have, and entries follow the config. Programs of the plan in force see it at once.
 * Where a map refuses an entry, all changes are taken back.
 */
export function settleMaps({ filters }: PreparedProxy): Result<undefined, readonly UserError[]> {
  const settled: MapEdits[] = [];
  const errors: UserError[] = [];
  try {
    for (const map of filters.flatMap(({ maps }) => maps)) {
      if (map.before === undefined) continue;
      const edits = new MapEdits(map.source);
      settled.push(edits);
      errors.push(...settle(map, map.before, edits));
    }
  } catch (error) {
    // A map whose lock is held: the worker that holds it has died, and is about to be started again.
    if (!(error instanceof UserError)) throw error;
    errors.push(error);
  }
  if (errors.length === 0) return ok(undefined);
  for (const edits of settled.reverse()) edits.undo();
  return err(errors);
}

function settle(
  map: PreparedMap,
  before: NonNullable<PreparedMap["before"]>,
  edits: MapEdits,
): UserError[] {
  if (map.succession === "grown") copyEntries(before.source, map.source);
  return edits.declare(before.declared, map.declared);
}
