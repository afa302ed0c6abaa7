import { unplacedMap } from "../maps/map-handle.ts";
import { mapMetrics } from "../metrics/map-metric.ts";
import type { MetricMap } from "../metrics/map-source.ts";
import type { ObjectSpec } from "../object/object-spec.ts";
import type { KeyPath } from "./config-problem.ts";
import type { ProblemList } from "./problem-list.ts";
import type { MetricKind, ReadableMetrics } from "./readable-parts.ts";

/** Checks that each metric has a map whose keys and values it can read, before any map exists. */
export function checkMetrics(
  metrics: ReadableMetrics,
  object: ObjectSpec,
  path: KeyPath,
  problems: ProblemList,
): void {
  const maps: MetricMap[] = object.maps.map((map) => ({
    name: map.name,
    source: { handle: unplacedMap(map), count: 0, entries: () => [] },
    btf: object.btf,
    valueType: map.valueType,
  }));
  const check = <Kind extends MetricKind>(kind: Kind): void => {
    for (const [i, spec] of metrics[kind].entries()) {
      if (spec === undefined) continue;
      const block = { counters: [], gauges: [], histograms: [], [kind]: [spec] };
      const checked = mapMetrics(block, maps, () => "");
      if (checked.ok) continue;
      for (const { what, fix } of checked.error)
        problems.value("CONFIG_VALUE", [...path, kind, i], what, fix);
    }
  };
  check("counters");
  check("gauges");
  check("histograms");
}
