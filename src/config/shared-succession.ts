import { UserError } from "../common/user-error.ts";
import type { Succession } from "./map-succession.ts";
import type { PreparedFilter, PreparedMap } from "./prepare-filter.ts";

/** A filter's use of a shared map. */
interface Use {
  readonly filter: PreparedFilter;
  readonly map: PreparedMap;
}

/**
 * Why a plan cannot follow the one before: a map that several filters share stays as it is. Which of
 * them would decide over a new schema, or over an entry that one of them no longer declares, is not
 * for Weir to guess.
 */
export function sharedMapChanges(
  before: readonly PreparedFilter[],
  next: readonly PreparedFilter[],
): UserError[] {
  const was = usesOf(before);
  const errors: UserError[] = [];
  for (const [name, uses] of usesOf(next)) {
    const old = was.get(name);
    if (old === undefined) continue;
    const filters = new Set([...old, ...uses].map(({ filter }) => filter.name));
    if (filters.size < 2) continue;
    const isKept = uses.every(({ map }) => goesOn.includes(map.succession));
    if (isKept && declareAlike(old, uses)) continue;
    errors.push(
      new UserError(
        "SHARED_MAP_CHANGED",
        uses[0]!.filter.where,
        `map ${uses[0]!.map.name} is shared by filters ${[...filters].join(", ")}, and ${isKept ? "what they put into it" : "what it is"} has changed`,
        "restart the proxy, or leave the map as it was",
      ),
    );
  }
  return errors;
}

/** Successions in which a map holds what it held, in whatever memory. */
const goesOn: readonly Succession[] = ["kept", "carried"];

function usesOf(filters: readonly PreparedFilter[]): Map<string, Use[]> {
  const shared = filters.flatMap((filter) =>
    filter.maps.filter((map) => map.isShared).map((map) => ({ filter, map })),
  );
  return Map.groupBy(shared, ({ map }) => map.sharedName);
}

/** Whether the same filters put the same entries into a map. */
function declareAlike(uses: readonly Use[], others: readonly Use[]): boolean {
  const declaring = (of: readonly Use[]) =>
    new Map(
      of
        .filter(({ map }) => map.declared.length > 0)
        .map(({ filter, map }) => [filter.name, map.declared]),
    );
  const [ours, theirs] = [declaring(uses), declaring(others)];
  if (ours.size !== theirs.size) return false;
  return [...ours].every(([name, table]) => theirs.get(name)?.equals(table) === true);
}
