import type { Arena } from "../runtime/arena.ts";
import { SLOT_BYTES, SLOT_DATA_END } from "../runtime/wasm/layout.ts";
import { isSameBroadcast } from "./broadcasts.ts";
import type { LoadedFilter } from "./loaded-filter.ts";
import type { Verdict } from "./verdict.ts";
import { passed } from "./verdict-of.ts";

/** What leaves a program besides its packet, and must not while a shadow runs. */
export interface Mutable {
  /** While true, copies that programs send to ports go nowhere, and they are told that they went. */
  muted: boolean;
}

/**
 * Where one worker's shadows run: on the packet's own slot, which is put back as it was afterwards:
 * context, headroom and frame. What lies behind the frame is no program's to read before it has
 * been zeroed. Maps are the shadow's own: `isShared` in config/shared-maps.ts.
 */
export class ShadowStage {
  readonly #arena: Arena;
  readonly #network: Mutable;
  readonly #saved = new Uint8Array(SLOT_BYTES);

  constructor(arena: Arena, network: Mutable) {
    this.#arena = arena;
    this.#network = network;
  }

  /** The filter's verdict on the frame in `slot`, which is as it was when this returns. */
  judge(filter: LoadedFilter, slot: number): Verdict {
    const { bytes, words } = this.#arena;
    const end = words[(slot + SLOT_DATA_END) >> 2]!;
    this.#saved.set(bytes.subarray(slot, end));
    this.#network.muted = true;
    const verdict = filter.ask(slot);
    this.#network.muted = false;
    bytes.set(this.#saved.subarray(0, end - slot), slot);
    return verdict;
  }
}

/** A shadow, and what it said of a packet. */
export interface ShadowVerdict {
  readonly filter: LoadedFilter;
  readonly verdict: Verdict;
}

/** What shadows of a chain said of one packet. Objects are used again for the next one. */
export class ShadowVerdicts {
  readonly #found: { filter: LoadedFilter; verdict: Verdict }[] = [];
  #count = 0;
  #live: Verdict = passed;

  begin(): void {
    this.#count = 0;
  }

  add(filter: LoadedFilter, verdict: Verdict): void {
    const known = this.#found[this.#count++];
    if (known === undefined) this.#found.push({ filter, verdict });
    else {
      known.filter = filter;
      known.verdict = verdict;
    }
  }

  /** The chain has come to its verdict: each shadow's is counted beside it. */
  compare(live: Verdict): void {
    this.#live = live;
    for (let i = 0; i < this.#count; i++) {
      const { filter, verdict } = this.#found[i]!;
      filter.compare(live.kind, verdict.kind);
    }
  }

  /**
   * The first that differs from the chain's verdict, be it only in where it redirects to; of `filter`
   * (any program of it, or that of `filter:program`) where one is named.
   */
  differing(filter: string | undefined): ShadowVerdict | undefined {
    for (let i = 0; i < this.#count; i++) {
      const found = this.#found[i]!;
      if (isSame(found.verdict, this.#live)) continue;
      if (filter === undefined || names(filter, found.filter.name)) return found;
    }
    return undefined;
  }
}

function isSame(one: Verdict, other: Verdict): boolean {
  if (one.kind === "redirect" && other.kind === "redirect")
    return one.ifindex === other.ifindex && isSameBroadcast(one.broadcast, other.broadcast);
  return one.kind === other.kind;
}

/** Whether `reference` means the program that chains name `name`: itself, or all of its filter. */
export function names(reference: string, name: string): boolean {
  return name.startsWith(reference) && (name[reference.length] ?? ":") === ":";
}
