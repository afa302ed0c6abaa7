import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { Counters, counterBytes } from "../../src/filter/counters.ts";
import type { MapMetric } from "../../src/metrics/map-binding.ts";
import { mapHistogram } from "../../src/metrics/map-histogram.ts";
import { mapMetric, mapMetrics } from "../../src/metrics/map-metric.ts";
import type { MetricSources } from "../../src/metrics/own-metrics.ts";
import { ProcessMetrics } from "../../src/metrics/process-metrics.ts";
import { createMetrics, type Metrics } from "../../src/metrics/registry.ts";
import { mapSpec, openMap } from "../maps/open-map.ts";
import { placesFrom } from "../support/counter-places.ts";
import { needing } from "../support/needing.ts";
import { fakeMap, join, le, metricSpec, samples, uintLabel } from "./fixtures.ts";
import { type ParsedFamily, parseExposition } from "./parse-exposition.ts";

const shape = { listeners: 2, filters: 1, addresses: 2 };

/** Two workers' counters with something in them. */
function workers(): Counters[] {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const counters = [0, 1].map((worker) => new Counters(memory, placesFrom(worker * 8_192, shape)));
  expect(counterBytes(shape)).toBeLessThanOrEqual(8_192);
  for (const [worker, own] of counters.entries()) {
    own.packet(0, "ingress", "pass", 100);
    own.packet(1, "egress", "drop", 60);
    own.drop(1, "egress", "filter_drop");
    own.filterVerdict(0, "pass");
    own.filterVerdict(0, "drop");
    own.add(0, "sessions", worker + 1);
    own.add(0, "sessions_total", 5);
    own.receiveError(1, "client_reset");
  }
  return counters;
}

const none: MetricSources = {
  listeners: [],
  addresses: [],
  kernelDrops: () => 0,
  filters: [],
  counters: [],
  maps: [],
  mapMetrics: [],
};

function some(mapMetrics: readonly MapMetric[] = []): MetricSources {
  return {
    listeners: ["dns", "web"],
    addresses: [
      { upstream: "app", address: "127.0.0.1:53" },
      { upstream: "app", address: "[::1]:53" },
    ],
    listenerKinds: [
      { protocol: "udp", io: "mmsg" },
      { protocol: "tcp", io: undefined },
    ],
    kernelDrops: (listener) => listener * 7,
    filters: [{ name: "blocklist", engine: "interpreter", type: "xdp", tag: "0123456789abcdef" }],
    counters: workers(),
    maps: [
      {
        filter: "blocklist",
        map: "blocked",
        source: fakeMap({ maxEntries: 50, entries: [[le(1, 4), le(1, 8)]] }).source,
      },
    ],
    mapMetrics,
  };
}

function create(sources: MetricSources, process?: ProcessMetrics, now = () => 1_700_000_000_500) {
  const onSkip = (): void => {
    throw new Error("nothing is skipped here");
  };
  return createMetrics({ version: "1.2.3", sources, process, now, onSkip });
}

function metricsOf(sources: MetricSources, process?: ProcessMetrics): Metrics {
  const metrics = create(sources, process);
  if (!metrics.ok) throw metrics.error;
  return metrics.value;
}

/** `name{labels in order}` to value, of all samples. */
async function scrape(metrics: Metrics): Promise<Record<string, number>> {
  const families = parseExposition(await metrics.render("text"), "text");
  return Object.fromEntries(
    families.flatMap(({ samples: list }) =>
      list.map(({ name, labels, value }) => [
        `${name}{${Object.entries(labels)
          .map(([label, text]) => `${label}=${text}`)
          .join(",")}}`,
        value,
      ]),
    ),
  );
}

function counter(name: string, where = "weir.yaml:1:1"): MapMetric {
  const map = fakeMap({ entries: [[le(1, 4), le(10, 8)]] });
  const metric = mapMetric("counter", metricSpec({ name }), [map], where);
  if (!metric.ok) throw metric.error;
  return metric.value;
}

test("run times are a histogram over what all workers timed", async () => {
  const sources = some();
  const [one, other] = sources.counters;
  one!.filterRun(0, 2e-7);
  other!.filterRun(0, 2.5e-7);
  other!.filterRun(0, 3e-6);
  one!.filterRun(0, 0.5);
  const found = await scrape(metricsOf(sources));
  const bucket = (le: string): number | undefined =>
    found[`weir_filter_run_seconds_bucket{filter=blocklist,le=${le}}`];
  expect([bucket("1e-7"), bucket("2.5e-7"), bucket("0.000001"), bucket("0.000005")]).toEqual([
    0, 2, 2, 3,
  ]);
  expect([bucket("0.01"), bucket("+Inf")]).toEqual([3, 4]);
  expect(found["weir_filter_run_seconds_count{filter=blocklist}"]).toBe(4);
  expect(found["weir_filter_run_seconds_sum{filter=blocklist}"]).toBeCloseTo(0.50000345, 12);
});

