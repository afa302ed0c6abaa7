import { err, ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import { type EngineContext, stackBytes } from "../engine/engine.ts";
import { type CounterShape, counterBytes } from "../filter/counters.ts";
import { addressFamily, defaultLocalAddress, isWildcard } from "../proxy/local-address.ts";
import type {
  Address,
  FilterPlan,
  ListenerPlan,
  PortPlan,
  ProxyPlan,
  WorkerPlan,
} from "../proxy/plan.ts";
import { Arena } from "../runtime/arena.ts";
import { compileRuntime, instantiateRuntime } from "../runtime/instantiate.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import { SLOT_BYTES } from "../runtime/wasm/layout.ts";
import type { ChainItem, Config, ListenerConfig } from "./config.ts";
import { slotsPerWorker } from "./memory-need.ts";
import { type PreparedFilter, prepareFilter, settleEngine } from "./prepare-filter.ts";
import { type Resolve, resolveUpstreams } from "./resolve-upstreams.ts";
import type { SharedMaps } from "./shared-maps.ts";

/** All that a proxy needs to start: the plan for its workers, and what the main thread keeps. */
export interface PreparedProxy {
  readonly plan: ProxyPlan;
  readonly arena: Arena;
  /** The main thread's instance. */
  readonly runtime: MapRuntime;
  readonly filters: readonly PreparedFilter[];
  /** Filters that run on another engine than they ask for. */
  readonly fallbacks: readonly Fallback[];
}

/** A filter that its engine refuses, and that the interpreter runs. */
export interface Fallback {
  readonly filter: string;
  readonly refusal: UserError;
}

export interface PrepareOptions {
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
 * Turns a config into a plan: allocates what workers and maps need in a new arena, fills the maps,
 * binds every program that a chain can name to its filter's maps, looks up host names. Nothing is
 * opened or listened on. All errors of filters and upstreams at once.
 */
export async function preparePlan(
  config: Config,
  options: PrepareOptions = {},
): Promise<Result<PreparedProxy, readonly UserError[]>> {
  const upstreams = await resolveUpstreams(config, options.echo, options.resolve);
  const arena = Arena.create(config.memoryBytes);
  if (!arena.ok) return err([arena.error]);
  const module = await compileRuntime();
  const runtime = instantiateRuntime(module, arena.value);
  const errors: UserError[] = upstreams.ok ? [] : [...upstreams.error];

  const prepared: PreparedFilter[] = [];
  const shared: SharedMaps = new Map();
  let firstCalled = 1;
  for (const filter of config.filters) {
    const { workers, stateDir } = config;
    const place = { arena: arena.value, runtime, cpus: workers, stateDir, shared };
    const one = prepareFilter(filter, place, firstCalled);
    if (one.ok) {
      prepared.push(one.value);
      firstCalled += one.value.tailCalled.length;
    } else errors.push(...one.error);
  }
  const addresses = upstreams.ok ? upstreams.value.flatMap((upstream) => upstream.addresses) : [];
  const shape: CounterShape = {
    listeners: config.listeners.length,
    filters: prepared.reduce((sum, { plans }) => sum + plans.length, 0),
    addresses: addresses.length,
  };
  const workers: WorkerPlan[] = [];
  for (let cpu = 0; cpu < config.workers && errors.length === 0; cpu++) {
    const worker = prepareWorker(arena.value, shape, cpu);
    if (worker.ok) workers.push(worker.value);
    else errors.push(worker.error);
  }
  if (errors.length > 0 || !upstreams.ok) return err(errors);

  const context = compileContext(arena.value, runtime, workers[0]!);
  const fallbacks: Fallback[] = [];
  for (const [i, filter] of prepared.entries()) {
    const { withEngine, refusal } = settleEngine(filter, context);
    prepared[i] = withEngine;
    if (refusal !== undefined) fallbacks.push({ filter: filter.name, refusal });
  }
  const filters = prepared.flatMap(({ plans }) => plans);
  const tailCalled = prepared.flatMap((filter) => filter.tailCalled);

  const upstreamIndex = indexOfNames(config.upstreams);
  const ports = config.ports.map(
    ({ ifindex, upstream }): PortPlan => ({ ifindex, upstream: upstreamIndex(upstream) }),
  );
  const filterIndex = chainIndex(filters, config);
  const listeners = config.listeners.map((listener) =>
    listenerPlan(listener, upstreamIndex(listener.upstream), filterIndex),
  );
  const plan: ProxyPlan = {
    memory: arena.value.memory,
    runtime: module,
    workers,
    shape,
    filters,
    tailCalled,
    listeners,
    upstreams: upstreams.value,
    ports,
    routes: config.routes,
  };
  return ok({ plan, arena: arena.value, runtime, filters: prepared, fallbacks });
}

/** What the programs of a worker are compiled with, as far as compiling needs it. */
function compileContext(arena: Arena, runtime: MapRuntime, worker: WorkerPlan): EngineContext {
  return {
    arena,
    runtime,
    cpu: 0,
    stack: worker.stack,
    clock: { low: 0, high: 0 },
    random: () => 0,
    trace: () => {},
  };
}

function prepareWorker(
  arena: Arena,
  shape: CounterShape,
  cpu: number,
): Result<WorkerPlan, UserError> {
  const stack = arena.allocate(stackBytes, `worker ${cpu}: stack`);
  if (!stack.ok) return stack;
  const slots = arena.allocate(slotsPerWorker * SLOT_BYTES, `worker ${cpu}: packet slots`);
  if (!slots.ok) return slots;
  const counters = arena.allocate(counterBytes(shape), `worker ${cpu}: counters`);
  if (!counters.ok) return counters;
  return ok({
    stack: stack.value,
    slots: slots.value,
    slotCount: slotsPerWorker,
    counters: counters.value,
  });
}

function listenerPlan(
  listener: ListenerConfig,
  upstream: number,
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
