import type { Address, UpstreamPlan } from "../proxy/plan.ts";
import type { Config } from "./config.ts";
import type { LoadedConfig } from "./reload.ts";
import { hasNames, type Resolve, resolveAgain } from "./resolve-upstreams.ts";
import type { HostPort } from "./scalars.ts";

export interface NameEvents {
  /** An upstream's names have other addresses now. The next lookup waits for it. */
  readonly onAddresses: (
    of: Config,
    upstream: string,
    addresses: readonly Address[],
  ) => Promise<unknown>;
  /** A name could not be looked up. Told once, until it can be again. */
  readonly onFailure: (upstream: string, host: string, code: string) => void;
}

/** Looks the names of upstreams up again and again, and tells where their addresses are others. */
export class NameWatch {
  readonly #events: NameEvents;
  readonly #resolve: Resolve | undefined;
  readonly #running = new Set<UpstreamNames>();
  /** Upstreams with a name that could not be looked up the last time. */
  readonly #failing = new Set<string>();

  /** `resolve` stands in for the system's resolver. */
  constructor(events: NameEvents, resolve?: Resolve) {
    this.#events = events;
    this.#resolve = resolve;
  }

  /** Looks after the names of this config from now on, and no others. */
  follow({ config, prepared }: LoadedConfig): void {
    this.stop();
    for (const [index, upstream] of config.upstreams.entries()) {
      const { addresses, resolveIntervalMs } = upstream;
      if (addresses === "echo" || resolveIntervalMs === undefined || !hasNames(upstream)) continue;
      const plan = prepared.plan.upstreams[index]!;
      const names = new UpstreamNames(addresses, plan, resolveIntervalMs, () =>
        this.#ask(names, config),
      );
      this.#running.add(names);
    }
  }

  stop(): void {
    for (const names of this.#running) names.stop();
    this.#running.clear();
  }

  async #ask(names: UpstreamNames, config: Config): Promise<void> {
    const { name } = names.plan;
    const resolved = await resolveAgain(names.written, this.#resolve);
    if (!this.#running.has(names)) return;
    if (!resolved.ok) {
      if (!this.#failing.has(name)) this.#events.onFailure(name, resolved.host, resolved.code);
      this.#failing.add(name);
    } else {
      this.#failing.delete(name);
      if (!areSame(resolved.addresses, names.plan.addresses))
        await this.#events.onAddresses(config, name, resolved.addresses);
    }
    // What came of it may have been a plan with names of its own.
    if (this.#running.has(names)) names.wait();
  }
}

class UpstreamNames {
  readonly written: readonly HostPort[];
  readonly plan: UpstreamPlan;
  readonly #intervalMs: number;
  readonly #onDue: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    written: readonly HostPort[],
    plan: UpstreamPlan,
    intervalMs: number,
    onDue: () => void,
  ) {
    this.written = written;
    this.plan = plan;
    this.#intervalMs = intervalMs;
    this.#onDue = onDue;
    this.wait();
  }

  wait(): void {
    this.#timer = setTimeout(this.#onDue, this.#intervalMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

function areSame(one: readonly Address[], other: readonly Address[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ host, port }, i) => host === other[i]!.host && port === other[i]!.port)
  );
}