test("an upstream's address is up until tried, and then as the last worker to try it found", async () => {
  const sources = some();
  const [one, other] = sources.counters;
  const metrics = metricsOf(sources);
  const up = async (address: string): Promise<number | undefined> =>
    (await scrape(metrics))[`weir_upstream_up{upstream=app,address=${address}}`];
  expect([await up("127.0.0.1:53"), await up("[::1]:53")]).toEqual([1, 1]);
  one!.upstream(1, false, 1_000);
  expect([await up("127.0.0.1:53"), await up("[::1]:53")]).toEqual([1, 0]);
  other!.upstream(1, true, 1_001);
  expect(await up("[::1]:53")).toBe(1);
});

test("an upstream's address with a health check is up as the check says, whatever workers met", async () => {
  const sources = some();
  const metrics = metricsOf(sources);
  const up = async (): Promise<number | undefined> =>
    (await scrape(metrics))["weir_upstream_up{upstream=app,address=127.0.0.1:53}"];
  for (const worker of sources.counters) worker.setChecked(0, "down");
  sources.counters[0]!.upstream(0, true, 1_000);
  expect(await up()).toBe(0);
  for (const worker of sources.counters) worker.setChecked(0, "up");
  sources.counters[0]!.upstream(0, false, 1_001);
  expect(await up()).toBe(1);
});

test("what the kernel dropped is asked of the kernel", async () => {
  const found = await scrape(metricsOf(some()));
  expect(found["weir_receive_errors_total{listener=web,reason=kernel_dropped}"]).toBe(7);
});

test("Weir's own metrics add up what all workers counted", async () => {
  expect(await scrape(metricsOf(some()))).toMatchObject({
    "weir_packets_total{listener=dns,direction=ingress,verdict=pass}": 2,
    "weir_packets_total{listener=web,direction=egress,verdict=drop}": 2,
    "weir_packets_total{listener=web,direction=ingress,verdict=pass}": 0,
    "weir_bytes_total{listener=dns,direction=ingress,verdict=pass}": 200,
    "weir_bytes_total{listener=web,direction=egress,verdict=drop}": 120,
    "weir_drops_total{listener=web,direction=egress,reason=filter_drop}": 2,
    "weir_filter_runs_total{filter=blocklist}": 4,
    "weir_filter_verdicts_total{filter=blocklist,verdict=pass}": 2,
    "weir_filter_verdicts_total{filter=blocklist,verdict=drop}": 2,
    "weir_filter_verdicts_total{filter=blocklist,verdict=aborted}": 0,
    "weir_filter_info{filter=blocklist,engine=interpreter,type=xdp,tag=0123456789abcdef}": 1,
    "weir_listener_info{listener=dns,protocol=udp,io=mmsg}": 1,
    "weir_listener_info{listener=web,protocol=tcp}": 1,
    "weir_sessions{listener=dns}": 3,
    "weir_sessions_total{listener=dns}": 10,
    "weir_receive_errors_total{listener=web,reason=client_reset}": 2,
    "weir_receive_errors_total{listener=dns,reason=socket_error}": 0,
    "weir_map_entries{filter=blocklist,map=blocked}": 1,
    "weir_map_capacity{filter=blocklist,map=blocked}": 50,
    "weir_config_reloads_total{result=success}": 0,
    "weir_config_last_reload_successful{}": 1,
    "weir_config_last_reload_timestamp_seconds{}": 1_700_000_000.5,
    "weir_build_info{version=1.2.3}": 1,
  });
});

test("a shadow's verdicts are listed by pair once one has occurred, and a live filter's never", async () => {
  const sources = some();
  const shadows = (found: Record<string, number>) =>
    Object.entries(found).filter(([name]) => name.startsWith("weir_shadow"));
  const [info] = sources.filters;
  const candidate = { ...sources, filters: [{ ...info!, isCandidate: true }] };
  expect(shadows(await scrape(metricsOf(candidate)))).toEqual([]);
  for (const worker of sources.counters) worker.shadowVerdict(0, "pass", "drop");
  expect(shadows(await scrape(metricsOf(candidate)))).toEqual([
    ["weir_shadow_verdicts_total{filter=blocklist,live=pass,shadow=drop}", 2],
  ]);
  expect(shadows(await scrape(metricsOf(sources)))).toEqual([]);
});

test("a drop reason is listed once it has occurred", async () => {
  const sources = some();
  const metrics = metricsOf(sources);
  const drops = async (): Promise<string[]> =>
    Object.keys(await scrape(metrics)).filter((name) => name.startsWith("weir_drops_total"));
  expect(await drops()).toHaveLength(1);
  sources.counters[1]?.drop(0, "ingress", "session_limit");
  expect(await drops()).toContain(
    "weir_drops_total{listener=dns,direction=ingress,reason=session_limit}",
  );
});

