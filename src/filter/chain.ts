import type { LoadedFilter } from "./loaded-filter.ts";
import type { Verdict, VerdictKind } from "./verdict.ts";
import { cutTo, passed } from "./verdict-of.ts";

/** A filter's place in a chain. */
export interface ChainLink {
  readonly filter: LoadedFilter;
  /** Verdicts after which the next filter is asked; any other is the chain's. Default: `pass`. */
  readonly continueOn?: readonly VerdictKind[] | undefined;
}

/**
 * An ordered list of filters: those not disabled are asked until one ends the chain. A chain whose
 * every filter went on passes the packet, as libxdp's dispatcher does. A filter that faulted always
 * ends it.
 */
export class Chain {
  readonly #filters: readonly LoadedFilter[];
  readonly #goesOn: readonly ReadonlySet<VerdictKind>[];
  #asked = 0;
  #decider: LoadedFilter | undefined;

  constructor(links: readonly ChainLink[]) {
    this.#filters = links.map((link) => link.filter);
    this.#goesOn = links.map((link) => new Set(link.continueOn ?? ["pass"]));
  }

  /** No filter looks at the frame, so none has to be built. */
  get isEmpty(): boolean {
    return this.#filters.length === 0;
  }

  /** The filter that ended the chain for the last frame; undefined where every filter went on. */
  get decider(): LoadedFilter | undefined {
    return this.#decider;
  }

  /** The filter that the last judgement asked last, whether or not it ended the chain, if any was asked. */
  get lastAsked(): LoadedFilter | undefined {
    return this.#filters[this.#asked - 1];
  }

  /**
   * Whether the last judgement asked a program of `filter` (or that of `filter:program`), unless it
   * has been disabled since.
   */
  hasAsked(filter: string): boolean {
    for (let i = 0; i < this.#asked; i++) {
      const { name, disabled } = this.#filters[i]!;
      if (!disabled && name.startsWith(filter) && (name[filter.length] ?? ":") === ":") return true;
    }
    return false;
  }

  /**
   * The chain's verdict on the frame in `slot`. Where several socket filters cut the packet, the
   * shortest cut holds. Shared objects: allocates nothing.
   */
  judge(slot: number): Verdict {
    const filters = this.#filters;
    this.#decider = undefined;
    let keptBytes = Number.POSITIVE_INFINITY;
    this.#asked = 0;
    for (let i = 0; i < filters.length; i++) {
      const filter = filters[i]!;
      if (filter.disabled) continue;
      this.#asked = i + 1;
      const verdict = filter.judge(slot);
      if (verdict.kind === "pass" && verdict.cutTo !== undefined && verdict.cutTo < keptBytes)
        keptBytes = verdict.cutTo;
      if (this.#goesOn[i]!.has(verdict.kind) && !filter.faulted) continue;
      this.#decider = filter;
      if (verdict.kind !== "pass") return verdict;
      break;
    }
    return keptBytes === Number.POSITIVE_INFINITY ? passed : cutTo(keptBytes);
  }
}
