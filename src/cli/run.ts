import type { AdminServer } from "../admin/server.ts";
import { loadConfig } from "../config/load-config.ts";
import { needsEcho, type PreparedProxy, preparePlan } from "../config/prepare-plan.ts";
import { ProcessMetrics } from "../metrics/process-metrics.ts";
import { createMetrics } from "../metrics/registry.ts";
import { type MetricsServer, startMetricsServer } from "../metrics/server.ts";
import { type Echo, startEcho } from "../proxy/echo.ts";
import { KernelDrops } from "../proxy/kernel-drops.ts";
import { type RunningProxy, startProxy } from "../proxy/supervisor.ts";
import { reportConfigErrors } from "./config-errors.ts";
import { waitForEnding } from "./ending.ts";
import { hints } from "./hints.ts";
import { hostPort } from "./host-port.ts";
import { createLog } from "./log.ts";
import { metricSources } from "./metric-sources.ts";
import { controlOf, startAdmin } from "./start-admin.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";
import { version } from "./version.ts";

export interface RunOptions {
  readonly config: string;
  readonly hints?: boolean;
}

/** `weir run`: the proxy, from its config to the signal that ends it. */
export async function run(options: RunOptions, terminal: Terminal): Promise<ExitCode> {
  const config = loadConfig(options.config);
  if (!config.ok) return reportConfigErrors(config.error, terminal);
  const { drainTimeoutMs, logLevel, metricsListen } = config.value;
  const log = createLog(logLevel);
  const ending = waitForEnding();
  let echo: Echo | undefined;
  let proxy: RunningProxy | undefined;
  let server: MetricsServer | undefined;
  let admin: AdminServer | undefined;
  let kernelDrops: KernelDrops | undefined;
  let stopping = false;
  const stop = async (code: ExitCode): Promise<ExitCode> => {
    await proxy?.stop(drainTimeoutMs);
    await admin?.stop();
    await server?.stop();
    await echo?.stop();
    ending.release();
    return code;
  };
  const refuse = (message: string): Promise<ExitCode> => {
    terminal.error(`weir run: ${message}\n`);
    return stop(exitCodes.failed);
  };

  if (needsEcho(config.value)) echo = await startEcho();
  const prepared = await preparePlan(
    config.value,
    echo === undefined ? {} : { echo: echo.address },
  );
  if (!prepared.ok) return stop(reportConfigErrors(prepared.error, terminal));
  const metrics = createMetrics({
    version,
    // No listener has lost anything before it is bound.
    sources: metricSources(prepared.value, (listener) => kernelDrops?.of(listener) ?? 0),
    process: new ProcessMetrics(),
    now: Date.now,
    onSkip: (metric, error) => log.warn({ metric, error: error.message }, "metric left out"),
  });
  if (!metrics.ok) return refuse(metrics.error.message);

  const started = await startProxy(prepared.value.plan, {
    onFault: (fault) => log.warn(fault, "filter aborted"),
    onTrace: (line) => log.info({ line }, "bpf_trace_printk"),
    onWarning: (message) => log.warn(message),
    onWorkerDied: (worker, cause) => ending.fail(`worker ${worker} died: ${cause}`),
  });
  if (!started.ok) return refuse(started.error.message);
  proxy = started.value;
  kernelDrops = new KernelDrops(proxy.listeners);
  if (metricsListen !== undefined) {
    const serving = await startMetricsServer({
      listen: metricsListen,
      metrics: metrics.value,
      notReady: () => (stopping ? "shutting down" : undefined),
      onError: (error) => log.error({ error: String(error) }, "metrics server"),
    });
    if (!serving.ok) return refuse(serving.error.message);
    server = serving.value;
  }
  const controlled = await startAdmin(
    config.value,
    controlOf(config.value, prepared.value, proxy, log),
    log,
  );
  if (!controlled.ok) return refuse(controlled.error.message);
  admin = controlled.value;
  for (const { name, protocol, address } of proxy.listeners)
    log.info(
      { listener: name, protocol, address: hostPort(address.host, address.port) },
      "listening",
    );
  log.info(
    {
      ...(server && { metrics: `http://${hostPort(server.host, server.port)}/metrics` }),
      ...(admin && { admin: admin.address }),
    },
    "ready",
  );
  if (options.hints === true || terminal.interactive)
    terminal.out(hints(proxy.listeners, blockedSource(prepared.value), server));

  const cause = await ending.cause;
  stopping = true;
  if (cause.code === exitCodes.done) log.info({ cause: cause.text }, "stopping");
  else log.fatal({ cause: cause.text }, "stopping");
  return stop(cause.code);
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