test("reloads are counted, and the timestamp is of the config in force", async () => {
  let now = 1_000_000;
  const created = create(none, undefined, () => now);
  if (!created.ok) throw created.error;
  const metrics = created.value;
  now = 2_000_000;
  metrics.reloaded("success");
  now = 3_000_000;
  metrics.reloaded("error");
  expect(await scrape(metrics)).toMatchObject({
    "weir_config_reloads_total{result=success}": 1,
    "weir_config_reloads_total{result=error}": 1,
    "weir_config_last_reload_successful{}": 0,
    "weir_config_last_reload_timestamp_seconds{}": 2_000,
  });
  metrics.reloaded("success");
  expect(await scrape(metrics)).toMatchObject({
    "weir_config_last_reload_successful{}": 1,
    "weir_config_last_reload_timestamp_seconds{}": 3_000,
  });
});

test("map metrics are exported under the names of the config, with what was left out", async () => {
  const map = fakeMap({ entries: [1, 2, 3].map((i) => [le(i, 4), le(i, 8)] as const) });
  const capped = mapMetric("gauge", metricSpec({ name: "depth" }), [map], "weir.yaml:1:1", 2);
  if (!capped.ok) throw capped.error;
  const metrics = metricsOf(some([counter("blocked_total"), capped.value]));
  expect(await scrape(metrics)).toMatchObject({
    "blocked_total{rule=1}": 10,
    "depth{rule=1}": 1,
    "depth{rule=2}": 2,
    "weir_metric_series_dropped_total{metric=blocked_total}": 0,
    "weir_metric_series_dropped_total{metric=depth}": 1,
  });
});

for (const { name, taken } of [
  { name: "weir_packets_total", taken: "(Weir itself)" },
  { name: "process_cpu_seconds_total", taken: "(the process)" },
  { name: "nodejs_gc_duration_seconds_count", taken: "of histogram nodejs_gc_duration_seconds" },
  { name: "blocked_total", taken: "(weir.yaml:1:1)" },
])
  test(`a second metric of the name ${name} is a config error`, () => {
    const sources = some([counter("blocked_total"), counter(name, "weir.yaml:9:3")]);
    expect(create(sources, new ProcessMetrics())).toMatchObject({
      ok: false,
      error: {
        code: "METRIC_DUPLICATE",
        where: "weir.yaml:9:3",
        message: expect.stringContaining(taken),
      },
    });
  });

test("another config's metrics replace the old ones, unless it has a name twice", async () => {
  const metrics = metricsOf(some([counter("a_total")]));
  expect(metrics.prepare(some([counter("b_total"), counter("b_total")]))).toMatchObject({
    ok: false,
  });
  expect(Object.keys(await scrape(metrics))).toContain("a_total{rule=1}");
  const replaced = metrics.prepare(some([counter("b_total")]));
  if (!replaced.ok) throw replaced.error;
  expect(await metrics.render("text")).not.toContain("b_total");
  replaced.value();
  const names = Object.keys(await scrape(metrics));
  expect(names).toContain("b_total{rule=1}");
  expect(names).not.toContain("a_total{rule=1}");
});

/** Families by sample names and values, whatever the format calls the family. */
function comparable(families: readonly ParsedFamily[]): unknown {
  return families.map(({ help, samples: list }) => ({
    help,
    samples: list.map(({ name, labels, value }) => {
      const { le: bound, ...others } = labels;
      return { name, others, bound: bound && Number(bound.replace("Inf", "Infinity")), value };
    }),
  }));
}

function everyKind(): MapMetric[] {
  const histogram = mapHistogram(
    {
      name: "latency_seconds",
      help: "Latency",
      map: "hits",
      labels: [uintLabel, { ...uintLabel, name: "bucket" }],
      bucket_type: "exp2",
      bucket_multiplier: 0.001,
      bucket_min: 0,
      bucket_max: 3,
    },
    [fakeMap({ keySize: 8, entries: [[join(le(7, 4), le(2, 4)), le(3, 8)]] })],
    "weir.yaml:1:1",
  );
  const gauge = mapMetric(
    "gauge",
    metricSpec({ name: "tokens", help: 'Tokens, "left"\nand \\ right' }),
    [fakeMap({ entries: [[le(1, 4), le(4, 8)]] })],
    "weir.yaml:2:1",
  );
  if (!histogram.ok) throw histogram.error;
  if (!gauge.ok) throw gauge.error;
  return [counter("blocked_total"), histogram.value, gauge.value];
}

