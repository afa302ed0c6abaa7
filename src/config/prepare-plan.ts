import { err, ok, type Result } from "../common/result.ts";
import { inTurns, type Steps } from "../common/steps.ts";
import type { UserError } from "../common/user-error.ts";
import { type CodePlace, stackBytes } from "../engine/engine.ts";
import type { CounterPlaces } from "../filter/counters.ts";
import { releaseMap } from "../maps/create-map.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { addressFamily, defaultLocalAddress, isWildcard } from "../proxy/local-address.ts";
import type {
  Address,
  FilterPlan,
  ListenerPlan,
  PortPlan,
  ProxyPlan,
  TunnelPlan,
  UpstreamPlan,
  WorkerPlan,
} from "../proxy/plan.ts";
import { laneNames } from "../proxy/tunnel/lanes.ts";
import { Arena } from "../runtime/arena.ts";
import { compileRuntime, instantiateRuntime } from "../runtime/instantiate.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import { SLOT_BYTES } from "../runtime/wasm/layout.ts";
import { chooseIo, type IoFallback } from "./choose-io.ts";
import type { ChainItem, Config, ListenerConfig, PortConfig } from "./config.ts";
import {
  bookCounters,
  type CounterBook,
  type CounterNames,
  releaseCounters,
} from "./counter-book.ts";
import { slotsPerWorker } from "./memory-need.ts";
import {
  type PreparedFilter,
  prepareFilter,
  type SettledEngine,
  settleEngine,
} from "./prepare-filter.ts";
import {
  type Resolve,
  type ResolvedNames,
  resolveUpstreams,
  type UnresolvedName,
} from "./resolve-upstreams.ts";
import type { SharedMaps } from "./shared-maps.ts";
import { sharedMapChanges } from "./shared-succession.ts";

/** All that a proxy needs to start: the plan for its workers, and what the main thread keeps. */
export interface PreparedProxy {
  readonly plan: ProxyPlan;
  readonly arena: Arena;
  /** The main thread's instance. */
  readonly runtime: MapRuntime;
  readonly filters: readonly PreparedFilter[];
  readonly counters: CounterBook;
  /** Filters that run on another engine than they ask for. */
  readonly fallbacks: readonly Fallback[];
  /** Listeners whose `io: auto` found no mmsg. */
  readonly ioFallbacks: readonly IoFallback[];
  /** Names of upstreams that could not be looked up. */
  readonly unresolved: readonly UnresolvedName[];
}

/** A filter that its engine refuses, and that the interpreter runs. */
export interface Fallback {
  readonly filter: string;
  readonly refusal: UserError;
}

export interface PrepareOptions {
  /** What is in force: its memory is used, and its maps and counts go on. Without it all is new. */
  readonly before?: PreparedProxy;
  /** Where the built-in echo answers, over UDP and TCP. Needed if an upstream is `echo: true`. */
  readonly echo?: Address;
  /** In place of the system's resolver. */
  readonly resolve?: Resolve;
}

/** Whether `preparePlan` needs the built-in echo's address. */
export function needsEcho(config: Config): boolean {
  return config.upstreams.some(({ addresses }) => addresses === "echo");
}

/**
 * Turns a config into a plan: allocates what workers and maps need, fills new maps, binds every
 * program that a chain can name to its filter's maps, looks up host names. Nothing is opened or
 * listened on, and nothing changes of what `before` has. All errors of filters at once; then nothing
 * stays allocated. A name that cannot be looked up is no error.
 */
