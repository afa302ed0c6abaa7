import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { MapType } from "../object/object-spec.ts";
import { type CompiledLabel, compileLabel } from "./decoders/compile-label.ts";
import type { MetricFamily, SampleWriter } from "./exposition.ts";
import type { LabelSpec, MapMetricSpec } from "./map-metric-spec.ts";
import type { MapSource, MetricMap } from "./map-source.ts";
import type { SeriesTable } from "./series-table.ts";
import { type ValueReader, valueReader } from "./value-reader.ts";

/** A map read as a metric at each scrape. Workers write the map meanwhile and are never held up. */
export interface MapMetric {
  /** The place in the config, for messages. */
  readonly where: string;
  readonly family: MetricFamily;
  /** Map entries left out so far because the metric had its most series, over all scrapes. */
  readonly dropped: number;
}

/** Maps that hold numbers under keys. */
export const countableTypes: readonly MapType[] = [
  "array",
  "percpu_array",
  "hash",
  "percpu_hash",
  "lru_hash",
  "lru_percpu_hash",
  "lpm_trie",
];

/** On a per-CPU map a last label of this name and size reads no key: it is the worker's number. */
export const cpuLabel = { name: "cpu", size: 2 };

/** A metric with its map found and its labels and value compiled. */
export interface BoundMetric {
  readonly source: MapSource;
  readonly labels: readonly CompiledLabel[];
  readonly read: ValueReader;
  /** Bytes of the key that labels read, where the last label is the CPU's number instead. */
  readonly keyBeforeCpu: number | undefined;
}

/** Finds the metric's map and checks that labels cover its key and that its value is a number. */
export function bindMetric(
  type: MetricFamily["type"],
  spec: MapMetricSpec,
  maps: readonly MetricMap[],
  where: string,
): Result<BoundMetric, UserError> {
  const name = spec.map ?? spec.name;
  const refuse = (code: string, what: string, fix: string): Result<BoundMetric, UserError> =>
    err(new UserError(code, where, `metric ${spec.name}: ${what}`, fix));
  const map = maps.find((candidate) => candidate.name === name);
  if (map === undefined) {
    const names = maps.map((candidate) => candidate.name).join(", ");
    return refuse(
      "METRIC_NO_MAP",
      `there is no map "${name}"`,
      names === "" ? "the object has no maps" : `set map to one of ${names}`,
    );
  }
  const { type: mapType, keySize, valueSize, maxEntries } = map.source.handle;
  if (!countableTypes.includes(mapType))
    return refuse(
      "METRIC_MAP_TYPE",
      `map ${name} is of type ${mapType}, which holds no numbers`,
      `choose a map of type ${countableTypes.join(", ")}`,
    );
  const labels: CompiledLabel[] = [];
  for (const label of spec.labels) {
    const compiled = compileLabel(label);
    if (!compiled.ok) {
      const all = compiled.error.map(({ what }) => what).join("; ");
      return refuse("METRIC_LABEL", all, compiled.error.map(({ fix }) => fix).join("; "));
    }
    labels.push(compiled.value);
  }
  const last = spec.labels.at(-1);
  const byCpu =
    type !== "histogram" && mapType.includes("percpu") && last !== undefined && isCpuLabel(last);
  const covered = keyBytes(byCpu ? labels.slice(0, -1) : labels);
  const single = covered === 0 && maxEntries === 1;
  if (covered !== keySize && !single)
    return refuse(
      "METRIC_KEY_SIZE",
      `its labels cover ${covered} bytes, and a key of map ${name} has ${keySize}`,
      covered < keySize
        ? `add labels, or padding to one, for the other ${keySize - covered}`
        : "lower a size or padding",
    );
  const read = valueReader(valueSize, spec.field, map.btf, map.valueType);
  if (!read.ok) return refuse("METRIC_VALUE", `map ${name}: ${read.error.what}`, read.error.fix);
  return ok({
    source: map.source,
    labels,
    read: read.value,
    keyBeforeCpu: byCpu ? covered : undefined,
  });
}

function isCpuLabel({ name, size }: LabelSpec): boolean {
  return name === cpuLabel.name && size === cpuLabel.size;
}

/** Bytes of a key that labels take, their padding included. */
export function keyBytes(labels: readonly CompiledLabel[]): number {
  return labels.reduce((sum, { size, padding }) => sum + size + padding, 0);
}

/** What a metric is to the registry. */
export function metricOf<Values>(
  spec: MapMetricSpec,
  type: MetricFamily["type"],
  series: SeriesTable<Values>,
  collect: (out: SampleWriter) => void,
  where: string,
): MapMetric {
  return {
    where,
    family: { name: spec.name, help: spec.help, type, collect },
    get dropped() {
      return series.dropped;
    },
  };
}
