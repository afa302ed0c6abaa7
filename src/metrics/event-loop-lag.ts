import { createHistogram } from "node:perf_hooks";
import type { MetricFamily } from "./exposition.ts";

/**
 * Milliseconds between two samples. Node's own monitor, which the client library asks for one each 10 ms,
 * woke an idle main thread a hundred times a second.
 */
export const sampleIntervalMs = 500;

/** How late a timer of the main thread came: what anything else that waits for it had to wait too. */
export class EventLoopLag {
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

  /** Under the client library's names, all but the first of the samples since it was last asked. */
  families(): readonly MetricFamily[] {
    const histogram = this.#histogram;
    const of = (ns: number): number => (histogram.count === 0 ? 0 : ns / 1e9);
    const families = [
      gauge("", "How late the main thread's last timer came", this.#lastSeconds),
      gauge("_min", `${since}: the least`, of(histogram.min)),
      gauge("_max", `${since}: the most`, of(histogram.max)),
      gauge("_mean", `${since}: the mean`, of(histogram.mean)),
      gauge("_stddev", `${since}: the standard deviation`, of(histogram.stddev)),
      gauge("_p50", `${since}: the median`, of(histogram.percentile(50))),
      gauge("_p90", `${since}: the 90th percentile`, of(histogram.percentile(90))),
      gauge("_p99", `${since}: the 99th percentile`, of(histogram.percentile(99))),
    ];
    histogram.reset();
    return families;
  }
}

const since = `How late the main thread's timers, one each ${sampleIntervalMs} ms, came since the last scrape`;

function gauge(which: string, help: string, seconds: number): MetricFamily {
  const name = `nodejs_eventloop_lag${which}_seconds`;
  return { name, help, type: "gauge", collect: (out) => out.sample("", seconds) };
}
