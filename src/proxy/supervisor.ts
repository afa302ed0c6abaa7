import { performance } from "node:perf_hooks";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { CaptureOrder } from "../filter/capture-tap.ts";
import { Counters } from "../filter/counters.ts";
import type { FaultReport } from "../filter/fault-reporter.ts";
import type { AccessLine } from "./access-log.ts";
import { compilePlan } from "./compile-plan.ts";
import { openFileLimit, withinFileLimit } from "./file-limit.ts";
import { ioChanges, ioOf } from "./io-changes.ts";
import { OpenSessions } from "./open-sessions.ts";
import type { Address, DatagramIo, ListenerPlan, ProxyPlan } from "./plan.ts";
import type { WorkerAnswer, WorkerQuestion } from "./questions.ts";
import { repairMaps } from "./repair-maps.ts";
import { crowdedWorker } from "./session-limit.ts";
import { abandonSources, withSourceMemory } from "./source-memory.ts";
import { countUnfinishedRun } from "./unfinished-run.ts";
import { Watchdog } from "./watchdog.ts";
import { connectionsOf, progressOf } from "./worker-counts.ts";
import { type ThreadEvents, WorkerThread } from "./worker-thread.ts";

export interface SupervisorOptions {
  /** A filter's run that ended in a fault. At most one a filter, worker and second. */
  readonly onFault: (report: FaultReport) => void;
  /** A line of `bpf_trace_printk`. */
  readonly onTrace?: (line: string) => void;
  /** Lines of the access log, of one worker, in the order of what they tell. */
  readonly onAccess?: (lines: readonly AccessLine[]) => void;
  /** A worker ended that was not told to, or was stuck. It is started again, with the maps as they are. */
  readonly onWorkerRestart?: (worker: number, cause: string) => void;
  /** Workers ended too often to be started again: this one's packets go nowhere. */
  readonly onWorkerDied: (worker: number, cause: string) => void;
  /** Something of the plan is done differently than it says. */
  readonly onWarning?: (message: string) => void;
  /** How often workers are asked whether they are stuck, in milliseconds. Absent: every 2 s. */
  readonly watchMs?: number;
}

/** Where a listener was bound: the port the system chose, if the plan left that open. */
export interface BoundListener {
  readonly name: string;
  readonly protocol: ListenerPlan["protocol"];
  readonly address: Address;
  /** What carries its datagrams; absent for TCP. */
  readonly io?: DatagramIo | undefined;
}

export interface ApplyOptions {
  /** How long connections of listeners that are gone may go on, with the filters that they had. */
  readonly drainTimeoutMs: number;
  /** Called when every worker is ready: the last that can refuse. */
  readonly beforeCommit?: () => Promise<Result<unknown, readonly UserError[]>>;
}

export interface Applied {
  /** Resolves when no worker uses anything of the plans before: what only they had can go. */
  readonly released: Promise<void>;
  /** What of the plan is done differently than it says, where that is new. */
  readonly warnings: readonly string[];
}

export interface RunningProxy {
  /** In the order of the plan in force. */
  readonly listeners: readonly BoundListener[];
  /** Whether some worker can take packets: none can while all are stuck, or between their deaths and their starts. */
  readonly isCarrying: boolean;
  /**
   * Name of the UDP listener or tunnel that has a session whose socket is node:dgram's and has these ports;
   * undefined where it is none of the plan's in force.
   */
  sessionListener(localPort: number, remotePort: number): string | undefined;
  /**
   * What a worker (by its place in the plan) says to a question; an error where it has died. Of captures it
   * is told when it is back.
   */
  ask(worker: number, question: WorkerQuestion): Promise<Result<WorkerAnswer, UserError>>;
  /**
   * Puts another plan over the same memory and workers in force: on all workers, or on none. Each
   * makes it ready beside the one that runs, and swaps between two packets. Listeners that keep
   * protocol and address keep their sockets, sessions and connections, whose next packet meets the
   * new filters. One plan is applied at a time, in the order of the calls.
   */
  apply(plan: ProxyPlan, options: ApplyOptions): Promise<Result<Applied, readonly UserError[]>>;
  /**
   * Stops taking packets and connections, lets TCP connections end for at most `drainTimeoutMs`,
   * then closes everything. Resolves when all workers have ended, to the number of connections that
   * were broken off for it; a worker that has not ended a second later dies, and so does one that is being
   * started again and has not within a second. Calling it again may shorten the wait: it waits too, and gives 0.
   */
  stop(drainTimeoutMs: number): Promise<number>;
}

