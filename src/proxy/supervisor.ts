import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { FaultReport } from "../filter/fault-reporter.ts";
import { openFileLimit, withinFileLimit } from "./file-limit.ts";
import type { ControlMessage, WorkerMessage, WorkerStart } from "./messages.ts";
import type { Address, ListenerPlan, ProxyPlan } from "./plan.ts";
import type { WorkerAnswer, WorkerQuestion } from "./questions.ts";

export interface SupervisorOptions {
  /** A filter's run that ended in a fault. At most one a filter, worker and second. */
  readonly onFault: (report: FaultReport) => void;
  /** A line of `bpf_trace_printk`. */
  readonly onTrace?: (line: string) => void;
  /** A worker ended that was not told to: its packets go nowhere. The others still run. */
  readonly onWorkerDied: (worker: number, cause: string) => void;
  /** Something of the plan is done differently than it says. */
  readonly onWarning?: (message: string) => void;
}

/** Where a listener was bound: the port the system chose, if the plan left that open. */
export interface BoundListener {
  readonly name: string;
  readonly protocol: ListenerPlan["protocol"];
  readonly address: Address;
}

export interface RunningProxy {
  /** In the plan's order. */
  readonly listeners: readonly BoundListener[];
  /** What a worker (by its place in the plan) says to a question; an error where it has died. */
  ask(worker: number, question: WorkerQuestion): Promise<Result<WorkerAnswer, UserError>>;
  /**
   * Stops taking packets and connections, lets TCP connections end for at most `drainTimeoutMs`,
   * then closes everything. Resolves when all workers have ended. Calling it again waits too.
   */
  stop(drainTimeoutMs: number): Promise<void>;
}

/**
 * Starts the data workers of a plan, and resolves when every listener is bound. If one cannot be,
 * no worker is left, and the error names the listener, its address and a remedy.
 *
 * The first worker starts alone: a port that the system chose is then every worker's.
 */
export async function startProxy(
  asked: ProxyPlan,
  options: SupervisorOptions,
): Promise<Result<RunningProxy, UserError>> {
  const plan = await withFilesFor(asked, options);
  const first = await startWorker(plan, 0, options);
  if (!first.ok) return first;
  const shared: ProxyPlan = {
    ...plan,
    listeners: plan.listeners.map((listener, i) => ({
      ...listener,
      listen: { host: listener.listen.host, port: first.value.bound[i]!.port },
    })),
  };
  const others = await Promise.all(
    plan.workers.slice(1).map((_, i) => startWorker(shared, i + 1, options)),
  );
  const running = [first, ...others].flatMap((result) => (result.ok ? [result.value] : []));
  const stopAll = async (drainTimeoutMs: number): Promise<void> => {
    await Promise.all(running.map((worker) => worker.stop(drainTimeoutMs)));
  };
  const failed = others.find((result) => !result.ok);
  if (failed !== undefined) {
    await stopAll(0);
    return failed;
  }
  const listeners = plan.listeners.map(({ name, protocol }, i) => ({
    name,
    protocol,
    address: first.value.bound[i]!,
  }));
  const ask: RunningProxy["ask"] = (worker, question) => running[worker]!.ask(question);
  return ok({ listeners, ask, stop: stopAll });
}

/** Lowers `maxSessions` where the system allows too few open files for it. */
async function withFilesFor(plan: ProxyPlan, options: SupervisorOptions): Promise<ProxyPlan> {
  const openFiles = await openFileLimit();
  if (openFiles === undefined) return plan;
  const lowered: string[] = [];
  const listeners = plan.listeners.map((listener) => {
    const fitting = withinFileLimit(listener, plan.listeners.length, openFiles);
    if (fitting !== listener)
      lowered.push(`${listener.name} from ${listener.maxSessions} to ${fitting.maxSessions}`);
    return fitting;
  });
  if (lowered.length > 0)
    options.onWarning?.(
      `maxSessions lowered, to share half of the ${openFiles} files this process may open (ulimit -n): ${lowered.join(", ")}`,
    );
  return { ...plan, listeners };
}

interface RunningWorker {
  readonly bound: readonly Address[];
  ask(question: WorkerQuestion): Promise<Result<WorkerAnswer, UserError>>;
  stop(drainTimeoutMs: number): Promise<void>;
}

/** Run from source, this file is .ts and so is the worker's; in the package both are .js. */
const workerFile = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);

function startWorker(
  plan: ProxyPlan,
  number: number,
  options: SupervisorOptions,
): Promise<Result<RunningWorker, UserError>> {
  const workerData: WorkerStart = { plan, worker: number };
  const thread = new Worker(workerFile, { workerData, name: `data worker ${number}` });
  const ended = new Promise<void>((resolve) => thread.once("exit", () => resolve()));
  let expected = false;
  let cause = "it ended without a word";

  const stop = async (drainTimeoutMs: number): Promise<void> => {
    expected = true;
    const order: ControlMessage = { kind: "stop", drainTimeoutMs };
    thread.postMessage(order);
    await ended;
  };

  /** Who waits for the answer to the question of each number. */
  const waiting = new Map<number, (answer: Result<WorkerAnswer, UserError>) => void>();
  let questions = 0;
  let gone = false;
  const died = err(new UserError("WORKER_DIED", `worker ${number}`, "it has ended"));
  void ended.then(() => {
    gone = true;
    for (const resolve of waiting.values()) resolve(died);
    waiting.clear();
  });
  const ask = (question: WorkerQuestion): Promise<Result<WorkerAnswer, UserError>> => {
    if (gone) return Promise.resolve(died);
    return new Promise((resolve) => {
      const order: ControlMessage = { kind: "question", number: questions++, question };
      waiting.set(order.number, resolve);
      thread.postMessage(order);
    });
  };

  return new Promise((resolve) => {
    let started = false;
    thread.on("message", (message: WorkerMessage) => {
      switch (message.kind) {
        case "ready":
          started = true;
          resolve(ok({ bound: message.bound, ask, stop }));
          break;
        case "failed": {
          expected = true;
          const { code, where, what, fix } = message.error;
          ended.then(() => resolve(err(new UserError(code, where, what, fix))));
          break;
        }
        case "fault":
          options.onFault(message.report);
          break;
        case "trace":
          options.onTrace?.(message.line);
          break;
        case "answer":
          waiting.get(message.number)?.(ok(message.answer));
          waiting.delete(message.number);
          break;
        case "stopped":
          break;
      }
    });
    thread.on("error", (error) => {
      cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
    });
    thread.on("exit", () => {
      if (expected) return;
      if (started) options.onWorkerDied(number, cause);
      else
        resolve(err(new UserError("WORKER_DIED", `worker ${number}`, `could not start: ${cause}`)));
    });
  });
}
