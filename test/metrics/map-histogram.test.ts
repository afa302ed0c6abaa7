import { expect, test } from "vitest";
import { mapHistogram } from "../../src/metrics/map-histogram.ts";
import type { MapHistogramSpec } from "../../src/metrics/map-metric-spec.ts";
import { type FakeMap, fakeMap, join, le, samples, uintLabel } from "./fixtures.ts";

const bucket = { name: "bucket", size: 4, padding: 0, decoders: [{ name: "uint" }] } as const;

function spec(more: Partial<MapHistogramSpec>): MapHistogramSpec {
  return {
    name: "latency",
    help: "Latency",
    map: "hits",
    labels: [bucket],
    bucket_type: "linear",
    bucket_multiplier: 1,
    ...more,
  };
}

function lines(more: Partial<MapHistogramSpec>, map: FakeMap, scrapes = 1, cap?: number): string[] {
  const metric = mapHistogram(spec(more), [fakeMap(map)], "weir.yaml:1:1", cap);
  if (!metric.ok) throw metric.error;
  let last: string[] = [];
  for (let i = 0; i < scrapes; i++) last = samples(metric.value.family);
  return last;
}

/** Bucket keys to counts, as a filter leaves them in a map. */
function counted(counts: Readonly<Record<number, number>>): FakeMap {
  return { entries: Object.entries(counts).map(([key, n]) => [le(Number(key), 4), le(n, 8)]) };
}

// By ebpf_exporter's README: cumulative, inclusive bounds, missing keys filled in, the key after
// the last one the sum, all times the multiplier.
for (const { name, more, counts, expected } of [
  {
    name: "exp2 keys are powers of two",
    more: { bucket_type: "exp2", bucket_min: 0, bucket_max: 4 },
    counts: { 0: 1, 2: 5, 4: 2, 5: 99 },
    expected: { "1": 1, "2": 1, "4": 6, "8": 6, "16": 8, "+Inf": 8, sum: 99, count: 8 },
  },
  {
    name: "exp2 bounds and sum take the multiplier",
    more: { bucket_type: "exp2", bucket_min: 1, bucket_max: 3, bucket_multiplier: 0.001 },
    counts: { 1: 1, 3: 1, 4: 1500 },
    expected: { "0.002": 1, "0.004": 1, "0.008": 2, "+Inf": 2, sum: 1.5, count: 2 },
  },
  {
    name: "exp2zero has a bucket for zero, and the other keys are one larger",
    more: { bucket_type: "exp2zero", bucket_min: 0, bucket_max: 3 },
    counts: { 0: 7, 1: 1, 3: 2, 4: 30 },
    expected: { "0": 7, "1": 8, "2": 8, "4": 10, "+Inf": 10, sum: 30, count: 10 },
  },
  {
    name: "linear keys are multiples",
    more: { bucket_min: 1, bucket_max: 3, bucket_multiplier: 10 },
    counts: { 1: 4, 3: 1, 4: 6 },
    expected: { "10": 4, "20": 4, "30": 5, "+Inf": 5, sum: 60, count: 5 },
  },
  {
    name: "fixed keys are their own bounds",
    more: { bucket_type: "fixed", bucket_keys: [1, 10, 100] },
    counts: { 10: 3, 100: 1, 101: 250 },
    expected: { "1": 0, "10": 3, "100": 4, "+Inf": 4, sum: 250, count: 4 },
  },
  {
    name: "keys of no bucket are not counted",
    more: { bucket_min: 2, bucket_max: 3 },
    counts: { 0: 5, 1: 5, 2: 1, 5: 5, 4000000000: 5 },
    expected: { "2": 1, "3": 1, "+Inf": 1, sum: 0, count: 1 },
  },
] satisfies readonly {
  name: string;
  more: Partial<MapHistogramSpec>;
  counts: Readonly<Record<number, number>>;
  expected: Readonly<Record<string, number>>;
}[])
  test(`in a histogram ${name}`, () => {
    const { sum, count, ...buckets } = expected;
    const wanted = [
      ...Object.entries(buckets).map(([bound, n]) => [bound, `latency_bucket{le="${bound}"} ${n}`]),
      ["sum", `latency_sum ${sum}`],
      ["count", `latency_count ${count}`],
    ].map(([, line]) => line);
    expect(lines(more, counted(counts)).sort()).toEqual(wanted.sort());
    expect(lines(more, counted(counts), 3).sort()).toEqual(wanted.sort());
  });

