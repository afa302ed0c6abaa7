import type { MapHandle } from "../../src/maps/map-handle.ts";
import { fuzzMapSpecs } from "../verifier/random-program.ts";
import type { EngineBench } from "./engine-bench.ts";
import { fuzzMaps } from "./engine-fuzz.ts";
import { structuredMaps, structuredTargets } from "./structured-program.ts";

/** The maps that fuzzed programs name by index. A saved case says which by a line `; maps NAME`. */
export const caseMaps = {
  none: () => [],
  structured: makeStructuredMaps,
  tail_calls: (bench) => [...makeStructuredMaps(bench), programs(bench)],
  hostile: fuzzMaps,
  globals: (bench) => fuzzMapSpecs.map((spec) => bench.map(spec.type, spec)),
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

/** Place n of a prog_array's programs is its slot n - 1; one slot more is empty. */
function programs(bench: EngineBench): MapHandle {
  const map = bench.map("prog_array", { valueSize: 4, maxEntries: structuredTargets + 1 });
  for (let slot = 0; slot < structuredTargets; slot++)
    bench.access(map).update(Uint8Array.of(slot, 0, 0, 0), Uint8Array.of(slot + 1, 0, 0, 0));
  return map;
}
