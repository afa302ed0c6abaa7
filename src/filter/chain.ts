import type { LoadedFilter } from "./loaded-filter.ts";
import { names, type ShadowStage, type ShadowVerdict, ShadowVerdicts } from "./shadow-stage.ts";
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
 * ends it. A shadow is asked where it stands, about the frame as it is there, and the chain goes on
 * as if it were not there: its verdict is only compared with the chain's.
 */
export class Chain {
  readonly #filters: readonly LoadedFilter[];
  readonly #goesOn: readonly ReadonlySet<VerdictKind>[];
  readonly #stage: ShadowStage | undefined;
  /** Undefined where the config has no shadow in this chain. */
  readonly #shadows: ShadowVerdicts | undefined;
  /** How far the last judgement came, shadows included. */
  #reached = 0;
  #lastAsked: LoadedFilter | undefined;
  #decider: LoadedFilter | undefined;

  /** `stage`: needed where a link's filter may be a shadow. */
  constructor(links: readonly ChainLink[], stage?: ShadowStage) {
    this.#filters = links.map((link) => link.filter);
    this.#goesOn = links.map((link) => new Set(link.continueOn ?? ["pass"]));
    this.#stage = stage;
    if (this.#filters.some(({ isCandidate }) => isCandidate)) {
      if (stage === undefined) throw new Error("a shadow needs a stage");
      this.#shadows = new ShadowVerdicts();
    }
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
    return this.#lastAsked;
  }

  /**
   * Whether the last judgement asked a program of `filter` (or that of `filter:program`), be it as a
   * shadow, unless it has been disabled since.
   */
  hasAsked(filter: string): boolean {
    for (let i = 0; i < this.#reached; i++) {
      const { name, disabled } = this.#filters[i]!;
      if (!disabled && names(filter, name)) return true;
    }
    return false;
  }

  /** A shadow whose verdict on the last frame was another than the chain's: of `filter`, if named. */
  differing(filter: string | undefined): ShadowVerdict | undefined {
    return this.#shadows?.differing(filter);
  }

  /**
   * Whether `judgeBatch` can be asked. Several filters are asked a packet at a time: what one leaves in
   * a map for the next has to be that packet's. Nor are packets that a shadow's verdict is compared on.
   */
  get canBatch(): boolean {
    if (this.#shadows !== undefined) return false;
    return this.#filters.length === 1 && this.#filters[0]!.canBatch;
  }

  /**
   * The chain's verdicts on the frames in `count` slots, `stride` bytes apart, from one call of its
   * filter. Nothing is told of who was asked or decided.
   */
  judgeBatch(first: number, stride: number, count: number, verdicts: Verdict[]): void {
    const filter = this.#filters[0]!;
    if (filter.disabled) {
      for (let i = 0; i < count; i++) verdicts[i] = passed;
      return;
    }
    filter.judgeBatch(first, stride, count, verdicts);
    const goesOn = this.#goesOn[0]!;
    for (let i = 0; i < count; i++) {
      const verdict = verdicts[i]!;
      if (verdict.kind === "pass" || !goesOn.has(verdict.kind)) continue;
      const slot = first + i * stride;
      if (!filter.hasFaulted(slot)) verdicts[i] = passed;
    }
  }

  /**
   * The chain's verdict on the frame in `slot`. Where several socket filters cut the packet, the
   * shortest cut holds. Shared objects: allocates nothing.
   */
  judge(slot: number): Verdict {
    const shadows = this.#shadows;
    if (shadows === undefined) return this.#decide(slot);
    shadows.begin();
    const verdict = this.#decide(slot);
    shadows.compare(verdict);
    return verdict;
  }

  #decide(slot: number): Verdict {
    const filters = this.#filters;
    this.#decider = undefined;
    this.#lastAsked = undefined;
    let keptBytes = Number.POSITIVE_INFINITY;
    this.#reached = 0;
    for (let i = 0; i < filters.length; i++) {
      const filter = filters[i]!;
      if (filter.disabled) continue;
      this.#reached = i + 1;
      if (filter.isShadow) {
        this.#shadows!.add(filter, this.#stage!.judge(filter, slot));
        continue;
      }
      this.#lastAsked = filter;
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