export async function preparePlan(
  config: Config,
  options: PrepareOptions = {},
): Promise<Result<PreparedProxy, readonly UserError[]>> {
  const { before } = options;
  const { upstreams, unresolved } = await resolveUpstreams(
    config,
    options.echo,
    before?.plan.upstreams,
    options.resolve,
  );
  const memory = before === undefined ? await createMemory(config) : ok(before);
  if (!memory.ok) return memory;
  const { arena, runtime } = memory.value;
  const errors: UserError[] = [];

  const prepared: PreparedFilter[] = [];
  const created: MapHandle[] = [];
  const shared: SharedMaps = new Map();
  let firstCalled = 1;
  for (const filter of config.filters) {
    const one = await inTurns(
      prepareFilter(filter, {
        arena,
        runtime,
        cpus: config.workers,
        stateDir: config.stateDir,
        firstCalled,
        before: before?.filters ?? [],
        shared,
        created,
      }),
    );
    if (one.ok) {
      prepared.push(one.value);
      firstCalled += one.value.tailCalled.length;
    } else errors.push(...one.error);
  }
  if (before !== undefined && errors.length === 0)
    errors.push(...sharedMapChanges(before.filters, prepared));
  const giveUp = (all: readonly UserError[]) => {
    for (const map of created) releaseMap(map, arena);
    return err(all);
  };
  const io = await chooseIo(config.listeners);
  if (!io.ok) errors.push(...io.error);
  if (errors.length > 0 || !io.ok) return giveUp(errors);

  const tunnels = tunnelPlans(config);
  const names = counterNames({
    listeners: config.listeners.map(({ name }, i) => ({ name, tunnel: tunnels[i] })),
    filters: prepared.flatMap(({ plans }) => plans),
    upstreams,
  });
  const counters = bookCounters(names, config.workers, arena, before?.counters);
  if (!counters.ok) return giveUp([counters.error]);
  const workers = prepareWorkers(counters.value.places, arena, before?.plan.workers);
  if (!workers.ok) {
    releaseCounters(counters.value, before?.counters, arena);
    return giveUp([workers.error]);
  }

  const place: CodePlace = { arena, cpu: 0, stack: workers.value[0]!.stack };
  const settled = await inTurns(settleEngines(prepared, place));
  const running = settled.map(({ withEngine }) => withEngine);
  const fallbacks = settled.flatMap(({ withEngine: { name }, refusal }): Fallback[] =>
    refusal === undefined ? [] : [{ filter: name, refusal }],
  );
  const filters = running.flatMap(({ plans }) => plans);
  const tailCalled = running.flatMap((filter) => filter.tailCalled);

  const upstreamIndex = indexOfNames(config.upstreams);
  const ports = config.ports.map((port) => portPlan(port, config, upstreamIndex));
  const filterIndex = chainIndex(filters, config);
  const listeners = config.listeners.map((listener, i) => ({
    io: io.value.of(listener),
    ...listenerPlan(
      listener,
      listener.upstream === undefined ? undefined : upstreamIndex(listener.upstream),
      filterIndex,
    ),
    tunnel: tunnels[i],
  }));
  const plan: ProxyPlan = {
    memory: arena.memory,
    runtime: memory.value.plan.runtime,
    workers: workers.value,
    filters,
    tailCalled,
    listeners,
    upstreams,
    ports,
    routes: config.routes,
    accessLog: config.accessLog,
  };
  return ok({
    plan,
    arena,
    runtime,
    filters: running,
    counters: counters.value,
    fallbacks,
    ioFallbacks: io.value.fallbacks,
    unresolved,
  });
}

/** Finds each filter's engine: to compile one takes milliseconds. */
function* settleEngines(
  filters: readonly PreparedFilter[],
  place: CodePlace,
): Steps<SettledEngine[]> {
  const settled: SettledEngine[] = [];
  for (const filter of filters) settled.push(yield* settleEngine(filter, place));
  return settled;
}

/**
 * The same proxy with other addresses of its upstream `name`, of whose names some may have none.
 * Filters and maps are the same; each address that stays keeps its counts, and what is known of its
 * health.
 */
export function withAddresses(
  prepared: PreparedProxy,
  name: string,
  { addresses, failed }: ResolvedNames,
): Result<PreparedProxy, UserError> {
  const { plan, arena } = prepared;
  const upstreams = plan.upstreams.map((upstream) =>
    upstream.name === name ? { ...upstream, addresses } : upstream,
  );
  const names = counterNames({ ...plan, upstreams });
  const counters = bookCounters(names, plan.workers.length, arena, prepared.counters);
  if (!counters.ok) return counters;
  const workers = plan.workers.map((worker, cpu) => ({
    ...worker,
    counters: counters.value.places[cpu]!,
  }));
  const unresolved = [
    ...prepared.unresolved.filter(({ upstream }) => upstream !== name),
    ...failed.map((one) => ({ ...one, upstream: name })),
  ];
  const next = { ...plan, upstreams, workers };
  return ok({ ...prepared, plan: next, counters: counters.value, unresolved });
}

function counterNames({
  listeners,
  filters,
  upstreams,
}: {
  readonly listeners: readonly Pick<ListenerPlan, "name" | "tunnel">[];
  readonly filters: readonly Pick<FilterPlan, "name">[];
  readonly upstreams: readonly UpstreamPlan[];
}): CounterNames {
  return {
    listeners: listeners.map(({ name }) => name),
    filters: filters.map(({ name }) => name),
    addresses: upstreams.flatMap(({ name, addresses }) =>
      addresses.map(({ host, port }) => `${name} ${host} ${port}`),
    ),
    lanes: listeners.flatMap(({ name, tunnel }) =>
      tunnel === undefined
        ? []
        : laneNames(tunnel).map(({ peer, vni }) => `${name} ${peer} ${vni}`),
    ),
  };
}

