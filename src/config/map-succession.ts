import { err, ok, type Result } from "../common/result.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { holdsMaps } from "../object/map-rules.ts";
import type { MapSpec, MapType } from "../object/object-spec.ts";

/**
 * What becomes of a filter's map in the next plan: `kept` is the same memory; `grown` a larger map with
 * its contents, `moved` one as large or smaller; `carried` a new map of maps that names the next plan's
 * maps where it named those before them; `fresh` a new one that starts from the object and the config.
 */
export type Succession = "kept" | "grown" | "moved" | "carried" | "fresh";

/** Types whose entries can be read and written by key. */
const keyed: readonly MapType[] = [
  "hash",
  "array",
  "percpu_hash",
  "percpu_array",
  "lru_hash",
  "lru_percpu_hash",
  "lpm_trie",
  "devmap",
  "devmap_hash",
];

/**
 * Decides that for a map that the object of the next plan declares as `next`. The error says what of
 * its schema has changed: type, key size, value size, flags, or another number of entries where they
 * cannot be copied. Whether a smaller map has room for them shows when they are.
 */
export function successionOf(
  next: MapSpec,
  before: MapHandle | undefined,
): Result<Succession, string> {
  if (before === undefined || next.dataSection !== undefined) return ok("fresh");
  // Its values name programs, which each plan makes anew.
  if (next.type === "prog_array") return ok("fresh");
  if (next.type !== before.type) return err(`its type ${before.type} became ${next.type}`);
  for (const { key, name } of [
    { key: "keySize", name: "key size" },
    { key: "valueSize", name: "value size" },
    { key: "flags", name: "flags" },
  ] as const)
    if (next[key] !== before[key]) return err(`its ${name} ${before[key]} became ${next[key]}`);
  if ((next.extra ?? 0) !== (before.extra ?? 0)) return err("its map_extra has changed");
  if (next.spinLock !== before.spinLock) return err("its bpf_spin_lock has moved");
  if (holdsMaps(next.type)) return ok("carried");
  // Left open, it is an entry for each worker, whose number stays.
  if (next.maxEntries === before.maxEntries || next.maxEntries === 0) return ok("kept");
  if (!keyed.includes(next.type))
    return err(`its max_entries ${before.maxEntries} became ${next.maxEntries}`);
  return ok(next.maxEntries > before.maxEntries ? "grown" : "moved");
}
