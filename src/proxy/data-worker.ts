import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { CaptureTap } from "../filter/capture-tap.ts";
import type { Arena } from "../runtime/arena.ts";
import { type AccessLine, AccessLog } from "./access-log.ts";
import { BatchSockets } from "./batch-sockets.ts";
import { DescriptorSet } from "./descriptor-set.ts";
import type { Destination } from "./destinations.ts";
import { Generation } from "./generation.ts";
import type { Listener, ListenerParts, ListenerSettings } from "./listener.ts";
import { type WorkerEvents, type WorkerParts, workerParts, workerPlan } from "./load-chains.ts";
import { PacketSlots } from "./packet-slots.ts";
import type { Address, CompiledPlan, ListenerPlan } from "./plan.ts";
import type { WorkerAnswer, WorkerQuestion } from "./questions.ts";
import { sharesSocket } from "./same-socket.ts";
import { SessionPorts } from "./session-ports.ts";
import { SessionWalks } from "./session-walks.ts";
import { TcpListener } from "./tcp-listener.ts";
import type { HealthCheck } from "./tunnel/health-check.ts";
import { TunnelListener } from "./tunnel/tunnel-listener.ts";
import { TurnClock } from "./turn-clock.ts";
import { UdpListener } from "./udp-listener.ts";

/** What a worker tells as it runs, that carries packets. */
export interface DataWorkerEvents extends WorkerEvents {
  /** Lines of the access log. */
  readonly onAccess: (lines: readonly AccessLine[]) => void;
  /** The workers together have more sessions at a listener than they may. */
  readonly onCrowded: (listener: string) => void;
}

type MakeHealthCheck = () => HealthCheck;

/** A listener, what it was asked to bind to (with the port that it got), and where it is bound. */
interface BoundListener {
  readonly listener: Listener;
  readonly protocol: ListenerPlan["protocol"];
  readonly listen: Address;
  readonly address: Address;
}

/** The next generation: complete, and carrying nothing. */
interface Prepared {
  readonly generation: Generation;
  /** By the plan's numbers. */
  readonly listeners: readonly BoundListener[];
  /** Those of `listeners` that are not in force yet. */
  readonly opened: readonly Listener[];
}

/**
 * All that one worker does: its engine, its instances of the filters, its listeners. What it does is
 * a plan; another is first prepared beside it, then takes over between two packets, or is given up.
 */
export class DataWorker {
  readonly #worker: number;
  readonly #arena: Arena;
  readonly #parts: WorkerParts;
  readonly #clock = new TurnClock();
  readonly #accessLog: AccessLog;
  readonly #slots: PacketSlots;
  readonly #captures: CaptureTap;
  readonly #descriptors: DescriptorSet;
  readonly #sessionPorts: SessionPorts;
  readonly #onCrowded: (listener: string) => void;
  #batches: BatchSockets | undefined;
  readonly #walks = new SessionWalks(() => this.#allListeners());
  #generation: Generation | undefined;
  #listeners: readonly BoundListener[] = [];
  #prepared: Prepared | undefined;
  /** Listeners that take nothing new any more. */
  readonly #closing = new Set<BoundListener>();

  /**
   * Worker number `worker`; `plan` says what pieces of the arena it has. It does nothing yet. What it
   * opens besides Node's sockets is in `descriptors`, its sessions' ports are in `sessionPorts`.
   */
  constructor(
    plan: CompiledPlan,
    worker: number,
    events: DataWorkerEvents,
    descriptors = new DescriptorSet(),
    sessionPorts = new SessionPorts(),
  ) {
    this.#descriptors = descriptors;
    this.#sessionPorts = sessionPorts;
    this.#onCrowded = events.onCrowded;
    const own = workerPlan(plan, worker);
    const clock = this.#clock;
    const random = (): number => (Math.random() * 2 ** 32) >>> 0;
    this.#parts = workerParts(plan, worker, events, clock, random);
    this.#worker = worker;
    this.#arena = this.#parts.context.arena;
    this.#accessLog = new AccessLog(worker, events.onAccess, () => clock.nowMs());
    this.#slots = new PacketSlots(own.slots, own.slotCount);
    this.#captures = new CaptureTap(this.#arena, worker, () => clock.nowMs());
  }

