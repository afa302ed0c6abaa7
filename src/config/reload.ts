import { isDeepStrictEqual } from "node:util";
import { err, ok, type Result } from "../common/result.ts";
import { inTurns } from "../common/steps.ts";
import { UserError } from "../common/user-error.ts";
import { formatEndpoint } from "../proxy/endpoint.ts";
import type { Address } from "../proxy/plan.ts";
import type { RunningProxy } from "../proxy/supervisor.ts";
import { overlaps } from "./check-addresses.ts";
import type { Config } from "./config.ts";
import type { FilterSwap } from "./filter-swaps.ts";
import { loadSteps, parseSteps } from "./load-config.ts";
import type { Succession } from "./map-succession.ts";
import {
  needsEcho,
  type PreparedProxy,
  preparePlan,
  releaseProxy,
  withAddresses,
} from "./prepare-plan.ts";
import { extendPromotions, settlePromotions } from "./promotions.ts";
import { type Resolve, type ResolvedNames, unresolvedText } from "./resolve-upstreams.ts";
import { type SettledMaps, settleMaps } from "./settle-maps.ts";
import type { Environment } from "./substitution.ts";

/** A config and what it became. */
export interface LoadedConfig {
  readonly config: Config;
  readonly prepared: PreparedProxy;
}

/** What a follower has made ready. One of the two is called, once. */
export interface FollowerStep {
  /** The next config is in force. A reload after it waits for what this still has to finish. */
  commit(): void | Promise<void>;
  /** It is refused: what was made ready goes. */
  abort(): void;
}

/** Something besides the proxy that a config decides on: metrics and their server, the log. */
export type Follower = (next: LoadedConfig) => Promise<Result<FollowerStep, readonly UserError[]>>;

export interface LiveParts extends LoadedConfig {
  /** What the config takes from its environment; absent: nothing. */
  readonly environment?: Environment;
  readonly proxy: Pick<RunningProxy, "apply">;
  readonly followers: readonly Follower[];
  /** The built-in echo's address; starts it where it does not run yet. */
  readonly echo: () => Promise<Address>;
  /** In place of the system's resolver. */
  readonly resolve?: Resolve;
  /** Told of each reload once it is over. */
  readonly onReload: (result: ReloadResult) => void;
}

/** What a reload did, by name. */
export interface ReloadOutcome {
  readonly listeners: {
    readonly kept: readonly string[];
    readonly opened: readonly string[];
    readonly closed: readonly string[];
  };
  /** `filter.map`; data sections are not listed. */
  readonly maps: {
    readonly kept: readonly string[];
    readonly grown: readonly string[];
    readonly fresh: readonly string[];
  };
  /** Filters that are live by promotion, though the config says `shadow: true`. */
  readonly promoted: readonly string[];
  /** Filters that run another object than the config names. */
  readonly swapped: readonly string[];
  /** What of the config is done differently than it says, where that is new. */
  readonly warnings: readonly string[];
  readonly durationMs: number;
}

export type ReloadResult = Result<ReloadOutcome, readonly UserError[]>;

/**
 * The config in force, and the way to another one. A reload is all or nothing: the next config is
 * read, checked, its programs verified and compiled, its sockets bound, and only when nothing can
 * refuse any more is it put in force. Until then, and after every error, the last good one works on.
 */
export class LiveConfig {
  readonly #parts: LiveParts;
  #current: LoadedConfig;
  #running: Promise<unknown> = Promise.resolve();
  /** What followers have to finish of the last commit. */
  #finishing: Promise<unknown> = Promise.resolve();
  #mapsMoving: Promise<void> | undefined;
  /** A reload that has not begun: whoever asks meanwhile gets its result. */
  #waiting: Promise<ReloadResult> | undefined;

  constructor(parts: LiveParts) {
    this.#parts = parts;
    this.#current = { config: parts.config, prepared: parts.prepared };
  }

  get current(): LoadedConfig {
    return this.#current;
  }

  /**
   * Where a reload is between copying what maps hold and clearing what the next config has no longer:
   * resolves when that is over. What is written meanwhile could be in a map that is about to go, or be
   * taken back.
   */
  get mapsMoving(): Promise<void> | undefined {
    return this.#mapsMoving;
  }

