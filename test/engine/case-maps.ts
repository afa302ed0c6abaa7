import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { EngineBench } from "./engine-bench.ts";
import { fuzzMaps } from "./engine-fuzz.ts";
import { structuredMaps } from "./structured-program.ts";

/** The maps that fuzzed programs name by index. A saved case says which by a line `; maps NAME`. */
export const caseMaps = {
  none: () => [],
  structured: makeStructuredMaps,
  hostile: fuzzMaps,
} satisfies Record<string, (bench: EngineBench) => MapHandle[]>;

export type CaseMaps = keyof typeof caseMaps;

function makeStructuredMaps(bench: EngineBench): MapHandle[] {
  return structuredMaps.map((type, i) => {
    const global = i === structuredMaps.length - 1;
    return bench.map(type, {
      name: `${type}${i}`,
      ...(type === "lpm_trie" ? { keySize: 8, flags: 1 } : {}),
      ...(global ? { maxEntries: 1, valueSize: 32 } : {}),
    });
  });
}
