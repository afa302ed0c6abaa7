import { writeFileSync } from "node:fs";
import { suggestion } from "../common/closest.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { loadConfig } from "../config/load-config.ts";
import { preparePlan } from "../config/prepare-plan.ts";
import { filterRuns, shadowPairs } from "../filter/shadow-pairs.ts";
import { type Direction, verdictKinds } from "../filter/verdict.ts";
import { namesOf } from "../metrics/exposition.ts";
import type { MetricSources } from "../metrics/own-metrics.ts";
import { createMetrics, type Metrics } from "../metrics/registry.ts";
import { CaptureReplay } from "../proxy/capture-replay.ts";
import type { WorkerEvents } from "../proxy/load-chains.ts";
import type { ProxyPlan } from "../proxy/plan.ts";
import { unwritable } from "./byte-sink.ts";
import { reportConfigErrors } from "./config-errors.ts";
import { waitForEnding } from "./ending.ts";
import { metricSources } from "./metric-sources.ts";
import { type BinaryStreams, processStreams } from "./process-streams.ts";
import {
  type CaptureInput,
  CaptureOutputs,
  type OutputPaths,
  openInput,
  outputClash,
} from "./replay-files.ts";
import { ReplayProgress } from "./replay-progress.ts";
import { replayCapture } from "./replay-run.ts";
import { type FilterRuns, type ReplayEnd, ReplaySummary } from "./replay-summary.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";
import { version } from "./version.ts";

export interface ReplayOptions {
  readonly config: string;
  /** May be left out where the config has one. */
  readonly listener?: string;
  readonly direction: Direction;
  /** `-w`: a file for what went on. */
  readonly w?: string;
  readonly dropped?: string;
  readonly metrics?: string;
  readonly json?: boolean;
}

/** Filters in their place, ready for packets. */
interface Stage {
  readonly plan: ProxyPlan;
  /** The listener's number. */
  readonly listener: number;
  readonly direction: Direction;
  readonly sources: MetricSources;
  readonly metrics: Metrics;
}

/**
 * `weir replay`: the packets of a capture through a listener's chain, as if they came in. Nothing
 * is listened on, sent, or looked up.
 */
export async function replay(
  file: string,
  options: ReplayOptions,
  terminal: Terminal,
  streams: BinaryStreams = processStreams(),
): Promise<ExitCode> {
  const refused = (error: UserError): ExitCode => {
    terminal.error(`weir replay: ${error.message}\n`);
    return error.code.startsWith("USAGE") ? exitCodes.usage : exitCodes.failed;
  };
  const paths: OutputPaths = {
    passed: options.w,
    dropped: options.dropped,
    metrics: options.metrics,
  };
  const clash = outputClash(file, paths, streams);
  if (clash !== undefined) return refused(clash);
  const stage = await setUp(options, terminal);
  if (!stage.ok) return reportConfigErrors(stage.error, terminal);
  const input = openInput(file, streams);
  if (!input.ok) return refused(input.error);
  const outputs = new CaptureOutputs(paths, streams);
  const ended = await run(stage.value, input.value, outputs, terminal, streams);
  if (!ended.ok) return refused(ended.error);

  const { summary, end } = ended.value;
  const scrape = await stage.value.metrics.render("text");
  const whole = { ...end, metrics: seriesOf(scrape, stage.value.sources) };
  // Standard output is the capture's, where one goes there.
  const say = Object.values(paths).includes("-") ? terminal.error : terminal.out;
  say(options.json === true ? `${summary.json(whole)}\n` : summary.text(whole));
  if (end.error !== undefined) terminal.error(`weir replay: ${end.error.message}\n`);
  // Nor are an earlier replay's metrics replaced where there was nothing to count.
  const failed = outputs.isOpen ? writeMetrics(options.metrics, scrape, terminal) : undefined;
  if (failed !== undefined) return refused(failed);
  return end.error === undefined && !end.interrupted ? exitCodes.done : exitCodes.failed;
}

async function setUp(
  options: ReplayOptions,
  terminal: Terminal,
): Promise<Result<Stage, readonly UserError[]>> {
  const config = loadConfig(options.config, terminal.environment);
  if (!config.ok) return config;
  const chosen = listenerOf(config.value, options);
  if (!chosen.ok) return err([chosen.error]);
  // The same packets give the same wherever they are replayed: no name service is asked, and a name
  // stands for no address that a packet could be rewritten to.
  const prepared = await preparePlan(config.value, {
    echo: { host: "127.0.0.1", port: 7 },
    resolve: async () => ["0.0.0.0"],
  });
  if (!prepared.ok) return prepared;
  const sources = metricSources(prepared.value, () => 0);
  const metrics = createMetrics({
    version,
    sources,
    process: undefined,
    now: Date.now,
    onSkip: (metric, error) =>
      terminal.error(`weir replay: metric ${metric} left out: ${error.message}\n`),
  });
  if (!metrics.ok) return err([metrics.error]);
  return ok({
    plan: prepared.value.plan,
    listener: chosen.value,
    direction: options.direction,
    sources,
    metrics: metrics.value,
  });
}