  /**
   * Reads the config file again and puts it in force. Reloads happen one after another; those asked
   * for while one waits its turn are one.
   */
  reload(): Promise<ReloadResult> {
    this.#waiting ??= this.#next(async () => {
      this.#waiting = undefined;
      const { file, swaps } = this.#current.config;
      const loaded = await inTurns(loadSteps(file, this.#parts.environment, { swaps }));
      return loaded.ok ? this.#apply(loaded.value) : loaded;
    });
    return this.#waiting;
  }

  /**
   * Gives the filter `name` another object, or with `swap` undefined again what the config names
   * (`FILTER_SWAP` where it has it). All
   * else is as the config in force has it, whatever its file says by now; it takes its turn among the
   * reloads, and does to maps what they do.
   */
  swap(name: string, swap: FilterSwap | undefined): Promise<ReloadResult> {
    return this.#next(async () => {
      const { config } = this.#current;
      const swaps = new Map(config.swaps);
      if (swap !== undefined) swaps.set(name, swap);
      else if (!swaps.delete(name))
        return err([
          new UserError(
            "FILTER_SWAP",
            `filter ${name}`,
            "nothing is swapped: it runs what the config names",
            "to read what has changed on disk: weir reload",
          ),
        ]);
      const loaded = config.filters.filter((filter) => filter.name !== name);
      const { environment } = this.#parts;
      const parsed = await inTurns(
        parseSteps(config.text, config.file, environment, { swaps, loaded }),
      );
      return parsed.ok ? this.#apply(parsed.value) : parsed;
    });
  }

  /**
   * Puts what names of the upstream `name` of `of` are now in force; all else stays, maps and filters
   * too. It takes its turn among the reloads, and is none. `overtaken`: after one there was nothing to do,
   * it has looked up names itself.
   */
  readdress(
    of: Config,
    name: string,
    resolved: ResolvedNames,
  ): Promise<Result<"in_force" | "overtaken", readonly UserError[]>> {
    const result = this.#running.then(async () => {
      const { config, prepared } = this.#current;
      if (config !== of) return ok("overtaken" as const);
      const next = withAddresses(prepared, name, resolved);
      if (!next.ok) return err([next.error]);
      const enforced = await this.#enforce({ config, prepared: next.value }, async () =>
        ok(undefined),
      );
      return enforced.ok ? ok("in_force" as const) : enforced;
    });
    this.#running = result.catch(() => {});
    return result;
  }

  #next(reload: () => Promise<ReloadResult>): Promise<ReloadResult> {
    const result = this.#running.then(async () => {
      const done = await reload();
      this.#parts.onReload(done);
      return done;
    });
    this.#running = result.catch(() => {});
    return result;
  }

  async #apply(config: Config): Promise<ReloadResult> {
    const startMs = performance.now();
    const before = this.#current;
    const refused = needsRestart(before.config, config);
    if (refused.length > 0) return err(refused);
    await this.#finishing;
    const { echo, resolve } = this.#parts;
    const prepared = await preparePlan(config, {
      before: before.prepared,
      ...(needsEcho(config) ? { echo: await echo() } : {}),
      ...(resolve === undefined ? {} : { resolve }),
    });
    if (!prepared.ok) return prepared;
    const next: LoadedConfig = { config, prepared: prepared.value };
    const done = Promise.withResolvers<void>();
    try {
      let settled: SettledMaps | undefined;
      const enforced = await this.#enforce(next, async () => {
        this.#mapsMoving = done.promise;
        extendPromotions(next.prepared);
        const maps = await settleMaps(next.prepared, before.prepared);
        if (maps.ok) settled = maps.value;
        return maps;
      });
      if (!enforced.ok) return enforced;
      const promoted = settlePromotions(next.prepared);
      const notCleared = (await settled?.clear()) ?? [];
      const warnings = [
        ...enforced.value,
        ...(settled?.warnings ?? []),
        ...next.prepared.unresolved.map(unresolvedText),
        ...notCleared.map(
          ({ message }) => `entries that the config has no longer stay: ${message}`,
        ),
      ];
      return ok(outcomeOf(before, next, promoted, warnings, performance.now() - startMs));
    } finally {
      this.#mapsMoving = undefined;
      done.resolve();
    }
  }

  /**
   * Puts what is prepared in force, or gives it up; `beforeCommit` is the last that can refuse. Gives
   * what the proxy warned of.
   */
  async #enforce(
    next: LoadedConfig,
    beforeCommit: () => Promise<Result<unknown, readonly UserError[]>>,
  ): Promise<Result<readonly string[], readonly UserError[]>> {
    const before = this.#current;
    const steps: FollowerStep[] = [];
    const giveUp = (errors: readonly UserError[]): Result<never, readonly UserError[]> => {
      for (const step of steps.reverse()) step.abort();
      releaseProxy(next.prepared, before.prepared);
      return err(errors);
    };
    for (const follower of this.#parts.followers) {
      const step = await follower(next);
      if (!step.ok) return giveUp(step.error);
      steps.push(step.value);
    }
    const applied = await this.#parts.proxy.apply(next.prepared.plan, {
      drainTimeoutMs: next.config.drainTimeoutMs,
      beforeCommit,
    });
    if (!applied.ok) return giveUp(applied.error);
    this.#current = next;
    this.#finishing = Promise.all(steps.map((step) => step.commit()));
    void applied.value.released.then(() => releaseProxy(before.prepared, next.prepared));
    return ok(applied.value.warnings);
  }
}