/**
 * Starts the data workers of a plan, and resolves when every listener is bound. If one cannot be,
 * no worker is left, and the error names the listener, its address and a remedy.
 */
export async function startProxy(
  plan: ProxyPlan,
  options: SupervisorOptions,
): Promise<Result<RunningProxy, UserError>> {
  return Supervisor.start(plan, options);
}

/** That many workers' deaths within `crashWindowMs` are the last. */
const maxCrashes = 3;
const crashWindowMs = 10_000;

class Supervisor implements RunningProxy {
  readonly #options: SupervisorOptions;
  /** By worker number; undefined: it has died. */
  readonly #threads: (WorkerThread | undefined)[] = [];
  /** In force: with the ports that the system chose. */
  #plan: ProxyPlan;
  /** Its listeners as they were asked for. */
  #asked: readonly ListenerPlan[] = [];
  #listeners: readonly BoundListener[] = [];
  /** Those that some worker still uses. */
  readonly #plansInUse = new Set<ProxyPlan>();
  /** Resolves when all plans before the one in force are out of use. */
  #released: Promise<unknown> = Promise.resolve();
  /** What is under way: applying, restarting and stopping do not mix. */
  #queue: Promise<unknown> = Promise.resolve();
  /** Under way, by number: a worker that is started again joins them. */
  readonly #captures = new Map<number, CaptureOrder>();
  readonly #watchdog: Watchdog;
  #crashes: readonly number[] = [];
  readonly #stopping = new AbortController();
  /** The shortest that it was told to stop within. */
  #drainTimeoutMs = Number.POSITIVE_INFINITY;
  /** Its workers are stopping. */
  #isDraining = false;
  /** Connections of workers that died as they stopped, until someone has been told. */
  #lost = 0;
  /** What was warned of last: the same again is no news. */
  #warned: string | undefined;

  private constructor(plan: ProxyPlan, options: SupervisorOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#watchdog = new Watchdog(options.watchMs);
  }

