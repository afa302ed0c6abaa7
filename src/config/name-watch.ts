import type { UpstreamAddress, UpstreamPlan } from "../proxy/plan.ts";
import type { Config } from "./config.ts";
import type { LoadedConfig } from "./reload.ts";
import {
  type FailedName,
  hasNames,
  type Resolve,
  type ResolvedNames,
  resolveNames,
} from "./resolve-upstreams.ts";
import type { HostPort } from "./scalars.ts";

/**
 * A name that has no address at all yet is looked up again after this, then after twice that each
 * time, until it is `resolveInterval`. With that off: until it is the other.
 */
const firstRetryMs = 1_000;
const lastRetryMs = 30_000;

export interface NameEvents {
  /** Names of an upstream have other addresses now, or none. The next lookup waits for it. */
  readonly onAddresses: (of: Config, upstream: string, resolved: ResolvedNames) => Promise<unknown>;
  /** A name could not be looked up. `isNews`: the last time it could be, or another cause was told. */
  readonly onFailure: (upstream: string, failed: FailedName, isNews: boolean) => void;
  /** A name that could not be looked up the last time was found. */
  readonly onRecovery: (upstream: string, host: string) => void;
}

/** Looks the names of upstreams up again and again, and tells where their addresses are others. */
export class NameWatch {
  readonly #events: NameEvents;
  readonly #resolve: Resolve | undefined;
  /** By upstream. */
  #running = new Map<string, UpstreamNames>();
  /** By upstream: names that could not be looked up the last time, and the causes. */
  #failing = new Map<string, ReadonlyMap<string, string>>();
  /** Whose names are looked after. */
  #config: Config | undefined;

  /** `resolve` stands in for the system's resolver. */
  constructor(events: NameEvents, resolve?: Resolve) {
    this.#events = events;
    this.#resolve = resolve;
  }

  /**
   * Looks after the names of this config from now on, and no others. Where other names of the same config
   * have other addresses, those of an upstream that stays as it was are due when they were.
   */
  follow({ config, prepared }: LoadedConfig): void {
    if (config !== this.#config) {
      this.stop();
      this.#begin({ config, prepared });
    }
    const running = new Map<string, UpstreamNames>();
    for (const [index, upstream] of config.upstreams.entries()) {
      const { name, addresses, resolveIntervalMs } = upstream;
      const failed = prepared.unresolved.filter((one) => one.upstream === name);
      const missing = missingOf(failed);
      const isOff = resolveIntervalMs === undefined && missing.size === 0;
      if (addresses === "echo" || isOff || !hasNames(upstream)) continue;
      const plan = prepared.plan.upstreams[index]!;
      const before = this.#running.get(name);
      if (before?.of.plan === plan) {
        running.set(name, before);
        this.#running.delete(name);
        continue;
      }
      const intervalMs = resolveIntervalMs ?? lastRetryMs;
      const names = new UpstreamNames({ written: addresses, plan, missing }, intervalMs, () =>
        this.#ask(names, config),
      );
      running.set(name, names);
    }
    this.stop();
    this.#running = running;
  }

  /** Another config's names have been looked up, and those that failed been told, by who prepared it. */
  #begin({ config, prepared }: LoadedConfig): void {
    const failing = new Map<string, ReadonlyMap<string, string>>();
    for (const { name, addresses } of config.upstreams) {
      if (addresses === "echo") continue;
      const causes = causesOf(prepared.unresolved.filter(({ upstream }) => upstream === name));
      this.#tellFound(name, addresses, causes);
      failing.set(name, causes);
    }
    this.#config = config;
    this.#failing = failing;
  }

  /** Of an upstream's names, `written` so, all but those of `causes` were found. */
  #tellFound(
    upstream: string,
    written: readonly HostPort[],
    causes: ReadonlyMap<string, string>,
  ): void {
    const told = this.#failing.get(upstream);
    for (const host of new Set(written.map((one) => one.host)))
      if (told?.has(host) === true && !causes.has(host)) this.#events.onRecovery(upstream, host);
  }

  stop(): void {
    for (const names of this.#running.values()) names.stop();
    this.#running.clear();
  }

  async #ask(names: UpstreamNames, config: Config): Promise<void> {
    const { plan, written, missing } = names.of;
    const { name } = plan;
    const resolved = await resolveNames(written, plan.addresses, this.#resolve);
    if (this.#running.get(name) !== names) return;
    const told = this.#failing.get(name);
    const causes = causesOf(resolved.failed);
    for (const failed of resolved.failed)
      this.#events.onFailure(name, failed, told?.get(failed.host) !== failed.code);
    this.#tellFound(name, written, causes);
    this.#failing.set(name, causes);
    const lacking = missingOf(resolved.failed);
    const isSame =
      areSame(resolved.addresses, plan.addresses) &&
      lacking.size === missing.size &&
      [...lacking].every((host) => missing.has(host));
    if (!isSame) await this.#events.onAddresses(config, name, resolved);
    // What came of it may have been a plan with names of its own.
    if (this.#running.get(name) === names) names.wait();
  }
}

/** An upstream as it is in force. */
interface InForce {
  readonly written: readonly HostPort[];
  readonly plan: UpstreamPlan;
  /** Its names that have no address. */
  readonly missing: ReadonlySet<string>;
}

class UpstreamNames {
  readonly of: InForce;
  readonly #intervalMs: number;
  readonly #onDue: () => void;
  #nextMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(of: InForce, intervalMs: number, onDue: () => void) {
    this.of = of;
    this.#intervalMs = intervalMs;
    this.#nextMs = of.missing.size > 0 ? Math.min(firstRetryMs, intervalMs) : intervalMs;
    this.#onDue = onDue;
    this.wait();
  }

  wait(): void {
    this.#timer = setTimeout(this.#onDue, this.#nextMs);
    this.#nextMs = Math.min(2 * this.#nextMs, this.#intervalMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** Why names could not be looked up, by name. */
function causesOf(failed: readonly FailedName[]): ReadonlyMap<string, string> {
  return new Map(failed.map(({ host, code }) => [host, code]));
}

function missingOf(failed: readonly FailedName[]): ReadonlySet<string> {
  return new Set(failed.filter(({ keeps }) => !keeps).map(({ host }) => host));
}

/** Also in whose they are: of an address that two names have, one may lose it. */
function areSame(one: readonly UpstreamAddress[], other: readonly UpstreamAddress[]): boolean {
  const textOf = ({ host, port, names = [] }: UpstreamAddress): string =>
    [host, port, ...names].join(" ");
  return one.length === other.length && one.every((each, i) => textOf(each) === textOf(other[i]!));
}