/** What of a config holds for as long as the process runs, or cannot be had in one step. */
function needsRestart(before: Config, next: Config): UserError[] {
  const errors: UserError[] = [];
  const fixed = (key: string, from: number, to: number): void => {
    if (from !== to)
      errors.push(
        new UserError(
          "RELOAD_NEEDS_RESTART",
          next.file,
          `${key} is ${from} for as long as the proxy runs, and the config says ${to}`,
          `restart the proxy, or leave ${key} as it was`,
        ),
      );
  };
  fixed("workers", before.workers, next.workers);
  fixed("memory", before.memoryBytes, next.memoryBytes);
  // Who asks for a reload through the control API must get its answer there.
  if (!isDeepStrictEqual(before.admin, next.admin))
    errors.push(
      new UserError(
        "RELOAD_NEEDS_RESTART",
        next.file,
        "admin holds for as long as the proxy runs, and the config says something else",
        "restart the proxy, or leave admin as it was",
      ),
    );
  for (const { name, protocol, listen } of next.listeners) {
    // Tunnels are UDP below.
    const others = before.listeners.filter(
      (one) => (one.protocol === "tcp") === (protocol === "tcp"),
    );
    const isThere = others.some(
      (one) =>
        one.protocol === protocol &&
        one.listen.host === listen.host &&
        one.listen.port === listen.port,
    );
    const other = others.find((one) => overlaps(one.listen, listen));
    if (isThere || other === undefined) continue;
    errors.push(
      new UserError(
        "RELOAD_ADDRESS_OVERLAPS",
        next.file,
        `listener ${name} cannot be bound to ${formatEndpoint(listen.host, listen.port)} while ${other.name} has ${formatEndpoint(other.listen.host, other.listen.port)}`,
        "reload without it first, then with it; or restart the proxy",
      ),
    );
  }
  return errors;
}

function outcomeOf(
  before: LoadedConfig,
  next: LoadedConfig,
  promoted: readonly string[],
  warnings: readonly string[],
  durationMs: number,
): ReloadOutcome {
  const was = new Set(before.config.listeners.map(({ name }) => name));
  const is = next.config.listeners.map(({ name }) => name);
  const maps = next.prepared.filters.flatMap(({ name, maps: all }) =>
    all
      .filter(({ dataSection }) => dataSection === undefined)
      .map((map) => ({ name: `${name}.${map.name}`, succession: map.succession })),
  );
  const namesOf = (...successions: Succession[]): string[] =>
    maps.filter((map) => successions.includes(map.succession)).map(({ name }) => name);
  return {
    listeners: {
      kept: is.filter((name) => was.has(name)),
      opened: is.filter((name) => !was.has(name)),
      closed: [...was].filter((name) => !is.includes(name)),
    },
    maps: {
      kept: namesOf("kept", "moved", "carried"),
      grown: namesOf("grown"),
      fresh: namesOf("fresh"),
    },
    promoted,
    swapped: [...next.config.swaps.keys()],
    warnings,
    durationMs,
  };
}