test("a histogram's buckets come in ascending order, the unbounded one last", () => {
  expect(lines({ bucket_min: 0, bucket_max: 10 }, counted({ 0: 1 }))).toEqual([
    ...Array.from({ length: 11 }, (_, i) => `latency_bucket{le="${i}"} 1`),
    'latency_bucket{le="+Inf"} 1',
    "latency_sum 0",
    "latency_count 1",
  ]);
});

test("labels before the bucket tell histograms apart, and all CPUs are summed", () => {
  const key = (rule: number, slot: number): Uint8Array => join(le(rule, 4), le(slot, 4));
  const map: FakeMap = {
    type: "percpu_hash",
    keySize: 8,
    entries: [
      [key(1, 0), le(1, 8), le(2, 8)],
      [key(2, 1), le(5, 8), le(0, 8)],
      [key(1, 1), le(4, 8), le(4, 8)],
    ],
  };
  expect(lines({ labels: [uintLabel, bucket], bucket_min: 0, bucket_max: 1 }, map, 2)).toEqual([
    'latency_bucket{rule="1",le="0"} 3',
    'latency_bucket{rule="1",le="1"} 11',
    'latency_bucket{rule="1",le="+Inf"} 11',
    'latency_sum{rule="1"} 0',
    'latency_count{rule="1"} 11',
    'latency_bucket{rule="2",le="0"} 0',
    'latency_bucket{rule="2",le="1"} 5',
    'latency_bucket{rule="2",le="+Inf"} 5',
    'latency_sum{rule="2"} 0',
    'latency_count{rule="2"} 5',
  ]);
});

test("a bucket key of eight bytes is read whole", () => {
  const wide = { ...bucket, size: 8 };
  const map: FakeMap = { keySize: 8, entries: [[le(2n ** 33n, 8), le(3, 8)]] };
  const more = { labels: [wide], bucket_type: "fixed", bucket_keys: [0, 2 ** 33] } as const;
  expect(lines(more, map)).toContain('latency_bucket{le="8589934592"} 3');
});

test("each line of a histogram counts towards the cap", () => {
  const key = (rule: number): Uint8Array => join(le(rule, 4), le(0, 4));
  const map: FakeMap = {
    keySize: 8,
    entries: [1, 2, 3].map((rule) => [key(rule), le(1, 8)] as const),
  };
  // Two buckets and +Inf, sum and count: five lines a series, so ten lines hold two.
  const more = { labels: [uintLabel, bucket], bucket_min: 0, bucket_max: 1 };
  expect(lines(more, map, 1, 10)).toHaveLength(10);
});

for (const { name, more, what } of [
  { name: "no bucket_max", more: { bucket_min: 0 }, what: "bucket_max is required for linear" },
  {
    name: "an empty range",
    more: { bucket_min: 3, bucket_max: 3 },
    what: "bucket_max must be above bucket_min, 3",
  },
  {
    name: "too many buckets",
    more: { bucket_min: 0, bucket_max: 1000 },
    what: "bucket_max makes 1001 buckets; at most 1000",
  },
  {
    name: "a power beyond 64 bits",
    more: { bucket_type: "exp2", bucket_min: 0, bucket_max: 65 },
    what: "bucket_max is 65; a power of two in 64 bits needs at most 64",
  },
  {
    name: "fixed keys out of order",
    more: { bucket_type: "fixed", bucket_keys: [1, 3, 2] },
    what: "bucket_keys 2 is not ascending",
  },
  {
    name: "no bucket label",
    more: { labels: [], bucket_min: 0, bucket_max: 3 },
    what: "a histogram's last label is the bucket, with uint for its one decoder",
  },
  {
    name: "a bucket label that is no number",
    more: {
      labels: [{ ...bucket, decoders: [{ name: "hex" }] }],
      bucket_min: 0,
      bucket_max: 3,
    },
    what: "a histogram's last label is the bucket, with uint for its one decoder",
  },
] satisfies readonly { name: string; more: Partial<MapHistogramSpec>; what: string }[])
  test(`a histogram with ${name} is refused`, () =>
    expect(mapHistogram(spec(more), [fakeMap(counted({}))], "weir.yaml:4:7")).toMatchObject({
      ok: false,
      error: { code: "METRIC_BUCKETS", where: "weir.yaml:4:7", what },
    }));