  /**
   * Makes a plan ready beside the one in force: programs compiled, new listeners bound. Returns the
   * addresses of all listeners, in the plan's order. Where it fails nothing of it is left.
   */
  async prepare(plan: CompiledPlan): Promise<Result<readonly Address[], UserError>> {
    // The main thread may have grown the arena for it.
    this.#arena.renew();
    const batches = await this.#batchSockets(plan);
    if (!batches.ok) return batches;
    const generation = await Generation.create(plan, this.#parts, this.#onCrowded);
    if (!generation.ok) return generation;
    const makeHealthCheck = await this.#healthChecks(plan);
    // From here on, until they are open where it starts, within this turn: a listener gets its part of what
    // comes to a port that workers share as soon as it is bound.
    const opened: Listener[] = [];
    const bound = await Promise.all(
      generation.value.settings.map((settings) =>
        this.#bind(settings, plan, opened, makeHealthCheck),
      ),
    );
    const listeners: BoundListener[] = [];
    for (const result of bound) {
      if (!result.ok) {
        generation.value.counters.detach();
        await Promise.all(opened.map((listener) => listener.stop(0)));
        return result;
      }
      listeners.push(result.value);
    }
    this.#prepared = { generation: generation.value, listeners, opened };
    return ok(listeners.map(({ address }) => address));
  }

  /** What carries datagrams in batches, from the first plan on that has a listener that wants them so. */
  async #batchSockets(plan: CompiledPlan): Promise<Result<undefined, UserError>> {
    const asking = plan.listeners.find(({ io }) => io === "mmsg");
    if (asking === undefined || this.#batches !== undefined) return ok(undefined);
    const made = await BatchSockets.create(this.#arena, this.#slots, this.#descriptors);
    if (!made.ok) {
      const what = `io: mmsg cannot be had: ${made.error}`;
      return err(new UserError("LISTENER_IO", `listener ${asking.name}`, what, "set io to dgram"));
    }
    this.#batches = made.value;
    return ok(undefined);
  }

  /**
   * Makes what answers load balancers; undefined: no tunnel has to here. One of the workers answers for all:
   * a worker that dies takes the process's readiness along.
   */
  async #healthChecks({ listeners }: CompiledPlan): Promise<MakeHealthCheck | undefined> {
    const isAsked = listeners.some(({ tunnel }) => tunnel?.healthCheck !== undefined);
    if (!isAsked || this.#worker !== 0) return undefined;
    // Most workers need no HTTP.
    const { HealthCheck } = await import("./tunnel/health-check.ts");
    return () => new HealthCheck();
  }

  /** Gives up what was prepared. */
  async abort(): Promise<void> {
    const prepared = this.#prepared;
    this.#prepared = undefined;
    prepared?.generation.counters.detach();
    await Promise.all(prepared?.opened.map((listener) => listener.stop(0)) ?? []);
  }

  /**
   * Puts what was prepared in force, within this turn. Listeners that stay keep their sockets and
   * sessions; new ones open; those that are gone let TCP connections end for at most
   * `drainTimeoutMs`, with the filters that they had. Resolves when nothing uses the plan before.
   */
  async commit(drainTimeoutMs: number): Promise<void> {
    const prepared = this.#prepared;
    if (prepared === undefined) throw new Error("a commit of what was not prepared");
    const before = this.#generation;
    const gone = this.#listeners.filter((bound) => !prepared.listeners.includes(bound));
    this.#prepared = undefined;
    this.#generation = prepared.generation;
    this.#accessLog.follow(prepared.generation.plan.accessLog);
    for (const [index, bound] of prepared.listeners.entries())
      if (this.#listeners.includes(bound))
        bound.listener.follow(prepared.generation.settings[index]!);
    for (const listener of prepared.opened) listener.open();
    this.#listeners = prepared.listeners;
    await Promise.all(gone.map((bound) => this.#close(bound, drainTimeoutMs)));
    before?.counters.detach();
  }

  /** Has a listener end a session: of all workers this one has the most there. */
  makeRoom(listener: string): void {
    const index = this.#generation?.plan.listeners.findIndex(({ name }) => name === listener) ?? -1;
    this.#listeners[index]?.listener.makeRoom();
  }

  /** Answers a question of the main thread, within this turn: a question never takes long. */
  answer(question: WorkerQuestion): WorkerAnswer {
    switch (question.kind) {
      case "ping":
        return { kind: "done" };
      case "sessions":
        return this.#walks.next(question);
      case "end_sessions":
        this.#walks.end(question.walk);
        return { kind: "done" };
      case "start_capture":
        this.#captures.start(question.order);
        return { kind: "done" };
      case "stop_capture":
        this.#captures.stop(question.id);
        return { kind: "done" };
      default: {
        const never: never = question;
        return never;
      }
    }
  }

  /**
   * Takes nothing new, lets TCP connections end for at most `drainTimeoutMs`, closes everything. The
   * number of connections that it broke off then.
   */
  async stop(drainTimeoutMs: number): Promise<number> {
    await this.abort();
    const all = [...this.#listeners, ...this.#closing];
    const broken = await Promise.all(all.map(({ listener }) => listener.stop(drainTimeoutMs)));
    this.#accessLog.flush();
    return broken.reduce((sum, one) => sum + one, 0);
  }

  /** Those in force, and those that are ending. */
  #allListeners(): Listener[] {
    return [...this.#listeners, ...this.#closing].map(({ listener }) => listener);
  }

  /** The listener that is bound to this address already, else a new one, which is in `opened` too. */
  async #bind(
    settings: ListenerSettings,
    plan: CompiledPlan,
    opened: Listener[],
    makeHealthCheck: MakeHealthCheck | undefined,
  ): Promise<Result<BoundListener, UserError>> {
    const { protocol, listen } = settings.plan;
    const isSame = (bound: BoundListener): boolean => sharesSocket(bound, settings.plan);
    const same = this.#listeners.find(isSame);
    if (same !== undefined) {
      const refusal = same.listener.refusal(settings);
      return refusal === undefined ? ok(same) : err(refusal);
    }
    // One that went and comes back: its socket for datagrams may still wait for answers.
    if (protocol === "udp")
      await Promise.all([...this.#closing].filter(isSame).map(({ listener }) => listener.stop(0)));
    const parts: ListenerParts = {
      ...settings,
      arena: this.#arena,
      sums: this.#parts.context.runtime,
      slots: this.#slots,
      clock: this.#clock,
      cpu: this.#worker,
      captures: this.#captures,
      accessLog: this.#accessLog,
      sessionPorts: this.#sessionPorts,
      onHeard: (destination, up) => this.#onHeard(destination, up),
      batches: settings.plan.io === "mmsg" ? this.#batches : undefined,
      reusePort: plan.workers.length > 1,
    };
    const listener = createListener(parts, makeHealthCheck);
    const bound = await listener.listen();
    if (!bound.ok) return bound;
    opened.push(listener);
    const address = bound.value;
    return ok({ listener, protocol, listen: { host: listen.host, port: address.port }, address });
  }

  async #close(bound: BoundListener, drainTimeoutMs: number): Promise<void> {
    this.#closing.add(bound);
    await bound.listener.stop(drainTimeoutMs);
    this.#closing.delete(bound);
  }

  #onHeard(destination: Destination, up: boolean): void {
    this.#generation?.heard(destination, up);
  }
}

function createListener(
  parts: ListenerParts,
  makeHealthCheck: MakeHealthCheck | undefined,
): Listener {
  const { protocol, name, tunnel } = parts.plan;
  switch (protocol) {
    case "udp":
      return new UdpListener(parts);
    case "tcp":
      return new TcpListener(parts);
    case "vxlan":
    case "geneve":
      if (tunnel === undefined) throw new RangeError(`tunnel ${name} has no plan`);
      return new TunnelListener(parts, protocol, tunnel, tunnel.healthCheck && makeHealthCheck?.());
  }
}