test("both formats tell the same, again and again", async () => {
  const metrics = metricsOf(some(everyKind()));
  const first = comparable(parseExposition(await metrics.render("text"), "text"));
  for (const format of ["openmetrics", "text", "openmetrics"] as const)
    expect(comparable(parseExposition(await metrics.render(format), format))).toEqual(first);
});

test("the process' metrics are read in both formats under the same names", async () => {
  const metrics = metricsOf(none, new ProcessMetrics());
  const names = async (format: "text" | "openmetrics"): Promise<Set<string>> =>
    new Set(
      parseExposition(await metrics.render(format), format).flatMap((family) =>
        family.samples.map(({ name }) => name),
      ),
    );
  const text = await names("text");
  for (const name of ["process_cpu_seconds_total", "nodejs_eventloop_utilization_histogram_bucket"])
    expect(text).toContain(name);
  for (const name of await names("openmetrics")) expect(name).not.toMatch(/_total_total$/);
  expect(await names("openmetrics")).toContain("process_cpu_seconds_total");
});

const withPromtool = needing("promtool");
withPromtool("promtool finds nothing to complain of in our own metrics", async () => {
  const text = await metricsOf(some(everyKind())).render("text");
  const { status, stderr, stdout } = spawnSync("promtool", ["check", "metrics"], {
    input: text,
    encoding: "utf8",
  });
  expect({ status, stderr, stdout }).toEqual({ status: 0, stderr: "", stdout: "" });
});

withPromtool("promtool reads labels of any characters", async () => {
  const label = {
    ...uintLabel,
    size: 8,
    decoders: [{ name: "static_map", static_map: {}, allow_unknown: true }],
  } as const;
  const map = fakeMap({
    keySize: 8,
    entries: Array.from({ length: 32 }, (_, i) => [
      Uint8Array.from({ length: 8 }, (_, j) => i * 8 + j),
      le(1, 8),
    ]),
  });
  const metric = mapMetric("counter", metricSpec({ labels: [label] }), [map], "weir.yaml:1:1");
  if (!metric.ok) throw metric.error;
  const text = await metricsOf({ ...none, mapMetrics: [metric.value] }).render("text");
  const { status, stderr } = spawnSync("promtool", ["check", "metrics"], {
    input: text,
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});

test("a real per-CPU map is summed, and keys that were deleted disappear", () => {
  const { access } = openMap(mapSpec("percpu_hash", 4, 8, 100, { name: "hits" }), 3);
  access.update(le(1, 4), [le(1, 8), le(20, 8), le(300, 8)]);
  access.update(le(2, 4), [le(2n ** 40n, 8), le(0, 8), le(1, 8)]);
  const map = { name: "hits", source: access, btf: undefined, valueType: undefined };
  const metric = mapMetric("counter", metricSpec(), [map], "weir.yaml:1:1");
  if (!metric.ok) throw metric.error;
  const expected = ['hits_total{rule="1"} 321', `hits_total{rule="2"} ${2 ** 40 + 1}`];
  expect(samples(metric.value.family).sort()).toEqual(expected);
  access.remove(le(1, 4));
  expect(samples(metric.value.family)).toEqual(expected.slice(1));
});

test("a real LPM trie's prefixes become labels", () => {
  const { access } = openMap(mapSpec("lpm_trie", 8, 8, 100, { name: "hits" }));
  const key = (length: number, ...address: number[]): Uint8Array =>
    join(le(length, 4), Uint8Array.from(address));
  access.update(key(24, 203, 0, 113, 0), le(5, 8));
  access.update(key(0, 0, 0, 0, 0), le(9, 8));
  const labels = [
    { ...uintLabel, name: "prefix_length" },
    { ...uintLabel, name: "prefix", decoders: [{ name: "inet_ip" }] },
  ] as const;
  const map = { name: "hits", source: access, btf: undefined, valueType: undefined };
  const bound = mapMetrics(
    { counters: [metricSpec({ labels })], gauges: [], histograms: [] },
    [map],
    (path) => path.join("."),
  );
  if (!bound.ok) throw bound.error[0];
  expect(bound.value.flatMap(({ family }) => samples(family)).sort()).toEqual([
    'hits_total{prefix_length="0",prefix="0.0.0.0"} 9',
    'hits_total{prefix_length="24",prefix="203.0.113.0"} 5',
  ]);
});

test("every fault of a block is told, each with its place", () => {
  const bound = mapMetrics(
    {
      counters: [metricSpec({ map: "a" }), metricSpec()],
      gauges: [metricSpec({ map: "b" })],
      histograms: [],
    },
    [fakeMap({ entries: [] })],
    (path) => path.join("."),
  );
  expect(bound).toMatchObject({
    ok: false,
    error: [{ where: "counters.0" }, { where: "gauges.0" }],
  });
});
