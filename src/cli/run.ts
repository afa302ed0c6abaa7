import type { AdminServer } from "../admin/server.ts";
import { toHex } from "../common/bytes.ts";
import { err, ok } from "../common/result.ts";
import { collectStartGarbage } from "../common/start-garbage.ts";
import { loadConfig } from "../config/load-config.ts";
import { type Keeping, PinKeeper, pinsOf, startKeeping } from "../config/pinned-maps.ts";
import { needsEcho, type PreparedProxy, preparePlan } from "../config/prepare-plan.ts";
import { type Follower, LiveConfig, type ReloadResult } from "../config/reload.ts";
import { failedNameText } from "../config/resolve-upstreams.ts";
import { FileWatch } from "../config/watch-files.ts";
import { ProcessMetrics } from "../metrics/process-metrics.ts";
import { createMetrics, type Metrics } from "../metrics/registry.ts";
import type { MetricsServer } from "../metrics/server.ts";
import { type Echo, startEcho } from "../proxy/echo.ts";
import { EventPump, type EventSource } from "../proxy/event-pump.ts";
import { KernelDrops } from "../proxy/kernel-drops.ts";
import { type RunningProxy, startProxy } from "../proxy/supervisor.ts";
import { logAccess } from "./access-lines.ts";
import { reportConfigErrors } from "./config-errors.ts";
import { waitForEnding } from "./ending.ts";
import { eventSources } from "./event-sources.ts";
import { FollowingServer, onCommit } from "./followers.ts";
import { hints } from "./hints.ts";
import { hostPort } from "./host-port.ts";
import { createLog, type Log } from "./log.ts";
import { metricSources } from "./metric-sources.ts";
import { controlOf, startAdmin } from "./start-admin.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";
import { UpstreamWatch } from "./upstream-watch.ts";
import { version } from "./version.ts";

export interface RunOptions {
  readonly config: string;
  readonly hints?: boolean;
}

/** A second signal leaves this much to break off what is open, and to log it. */
const lastWordsMs = 1_000;

