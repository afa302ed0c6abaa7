import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { FaultReport } from "../filter/fault-reporter.ts";
import type { AccessLine } from "./access-log.ts";
import { DescriptorSet } from "./descriptor-set.ts";
import type { ControlMessage, WorkerMessage, WorkerStart } from "./messages.ts";
import { afterOwnTime } from "./own-time.ts";
import type { Address, CompiledPlan } from "./plan.ts";
import type { WorkerAnswer, WorkerQuestion } from "./questions.ts";
import { SessionPorts } from "./session-ports.ts";
import { closeAll, loadExit, silence } from "./socket-calls.ts";
import type { Watchdog, Watched } from "./watchdog.ts";

/** What a worker's thread tells besides its answers. */
export interface ThreadEvents {
  readonly onFault: (report: FaultReport) => void;
  readonly onTrace: (line: string) => void;
  readonly onAccess: (lines: readonly AccessLine[]) => void;
  /** The workers together have more sessions at a listener than they may. */
  readonly onCrowded: (listener: string) => void;
  /** It ended after it had started, and was not told to, or did not as it was told. */
  readonly onDied: (cause: string) => void;
}

/** Who looks after a worker's thread, by what it tells that it works, and what ends its start. */
export interface ThreadWatch {
  readonly watchdog: Watchdog;
  /** Packets that the worker has judged. */
  readonly progress: () => number;
  /** Aborted when the proxy is to stop: it waits no more than a second for a worker that starts. */
  readonly stopping: AbortSignal;
}

/**
 * What a worker that stops has beyond its drain timeout, and one that has yet to start before it, in
 * milliseconds of the process's own time.
 */
const stopGraceMs = 1_000;
/** What a start and any step of a reload have: a plan comes compiled, and takes a worker turns, not minutes. */
const stepTimeoutMs = 60_000;

/** Run from source, this file is .ts and so is the worker's; in the package both are .js. */
const workerFile = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);

type Prepared = Result<readonly Address[], UserError>;
type Answered = Result<WorkerAnswer, UserError>;

/**
 * A data worker as the main thread sees it. Orders are given one after another, each when the one
 * before is answered; questions come between them. A worker that dies answers all that it was asked, and
 * one that does not answer is ended by force: it never keeps anyone waiting.
 */
export class WorkerThread implements Watched {
  /** Of its sessions with sockets of node:dgram. */
  readonly sessionPorts = new SessionPorts();
  readonly #number: number;
  readonly #thread: Worker;
  /** That it holds besides Node's own. */
  readonly #descriptors = new DescriptorSet();
  readonly progress: () => number;
  readonly #ended: Promise<void>;
  #hasEnded = false;
  /** Streams that it broke off as it stopped, until someone has been told. */
  #broken = 0;
  /** It has closed everything, as it was told to, and ends. */
  #hasStopped = false;
  #cause = "it ended without a word";
  #onPrepared: ((prepared: Prepared) => void) | undefined;
  /** Whoever waits for `aborted` or `committed`. */
  #onDone: (() => void) | undefined;
  readonly #onReleased = new Map<number, () => void>();
  #commits = 0;
  /** Who waits for the answer to the question of each number. */
  readonly #onAnswer = new Map<number, (answer: Answered) => void>();
  #questions = 0;

