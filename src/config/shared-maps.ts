import { UserError } from "../common/user-error.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { MapSpec } from "../object/object-spec.ts";
import type { FilterConfig } from "./config.ts";
import type { Succession } from "./map-succession.ts";

/** A map that objects pin by name, and the filter whose it was first: filters after it use the same. */
interface SharedMap {
  readonly handle: MapHandle;
  readonly filter: string;
  readonly succession: Succession;
}

/** Those of a plan, by name. */
export type SharedMaps = Map<string, SharedMap>;

/** The name by which filters share a map that is pinned by name. */
export function sharedName({ name, pinName = name }: Pick<MapSpec, "name" | "pinName">): string {
  return pinName;
}

/**
 * Whether filters share the map by its name: LIBBPF_PIN_BY_NAME and iproute2's PIN_GLOBAL_NS, and
 * PIN_OBJECT_NS among filters of one object. A prog_array never: what it names is programs of one filter's engine. A shadow's
 * never: others would feel what it writes.
 */
export function isShared(
  { pinning, type }: MapSpec,
  { shadow }: Pick<FilterConfig, "shadow">,
): boolean {
  return pinning === "by_name" && type !== "prog_array" && !shadow;
}

/** Why a map pinned by the same name cannot stand in for `spec`. libbpf: map_is_reuse_compat. */
export function sharingProblem(
  spec: MapSpec,
  { handle, filter }: Pick<SharedMap, "handle" | "filter">,
): UserError | undefined {
  for (const [key, word] of compared)
    if ((spec[key] ?? 0) !== (handle[key] ?? 0))
      return new UserError(
        "MAP_PIN_MISMATCH",
        `map ${spec.name}`,
        `is pinned by a name that filter ${filter} has pinned a map by, of ${word} ${handle[key] ?? 0} where this one's is ${spec[key] ?? 0}`,
        "declare both maps alike, or give them different names",
      );
  return undefined;
}

const compared = [
  ["type", "type"],
  ["keySize", "key size"],
  ["valueSize", "value size"],
  ["maxEntries", "max_entries"],
  ["flags", "map_flags"],
  ["extra", "map_extra"],
] as const;