/** `weir run`: the proxy, from its config to the signal that ends it. */
export async function run(options: RunOptions, terminal: Terminal): Promise<ExitCode> {
  const config = loadConfig(options.config, terminal.environment);
  if (!config.ok) return reportConfigErrors(config.error, terminal);
  const log = createLog(config.value.logLevel);
  let live: LiveConfig | undefined;
  let isReloadAsked = false;
  const reload = (): void => {
    // Before there is anything to reload it waits: the config that was read may be an old one by then.
    isReloadAsked = live === undefined;
    // A bug, if it throws: what is in force works on.
    live?.reload().catch((error: Error) => log.error({ error: error.stack }, "reload failed"));
  };
  // Known to be undefined from here on: signals that came before are told at once.
  let stoppingSinceMs: number | undefined;
  const ending = waitForEnding({
    onReload: reload,
    // Before it drains there is nothing to tell.
    lastWordsMs: () => (stoppingSinceMs === undefined ? 0 : lastWordsMs),
    early: terminal.early,
  });
  const watch = new FileWatch(reload);
  const upstreams = new UpstreamWatch(
    log,
    () => live,
    (upstream) => counted?.lookupFailed(upstream),
  );
  if (config.value.watch) watch.follow(config.value.files);
  let echo: Echo | undefined;
  let proxy: RunningProxy | undefined;
  let server: FollowingServer | undefined;
  let admin: AdminServer | undefined;
  let kernelDrops: KernelDrops | undefined;
  let events: EventPump | undefined;
  let keepPins: Keeping | undefined;
  let counted: Metrics | undefined;
  const stop = async (code: ExitCode, drainTimeoutMs = 0): Promise<ExitCode> => {
    watch.stop();
    upstreams.stop();
    let ended: ExitCode = code;
    void ending.again.then(({ text }) => {
      log.info({ cause: text }, "stopping now");
      ended = exitCodes.failed;
      return proxy?.stop(0);
    });
    const broken = (await proxy?.stop(drainTimeoutMs)) ?? 0;
    if (stoppingSinceMs !== undefined) {
      const durationMs = Math.round(performance.now() - stoppingSinceMs);
      log.info({ reset: broken, durationMs }, "stopped");
    }
    await admin?.stop();
    events?.stop();
    await keepPins?.stop();
    await server?.stop();
    await echo?.stop();
    return ended;
  };
  const refuse = (message: string): Promise<ExitCode> => {
    terminal.error(`weir run: ${message}\n`);
    return stop(exitCodes.failed);
  };
  const echoAddress = async () => {
    echo ??= await startEcho();
    return echo.address;
  };

  // It may wait for name servers, which an end does not.
  const prepared = await Promise.race([
    preparePlan(config.value, needsEcho(config.value) ? { echo: await echoAddress() } : {}),
    ending.cause,
  ]);
  if ("code" in prepared) {
    stoppingSinceMs = performance.now();
    log.info({ cause: prepared.text }, "stopping");
    return stop(prepared.code);
  }
  if (!prepared.ok) return stop(reportConfigErrors(prepared.error, terminal));
  const eventPump = new EventPump(eventSources(prepared.value));
  events = eventPump;
  eventPump.subscribe(({ filter, map, cpu, bytes }) => {
    if (log.isLevelEnabled("debug")) log.debug({ filter, map, cpu, data: toHex(bytes) }, "event");
  });
  logFallbacks(prepared.value, log);
  for (const { upstream, host, code, keeps } of prepared.value.unresolved)
    log.warn({ upstream, host, code }, failedNameText(keeps));
  const sourcesOf = (of: PreparedProxy, sources: readonly EventSource[]) =>
    // No listener has lost anything before it is bound.
    metricSources(of, (listener) => kernelDrops?.of(of.plan.listeners[listener]!.name) ?? 0, {
      pump: eventPump,
      sources,
    });
  const metrics = createMetrics({
    version,
    sources: sourcesOf(prepared.value, eventPump.sources),
    process: new ProcessMetrics(),
    now: Date.now,
    beforeScrape: async () => kernelDrops?.refresh(),
    onSkip: (metric, error) => log.warn({ metric, error: error.message }, "metric left out"),
  });
  if (!metrics.ok) return refuse(metrics.error.message);
  counted = metrics.value;
  for (const { upstream } of prepared.value.unresolved) counted.lookupFailed(upstream);

  const started = await startProxy(prepared.value.plan, {
    onFault: (fault) => log.warn(fault, "filter aborted"),
    onTrace: (line) => log.info({ line }, "bpf_trace_printk"),
    onAccess: (lines) => logAccess(lines, log),
    onWarning: (message) => log.warn(message),
    onWorkerRestart: (worker, cause) => {
      metrics.value.workerRestarted();
      log.error({ worker, cause }, "worker died and is started again");
    },
    onWorkerDied: (worker, cause) =>
      ending.fail(`worker ${worker} died, the third death in 10 s: ${cause}`),
  });
  if (!started.ok) return refuse(started.error.message);
  const runningProxy = started.value;
  proxy = runningProxy;
  eventPump.start();
  const pins = new PinKeeper(pinsOf(prepared.value.filters));
  const pinFailed = (error: Error): void => log.error({ error: error.message }, "pinned map");
  keepPins = startKeeping(pins, pinFailed);
  const drops = new KernelDrops(runningProxy);
  kernelDrops = drops;
  const serving = await FollowingServer.start(config.value.metricsListen, {
    metrics: metrics.value,
    notReady: () => {
      if (stoppingSinceMs !== undefined) return "shutting down";
      return proxy?.isCarrying === false ? "all workers are stuck, or start again" : undefined;
    },
    onError: (error) => log.error({ error: String(error) }, "metrics server"),
  });
  if (!serving.ok) return refuse(serving.error.message);
  server = serving.value;

  const followMetrics: Follower = async ({ prepared: next }) => {
    const sources = eventSources(next, eventPump.sources);
    const replace = metrics.value.prepare(sourcesOf(next, sources));
    if (!replace.ok) return err([replace.error]);
    // Of sockets that it closes.
    await drops.refresh();
    return ok({
      commit: () => {
        eventPump.follow(sources);
        replace.value();
      },
      abort: () => {},
    });
  };
  const followFiles = onCommit((next) => watch.follow(next.config.watch ? next.config.files : []));
  const followPins = onCommit(async ({ prepared: next }) => {
    for (const error of await pins.follow(pinsOf(next.filters))) pinFailed(error);
  });
  const controlled = controlOf(
    { config: config.value, prepared: prepared.value },
    proxy,
    eventPump,
    log,
    {
      reload: () => liveConfig.reload(),
      swap: (name, object) => liveConfig.swap(name, object),
      mapsMoving: () => liveConfig.mapsMoving,
    },
    pins,
  );
  const liveConfig = new LiveConfig({
    config: config.value,
    prepared: prepared.value,
    proxy,
    echo: echoAddress,
    environment: terminal.environment,
    followers: [
      followMetrics,
      server.follow,
      followFiles,
      followPins,
      controlled.follow,
      onCommit((next) => upstreams.follow(next)),
      onCommit((next) => {
        log.level = next.config.logLevel;
        logFallbacks(next.prepared, log);
      }),
    ],
    onReload: (result) => {
      reportReload(result, log, metrics.value);
      if (!result.ok) return;
      for (const { upstream } of liveConfig.current.prepared.unresolved)
        metrics.value.lookupFailed(upstream);
    },
  });
  live = liveConfig;
  upstreams.follow(liveConfig.current);
  const admitted = await startAdmin(config.value, controlled.control, log);
  if (!admitted.ok) return refuse(admitted.error.message);
  admin = admitted.value;
  logListening(proxy, server.server, admin, log);
  if (options.hints === true || terminal.interactive)
    terminal.out(hints(proxy.listeners, blockedSource(prepared.value), server.server));

  collectStartGarbage();
  if (isReloadAsked) reload();

  const cause = await ending.cause;
  stoppingSinceMs = performance.now();
  const { drain, drainTimeoutMs } = live.current.config;
  if (cause.code !== exitCodes.done) {
    log.fatal({ cause: cause.text }, "stopping");
    return stop(cause.code, drainTimeoutMs);
  }
  log.info({ cause: cause.text, drain }, "stopping");
  if (drain === "refuse") return stop(exitCodes.done, drainTimeoutMs);
  void ending.failure.then(({ text }) => log.fatal({ cause: text }, "stopping"));
  const sooner = await within(drainTimeoutMs, Promise.race([ending.failure, ending.again]));
  return stop(sooner?.code ?? exitCodes.done);
}

