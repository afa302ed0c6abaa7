import { type Control, type LogLevel, logLevels } from "../admin/control.ts";
import { Inventory } from "../admin/inventory.ts";
import { encodeRoute } from "../admin/route-json.ts";
import type { AdminServer } from "../admin/server.ts";
import { startAdminServer } from "../admin/server.ts";
import { defaultSocketPath, makeSocketFolder } from "../admin/socket.ts";
import { ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { Config } from "../config/config.ts";
import type { Follower, LoadedConfig } from "../config/reload.ts";
import { Counters } from "../filter/counters.ts";
import type { EventPump } from "../proxy/event-pump.ts";
import type { RunningProxy } from "../proxy/supervisor.ts";
import { onCommit } from "./followers.ts";
import { hostPort } from "./host-port.ts";
import type { Log } from "./log.ts";
import { TokenFile } from "./token-file.ts";
import { version } from "./version.ts";

/**
 * Starts the control API as the config says. Without a word in the config about where, a socket
 * that cannot be (another Weir of this user has it, no folder to write to) is told in the log, and
 * the proxy runs without.
 */
export async function startAdmin(
  config: Config,
  control: Control,
  log: Log,
): Promise<Result<AdminServer | undefined, UserError>> {
  const { listen, tokenFile } = config.admin;
  if (listen === "off") return ok(undefined);
  const token =
    tokenFile === undefined
      ? ok(undefined)
      : TokenFile.open({ file: tokenFile, named: config.tokenFilePlace }, (error) =>
          log.error({ error: error.message }, "the token before holds on"),
        );
  if (!token.ok) return token;
  const start = (where: { path: string } | { host: string; port: number }) =>
    startAdminServer({
      listen: where,
      token: token.value,
      control,
      onError: (error) => log.error({ error: String(error) }, "control API"),
    });
  if (listen !== undefined) return start(listen);
  const uid = process.getuid?.() ?? 0;
  const path = defaultSocketPath(process.env, uid);
  const folder = makeSocketFolder(path, uid);
  const started = folder.ok ? await start({ path }) : folder;
  if (started.ok) return started;
  log.warn({ error: started.error.message }, "no control API: weir's commands will not reach it");
  return ok(undefined);
}

/** What the control API of a running proxy works on, and what keeps that up with reloads. */
export function controlOf(
  loaded: LoadedConfig,
  proxy: RunningProxy,
  events: EventPump,
  log: Log,
  live: Pick<Control, "reload" | "swap" | "mapsMoving">,
  pins: Control["pins"],
): { readonly control: Control; readonly follow: Follower } {
  let inventory = inventoryOf(loaded, proxy);
  const control: Control = {
    version,
    inventory: () => inventory,
    ask: (worker, question) => proxy.ask(worker, question),
    events,
    pins,
    logLevel: {
      get: () => logLevels.find((level) => level === log.level) ?? "info",
      set: (level: LogLevel) => {
        log.level = level;
      },
    },
    onChange: (what, fields) => log.warn(fields, what),
    ...live,
  };
  const follow = onCommit((next) => {
    inventory = inventoryOf(next, proxy);
  });
  return { control, follow };
}

function inventoryOf(
  { config, prepared: { plan, filters } }: LoadedConfig,
  { listeners }: RunningProxy,
): Inventory {
  const objects = new Map(config.filters.map(({ name, object }) => [name, object]));
  return new Inventory({
    plan,
    counters: plan.workers.map((worker) => new Counters(plan.memory, worker.counters)),
    listeners,
    filters: filters.map(({ name, maps, plans, tailCalled }) => ({
      name,
      object: objects.get(name)!,
      maps,
      plans,
      tailCalled,
    })),
    settings: settingsOf(config),
  });
}

/** The config as JSON: what was decided, without the bytes of objects and entries. */
function settingsOf(config: Config): Record<string, unknown> {
  const { listen, tokenFile } = config.admin;
  const chain = (items: readonly { filter: string; program: string }[]): string[] =>
    items.map(({ filter, program }) => `${filter}:${program}`);
  return {
    file: config.file,
    workers: config.workers,
    memory: config.memoryBytes,
    state_dir: config.stateDir,
    drain_timeout_ms: config.drainTimeoutMs,
    log_level: config.logLevel,
    metrics: config.metricsListen && hostPort(config.metricsListen.host, config.metricsListen.port),
    admin: {
      listen:
        listen === undefined || listen === "off"
          ? (listen ?? "default")
          : "path" in listen
            ? `unix:${listen.path}`
            : hostPort(listen.host, listen.port),
      token_file: tokenFile,
    },
    upstreams: config.upstreams.map(({ name, addresses }) => ({
      name,
      addresses:
        addresses === "echo" ? "echo" : addresses.map(({ host, port }) => hostPort(host, port)),
    })),
    routes: config.routes.map(encodeRoute),
    ports: Object.fromEntries(config.ports.map(({ ifindex, target }) => [ifindex, target])),
    filters: config.filters.map(
      ({ name, object, programs, engine, continueOn, match, shadow }) => ({
        name,
        object: object.file,
        programs: programs.map((program) => program.name),
        engine,
        continue_on: continueOn,
        match,
        shadow,
        swapped: config.swaps.has(name),
      }),
    ),
    listeners: config.listeners.map(({ listen: at, ingress, egress, ...listener }) => ({
      ...listener,
      listen: hostPort(at.host, at.port),
      ingress: chain(ingress),
      egress: chain(egress),
    })),
  };
}