/** The number of the listener that was named. */
function listenerOf(
  { file, listeners }: { file: string; listeners: readonly { name: string }[] },
  { listener }: ReplayOptions,
): Result<number, UserError> {
  const names = listeners.map(({ name }) => name);
  if (listener === undefined && names.length === 1) return ok(0);
  if (listener === undefined)
    return err(
      new UserError(
        "USAGE_LISTENER",
        file,
        `has ${names.length} listeners`,
        `name one with --listener: ${names.join(", ")}`,
      ),
    );
  const index = names.indexOf(listener);
  if (index >= 0) return ok(index);
  return err(
    new UserError(
      "USAGE_LISTENER",
      `--listener ${listener}`,
      `${file} has no such listener`,
      suggestion(listener, names, "it has none"),
    ),
  );
}

async function run(
  { plan, listener, direction, sources }: Stage,
  input: CaptureInput,
  outputs: CaptureOutputs,
  terminal: Terminal,
  streams: BinaryStreams,
): Promise<Result<{ summary: ReplaySummary; end: Omit<ReplayEnd, "metrics"> }, UserError>> {
  const { name, protocol, [direction]: chain } = plan.listeners[listener]!;
  const filterName = (index: number): string => plan.filters[index]!.name;
  const progress = streams.draw && new ReplayProgress(streams.draw, input.bytes);
  const summary = new ReplaySummary({
    file: input.name,
    listener: name,
    protocol,
    direction,
    chain: chain.map(filterName),
    portName: (ifindex) => portName(plan, ifindex),
  });
  const say = (line: string): void => {
    progress?.clear();
    terminal.error(`${line}\n`);
  };
  const replaying = await CaptureReplay.create(plan, listener, direction, eventsFor(summary, say));
  if (!replaying.ok) return replaying;
  const ending = waitForEnding();
  let interrupted = false;
  ending.cause.then(() => {
    interrupted = true;
    input.source.destroy();
  });
  const startMs = performance.now();
  const error = await replayCapture({
    input,
    outputs,
    replay: replaying.value,
    summary,
    progress,
    isInterrupted: () => interrupted,
  });
  const elapsed = (performance.now() - startMs) / 1000;
  const { passed, dropped } = outputs;
  await passed?.end();
  await dropped?.end();
  ending.release();
  progress?.clear();
  const counters = sources.counters[0]!;
  const filters = [...new Set(chain)].map((index): FilterRuns => {
    const counts = verdictKinds.map((kind) => [kind, counters.readFilterVerdicts(index, kind)]);
    return {
      filter: filterName(index),
      runs: filterRuns([counters], index),
      verdicts: Object.fromEntries(counts),
      shadow: shadowPairs([counters], index),
    };
  });
  const written = (["passed", "dropped"] as const).flatMap((what) => {
    const output = outputs[what];
    if (output === undefined || output.sink.error !== undefined) return [];
    return [{ what, path: output.path, packets: output.packets }];
  });
  const failed = error ?? passed?.sink.error ?? dropped?.sink.error;
  return ok({ summary, end: { elapsed, filters, written, interrupted, error: failed } });
}

function eventsFor(summary: ReplaySummary, say: (line: string) => void): WorkerEvents {
  const reported = new Set<string>();
  return {
    onTrace: say,
    onFault: ({ filter, program, slot, message }) => {
      // The first of each filter; the summary counts them all.
      if (reported.has(filter)) return;
      reported.add(filter);
      say(
        `packet ${summary.packets}: filter ${filter} aborted: program ${program}, instruction ${slot}: ${message}`,
      );
    },
  };
}

function portName({ listeners, ports, upstreams }: ProxyPlan, ifindex: number): string {
  const port = ports.find((one) => one.ifindex === ifindex);
  if (port === undefined) return `port ${ifindex}`;
  if ("upstream" in port) return upstreams[port.upstream]!.name;
  const { name, tunnel } = listeners[port.listener]!;
  return `${name}.${tunnel!.peers[port.peer]!.name}`;
}

const inOrder = new Intl.Collator("en-US", { numeric: true });

/** The series of the config's own metrics, and their values. */
function seriesOf(scrape: string, { mapMetrics }: MetricSources): (readonly [string, string])[] {
  const names = new Set(mapMetrics.flatMap(({ family }) => namesOf(family)));
  const series: (readonly [string, string])[] = [];
  for (const line of scrape.split("\n")) {
    const name = /^[a-zA-Z_:][\w:]*/.exec(line)?.[0];
    if (name === undefined || !names.has(name)) continue;
    const space = line.lastIndexOf(" ");
    series.push([line.slice(0, space), line.slice(space + 1)]);
  }
  // A hash map has its entries in an order of its own, and another one next time.
  return series.sort(([a], [b]) => inOrder.compare(a, b));
}

function writeMetrics(
  path: string | undefined,
  scrape: string,
  terminal: Terminal,
): UserError | undefined {
  if (path === "-") terminal.out(scrape);
  else if (path !== undefined)
    try {
      writeFileSync(path, scrape);
    } catch (error) {
      return unwritable(path, error);
    }
  return undefined;
}
