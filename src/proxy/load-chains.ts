import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { EngineContext, Executable } from "../engine/engine.ts";
import { Broadcasts } from "../filter/broadcasts.ts";
import { Chain } from "../filter/chain.ts";
import { Counters } from "../filter/counters.ts";
import { load, type ProgramCode } from "../filter/engines.ts";
import { type FaultReport, FaultReporter } from "../filter/fault-reporter.ts";
import { LoadedFilter } from "../filter/loaded-filter.ts";
import { ShadowStage } from "../filter/shadow-stage.ts";
import type { JudgingType } from "../filter/verdict-of.ts";
import { warmUp } from "../filter/warm-up.ts";
import { Arena } from "../runtime/arena.ts";
import { instantiateRuntime } from "../runtime/instantiate.ts";
import type { CompiledPlan, FilterPlan, ProxyPlan, WorkerPlan } from "./plan.ts";
import { limitTrace } from "./trace-limit.ts";
import type { TurnClock } from "./turn-clock.ts";
import { WorkerNetwork } from "./worker-network.ts";

/** What a worker tells as it runs. */
export interface WorkerEvents {
  readonly onFault: (report: FaultReport) => void;
  /** A line of `bpf_trace_printk`. */
  readonly onTrace: (line: string) => void;
}

/** What all plans of one worker are loaded with. */
export interface WorkerParts {
  readonly worker: number;
  /** Without `programs` and `network`, which each plan has of its own. */
  readonly context: EngineContext;
  readonly faults: FaultReporter;
  /** The worker's clock: milliseconds that only grow, the same on all workers. */
  readonly nowMs: () => number;
}

/** The parts of worker number `worker`. `random` gives 32 random bits, unsigned. */
export function workerParts(
  plan: ProxyPlan<unknown>,
  worker: number,
  events: WorkerEvents,
  clock: TurnClock,
  random: () => number,
): WorkerParts {
  const arena = Arena.attach(plan.memory);
  const nowMs = (): number => clock.nowMs();
  const context = {
    arena,
    runtime: instantiateRuntime(plan.runtime, arena),
    cpu: worker,
    stack: workerPlan(plan, worker).stack,
    clock,
    random,
    trace: limitTrace(events.onTrace, nowMs),
  };
  return { worker, context, faults: new FaultReporter(events.onFault, nowMs), nowMs };
}

/** The pieces of the arena that worker number `worker` has. */
export function workerPlan(plan: ProxyPlan<unknown>, worker: number): WorkerPlan {
  const own = plan.workers[worker];
  if (own === undefined) throw new RangeError(`a plan without worker ${worker}`);
  return own;
}

/** What packets are judged with on one worker: a plan's filters, in engine instances of their own. */
export interface LoadedChains {
  readonly counters: Counters;
  readonly network: WorkerNetwork;
  /** Has the filters' code made fast, a slice of time a turn. Changes nothing that anyone sees. */
  readonly warmUp: () => Promise<void>;
  /** The chain of these filters of the plan, in this order. */
  readonly chain: (filters: readonly number[]) => Chain;
}

/**
 * Loads what a plan says that packets are judged with; no listener is made. It goes on over many
 * turns: packets of a plan in force wait for one program at most, whose code is there already.
 */
export async function loadChains(
  plan: CompiledPlan,
  { worker, context: common, faults }: WorkerParts,
): Promise<Result<LoadedChains, UserError>> {
  const own = workerPlan(plan, worker);
  const programs: Executable[] = [];
  const network = new WorkerNetwork(plan, common.arena);
  const context: EngineContext = { ...common, programs, network };
  const loader = new ProgramLoader(context);
  for (const { program } of plan.tailCalled ?? []) programs.push(await loader.load(program));
  const counters = new Counters(plan.memory, own.counters);
  const broadcasts = new Broadcasts(common);
  const filters: LoadedFilter[] = [];
  for (const [index, filter] of plan.filters.entries()) {
    const type = judgingType(filter);
    if (!type.ok) return type;
    const executable = await loader.load(filter.program);
    const { name, match, shadow } = filter;
    const parts = { name, index, type: type.value, match, shadow, executable, broadcasts };
    filters.push(new LoadedFilter(parts, common.arena, counters, faults));
  }
  const stage = new ShadowStage(common.arena, network);
  const chain = (indexes: readonly number[]): Chain =>
    new Chain(
      indexes.map((index) => ({
        filter: filters[index]!,
        continueOn: plan.filters[index]?.continueOn,
      })),
      stage,
    );
  const warm = (): Promise<void> => warmUp(loader.executables(), context, own.slots, plan.runtime);
  return ok({ counters, network, chain, warmUp: warm });
}

function judgingType({ name, program }: FilterPlan<ProgramCode>): Result<JudgingType, UserError> {
  const { type } = program.program;
  if (type !== "raw") return ok(type);
  return err(
    new UserError(
      "FILTER_RAW",
      `filter ${name}`,
      `program ${program.program.name} is of type raw, whose result is no verdict`,
      "name a program of section xdp, tc, socket or cgroup_skb",
    ),
  );
}

/** Makes programs ready to run, each once, however many plans name it. */
class ProgramLoader {
  readonly #context: EngineContext;
  readonly #loaded = new Map<ProgramCode, Executable>();

  constructor(context: EngineContext) {
    this.#context = context;
  }

  executables(): Iterable<Executable> {
    return this.#loaded.values();
  }

  /** Takes a turn of its own for each program: what came in meanwhile is carried first. */
  async load(code: ProgramCode): Promise<Executable> {
    const known = this.#loaded.get(code);
    if (known !== undefined) return known;
    await new Promise<void>((resolve) => setImmediate(resolve));
    const executable = load(code, this.#context);
    this.#loaded.set(code, executable);
    return executable;
  }
}
