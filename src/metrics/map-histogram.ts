import { u8, u16le, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { type SampleWriter, writeHistogram } from "./exposition.ts";
import { bucketProblem, histogramBuckets } from "./histogram-buckets.ts";
import { bindMetric, keyBytes, type MapMetric, metricOf } from "./map-binding.ts";
import type { MapHistogramSpec } from "./map-metric-spec.ts";
import type { MetricMap } from "./map-source.ts";
import { maxSeries, SeriesTable } from "./series-table.ts";
import { type Total, totalOf } from "./value-reader.ts";

interface HistogramValues {
  /** By place in the buckets' keys; the last is the sum. Created when first counted. */
  readonly totals: (Total | undefined)[];
}

/**
 * A histogram: the last label is the bucket, the labels before it tell series apart. Keys of no
 * configured bucket are not counted, as in ebpf_exporter: a filter has to put values above the
 * last bucket into it. A series of n buckets counts as n + 3 towards the cap.
 */
export function mapHistogram(
  spec: MapHistogramSpec,
  maps: readonly MetricMap[],
  where: string,
  seriesCap = maxSeries,
): Result<MapMetric, UserError> {
  const problem = bucketProblem(spec);
  if (problem !== undefined)
    return err(new UserError("METRIC_BUCKETS", where, `${problem.key} ${problem.what}`));
  const bucketLabel = spec.labels.at(-1);
  if (bucketLabel?.decoders.length !== 1 || bucketLabel.decoders[0]?.name !== "uint")
    return err(
      new UserError(
        "METRIC_BUCKETS",
        where,
        "a histogram's last label is the bucket, with uint for its one decoder",
        "add { name: bucket, size: 4, decoders: [{ name: uint }] } for the key's last part",
      ),
    );
  const bound = bindMetric("histogram", spec, maps, where);
  if (!bound.ok) return bound;
  const { source, read } = bound.value;
  const labels = bound.value.labels.slice(0, -1);
  const bucketAt = keyBytes(labels);
  const buckets = histogramBuckets(spec);
  const places = new Map([...buckets.keys, buckets.sumKey].map((key, i) => [key, i]));
  const sumPlace = buckets.keys.length;
  const series = new SeriesTable<HistogramValues>(
    labels,
    Math.max(1, Math.floor(seriesCap / (buckets.keys.length + 3))),
    () => ({ totals: [] }),
    ({ totals }) => totals.fill(undefined),
  );
  const collect = (out: SampleWriter): void => {
    series.begin();
    for (const { key, values } of source.entries()) {
      const found = series.find(key);
      const place = places.get(readBucket(key, bucketAt, bucketLabel.size));
      if (found === undefined || place === undefined) continue;
      let total = found.totals[place];
      if (total === undefined) {
        total = { low: 0, high: 0 };
        found.totals[place] = total;
      }
      for (const value of values) read(value, total);
    }
    series.end((text, { totals }) => {
      const all: Total = { low: 0, high: 0 };
      const counts = buckets.keys.map((_, i) => {
        all.low += totals[i]?.low ?? 0;
        all.high += totals[i]?.high ?? 0;
        return totalOf(all);
      });
      const sum = totals[sumPlace];
      const scaledSum = sum === undefined ? 0 : totalOf(sum) * spec.bucket_multiplier;
      writeHistogram(out, text, buckets.bounds, counts, scaledSum, totalOf(all));
    });
  };
  return ok(metricOf(spec, "histogram", series, collect, where));
}

/** A bucket's key: an unsigned integer of 1, 2, 4 or 8 bytes. */
function readBucket(key: Uint8Array, at: number, size: number): number {
  switch (size) {
    case 1:
      return u8(key, at);
    case 2:
      return u16le(key, at);
    case 4:
      return u32le(key, at);
    default:
      return u32le(key, at) + u32le(key, at + 4) * 2 ** 32;
  }
}