/** Gives back the maps and counters of `proxy` that `kept` has not. No worker may use them any more. */
export function releaseProxy(proxy: PreparedProxy, kept: PreparedProxy): void {
  const handles = ({ filters }: PreparedProxy): MapHandle[] =>
    filters.flatMap(({ maps }) => maps.map(({ handle }) => handle));
  const others = new Set(handles(kept).map(({ descriptor }) => descriptor));
  // Filters may share one.
  const own = new Map(handles(proxy).map((map) => [map.descriptor, map]));
  for (const [descriptor, map] of own) if (!others.has(descriptor)) releaseMap(map, proxy.arena);
  releaseCounters(proxy.counters, kept.counters, proxy.arena);
}

/** What a proxy has that no plan changes. */
type ProxyMemory = Pick<PreparedProxy, "arena" | "runtime"> & {
  readonly plan: Pick<ProxyPlan, "runtime">;
};

async function createMemory(config: Config): Promise<Result<ProxyMemory, readonly UserError[]>> {
  const arena = Arena.create(config.memoryBytes);
  if (!arena.ok) return err([arena.error]);
  const module = await compileRuntime();
  const runtime = instantiateRuntime(module, arena.value);
  return ok({ arena: arena.value, runtime, plan: { runtime: module } });
}

/** The workers' pieces: a stack and packet slots for each, or those that they have. */
function prepareWorkers(
  counters: readonly CounterPlaces[],
  arena: Arena,
  before: readonly WorkerPlan[] | undefined,
): Result<WorkerPlan[], UserError> {
  const workers: WorkerPlan[] = [];
  for (const [cpu, places] of counters.entries()) {
    const same = before?.[cpu];
    if (same !== undefined) {
      workers.push({ ...same, counters: places });
      continue;
    }
    const stack = arena.allocate(stackBytes, `worker ${cpu}: stack`);
    if (!stack.ok) return stack;
    const slots = arena.allocate(slotsPerWorker * SLOT_BYTES, `worker ${cpu}: packet slots`);
    if (!slots.ok) return slots;
    workers.push({
      stack: stack.value,
      slots: slots.value,
      slotCount: slotsPerWorker,
      counters: places,
    });
  }
  return ok(workers);
}

/** What each listener is as a tunnel. Their lanes are counted one tunnel after another. */
function tunnelPlans(config: Config): (TunnelPlan | undefined)[] {
  let firstLane = 0;
  return config.listeners.map(({ tunnel }) => {
    if (tunnel === undefined) return undefined;
    const plan = { ...tunnel, firstLane };
    firstLane += laneNames(plan).length;
    return plan;
  });
}

/** A port of an upstream, or of a bridge's peer: only those have a dot in their names. */
function portPlan(
  { ifindex, target }: PortConfig,
  { listeners }: Config,
  upstreamIndex: (name: string) => number,
): PortPlan {
  const [listenerName, peerName] = target.split(".");
  if (peerName === undefined) return { ifindex, upstream: upstreamIndex(target) };
  const listener = listeners.findIndex(({ name }) => name === listenerName);
  const peers = listeners[listener]?.tunnel?.peers ?? [];
  return { ifindex, listener, peer: indexOfNames(peers)(peerName) };
}

function listenerPlan(
  listener: ListenerConfig,
  upstream: number | undefined,
  filterIndex: (item: ChainItem) => number,
): ListenerPlan {
  const { listen } = listener;
  const local = isWildcard(listen.host)
    ? (listener.localAddress ?? defaultLocalAddress(addressFamily(listen.host) ?? 4))
    : listen.host;
  return {
    name: listener.name,
    protocol: listener.protocol,
    listen,
    ifindex: listener.ifindex,
    upstream,
    ingress: listener.ingress.map(filterIndex),
    egress: listener.egress.map(filterIndex),
    idleTimeoutMs: listener.idleTimeoutMs,
    maxSessions: listener.maxSessions,
    maxSessionsPerSource: listener.maxSessionsPerSource,
    localAddress: local,
    onDrop: listener.onDrop,
    onSegmentDrop: listener.onSegmentDrop,
    allowDestinations: listener.allowDestinations,
    ...(listener.proxyProtocol === undefined ? {} : { proxyProtocol: listener.proxyProtocol }),
  };
}

function indexOfNames(named: readonly { readonly name: string }[]): (name: string) => number {
  const indexes = new Map(named.map(({ name }, i) => [name, i]));
  return (name) => known(indexes.get(name), name);
}

/** Where the program of a chain item stands among the plan's filters. */
function chainIndex(filters: readonly FilterPlan[], config: Config): (item: ChainItem) => number {
  const own = new Map(config.filters.map((filter) => [filter.name, filter.programs[0].name]));
  const index = indexOfNames(filters);
  return ({ filter, program }) =>
    index(program === own.get(filter) ? filter : `${filter}:${program}`);
}

function known(index: number | undefined, name: string): number {
  if (index === undefined) throw new Error(`${name} was checked when the config was loaded`);
  return index;
}
