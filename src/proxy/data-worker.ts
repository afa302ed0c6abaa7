import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { EngineContext, Executable, LinkedProgram } from "../engine/engine.ts";
import { Chain } from "../filter/chain.ts";
import { Counters } from "../filter/counters.ts";
import { engines } from "../filter/engines.ts";
import { type FaultReport, FaultReporter } from "../filter/fault-reporter.ts";
import { LoadedFilter } from "../filter/loaded-filter.ts";
import { Arena } from "../runtime/arena.ts";
import { instantiateRuntime } from "../runtime/instantiate.ts";
import { type Destination, Destinations } from "./destinations.ts";
import type { Listener, ListenerParts } from "./listener.ts";
import { PacketSlots } from "./packet-slots.ts";
import type { Address, ListenerPlan, ProgramPlan, ProxyPlan } from "./plan.ts";
import { TcpListener } from "./tcp-listener.ts";
import { limitTrace } from "./trace-limit.ts";
import { PeerPorts } from "./tunnel/peer-ports.ts";
import { TunnelListener } from "./tunnel/tunnel-listener.ts";
import { TurnClock } from "./turn-clock.ts";
import { UdpListener } from "./udp-listener.ts";

/** What a worker tells as it runs. */
export interface WorkerEvents {
  readonly onFault: (report: FaultReport) => void;
  /** A line of `bpf_trace_printk`. */
  readonly onTrace: (line: string) => void;
}

/** All that one worker does: its engine, its instances of the filters, its listeners. */
export class DataWorker {
  readonly #listeners: readonly Listener[];

  private constructor(listeners: readonly Listener[]) {
    this.#listeners = listeners;
  }

  /** Makes worker number `worker` of a plan; nothing is bound yet. */
  static create(
    plan: ProxyPlan,
    worker: number,
    events: WorkerEvents,
  ): Result<DataWorker, UserError> {
    const own = plan.workers[worker];
    if (own === undefined) throw new RangeError(`a plan without worker ${worker}`);
    const arena = Arena.attach(plan.memory);
    const clock = new TurnClock();
    const programs: Executable[] = [];
    const context: EngineContext = {
      arena,
      runtime: instantiateRuntime(plan.runtime, arena),
      cpu: worker,
      stack: own.stack,
      clock,
      random: () => (Math.random() * 2 ** 32) >>> 0,
      trace: limitTrace(events.onTrace, () => clock.nowMs()),
      programs,
    };
    const loader = new ProgramLoader(context);
    for (const called of plan.tailCalled ?? []) {
      const executable = loader.load(called);
      if (!executable.ok) return executable;
      programs.push(executable.value);
    }
    const counters = new Counters(plan.memory, own.counters, plan.shape);
    const faults = new FaultReporter(events.onFault, () => clock.nowMs());
    const filters: LoadedFilter[] = [];
    for (let index = 0; index < plan.filters.length; index++) {
      const filter = loadFilter(plan, index, loader, counters, faults);
      if (!filter.ok) return filter;
      filters.push(filter.value);
    }
    const chain = (indexes: readonly number[]): Chain =>
      new Chain(
        indexes.map((index) => ({
          filter: filters[index]!,
          continueOn: plan.filters[index]?.continueOn,
        })),
      );
    const slots = new PacketSlots(own.slots, own.slotCount);
    const onHeard = (destination: Destination, up: boolean): void => {
      if (destination.index !== undefined) counters.upstream(destination.index, up, clock.nowMs());
    };
    const peerPorts = new PeerPorts(plan.ports);
    const listeners = plan.listeners.map((listener, index) =>
      createListener(peerPorts, {
        plan: listener,
        index,
        ingress: chain(listener.ingress),
        egress: chain(listener.egress),
        destinations: new Destinations(plan, listener),
        counters,
        arena,
        slots,
        clock,
        cpu: worker,
        onHeard,
        maxSessions: share(listener.maxSessions, plan.workers.length),
        reusePort: plan.workers.length > 1,
      }),
    );
    return ok(new DataWorker(listeners));
  }

  /**
   * Binds all listeners: their addresses, in the plan's order. If one cannot be bound, those that
   * were are closed again, and its reason is returned.
   */
  async listen(): Promise<Result<readonly Address[], UserError>> {
    const results = await Promise.all(this.#listeners.map((listener) => listener.listen()));
    const bound: Address[] = [];
    for (const result of results) {
      if (!result.ok) {
        await this.stop(0);
        return result;
      }
      bound.push(result.value);
    }
    return ok(bound);
  }

  /** Takes nothing new, lets TCP connections end for at most `drainTimeoutMs`, closes everything. */
  async stop(drainTimeoutMs: number): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.stop(drainTimeoutMs)));
  }
}

function loadFilter(
  plan: ProxyPlan,
  index: number,
  loader: ProgramLoader,
  counters: Counters,
  faults: FaultReporter,
): Result<LoadedFilter, UserError> {
  const { name, program, match } = plan.filters[index]!;
  const type = program.type;
  if (type === "raw")
    return err(
      new UserError(
        "FILTER_RAW",
        `filter ${name}`,
        `program ${program.name} is of type raw, whose result is no verdict`,
        "name a program of section xdp, tc, socket or cgroup_skb",
      ),
    );
  const executable = loader.load(plan.filters[index]!);
  if (!executable.ok) return executable;
  const parts = { name, index, type, match, executable: executable.value };
  return ok(new LoadedFilter(parts, loader.arena, counters, faults));
}

/** Makes programs ready to run, each once, however many plans name it. */
class ProgramLoader {
  readonly #context: EngineContext;
  readonly #loaded = new Map<LinkedProgram, Executable>();

  constructor(context: EngineContext) {
    this.#context = context;
  }

  get arena(): Arena {
    return this.#context.arena;
  }

  load({ program, engine }: ProgramPlan): Result<Executable, UserError> {
    const known = this.#loaded.get(program);
    if (known !== undefined) return ok(known);
    const executable = engines[engine](program, this.#context);
    if (executable.ok) this.#loaded.set(program, executable.value);
    return executable;
  }
}

function createListener(peerPorts: PeerPorts, parts: ListenerParts): Listener {
  const { protocol, name, tunnel } = parts.plan;
  switch (protocol) {
    case "udp":
      return new UdpListener(parts);
    case "tcp":
      return new TcpListener(parts);
    case "vxlan":
    case "geneve":
      if (tunnel === undefined) throw new RangeError(`tunnel ${name} has no plan`);
      return new TunnelListener(parts, protocol, tunnel, peerPorts);
  }
}

/** A worker's part of a limit for all workers: their sum is at most the limit, each at least 1. */
function share(limit: ListenerPlan["maxSessions"], workers: number): number {
  return Math.max(1, Math.floor(limit / workers));
}
