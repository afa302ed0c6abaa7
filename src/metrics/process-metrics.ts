import { createRequire } from "node:module";
import type {
  collectDefaultMetrics as CollectDefault,
  Registry as LibraryRegistry,
} from "prom-client";
import { EventLoopLag, sampleIntervalMs } from "./event-loop-lag.ts";
import { type MetricFamily, type MetricType, renderLabels } from "./exposition.ts";

/** Two files of the library: its index loads clusters and an HTTPS client, 5 MiB of resident memory. */
const libraryFile = createRequire(import.meta.url);
const collectDefaultMetrics = libraryFile(
  "prom-client/lib/defaultMetrics",
) as typeof CollectDefault;
const Registry = libraryFile("prom-client/lib/registry") as typeof LibraryRegistry;

/** So long it is from one sample of the library's event loop monitor to the next: it never wakes. */
const neverMs = 2 ** 31 - 1;

/** What the library gives for one sample; its types leave out `metricName`. */
interface LibrarySample {
  readonly value: number;
  readonly metricName?: string;
  readonly labels?: Readonly<Record<string, string | number>>;
}

/**
 * CPU, memory, files, event loop and garbage collection of this process, by the Prometheus client
 * library. One a process: each starts timers and observers that the library never stops.
 *
 * The library only measures; its own rendering is left alone, because an OpenMetrics scrape of a
 * registry there renames its counters for good.
 */
export class ProcessMetrics {
  readonly #registry = new Registry();
  /** In place of the library's. */
  readonly #lag = new EventLoopLag();

  constructor() {
    collectDefaultMetrics({
      register: this.#registry,
      eventLoopMonitoringPrecision: neverMs,
      eventLoopUtilizationTimeout: sampleIntervalMs,
    });
    for (const { name } of EventLoopLag.declared) this.#registry.removeSingleMetric(name);
    this.#lag.start(performance.now());
  }

  /** Names and types of all of them, which nothing else may take. A reload asks: it measures nothing. */
  get declared(): readonly { readonly name: string; readonly type: MetricType }[] {
    const library = this.#registry.getMetricsAsArray().map(({ name, type }) => ({
      name,
      type: type as unknown as MetricType,
    }));
    return [...library, ...EventLoopLag.declared];
  }

  async families(): Promise<readonly MetricFamily[]> {
    const metrics = await this.#registry.getMetricsAsJSON();
    const library = metrics.map(
      (metric): MetricFamily => ({
        name: metric.name,
        help: metric.help,
        type: metric.type as unknown as MetricType,
        collect(out) {
          for (const sample of metric.values as readonly LibrarySample[]) {
            const { le, quantile, ...others } = sample.labels ?? {};
            const labels = renderLabels(Object.keys(others), Object.values(others).map(String));
            const suffix = sample.metricName?.slice(metric.name.length);
            if (le !== undefined) out.bounded(labels, "le", boundOf(le), sample.value);
            else if (quantile !== undefined)
              out.bounded(labels, "quantile", Number(quantile), sample.value);
            else if (suffix === "_sum" || suffix === "_count")
              out.sample(labels, sample.value, suffix);
            else out.sample(labels, sample.value);
          }
        },
      }),
    );
    return [...library, ...this.#lag.families()];
  }
}

/** The library gives bounds as numbers, but the last one as it is written. */
function boundOf(le: string | number): number {
  return le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le);
}
