import { err, ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import { stackBytes } from "../engine/engine.ts";
import { type CounterShape, counterBytes } from "../filter/counters.ts";
import { addressFamily, defaultLocalAddress, isWildcard } from "../proxy/local-address.ts";
import type {
  Address,
  FilterPlan,
  ListenerPlan,
  PortPlan,
  ProgramPlan,
  ProxyPlan,
  TunnelPlan,
  WorkerPlan,
} from "../proxy/plan.ts";
import { laneNames } from "../proxy/tunnel/lanes.ts";
import { Arena } from "../runtime/arena.ts";
import { compileRuntime, instantiateRuntime } from "../runtime/instantiate.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import { SLOT_BYTES } from "../runtime/wasm/layout.ts";
import type { ChainItem, Config, ListenerConfig, PortConfig } from "./config.ts";
import { slotsPerWorker } from "./memory-need.ts";
import { type PreparedFilter, prepareFilter } from "./prepare-filter.ts";
import { type Resolve, resolveUpstreams } from "./resolve-upstreams.ts";

/** All that a proxy needs to start: the plan for its workers, and what the main thread keeps. */
export interface PreparedProxy {
  readonly plan: ProxyPlan;
  readonly arena: Arena;
  /** The main thread's instance. */
  readonly runtime: MapRuntime;
  readonly filters: readonly PreparedFilter[];
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
  const tailCalled: ProgramPlan[] = [];
  for (const filter of config.filters) {
    const firstCalled = tailCalled.length + 1;
    const one = prepareFilter(filter, arena.value, runtime, config.workers, firstCalled);
    if (one.ok) {
      prepared.push(one.value);
      tailCalled.push(...one.value.tailCalled);
    } else errors.push(...one.error);
  }
  const filters: FilterPlan[] = prepared.flatMap((filter) => filter.plans);
  const addresses = upstreams.ok ? upstreams.value.flatMap((upstream) => upstream.addresses) : [];
  const tunnels = tunnelPlans(config);
  const shape: CounterShape = {
    listeners: config.listeners.length,
    filters: filters.length,
    addresses: addresses.length,
    ...(tunnels.lanes === 0 ? {} : { lanes: tunnels.lanes }),
  };
  const workers: WorkerPlan[] = [];
  for (let cpu = 0; cpu < config.workers && errors.length === 0; cpu++) {
    const worker = prepareWorker(arena.value, shape, cpu);
    if (worker.ok) workers.push(worker.value);
    else errors.push(worker.error);
  }
  if (errors.length > 0 || !upstreams.ok) return err(errors);

  const upstreamIndex = indexOfNames(config.upstreams);
  const ports = config.ports.map((port) => portPlan(port, config, upstreamIndex));
  const filterIndex = chainIndex(filters, config);
  const listeners = config.listeners.map((listener, i) => ({
    ...listenerPlan(
      listener,
      listener.upstream === undefined ? undefined : upstreamIndex(listener.upstream),
      filterIndex,
    ),
    tunnel: tunnels.plans[i],
  }));
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
  };
  return ok({ plan, arena: arena.value, runtime, filters: prepared });
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

/** What each listener is as a tunnel, and how many lanes all of them count. */
function tunnelPlans(config: Config): {
  plans: (TunnelPlan | undefined)[];
  lanes: number;
} {
  let lanes = 0;
  const plans = config.listeners.map(({ tunnel }): TunnelPlan | undefined => {
    if (tunnel === undefined) return undefined;
    const plan = { ...tunnel, firstLane: lanes };
    lanes += laneNames(plan).length;
    return plan;
  });
  return { plans, lanes };
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
    localAddress: local,
    onDrop: listener.onDrop,
    onSegmentDrop: listener.onSegmentDrop,
    allowDestinations: listener.allowDestinations,
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
