import { Counters } from "../filter/counters.ts";
import type { ListenerPlan, ProxyPlan } from "./plan.ts";

/**
 * A listener's `maxSessions`, which holds over all workers, as one of them keeps it. A worker that has
 * its even share ends its own least recently used session for a new one. One that has less takes the
 * new one all the same, and asks for room: whoever has the most then ends one. For as long as that
 * takes there may be more than the limit: by less than an even share for each other worker, so that a
 * limit below the number of workers may be as many as they are.
 */
export class SessionLimit {
  readonly #most: number;
  readonly #share: number;
  /** Sessions that other workers have at the listener. */
  readonly #others: () => number;
  /** Asks that the worker with the most sessions ends one. */
  readonly #askForRoom: () => void;

  constructor(
    { most, workers }: { readonly most: number; readonly workers: number },
    others: () => number,
    askForRoom: () => void,
  ) {
    this.#most = most;
    this.#share = Math.ceil(most / workers);
    this.#others = others;
    this.#askForRoom = askForRoom;
  }

  /** A limit for one worker alone. */
  static alone(most: number): SessionLimit {
    return new SessionLimit(
      { most, workers: 1 },
      () => 0,
      () => {},
    );
  }

  /** Of a plan's listener number `index`, on worker number `worker`. */
  static of(
    plan: ProxyPlan<unknown>,
    index: number,
    worker: number,
    onCrowded: (listener: string) => void,
  ): SessionLimit {
    const { name, maxSessions } = plan.listeners[index]!;
    const others = plan.workers
      .filter((_, number) => number !== worker)
      .map(({ counters }) => new Counters(plan.memory, counters));
    return new SessionLimit(
      { most: maxSessions, workers: plan.workers.length },
      () => others.reduce((sum, counters) => sum + counters.readCell(index, "sessions"), 0),
      () => onCrowded(name),
    );
  }

  /** A worker's even part, at least 1. */
  get share(): number {
    return this.#share;
  }

  /** Before a session is added to the `own` of this worker: whether one of these has to end. */
  makesRoom(own: number): boolean {
    if (own + this.#others() < this.#most) return false;
    if (own >= this.#share) return true;
    // Once it is counted: whoever is asked looks at the counts.
    queueMicrotask(this.#askForRoom);
    return false;
  }

  /** Whether all workers together have too many. */
  isExceeded(own: number): boolean {
    return own + this.#others() > this.#most;
  }
}

/**
 * The worker that has to make room at a plan's listener for `asking`, which is another one if that has
 * as many sessions: the newest are not what has to go. Undefined where there is room.
 */
export function crowdedWorker(
  plan: ProxyPlan<unknown>,
  listener: ListenerPlan["name"],
  asking: number,
): number | undefined {
  const index = plan.listeners.findIndex(({ name }) => name === listener);
  const limit = plan.listeners[index]?.maxSessions;
  if (limit === undefined) return undefined;
  const sessions = plan.workers.map(({ counters }) =>
    new Counters(plan.memory, counters).readCell(index, "sessions"),
  );
  const all = sessions.reduce((sum, count) => sum + count, 0);
  if (all <= limit) return undefined;
  const most = Math.max(...sessions);
  const crowded = sessions.findIndex((count, worker) => count === most && worker !== asking);
  return crowded < 0 ? asking : crowded;
}
