import { z } from "zod";
import { dropReasons } from "../common/drop-reason.ts";
import { err, ok } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Counters } from "../filter/counters.ts";
import { filterRuns } from "../filter/shadow-pairs.ts";
import { directions, type VerdictKind, verdictKinds } from "../filter/verdict.ts";
import { formatEndpoint } from "../proxy/endpoint.ts";
import type { SessionInfo } from "../proxy/session-info.ts";
import type { Control, ReloadSummary } from "./control.ts";
import type { Inventory } from "./inventory.ts";
import {
  configReply,
  countersReply,
  listenerReply,
  logLevelReply,
  reloadReply,
  sessionReply,
  statusReply,
} from "./replies.ts";
import { type AnyRoute, replying, streaming } from "./route.ts";

const none = z.strictObject({});

/** Sessions that one worker is asked for at a time: some 100 µs of its turn. */
const sessionsAtOnce = 256;

/** What the proxy as a whole tells and takes. */
export const proxyRoutes: readonly AnyRoute[] = [
  replying({
    method: "GET",
    path: "/v1/status",
    id: "getStatus",
    summary: "The process: version, pid, workers, memory",
    parameters: none,
    query: none,
    body: undefined,
    reply: statusReply,
    handle: ({ control }) => {
      const { plan, settings } = control.inventory().parts;
      return ok({
        version: control.version,
        pid: process.pid,
        uptime_seconds: process.uptime(),
        workers: plan.workers.length,
        config: String(settings.file),
        memory: { used: plan.memory.buffer.byteLength, maximum: Number(settings.memory) },
      });
    },
  }),
  replying({
    method: "GET",
    path: "/v1/config",
    id: "getConfig",
    summary: "The config in force, with all defaults",
    parameters: none,
    query: none,
    body: undefined,
    reply: configReply,
    handle: ({ control }) => ok({ ...control.inventory().parts.settings }),
  }),
  replying({
    method: "GET",
    path: "/v1/listeners",
    id: "listListeners",
    summary: "Listeners, where they are bound, and their chains",
    parameters: none,
    query: none,
    body: undefined,
    reply: z.array(listenerReply),
    handle: ({ control }) => ok(listeners(control.inventory())),
  }),
  streaming({
    method: "GET",
    path: "/v1/sessions",
    id: "streamSessions",
    summary: "Sessions and connections of all workers, a line each",
    parameters: none,
    query: z.strictObject({ listener: z.string().optional().describe("Only this listener's.") }),
    row: sessionReply,
    handle: ({ control, query, signal }) => {
      if (query.listener !== undefined) {
        const known = control.inventory().listener(query.listener);
        if (!known.ok) return known;
      }
      return ok(sessions(control, query.listener, signal));
    },
  }),
  replying({
    method: "GET",
    path: "/v1/counters",
    id: "getCounters",
    summary: "Packets, bytes, drops and verdicts counted so far",
    parameters: none,
    query: none,
    body: undefined,
    reply: countersReply,
    handle: ({ control }) => ok(counted(control.inventory())),
  }),
  replying({
    method: "GET",
    path: "/v1/log-level",
    id: "getLogLevel",
    summary: "The least severe messages that are logged",
    parameters: none,
    query: none,
    body: undefined,
    reply: logLevelReply,
    handle: ({ control }) => ok({ level: control.logLevel.get() }),
  }),
  replying({
    method: "PUT",
    path: "/v1/log-level",
    id: "setLogLevel",
    summary: "Sets the log level until the next start or reload",
    parameters: none,
    query: none,
    body: logLevelReply,
    reply: logLevelReply,
    handle: ({ control, body }) => {
      control.logLevel.set(body.level);
      return ok({ level: body.level });
    },
  }),
  replying({
    method: "POST",
    path: "/v1/reload",
    id: "reload",
    summary: "Reads the config again and puts it in force, all or nothing",
    parameters: none,
    query: none,
    body: undefined,
    reply: reloadReply,
    isLong: true,
    handle: async ({ control }) => {
      const done = await control.reload();
      // Each error names its file.
      return done.ok ? ok(reloadSummary(done.value)) : err(reloadRefused("config", done.error));
    },
  }),
];

export function reloadSummary({
  durationMs,
  ...names
}: ReloadSummary): z.output<typeof reloadReply> {
  return { ...names, duration_ms: durationMs };
}

