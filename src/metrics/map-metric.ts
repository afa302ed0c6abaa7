import { err, ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { SampleWriter } from "./exposition.ts";
import { bindMetric, type MapMetric, metricOf } from "./map-binding.ts";
import { mapHistogram } from "./map-histogram.ts";
import type { MapMetricSpec, MapMetricsSpec } from "./map-metric-spec.ts";
import type { MetricMap } from "./map-source.ts";
import { maxSeries, SeriesTable } from "./series-table.ts";
import { type Total, totalOf } from "./value-reader.ts";

/**
 * A counter or gauge: each key's number under the labels that its key decodes to. The numbers of
 * all CPUs are summed, unless the last label is `cpu`, and so are keys that decode alike.
 *
 * `where` opens the error's text: the place in the config. `seriesCap` is the most series a scrape
 * has of this metric; the entries of further ones are counted as dropped.
 */
export function mapMetric(
  type: "counter" | "gauge",
  spec: MapMetricSpec,
  maps: readonly MetricMap[],
  where: string,
  seriesCap = maxSeries,
): Result<MapMetric, UserError> {
  const bound = bindMetric(type, spec, maps, where);
  if (!bound.ok) return bound;
  const { source, labels, read, keyBeforeCpu } = bound.value;
  const series = new SeriesTable<Total>(
    labels,
    seriesCap,
    () => ({ low: 0, high: 0 }),
    (total) => {
      total.low = 0;
      total.high = 0;
    },
  );
  const collect = (out: SampleWriter): void => {
    series.begin();
    for (const { key, values } of source.entries()) {
      if (keyBeforeCpu !== undefined) {
        const before = key.subarray(0, keyBeforeCpu);
        for (const [cpu, value] of values.entries()) {
          const total = series.find(withCpu(before, cpu));
          if (total !== undefined) read(value, total);
        }
        continue;
      }
      const total = series.find(key);
      if (total !== undefined) for (const value of values) read(value, total);
    }
    series.end((text, total) => out.sample(text, totalOf(total)));
  };
  return ok(metricOf(spec, type, series, collect, where));
}

/**
 * All metrics of a filter's `metrics` block over its maps, or everything that is wrong with them.
 * `whereOf` names the place in the config for a path such as `["counters", 0]`.
 */
export function mapMetrics(
  block: MapMetricsSpec,
  maps: readonly MetricMap[],
  whereOf: (path: readonly (string | number)[]) => string,
): Result<readonly MapMetric[], readonly UserError[]> {
  const results = [
    ...block.counters.map((spec, i) => mapMetric("counter", spec, maps, whereOf(["counters", i]))),
    ...block.gauges.map((spec, i) => mapMetric("gauge", spec, maps, whereOf(["gauges", i]))),
    ...block.histograms.map((spec, i) => mapHistogram(spec, maps, whereOf(["histograms", i]))),
  ];
  const errors = results.flatMap((result) => (result.ok ? [] : [result.error]));
  if (errors.length > 0) return err(errors);
  return ok(results.flatMap((result) => (result.ok ? [result.value] : [])));
}

/** The key with the CPU's number behind it, where the `cpu` label reads it. */
function withCpu(key: Uint8Array, cpu: number): Uint8Array {
  const out = new Uint8Array(key.length + 2);
  out.set(key);
  out[key.length] = cpu;
  out[key.length + 1] = cpu >>> 8;
  return out;
}
