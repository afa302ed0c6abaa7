import type { Listener } from "./listener.ts";
import type { WorkerAnswer, WorkerQuestion } from "./questions.ts";
import type { SessionInfo } from "./session-info.ts";

/** Walks at a time; the one begun first ends for a new one. */
const maxWalks = 16;

/** Lists a worker's sessions a page at a time: no question holds its packets up for long. */
export class SessionWalks {
  readonly #listeners: () => Iterable<Listener>;
  readonly #walks = new Map<number, Iterator<SessionInfo>>();
  #begun = 0;

  /** `listeners` names those that there are when a walk begins. */
  constructor(listeners: () => Iterable<Listener>) {
    this.#listeners = listeners;
  }

  next({ walk, limit }: WorkerQuestion & { kind: "sessions" }): WorkerAnswer {
    const number = walk ?? this.#begin();
    const iterator = this.#walks.get(number);
    const sessions: SessionInfo[] = [];
    while (iterator !== undefined && sessions.length < limit) {
      const { done, value } = iterator.next();
      if (done === true) {
        this.#walks.delete(number);
        break;
      }
      sessions.push(value);
    }
    return { kind: "sessions", walk: this.#walks.has(number) ? number : undefined, sessions };
  }

  end(walk: number): void {
    this.#walks.delete(walk);
  }

  #begin(): number {
    if (this.#walks.size === maxWalks) this.#walks.delete(this.#walks.keys().next().value!);
    this.#walks.set(this.#begun, this.#all());
    return this.#begun++;
  }

  *#all(): Iterator<SessionInfo> {
    for (const listener of this.#listeners()) yield* listener.sessions();
  }
}