export function reloadRefused(where: string, errors: readonly UserError[]): UserError {
  return new UserError(
    "RELOAD_REFUSED",
    where,
    errors.map(({ message }) => message).join("\n"),
    "mend that; the config before stays in force",
  );
}

function listeners(inventory: Inventory): z.output<typeof listenerReply>[] {
  const { plan, counters, listeners: bound } = inventory.parts;
  const names = (indexes: readonly number[]): string[] =>
    indexes.map((index) => plan.filters[index]!.name);
  return plan.listeners.map(
    ({ name, protocol, ifindex, upstream, tunnel, ingress, egress }, i) => ({
      name,
      protocol,
      address: formatEndpoint(bound[i]!.address.host, bound[i]!.address.port),
      ...(bound[i]!.io === undefined ? {} : { io: bound[i]!.io }),
      ifindex,
      ...(upstream === undefined ? {} : { upstream: plan.upstreams[upstream]!.name }),
      ...(tunnel === undefined
        ? {}
        : {
            tunnel: {
              mode: tunnel.mode,
              vnis: [...tunnel.vnis],
              peers: tunnel.peers.map(({ name: peer, address }) => ({
                name: peer,
                address: formatEndpoint(address.host, address.port),
              })),
              mtu: tunnel.mtu,
            },
          }),
      ingress: names(ingress),
      egress: names(egress),
      sessions: sum(counters, (worker) => worker.readCell(i, "sessions")),
    }),
  );
}

async function* sessions(
  control: Control,
  listener: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<z.output<typeof sessionReply>[]> {
  const workers = control.inventory().parts.plan.workers.length;
  for (let worker = 0; worker < workers; worker++) {
    let walk: number | undefined;
    try {
      do {
        const page: Parameters<Control["ask"]>[1] = {
          kind: "sessions",
          limit: sessionsAtOnce,
          ...(walk === undefined ? {} : { walk }),
        };
        const answer = await control.ask(worker, page);
        if (!answer.ok) throw answer.error;
        if (answer.value.kind !== "sessions") throw new Error("a worker gave another answer");
        walk = answer.value.walk;
        yield answer.value.sessions
          .filter((session) => listener === undefined || session.listener === listener)
          .map((session) => sessionRow(worker, session));
      } while (walk !== undefined && !signal.aborted);
    } finally {
      if (walk !== undefined) await control.ask(worker, { kind: "end_sessions", walk });
    }
  }
}

function sessionRow(
  worker: number,
  { destination, ...session }: SessionInfo,
): z.output<typeof sessionReply> {
  return { worker, ...session, ...(destination === undefined ? {} : { destination }) };
}

function counted(inventory: Inventory): z.output<typeof countersReply> {
  const { plan, counters } = inventory.parts;
  return {
    at_ms: performance.now(),
    listeners: plan.listeners.map(({ name }, listener) => ({
      name,
      sessions: sum(counters, (worker) => worker.readCell(listener, "sessions")),
      directions: directions.map((direction) => ({
        direction,
        packets: byVerdict((kind) =>
          sum(counters, (worker) => worker.readPackets(listener, direction, kind)),
        ),
        bytes: byVerdict((kind) =>
          sum(counters, (worker) => worker.readBytes(listener, direction, kind)),
        ),
        drops: Object.fromEntries(
          dropReasons
            .map((reason) => [
              reason,
              sum(counters, (worker) => worker.readDrops(listener, direction, reason)),
            ])
            .filter(([, drops]) => drops !== 0),
        ),
      })),
    })),
    filters: plan.filters.map(({ name }, filter) => {
      const verdicts = filterVerdicts(counters, filter);
      return { name, run_cnt: filterRuns(counters, filter), verdicts };
    }),
  };
}

/** A filter's verdicts over all workers, those on packets that it decided about: none of a shadow's. */
export function filterVerdicts(
  counters: readonly Counters[],
  filter: number,
): Record<VerdictKind, number> {
  return byVerdict((kind) => sum(counters, (worker) => worker.readFilterVerdicts(filter, kind)));
}

function byVerdict(read: (kind: VerdictKind) => number): Record<VerdictKind, number> {
  return Object.fromEntries(verdictKinds.map((kind) => [kind, read(kind)])) as Record<
    VerdictKind,
    number
  >;
}

function sum(counters: readonly Counters[], read: (worker: Counters) => number): number {
  return counters.reduce((all, worker) => all + read(worker), 0);
}
