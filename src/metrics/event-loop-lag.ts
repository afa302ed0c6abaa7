import { createHistogram } from "node:perf_hooks";
import type { MetricFamily, MetricType } from "./exposition.ts";

/**
 * Milliseconds between two samples. Node's own monitor, which the client library asks for one each 10 ms,
 * woke an idle main thread a hundred times a second.
 */
export const sampleIntervalMs = 500;

/** How late a timer of the main thread came: what anything else that waits for it had to wait too. */
export class EventLoopLag {
  /** Its metrics, under the client library's names. To ask for them takes no sample away. */
  static get declared(): readonly { readonly name: string; readonly type: MetricType }[] {
    return gauges;
  }

  readonly #histogram = createHistogram();
  #dueMs = 0;
  #lastSeconds = 0;

  /** Samples from `nowMs` on; the process may end meanwhile. */
  start(nowMs: number): void {
    this.#dueMs = nowMs + sampleIntervalMs;
    setInterval(() => this.record(performance.now()), sampleIntervalMs).unref();
  }

  /** A sample whose turn came at `nowMs`. */
  record(nowMs: number): void {
    const lateMs = Math.max(0, nowMs - this.#dueMs);
    this.#lastSeconds = lateMs / 1e3;
    this.#histogram.record(Math.max(1, Math.round(lateMs * 1e6)));
    this.#dueMs = nowMs + sampleIntervalMs;
  }

  /** As `declared`, all but the first of the samples since it was last asked. */
  families(): readonly MetricFamily[] {
    const histogram = this.#histogram;
    const of = (ns: number): number => (histogram.count === 0 ? 0 : ns / 1e9);
    const seconds: Readonly<Record<Which, number>> = {
      "": this.#lastSeconds,
      _min: of(histogram.min),
      _max: of(histogram.max),
      _mean: of(histogram.mean),
      _stddev: of(histogram.stddev),
      _p50: of(histogram.percentile(50)),
      _p90: of(histogram.percentile(90)),
      _p99: of(histogram.percentile(99)),
    };
    histogram.reset();
    return gauges.map(({ which, ...declared }) => ({
      ...declared,
      collect: (out) => out.sample("", seconds[which]),
    }));
  }
}

const since = `How late the main thread's timers, one each ${sampleIntervalMs} ms, came since the last scrape`;

/** What each tells, by what its name adds to the client library's. */
const helps = {
  "": "How late the main thread's last timer came",
  _min: `${since}: the least`,
  _max: `${since}: the most`,
  _mean: `${since}: the mean`,
  _stddev: `${since}: the standard deviation`,
  _p50: `${since}: the median`,
  _p90: `${since}: the 90th percentile`,
  _p99: `${since}: the 99th percentile`,
} as const;
type Which = keyof typeof helps;

const gauges = (Object.keys(helps) as Which[]).map((which) => ({
  which,
  name: `nodejs_eventloop_lag${which}_seconds`,
  help: helps[which],
  type: "gauge" as const,
}));