  private constructor(
    start: Omit<WorkerStart, "descriptors" | "sessionPorts">,
    events: ThreadEvents,
    { watchdog, progress }: ThreadWatch,
  ) {
    const { worker: number } = start;
    const workerData: WorkerStart = {
      ...start,
      descriptors: this.#descriptors.memory,
      sessionPorts: this.sessionPorts.memory,
    };
    this.#number = number;
    this.progress = progress;
    this.#thread = new Worker(workerFile, { workerData, name: `data worker ${number}` });
    this.#thread.on("message", (message: WorkerMessage) => this.#onMessage(message, events));
    this.#thread.on("error", (error) => {
      this.#cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
    });
    this.#ended = new Promise((resolve) =>
      this.#thread.once("exit", () => {
        watchdog.forget(this);
        this.#exited();
        // Before another takes its place: it could not bind what this one still holds.
        void closeAll(this.#descriptors).then(resolve);
      }),
    );
    watchdog.watch(this);
  }

  /** Starts a worker of a plan: its listeners' addresses, once they are open. */
  static async start(
    start: Omit<WorkerStart, "descriptors" | "sessionPorts">,
    events: ThreadEvents,
    watch: ThreadWatch,
  ): Promise<Result<{ thread: WorkerThread; bound: readonly Address[] }, UserError>> {
    await readyToExit(start.plan);
    const thread = new WorkerThread(start, events, watch);
    const started = await thread.#started(watch.stopping);
    if (started.ok) {
      watch.watchdog.started(thread);
      void thread.#ended.then(() => {
        if (!thread.#hasStopped) events.onDied(thread.#cause);
        // Behind it: what it left half done in the plans before is put right first.
        for (const released of thread.#onReleased.values()) released();
        thread.#onReleased.clear();
      });
      return ok({ thread, bound: started.value });
    }
    await thread.#ended;
    return started;
  }

  /** Whether it has started with its plan: one that does not in time dies. */
  async #started(stopping: AbortSignal): Promise<Prepared> {
    let callOff = (): void => {};
    const hurry = (): void => {
      callOff = afterOwnTime(stopGraceMs, () =>
        this.kill("worker_stuck: it had not started a second after the proxy was to stop"),
      );
    };
    if (stopping.aborted) hurry();
    else stopping.addEventListener("abort", hurry, { once: true });
    const started = await this.#inTime(
      new Promise<Prepared>((resolve) => {
        this.#onPrepared = resolve;
      }),
      "its start",
    );
    stopping.removeEventListener("abort", hurry);
    callOff();
    return started;
  }

  /** Has the worker make a plan ready beside the one in force: all listeners' addresses. */
  async prepare(plan: CompiledPlan): Promise<Prepared> {
    await readyToExit(plan);
    if (this.#hasEnded) return err(this.#died("is gone"));
    return this.#inTime(
      new Promise((resolve) => {
        this.#onPrepared = resolve;
        this.#order({ kind: "prepare", plan });
      }),
    );
  }

  /** Has it give up what it prepared. */
  abort(): Promise<void> {
    return this.#do({ kind: "abort" });
  }

  /** Has it put in force what it prepared. `released`: nothing uses the plan before any more. */
  commit(drainTimeoutMs: number): { committed: Promise<void>; released: Promise<void> } {
    const commit = this.#commits++;
    const released = this.#hasEnded
      ? this.#ended
      : new Promise<void>((resolve) => this.#onReleased.set(commit, resolve));
    return { committed: this.#do({ kind: "commit", commit, drainTimeoutMs }), released };
  }

  /** What it says to a question; an error where it has ended. */
  ask(question: WorkerQuestion): Promise<Answered> {
    if (this.#hasEnded) return Promise.resolve(err(this.#died("has ended")));
    return new Promise((resolve) => {
      const number = this.#questions++;
      this.#onAnswer.set(number, resolve);
      this.#order({ kind: "question", number, question });
    });
  }

  ping(): Promise<unknown> {
    return this.ask({ kind: "ping" });
  }

  /** Ends it by force, in the middle of whatever it does: it has died of `cause`. */
  kill(cause: string): void {
    if (this.#hasEnded) return;
    this.#cause = cause;
    void silence(this.#descriptors).then(() => this.#thread.terminate());
  }

  /** Has it end a session at a listener, if there still are too many. */
  makeRoom(listener: string): void {
    this.#order({ kind: "make_room", listener });
  }

  /**
   * Resolves when it has ended: to the streams that it broke off, or to 0 where it had ended before. It
   * dies where it has not stopped a second after its time.
   */
  async stop(drainTimeoutMs: number): Promise<number> {
    this.#order({ kind: "stop", drainTimeoutMs });
    const callOff = afterOwnTime(drainTimeoutMs + stopGraceMs, () =>
      this.kill("worker_stuck: it had not stopped a second after its drain timeout"),
    );
    await this.#ended;
    callOff();
    const broken = this.#broken;
    this.#broken = 0;
    return broken;
  }

  #order(message: ControlMessage): void {
    this.#thread.postMessage(message);
  }

  #do(message: ControlMessage): Promise<void> {
    if (this.#hasEnded) return Promise.resolve();
    return this.#inTime(
      new Promise((resolve) => {
        this.#onDone = resolve;
        this.#order(message);
      }),
    );
  }

  /** The answer to a start or a step of a reload: a worker that does not give it dies. */
  async #inTime<T>(answer: Promise<T>, what = "a step of a reload"): Promise<T> {
    const callOff = afterOwnTime(stepTimeoutMs, () =>
      this.kill(`worker_stuck: ${what} took it ${stepTimeoutMs / 1_000} s`),
    );
    const answered = await answer;
    callOff();
    return answered;
  }

  #onMessage(message: WorkerMessage, events: ThreadEvents): void {
    switch (message.kind) {
      case "ready":
        this.#prepared(ok(message.bound));
        break;
      case "failed": {
        const { code, where, what, fix } = message.error;
        this.#prepared(err(new UserError(code, where, what, fix)));
        break;
      }
      case "aborted":
      case "committed":
        this.#done();
        break;
      case "released":
        this.#onReleased.get(message.commit)?.();
        this.#onReleased.delete(message.commit);
        break;
      case "fault":
        events.onFault(message.report);
        break;
      case "trace":
        events.onTrace(message.line);
        break;
      case "answer":
        this.#onAnswer.get(message.number)?.(ok(message.answer));
        this.#onAnswer.delete(message.number);
        break;
      case "access":
        events.onAccess(message.lines);
        break;
      case "crowded":
        events.onCrowded(message.listener);
        break;
      case "stopped":
        this.#broken += message.broken;
        this.#hasStopped = true;
        break;
    }
  }

  #prepared(prepared: Prepared): void {
    this.#onPrepared?.(prepared);
    this.#onPrepared = undefined;
  }

  #done(): void {
    this.#onDone?.();
    this.#onDone = undefined;
  }

  #exited(): void {
    this.#hasEnded = true;
    this.#prepared(err(this.#died(`died: ${this.#cause}`)));
    this.#done();
    for (const answer of this.#onAnswer.values()) answer(err(this.#died("has ended")));
    this.#onAnswer.clear();
  }

  #died(what: string): UserError {
    return new UserError("WORKER_DIED", `worker ${this.#number}`, what);
  }
}

/** Before a worker has sockets that `process.exit` could not end it with. */
async function readyToExit({ listeners }: CompiledPlan): Promise<void> {
  if (listeners.some(({ io }) => io === "mmsg")) await loadExit();
}
