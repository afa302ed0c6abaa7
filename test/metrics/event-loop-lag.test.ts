import { expect, test, vi } from "vitest";
import { EventLoopLag, sampleIntervalMs } from "../../src/metrics/event-loop-lag.ts";
import type { MetricFamily } from "../../src/metrics/exposition.ts";
import { ProcessMetrics } from "../../src/metrics/process-metrics.ts";

/** Values of the gauges, by what their names add. */
function values(families: readonly MetricFamily[]): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const { name, collect } of families) {
    const which = /^nodejs_eventloop_lag(\w*)_seconds$/.exec(name)?.[1];
    if (which === undefined) continue;
    collect({
      sample: (_labels, value) => {
        found[which] = value;
      },
      bounded: () => expect.unreachable(),
    });
  }
  return found;
}

test("lag is how late timers came, and nothing where none has come yet", () => {
  const lag = new EventLoopLag();
  const nothing = { "": 0, _min: 0, _max: 0, _mean: 0, _stddev: 0, _p50: 0, _p90: 0, _p99: 0 };
  expect(values(lag.families())).toEqual(nothing);
  lag.start(1_000);
  lag.record(1_500);
  lag.record(2_020);
  lag.record(2_620);
  const found = values(lag.families());
  expect(found._min).toBeLessThan(1e-6);
  expect(found._p50).toBeCloseTo(0.02, 3);
  expect(found._max).toBeCloseTo(0.1, 3);
  expect(found._p99).toBeCloseTo(0.1, 3);
  expect(found._mean).toBeCloseTo(0.04, 3);
  expect(found[""]).toBeCloseTo(0.1, 6);
  expect(values(lag.families())).toEqual({ ...nothing, "": found[""] });
});

test("the process's metrics have each of them once, and what they declare is what they give", async () => {
  const metrics = new ProcessMetrics();
  const given = (await metrics.families()).map(({ name }) => name);
  expect(new Set(given).size).toBe(given.length);
  expect(metrics.declared.map(({ name }) => name).sort()).toEqual([...given].sort());
  expect(given.filter((name) => name.startsWith("nodejs_eventloop_lag"))).toHaveLength(8);
});

test("what a stall left to tell is there for the next scrape, though a reload asks for names before", async () => {
  vi.useFakeTimers();
  try {
    const metrics = new ProcessMetrics();
    await metrics.families();
    // The clock goes on with the timers: each comes in time, but for the one that this holds up.
    const stall = performance.now() + 3 * sampleIntervalMs;
    vi.spyOn(performance, "now").mockImplementation(() => stall);
    await vi.advanceTimersToNextTimerAsync();
    vi.restoreAllMocks();
    expect(metrics.declared.length).toBeGreaterThan(8);
    expect(values(await metrics.families())._max).toBeGreaterThan(0.5);
    expect(values(await metrics.families())._max).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});
