import { unplacedMap } from "../maps/map-handle.ts";
import { autoMetrics } from "../metrics/auto-metrics.ts";
import { mapMetrics } from "../metrics/map-metric.ts";
import type { MapMetricsSpec } from "../metrics/map-metric-spec.ts";
import type { MetricMap } from "../metrics/map-source.ts";
import type { ObjectSpec } from "../object/object-spec.ts";
import type { FilterConfig } from "./config.ts";
import type { KeyPath } from "./config-problem.ts";
import type { ProblemList } from "./problem-list.ts";
import type { MetricKind, ReadableFilter, ReadableMetrics } from "./readable-parts.ts";

const metricKinds = ["counters", "gauges", "histograms"] as const satisfies readonly MetricKind[];

/**
 * A filter's metrics, `auto` made into what it stands for. Checks that each has a map whose keys and
 * values it can read, before any map exists.
 */
export function readMetrics(
  metrics: ReadableMetrics,
  object: ObjectSpec,
  path: KeyPath,
  problems: ProblemList,
): MapMetricsSpec {
  if (metrics.auto) {
    const made = autoMetrics(object);
    if (made.ok) return made.value;
    const { what, fix } = made.error;
    problems.value("CONFIG_VALUE", path, `auto finds nothing: ${what}`, fix);
  }
  const maps: MetricMap[] = object.maps.map((map) => ({
    name: map.name,
    source: { handle: unplacedMap(map), count: 0, entries: () => [] },
    btf: object.btf,
    valueType: map.valueType,
  }));
  for (const kind of metricKinds)
    for (const [i, spec] of metrics[kind].entries()) {
      if (spec === undefined) continue;
      const block = { counters: [], gauges: [], histograms: [], [kind]: [spec] };
      const checked = mapMetrics(block, maps, () => "");
      if (checked.ok) continue;
      for (const { what, fix } of checked.error)
        problems.value("CONFIG_VALUE", [...path, kind, i], what, fix);
    }
  return {
    counters: metrics.counters.filter((spec) => spec !== undefined),
    gauges: metrics.gauges.filter((spec) => spec !== undefined),
    histograms: metrics.histograms.filter((spec) => spec !== undefined),
  };
}

/** Prefixes of the names that Weir and the process's own metrics have. */
const reservedPrefixes = ["weir_", "process_", "nodejs_"];

/** Where a metric's name stands, for messages, and the path to it. */
interface Named {
  readonly name: string;
  readonly kind: MetricKind;
  readonly path: KeyPath;
  /** Whether `auto` made the name. */
  readonly auto: boolean;
}

/** Checks that no two metrics share a name. `loaded`: the filters of which all is right. */
export function checkMetricNames(
  filters: ReadonlyMap<string, ReadableFilter>,
  loaded: readonly FilterConfig[],
  problems: ProblemList,
): void {
  const seen = new Map<string, string>();
  for (const { name, kind, path, auto } of namedMetrics(filters, loaded)) {
    const choose = auto
      ? `write the block in place of auto: metrics: { ${kind}: [{ name: a name of your own, map: the map's, … }] }`
      : undefined;
    const prefix = reservedPrefixes.find((one) => name.startsWith(one));
    if (prefix !== undefined)
      problems.value(
        "CONFIG_CONFLICT",
        path,
        `${auto ? `auto makes ${name}, and ` : ""}names beginning with ${prefix} are the proxy's own`,
        choose ?? "choose another",
      );
    // What a scrape shows: a histogram has three series of its name.
    const series =
      kind === "histograms" ? [name, `${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
    const taken = series.map((one) => seen.get(one)).find((place) => place !== undefined);
    if (taken !== undefined)
      problems.value(
        "CONFIG_CONFLICT",
        path,
        `${auto ? "auto makes " : ""}${JSON.stringify(name)}${auto ? ", which" : ""} collides with the metric at ${taken}`,
        choose ?? "give each metric a name of its own; map: names the map where they differ",
      );
    for (const one of series) if (!seen.has(one)) seen.set(one, problems.line(path));
  }
}

function* namedMetrics(
  filters: ReadonlyMap<string, ReadableFilter>,
  loaded: readonly FilterConfig[],
): Iterable<Named> {
  for (const [filter, { metrics }] of filters) {
    const path = ["filters", filter, "metrics"];
    const made = metrics.auto ? loaded.find(({ name }) => name === filter)?.metrics : undefined;
    for (const kind of metricKinds) {
      for (const [i, spec] of metrics[kind].entries())
        if (spec !== undefined)
          yield { name: spec.name, kind, path: [...path, kind, i, "name"], auto: false };
      for (const { name } of made?.[kind] ?? []) yield { name, kind, path, auto: true };
    }
  }
}
