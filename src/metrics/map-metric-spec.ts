/**
 * The `metrics` block of a filter, in the form of cloudflare/ebpf_exporter: what its maps mean as
 * Prometheus metrics. Keys are that project's, so that a block moves between the two unchanged;
 * `gauges`, `map`, `field`, `unknown` and the decoders `int` and `uint_be` are additions.
 */
export interface MapMetricsSpec {
  readonly counters: readonly MapCounterSpec[];
  readonly gauges: readonly MapGaugeSpec[];
  readonly histograms: readonly MapHistogramSpec[];
}

/** What every metric of a map has. */
export interface MapMetricSpec {
  /** The metric's name, exported as it is: nothing is put in front. */
  readonly name: string;
  readonly help: string;
  /** The map to read. Default: the map of the metric's own name. */
  readonly map?: string | undefined;
  /** One member of a struct value, as a path: `bytes`, `stats.drops`, `queues[2]`. */
  readonly field?: string | undefined;
  /** Carve the key from its first byte on: together exactly as long as the key. */
  readonly labels: readonly LabelSpec[];
}

export interface MapCounterSpec extends MapMetricSpec {}

export interface MapGaugeSpec extends MapMetricSpec {}

/** A histogram whose last label is the bucket. */
export interface MapHistogramSpec extends MapMetricSpec {
  readonly bucket_type: BucketType;
  /** Upper bounds and the sum are multiplied by this: 0.000001 turns microseconds into seconds. */
  readonly bucket_multiplier: number;
  /** First and last bucket key, inclusive. Not for `fixed`. */
  readonly bucket_min?: number | undefined;
  readonly bucket_max?: number | undefined;
  /** The bucket keys of a `fixed` histogram, ascending. */
  readonly bucket_keys?: readonly number[] | undefined;
}

/** How a bucket's key becomes its inclusive upper bound. */
export const bucketTypes = ["exp2", "exp2zero", "linear", "fixed"] as const;
export type BucketType = (typeof bucketTypes)[number];

/** Some bytes of a map's key, and how they become text. */
export interface LabelSpec {
  readonly name: string;
  /** Bytes of the key that this label reads. */
  readonly size: number;
  /** Bytes of the key skipped after it: alignment of a struct. */
  readonly padding: number;
  /** Applied in order, each to what the one before gave. */
  readonly decoders: readonly DecoderSpec[];
}

export type DecoderSpec =
  | { readonly name: "uint" }
  | { readonly name: "uint_be" }
  | { readonly name: "int" }
  | { readonly name: "inet_ip" }
  | { readonly name: "string" }
  | { readonly name: "hex" }
  | { readonly name: "dname" }
  | StaticMapSpec
  | RegexpSpec;

export interface StaticMapSpec {
  readonly name: "static_map";
  readonly static_map: Readonly<Record<string, string>>;
  /** Inputs that are not in the map: false gives `unknown:INPUT`, true the input itself. */
  readonly allow_unknown: boolean;
  /** Collapses all inputs that are not in the map into this one value. */
  readonly unknown?: string | undefined;
}

export interface RegexpSpec {
  readonly name: "regexp";
  /** The first that matches gives its capture group, or the whole match where it has none. */
  readonly regexps: readonly string[];
  /** Collapses all inputs that match nothing into this one value; without it they are left out. */
  readonly unknown?: string | undefined;
}
