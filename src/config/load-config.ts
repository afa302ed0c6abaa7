import { dirname, resolve } from "node:path";
import { err, ok, type Result } from "../common/result.ts";
import { atOnce, type Steps } from "../common/steps.ts";
import { checkAddresses, workerCount } from "./check-addresses.ts";
import { checkMetricNames } from "./check-metrics.ts";
import { checkReferences, splitChainItem } from "./check-references.ts";
import { checkRoutes } from "./check-routes.ts";
import { checkTunnels } from "./check-tunnels.ts";
import type { ChainItem, Config, FilterConfig, ListenerConfig, UpstreamConfig } from "./config.ts";
import { ConfigProblem, sortProblems } from "./config-problem.ts";
import { explainIssue } from "./explain-issue.ts";
import { type FilterSwaps, withSwaps } from "./filter-swaps.ts";
import { withoutFileTexts } from "./hidden-texts.ts";
import { loadFilters } from "./load-filters.ts";
import { checkMemory } from "./memory-need.ts";
import { withOverrides } from "./overrides.ts";
import { ProblemList } from "./problem-list.ts";
import { readBounded } from "./read-file.ts";
import { maxConfigBytes, readYaml, type YamlSource } from "./read-yaml.ts";
import { readableParts } from "./readable-parts.ts";
import { routeOf } from "./route-schema.ts";
import { type ConfigValues, configSchema } from "./schema.ts";
import { type Environment, Substitution } from "./substitution.ts";
import { boundAddress, tunnelConfig } from "./tunnel.ts";

/** Listeners that name no ifindex are numbered from here. */
const firstListenerIfindex = 1000;

const defaultIdleTimeoutMs = {
  udp: 60_000,
  tcp: 3_600_000,
  vxlan: 60_000,
  geneve: 60_000,
} as const;

/**
 * Reads a config file and all it names: the objects of its filters and files of map entries.
 * Paths in it are relative to its folder. Either everything holds, or all problems are told at
 * once, in the order of the text: YAML syntax alone (what follows a syntax error is guesswork), else
 * values, names, objects, entries and memory together.
 *
 * `environment` is what `${VARIABLE}` in its values and the overrides (overrides.ts) are taken from.
 */
export function loadConfig(
  file: string,
  environment: Environment = {},
): Result<Config, readonly ConfigProblem[]> {
  return atOnce(loadSteps(file, environment));
}

/** `loadConfig` in pieces, for a proxy that runs. */
export function* loadSteps(
  file: string,
  environment: Environment = {},
  running: RunningFilters = {},
): Steps<Result<Config, readonly ConfigProblem[]>> {
  const start = { line: 1, column: 1 };
  const bytes = readBounded(file, maxConfigBytes);
  if (!bytes.ok) {
    const { what, fix } = bytes.error;
    return err([new ConfigProblem("CONFIG_FILE", file, start, what, fix)]);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.value);
  } catch {
    return err([
      new ConfigProblem("CONFIG_FILE", file, start, "not text in UTF-8", "convert the file"),
    ]);
  }
  return yield* parseSteps(text, file, environment, running);
}

/** What of a running proxy's filters a config is read with. */
export interface RunningFilters {
  /** Objects that filters were given in place of the config's. */
  readonly swaps?: FilterSwaps;
  /** Filters that are taken as they are, and not read again. */
  readonly loaded?: readonly FilterConfig[];
}

/** `loadConfig` for text already read; `file` names it and is what paths are relative to. */
export function parseConfig(
  text: string,
  file: string,
  environment: Environment = {},
): Result<Config, readonly ConfigProblem[]> {
  return atOnce(parseSteps(text, file, environment));
}

/** `parseConfig` in pieces, for a proxy that runs. */
export function* parseSteps(
  text: string,
  file: string,
  environment: Environment = {},
  { swaps = new Map(), loaded = [] }: RunningFilters = {},
): Steps<Result<Config, readonly ConfigProblem[]>> {
  const read = readYaml(text, file, new Substitution(environment, dirname(file)));
  if (!read.ok) return err(sortProblems(read.error, file));
  const overridden = withOverrides(read.value, environment);
  const { source } = overridden;
  const problems = new ProblemList(source);
  problems.found.push(...overridden.problems);
  const values = validate(source, problems);
  if (values !== undefined) checkAdmin(values, problems);
  const swapped = withSwaps(readableParts(source.value), swaps);
  const readable = swapped.config;
  checkReferences(readable, problems);
  checkAddresses(readable, problems);
  checkTunnels(readable, problems);
  checkRoutes(readable, problems);
  const filters = yield* loadFilters(readable, dirname(file), problems, loaded);
  checkMetricNames(readable.filters, filters, problems);
  if (readable.top.memory !== undefined)
    checkMemory(readable, filters, readable.top.memory, problems);
  if (problems.found.length > 0 || values === undefined)
    return err(sortProblems(withoutFileTexts(problems.found, source), file));
  return ok({ ...resolved(values, filters, problems), text, swaps: swapped.swaps });
}

