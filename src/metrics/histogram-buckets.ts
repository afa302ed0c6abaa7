import type { BucketType } from "./map-metric-spec.ts";

/** Buckets one histogram may have. */
export const maxBuckets = 1_000;

interface BucketSpec {
  readonly bucket_type: BucketType;
  readonly bucket_multiplier: number;
  readonly bucket_min?: number | undefined;
  readonly bucket_max?: number | undefined;
  readonly bucket_keys?: readonly number[] | undefined;
}

/** The buckets of a histogram, ascending, and the key under which a filter adds up all values. */
export interface Buckets {
  readonly keys: readonly number[];
  /** Inclusive upper bound of each key. */
  readonly bounds: readonly number[];
  readonly sumKey: number;
}

/**
 * Bounds as ebpf_exporter gives them, each inclusive: `exp2` key i counts values up to 2^i, of
 * `exp2zero` key 0 counts zeros and key i values up to 2^(i-1), of `linear` and `fixed` up to i;
 * all times the multiplier. The key after the last one holds the sum of all values.
 */
export function histogramBuckets(spec: BucketSpec): Buckets {
  const keys = bucketKeys(spec);
  const bounds = keys.map((key) => unscaledBound(spec.bucket_type, key) * spec.bucket_multiplier);
  return { keys, bounds, sumKey: (keys.at(-1) ?? 0) + 1 };
}

function bucketKeys(spec: BucketSpec): readonly number[] {
  if (spec.bucket_type === "fixed") return spec.bucket_keys ?? [];
  const first = spec.bucket_min ?? 0;
  const last = spec.bucket_max ?? first;
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

function unscaledBound(type: BucketType, key: number): number {
  switch (type) {
    case "exp2":
      return 2 ** key;
    case "exp2zero":
      return key === 0 ? 0 : 2 ** (key - 1);
    case "linear":
    case "fixed":
      return key;
  }
}

/** What is wrong with a histogram's bucket keys, and at which of them; undefined if nothing is. */
export function bucketProblem(
  spec: BucketSpec,
): { readonly key: keyof BucketSpec; readonly what: string } | undefined {
  const { bucket_type: type, bucket_keys: keys, bucket_min: min, bucket_max: max } = spec;
  if (type === "fixed") {
    if (min !== undefined) return { key: "bucket_min", what: "is not for fixed; use bucket_keys" };
    if (max !== undefined) return { key: "bucket_max", what: "is not for fixed; use bucket_keys" };
    if (keys === undefined || keys.length === 0)
      return { key: "bucket_keys", what: "must list the bucket keys of a fixed histogram" };
    const unsorted = keys.findIndex((key, i) => i > 0 && key <= (keys[i - 1] as number));
    if (unsorted !== -1) return { key: "bucket_keys", what: `${keys[unsorted]} is not ascending` };
  } else {
    if (keys !== undefined)
      return { key: "bucket_keys", what: `is for fixed; ${type} has bucket_min and bucket_max` };
    if (min === undefined) return { key: "bucket_min", what: `is required for ${type}` };
    if (max === undefined) return { key: "bucket_max", what: `is required for ${type}` };
    if (max <= min) return { key: "bucket_max", what: `must be above bucket_min, ${min}` };
    if (max - min >= maxBuckets)
      return { key: "bucket_max", what: `makes ${max - min + 1} buckets; at most ${maxBuckets}` };
    if (type !== "linear" && max > 64)
      return { key: "bucket_max", what: `is ${max}; a power of two in 64 bits needs at most 64` };
  }
  return undefined;
}