  /** The first worker starts alone: a port that the system chose is then every worker's. */
  static async start(
    asked: ProxyPlan,
    options: SupervisorOptions,
  ): Promise<Result<RunningProxy, UserError>> {
    const supervisor = new Supervisor(asked, options);
    const { plan: fitting, warning } = await withFilesFor(asked);
    supervisor.#warn(warning);
    const plan = withSourceMemory(fitting);
    const first = await supervisor.#startThread(plan, 0);
    if (!first.ok) return first;
    const shared = withPorts(plan, first.value);
    supervisor.#enforce(shared, plan.listeners, first.value);
    const others = await Promise.all(
      plan.workers.slice(1).map((_, i) => supervisor.#startThread(shared, i + 1)),
    );
    const failed = others.find((result) => !result.ok);
    if (failed !== undefined) {
      await supervisor.stop(0);
      return failed;
    }
    return ok(supervisor);
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  get isCarrying(): boolean {
    return this.#watchdog.hasTurningWorker;
  }

  get listeners(): readonly BoundListener[] {
    return this.#listeners;
  }

  sessionListener(localPort: number, remotePort: number): string | undefined {
    for (const [number, thread] of this.#threads.entries()) {
      const place = thread?.sessionPorts.placeOf(localPort, remotePort) ?? 0;
      if (place === 0) continue;
      const { workers, listeners } = this.#plan;
      return listeners[workers[number]!.counters.listeners.indexOf(place)]?.name;
    }
    return undefined;
  }

  ask(worker: number, question: WorkerQuestion): Promise<Result<WorkerAnswer, UserError>> {
    if (question.kind === "start_capture") this.#captures.set(question.order.id, question.order);
    if (question.kind === "stop_capture") this.#captures.delete(question.id);
    const thread = this.#threads[worker];
    if (thread !== undefined) return thread.ask(question);
    return Promise.resolve(err(new UserError("WORKER_DIED", `worker ${worker}`, "it has ended")));
  }

  apply(plan: ProxyPlan, options: ApplyOptions): Promise<Result<Applied, readonly UserError[]>> {
    if (plan.workers.length !== this.#plan.workers.length)
      throw new RangeError(`a plan for ${plan.workers.length} workers`);
    return this.#enqueue(() => this.#apply(plan, options));
  }

  stop(drainTimeoutMs: number): Promise<number> {
    this.#stopping.abort();
    this.#drainTimeoutMs = Math.min(this.#drainTimeoutMs, drainTimeoutMs);
    // The workers that drain are told at once; else what is under way comes first.
    if (this.#isDraining) return this.#stopThreads();
    return this.#enqueue(() => this.#stopThreads());
  }

  async #stopThreads(): Promise<number> {
    this.#isDraining = true;
    const stopped = this.#threads.map((thread) => thread?.stop(this.#drainTimeoutMs) ?? 0);
    const broken = (await Promise.all(stopped)).reduce((sum, one) => sum + one, this.#lost);
    this.#lost = 0;
    return broken;
  }

  async #apply(
    asked: ProxyPlan,
    { drainTimeoutMs, beforeCommit }: ApplyOptions,
  ): Promise<Result<Applied, readonly UserError[]>> {
    const refuse = (what: string) => err([new UserError("PROXY_NOT_RUNNING", "proxy", what)]);
    if (this.#isStopping) return refuse("it is shutting down");
    const threads = this.#threads.filter((thread) => thread !== undefined);
    if (threads.length < this.#plan.workers.length) return refuse("a worker has died");
    const [first, ...others] = threads;
    const { plan: fitting, warning } = await withFilesFor(this.#keepPorts(asked));
    const changed = ioChanges(this.#plan.listeners, fitting.listeners);
    if (changed.length > 0) return err(changed);
    const plan = withSourceMemory(fitting, this.#plan);
    const abort = async (errors: readonly UserError[]) => {
      await Promise.all(threads.map((thread) => thread.abort()));
      return err(errors);
    };

    const bound = await prepare(first!, plan, 0);
    if (!bound.ok) return abort([bound.error]);
    const shared = withPorts(plan, bound.value);
    const prepared = await Promise.all(others.map((thread, i) => prepare(thread, shared, i + 1)));
    const failed = prepared.find((result) => !result.ok);
    if (failed !== undefined) return abort([failed.error]);
    const settled = (await beforeCommit?.()) ?? ok(undefined);
    if (!settled.ok) return abort(settled.error);

    // From here on it is in force: a worker that dies now is started again with this plan.
    const before = this.#plan;
    this.#enforce(shared, asked.listeners, bound.value);
    const warnings = this.#warn(warning);
    const commits = threads.map((thread) => thread.commit(drainTimeoutMs));
    await Promise.all(commits.map(({ committed }) => committed));
    // In the order of the plans: a later one may share maps with one that is not released yet.
    const released = Promise.all([
      this.#released,
      ...commits.map((commit) => commit.released),
    ]).then(() => void this.#plansInUse.delete(before));
    this.#released = released;
    return ok({ released, warnings });
  }

  /** Tells a warning that is new; what was told. */
  #warn(warning: string | undefined): string[] {
    const isNews = warning !== undefined && warning !== this.#warned;
    this.#warned = warning;
    if (!isNews) return [];
    this.#options.onWarning?.(warning);
    return [warning];
  }

  #enforce(plan: ProxyPlan, asked: readonly ListenerPlan[], bound: readonly Address[]): void {
    this.#plan = plan;
    this.#asked = asked;
    this.#plansInUse.add(plan);
    this.#listeners = plan.listeners.map((listener, i) => ({
      name: listener.name,
      protocol: listener.protocol,
      address: bound[i]!,
      io: ioOf(listener),
    }));
  }

  /** A listener whose port the system chose keeps that port while the plan leaves it open. */
  #keepPorts(plan: ProxyPlan): ProxyPlan {
    const listeners = plan.listeners.map((listener) => {
      if (listener.listen.port !== 0) return listener;
      const same = this.#asked.findIndex(
        ({ name, protocol, listen }) =>
          name === listener.name &&
          protocol === listener.protocol &&
          listen.host === listener.listen.host &&
          listen.port === 0,
      );
      const listen = this.#plan.listeners[same]?.listen ?? listener.listen;
      return { ...listener, listen };
    });
    return { ...plan, listeners };
  }

  /** Runs tasks one after another; a task that fails does not keep the next from its turn. */
  #enqueue<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(task);
    this.#queue = result.catch(() => {});
    return result;
  }

  async #startThread(
    plan: ProxyPlan,
    number: number,
  ): Promise<Result<readonly Address[], UserError>> {
    const open = new OpenSessions();
    const events: ThreadEvents = {
      onFault: this.#options.onFault,
      onTrace: (line) => this.#options.onTrace?.(line),
      onAccess: (lines) => {
        open.follow(lines, performance.now());
        this.#options.onAccess?.(lines);
      },
      onCrowded: (listener) => {
        const crowded = crowdedWorker(this.#plan, listener, number);
        if (crowded !== undefined) this.#threads[crowded]?.makeRoom(listener);
      },
      onDied: (cause) => {
        const lost = open.died(performance.now());
        if (lost.length > 0) this.#options.onAccess?.(lost);
        this.#died(number, cause);
      },
    };
    const compiled = await compilePlan(plan, number);
    if (!compiled.ok) return compiled;
    const captures = [...this.#captures.values()];
    const start = { plan: compiled.value, worker: number, captures };
    const started = await WorkerThread.start(start, events, {
      watchdog: this.#watchdog,
      progress: () => progressOf(this.#plan, number),
      stopping: this.#stopping.signal,
    });
    if (!started.ok) return started;
    const { thread, bound } = started.value;
    this.#threads[number] = thread;
    // What began or ended while it started.
    for (const order of this.#captures.values())
      if (!captures.includes(order)) void thread.ask({ kind: "start_capture", order });
    for (const order of captures)
      if (!this.#captures.has(order.id)) void thread.ask({ kind: "stop_capture", id: order.id });
    return ok(bound);
  }

  #died(number: number, told: string): void {
    this.#threads[number] = undefined;
    if (this.#isStopping) this.#lost += connectionsOf(this.#plansInUse, number);
    const cause = [told, ...this.#repair(number)].join("; ");
    if (this.#isStopping) {
      this.#options.onWarning?.(`worker ${number} died as the proxy stopped: ${cause}`);
      return;
    }
    const nowMs = performance.now();
    const recent = this.#crashes.filter((atMs) => nowMs - atMs < crashWindowMs);
    this.#crashes = [...recent, nowMs];
    if (this.#crashes.length >= maxCrashes) {
      this.#options.onWorkerDied(number, cause);
      return;
    }
    this.#options.onWorkerRestart?.(number, cause);
    void this.#enqueue(() => this.#restart(number));
  }

  async #restart(number: number): Promise<void> {
    if (this.#isStopping) return;
    const started = await this.#startThread(this.#plan, number);
    if (!started.ok) this.#died(number, started.error.message);
  }

  /**
   * Puts right what the dead worker left half done: locks that it held, sessions that it counted.
   * Before anyone is told: whoever is may read the maps. What it was running is counted as aborted: in words.
   */
  #repair(number: number): string[] {
    const unfinished = [...this.#plansInUse].flatMap(
      (plan) => countUnfinishedRun(plan, number) ?? [],
    );
    for (const plan of this.#plansInUse) repairMaps(plan, number);
    // Listeners that drained count in their places still, should they come back.
    for (const plan of this.#plansInUse) {
      const counters = new Counters(plan.memory, plan.workers[number]!.counters);
      for (const [index, listener] of plan.listeners.entries()) {
        counters.add(index, "sessions", -counters.readCell(index, "sessions"));
        abandonSources(plan, listener, number);
      }
    }
    return unfinished;
  }
}

/** Has worker number `number` make a plan ready, whose programs are compiled here. */
async function prepare(
  thread: WorkerThread,
  plan: ProxyPlan,
  number: number,
): Promise<Result<readonly Address[], UserError>> {
  const compiled = await compilePlan(plan, number);
  return compiled.ok ? thread.prepare(compiled.value) : compiled;
}

/** The plan with the ports that the system chose. */
function withPorts(plan: ProxyPlan, bound: readonly Address[]): ProxyPlan {
  const listeners = plan.listeners.map((listener, i) => ({
    ...listener,
    listen: { host: listener.listen.host, port: bound[i]!.port },
  }));
  return { ...plan, listeners };
}

/** Lowers `maxSessions` where the system allows too few open files for it, and says so. */
async function withFilesFor(
  plan: ProxyPlan,
): Promise<{ plan: ProxyPlan; warning: string | undefined }> {
  const openFiles = await openFileLimit();
  if (openFiles === undefined) return { plan, warning: undefined };
  const lowered: string[] = [];
  const listeners = plan.listeners.map((listener) => {
    const fitting = withinFileLimit(listener, plan.listeners.length, openFiles);
    if (fitting !== listener)
      lowered.push(`${listener.name} from ${listener.maxSessions} to ${fitting.maxSessions}`);
    return fitting;
  });
  if (lowered.length === 0) return { plan, warning: undefined };
  const warning = `maxSessions lowered, to share half of the ${openFiles} files this process may open (ulimit -n): ${lowered.join(", ")}`;
  return { plan: { ...plan, listeners }, warning };
}
