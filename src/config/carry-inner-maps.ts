import { u32le } from "../common/bytes.ts";
import { eachInSteps, type Steps } from "../common/steps.ts";
import type { UserError } from "../common/user-error.ts";
import { innerMapValue } from "../maps/inner-maps.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { formatTyped } from "../maps/typed.ts";
import { EntryTable } from "./entry-table.ts";
import { tooFull } from "./map-edits.ts";
import type { PreparedFilter, PreparedMap } from "./prepare-filter.ts";

/** The maps of the next plan that stand for those of the one before: by filter and name, or by pin. */
export class Heirs {
  readonly #before: readonly PreparedFilter[];
  readonly #names = new Map<number, string>();
  readonly #heirs = new Map<number, MapHandle>();

  constructor(before: readonly PreparedFilter[], next: readonly PreparedFilter[]) {
    this.#before = before;
    const maps = new Map<string, MapHandle>();
    for (const filter of next)
      for (const map of filter.maps) maps.set(identity(filter, map), map.handle);
    for (const filter of before)
      for (const map of filter.maps) {
        this.#names.set(map.handle.descriptor, map.name);
        const heir = maps.get(identity(filter, map));
        if (heir !== undefined) this.#heirs.set(map.handle.descriptor, heir);
      }
  }

  /** The map that stands for the one with this descriptor; undefined where it is gone. */
  of(descriptor: number): MapHandle | undefined {
    return this.#heirs.get(descriptor);
  }

  /** What the map with this descriptor was called. */
  nameOf(descriptor: number): string | undefined {
    return this.#names.get(descriptor);
  }

  /** The heir of the map that a filter of the plan before had in this place of its object. */
  at(filter: string, place: number): MapHandle | undefined {
    const map = this.#before.find(({ name }) => name === filter)?.maps[place];
    return map && this.of(map.handle.descriptor);
  }
}

function identity(filter: PreparedFilter, map: PreparedMap): string {
  return map.isShared ? `/${map.sharedName}` : `${filter.name}/${map.name}`;
}

/**
 * What a config puts into a map of maps, which names places among an object's maps, as what the map
 * itself holds; nothing's descriptor where there is no map.
 */
export function describedEntries(
  declared: EntryTable,
  mapAt: (place: number) => MapHandle | undefined,
): EntryTable {
  const described = new EntryTable(declared);
  for (const { key, value, where } of declared) {
    const map = mapAt(u32le(value, 0));
    described.add(key, map === undefined ? new Uint8Array(4) : innerMapValue(map), where);
  }
  return described;
}

/**
 * Copies what a map of maps holds to the one that goes on from it, each map by its heir, without the
 * entries that the config has `before` and no longer `now`. An entry whose map is gone, or is not such
 * a map as the next is declared to hold, is left out, and told in `warnings`.
 */
export function carryInnerMaps(
  { source: to, handle, btf, keyType }: PreparedMap,
  from: PreparedMap["source"],
  before: EntryTable,
  now: EntryTable,
  heirs: Heirs,
  warnings: string[],
): Steps<UserError | undefined> {
  return eachInSteps(from.entries(), ({ key, values }) => {
    const isDeclared = now.find(key) !== undefined;
    if (before.find(key) !== undefined && !isDeclared) return undefined;
    const descriptor = u32le(values[0]!, 0);
    const heir = heirs.of(descriptor);
    if (heir !== undefined && to.takes(heir)) {
      if (to.putMap(key, heir) !== 0) return tooFull(from, to);
    } else if (!isDeclared) {
      const [place, name] = [formatTyped(btf, keyType, key), heirs.nameOf(descriptor)];
      warnings.push(
        `map ${handle.name} no longer has ${JSON.stringify(place)}: map ${name} ${heir === undefined ? "is gone" : "is not such a map as it holds now"}`,
      );
    }
    return undefined;
  });
}
