/** How often workers are asked by default, in milliseconds: an idle process wakes for it. */
const askEveryMs = 2_000;
/** So many looks in a row without an answer, nor a packet since the one before: stuck. */
const maxMisses = 3;

/** So many looks in a row: it carries nothing. One may be missed by a process that was stopped. */
const idleMisses = 2;

/** A worker, as who looks after it sees it. */
export interface Watched {
  /** Resolves in a turn of the worker's event loop, or when it has ended. */
  ping(): Promise<unknown>;
  /** Another number once it has got on with its packets: one that is late with an answer for all its work goes on working. */
  progress(): number;
  /** Ends it by force. */
  kill(cause: string): void;
}

interface Look {
  isAsked: boolean;
  /** It has started, or answered once: before, it loads its code, for as long as whoever starts it lets it. */
  isHeard: boolean;
  misses: number;
  progress: number;
}

/**
 * Finds workers whose event loop has come to a stop, and ends them: what such a worker had to carry
 * goes nowhere, and it would keep a reload or a shutdown waiting for ever. Looks are counted, not time:
 * a process that was stopped, or a machine that slept, has missed one look at most.
 */
export class Watchdog {
  readonly #everyMs: number;
  readonly #looks = new Map<Watched, Look>();
  #timer: NodeJS.Timeout | undefined;

  constructor(everyMs = askEveryMs) {
    this.#everyMs = everyMs;
  }

  /** Looks after a worker from now on, asking it at once: it counts from when it has started, or its first answer. */
  watch(worker: Watched): void {
    const look = { isAsked: false, isHeard: false, misses: 0, progress: 0 };
    this.#looks.set(worker, look);
    ask(worker, look);
    this.#timer ??= setInterval(() => this.#look(), this.#everyMs);
  }

  /** The worker has started: it owes an answer to what it was asked, whether or not it has given one yet. */
  started(worker: Watched): void {
    const look = this.#looks.get(worker);
    if (look !== undefined) look.isHeard = true;
  }

  /** Whether there is a worker that has started and is not stuck: one that answers, or judges packets. */
  get hasTurningWorker(): boolean {
    for (const { isHeard, misses } of this.#looks.values())
      if (isHeard && misses < idleMisses) return true;
    return false;
  }

  /** The worker has ended. */
  forget(worker: Watched): void {
    this.#looks.delete(worker);
    if (this.#looks.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    for (const [worker, look] of this.#looks) {
      const progress = worker.progress();
      const isAlive = !look.isAsked || !look.isHeard || progress !== look.progress;
      look.progress = progress;
      look.misses = isAlive ? 0 : look.misses + 1;
      if (!look.isAsked) ask(worker, look);
      else if (look.misses === maxMisses) {
        const seconds = (maxMisses * this.#everyMs) / 1_000;
        worker.kill(`worker_stuck: no turn of its event loop, and no packet, for ${seconds} s`);
      }
    }
  }
}

function ask(worker: Watched, look: Look): void {
  look.isAsked = true;
  void worker.ping().then(() => {
    look.isAsked = false;
    look.isHeard = true;
  });
}
