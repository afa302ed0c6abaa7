import type { MapHandle } from "../maps/map-handle.ts";
import type { Btf } from "../object/btf.ts";

/** What a metric reads of a map; `MapAccess` is one. */
export interface MapSource {
  readonly handle: MapHandle;
  /** Live entries; arrays have all of theirs. */
  readonly count: number;
  /**
   * Every entry as a copy, with one value for each CPU of a per-CPU map and one value otherwise.
   * May throw a UserError where the map cannot be read now.
   */
  entries(): Iterable<{ readonly key: Uint8Array; readonly values: readonly Uint8Array[] }>;
}

/** A map with the types of its object, by the name the config knows it under. */
export interface MetricMap {
  readonly name: string;
  readonly source: MapSource;
  readonly btf: Btf | undefined;
  /** BTF type id of the value, where the object has one. */
  readonly valueType: number | undefined;
}