/** What `promise` gives within that time, else undefined. */
async function within<T>(timeoutMs: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, undefined);
  });
  const first = await Promise.race([promise, timeout]);
  clearTimeout(timer);
  return first;
}

function logListening(
  { listeners }: RunningProxy,
  server: MetricsServer | undefined,
  admin: AdminServer | undefined,
  log: Log,
) {
  for (const { name, protocol, address, io } of listeners)
    log.info(
      { listener: name, protocol, address: hostPort(address.host, address.port), io },
      "listening",
    );
  log.info(
    {
      ...(server && { metrics: `http://${hostPort(server.host, server.port)}/metrics` }),
      ...(admin && { admin: admin.address }),
    },
    "ready",
  );
}

function logFallbacks({ fallbacks, ioFallbacks }: PreparedProxy, log: Log): void {
  for (const { listener, reason } of ioFallbacks)
    log.warn({ listener, reason }, "io: auto is dgram here");
  for (const { filter, refusal } of fallbacks)
    log.warn({ filter, reason: `${refusal.where}: ${refusal.what}` }, "runs on the interpreter");
}

function reportReload(result: ReloadResult, log: Log, metrics: Metrics): void {
  metrics.reloaded(result.ok ? "success" : "error");
  if (result.ok) log.info(result.value, "config reloaded");
  else {
    for (const { message } of result.error) log.error({ error: message }, "config refused");
    log.error({ errors: result.error.length }, "config not reloaded: the one before stays");
  }
}

/** A loopback source that one of the filters' LPM maps lists: what a user can see dropped. */
function blockedSource({ filters }: PreparedProxy): string | undefined {
  for (const map of filters.flatMap((filter) => filter.maps)) {
    if (map.handle.type !== "lpm_trie" || map.handle.keySize !== 8) continue;
    for (const { key } of map.source.entries())
      if (key[0] === 32 && key[4] === 127) return key.slice(4).join(".");
  }
  return undefined;
}