function resolvedUpstream({
  addresses,
  balance,
  connectTimeout,
  ejection,
  healthCheck,
  resolveInterval,
}: ConfigValues["upstreams"][string]): Omit<UpstreamConfig, "name" | "where"> {
  return {
    addresses: addresses ?? "echo",
    balance,
    connectTimeoutMs: connectTimeout,
    ejection:
      ejection.failures === 0 ? undefined : { failures: ejection.failures, timeMs: ejection.time },
    healthCheck: healthCheck && {
      type: healthCheck.type,
      intervalMs: healthCheck.interval,
      timeoutMs: healthCheck.timeout,
      path: healthCheck.path,
      host: healthCheck.host,
      proxyProtocol: healthCheck.proxyProtocol,
      port: healthCheck.port,
      healthyAfter: healthCheck.healthyAfter,
      unhealthyAfter: healthCheck.unhealthyAfter,
    },
    resolveIntervalMs: resolveInterval === "off" ? undefined : resolveInterval,
  };
}

function validate(source: YamlSource, problems: ProblemList): ConfigValues | undefined {
  // An empty file is an empty block: what it lacks is told key by key.
  const parsed = configSchema.safeParse(source.value ?? {});
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues)
    problems.found.push(...explainIssue(issue, configSchema, source));
  return undefined;
}

/** A path as the config means it: relative to its file. */
function resolvePath(path: string, { source }: ProblemList): string {
  return resolve(dirname(source.file), path);
}

/** Anyone who reaches an address could change filters: there a token is needed. */
function checkAdmin({ admin }: ConfigValues, problems: ProblemList): void {
  const { listen, tokenFile } = admin;
  if (listen === undefined || listen === "off" || "path" in listen) return;
  if (tokenFile === undefined)
    problems.value(
      "CONFIG_VALUE",
      ["admin", "listen"],
      "an address and port need a token",
      "add tokenFile: and a file that holds one, or write unix: and a path",
    );
}

/** The config with names and numbers settled. Nothing is wrong with it any more. */
function resolved(
  values: ConfigValues,
  filters: readonly FilterConfig[],
  problems: ProblemList,
): Omit<Config, "text" | "swaps"> {
  const own = new Map(filters.map((filter) => [filter.name, filter.programs[0].name]));
  const chain = (items: readonly string[]): ChainItem[] =>
    items.map((item) => {
      const { filter, program } = splitChainItem(item);
      return { filter, program: program ?? own.get(filter)! };
    });
  const taken = new Set([
    ...Object.keys(values.ports).map(Number),
    ...values.listeners.flatMap(({ ifindex }) => ifindex ?? []),
  ]);
  let next = firstListenerIfindex;
  const nextIfindex = (): number => {
    while (taken.has(next)) next++;
    return next++;
  };
  return {
    file: problems.source.file,
    workers: workerCount(values.workers),
    memoryBytes: values.memory,
    drain: values.drain,
    drainTimeoutMs: values.drainTimeout,
    stateDir: values.stateDir && resolvePath(values.stateDir, problems),
    logLevel: values.log.level,
    accessLog: values.accessLog,
    watch: values.reload.watch,
    files: [...new Set([problems.source.file, ...filters.flatMap((filter) => filter.files)])],
    metricsListen: values.metrics.listen === "off" ? undefined : values.metrics.listen,
    admin: {
      listen: values.admin.listen,
      tokenFile: values.admin.tokenFile && resolvePath(values.admin.tokenFile, problems),
    },
    tokenFilePlace: values.admin.tokenFile && problems.valuePlace(["admin", "tokenFile"]),
    upstreams: Object.entries(values.upstreams).map(([name, upstream]) => ({
      name,
      ...resolvedUpstream(upstream),
      where: problems.place(["upstreams", name]),
    })),
    ports: Object.entries(values.ports).map(([ifindex, target]) => ({
      ifindex: Number(ifindex),
      target,
    })),
    routes: values.routes.map(routeOf),
    filters,
    listeners: values.listeners.map(
      ({ idleTimeout, onDrop, onSegmentDrop, ...listener }): ListenerConfig => ({
        ...listener,
        listen: boundAddress(listener)!,
        upstream: listener.upstream,
        tunnel: tunnelConfig(listener),
        ifindex: listener.ifindex ?? nextIfindex(),
        ingress: chain(listener.ingress),
        egress: chain(listener.egress),
        idleTimeoutMs: idleTimeout ?? defaultIdleTimeoutMs[listener.protocol],
        maxSessionsPerSource: listener.maxSessionsPerSource,
        io: listener.protocol === "tcp" ? undefined : (listener.io ?? "dgram"),
        localAddress: listener.localAddress,
        proxyProtocol: listener.proxyProtocol,
        onDrop: onDrop ?? "reset",
        onSegmentDrop: onSegmentDrop ?? "reset",
      }),
    ),
  };
}
