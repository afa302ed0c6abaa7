import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { EngineContext, Executable, LinkedProgram } from "../engine/engine.ts";
import { Chain } from "../filter/chain.ts";
import { Counters } from "../filter/counters.ts";
import { engines } from "../filter/engines.ts";
import type { FaultReporter } from "../filter/fault-reporter.ts";
import { LoadedFilter } from "../filter/loaded-filter.ts";
import type { Arena } from "../runtime/arena.ts";
import { type Destination, Destinations, Upstream } from "./destinations.ts";
import type { ListenerSettings } from "./listener.ts";
import type { ListenerPlan, ProgramPlan, ProxyPlan } from "./plan.ts";
import { PeerPorts } from "./tunnel/peer-ports.ts";

/** What all generations of one worker share. */
export interface GenerationParts {
  /** Without `programs`, which each generation has of its own. */
  readonly context: EngineContext;
  readonly faults: FaultReporter;
}

/**
 * A plan made ready on one worker: its programs in engines of their own, its counters, and what each
 * of its listeners is to do. A reload makes the next one beside it; nothing of it is shared but maps.
 */
export class Generation {
  readonly plan: ProxyPlan;
  readonly counters: Counters;
  /** By the plan's numbers. */
  readonly settings: readonly ListenerSettings[];
  /** Upstream addresses by name and key → the plan's number. */
  readonly #addresses = new Map<string, number>();

  private constructor(
    plan: ProxyPlan,
    counters: Counters,
    chain: (indexes: readonly number[]) => Chain,
  ) {
    this.plan = plan;
    this.counters = counters;
    const peerPorts = new PeerPorts(plan.ports);
    this.settings = plan.listeners.map((listener, index) => ({
      plan: listener,
      index,
      ingress: chain(listener.ingress),
      egress: chain(listener.egress),
      destinations: new Destinations(plan, listener),
      peerPorts,
      counters,
      maxSessions: share(listener.maxSessions, plan.workers.length),
    }));
    const addresses = plan.upstreams.flatMap((upstream) => new Upstream(upstream).addresses);
    for (const [index, address] of addresses.entries())
      this.#addresses.set(addressKey(address), index);
  }

  /**
   * Makes a plan ready for worker number `worker`. Compiling goes on over many turns: packets of the
   * generation in force wait for one program at most.
   */
  static async create(
    plan: ProxyPlan,
    worker: number,
    { context, faults }: GenerationParts,
  ): Promise<Result<Generation, UserError>> {
    const own = plan.workers[worker];
    if (own === undefined) throw new RangeError(`a plan without worker ${worker}`);
    const programs: Executable[] = [];
    const loader = new ProgramLoader({ ...context, programs });
    for (const called of plan.tailCalled ?? []) {
      const executable = await loader.load(called);
      if (!executable.ok) return executable;
      programs.push(executable.value);
    }
    const counters = new Counters(plan.memory, own.counters);
    const filters: LoadedFilter[] = [];
    for (let index = 0; index < plan.filters.length; index++) {
      const filter = await loadFilter(plan, index, loader, counters, faults);
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
    return ok(new Generation(plan, counters, chain));
  }

  /** Counts that a destination answered, or could not be reached: it may be another plan's. */
  heard(destination: Destination, up: boolean, nowMs: number): void {
    const index = this.#addresses.get(addressKey(destination));
    if (index !== undefined) this.counters.upstream(index, up, nowMs);
  }
}

function addressKey({ upstream, key }: Destination): string {
  return `${upstream} ${key}`;
}

async function loadFilter(
  plan: ProxyPlan,
  index: number,
  loader: ProgramLoader,
  counters: Counters,
  faults: FaultReporter,
): Promise<Result<LoadedFilter, UserError>> {
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
  const executable = await loader.load(plan.filters[index]!);
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

  /** Takes a turn of its own for each program: what came in meanwhile is carried first. */
  async load({ program, engine }: ProgramPlan): Promise<Result<Executable, UserError>> {
    const known = this.#loaded.get(program);
    if (known !== undefined) return ok(known);
    await new Promise<void>((resolve) => setImmediate(resolve));
    const executable = engines[engine](program, this.#context);
    if (executable.ok) this.#loaded.set(program, executable.value);
    return executable;
  }
}

/** A worker's part of a limit for all workers: their sum is at most the limit, each at least 1. */
function share(limit: ListenerPlan["maxSessions"], workers: number): number {
  return Math.max(1, Math.floor(limit / workers));
}
