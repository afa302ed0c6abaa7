import type { DropReason } from "../common/drop-reason.ts";
import type { EngineContext } from "../engine/engine.ts";
import {
  F_BROADCAST,
  F_EXCLUDE_INGRESS,
  SLOT_INGRESS_IFINDEX,
  SLOT_REDIRECT_FLAGS,
  SLOT_REDIRECT_MAP,
} from "../runtime/wasm/layout.ts";
import type { Broadcast, Verdict } from "./verdict.ts";

/** Ports that one packet goes to at most, each a datagram sent. The kernel sets no limit. */
export const maxBroadcastPorts = 32;

/** Verdicts kept: a filter whose broadcasts are more different gets new objects, not more memory. */
const keptVerdicts = 1024;

/**
 * What BPF_F_BROADCAST of bpf_redirect_map means for a packet: which ports its devmap holds. One a
 * worker. A packet that goes where an earlier one went has the same verdict, which costs no new object.
 */
export class Broadcasts {
  readonly #context: Pick<EngineContext, "arena" | "runtime" | "cpu" | "stack">;
  readonly #kept = new Map<number, Verdict & { readonly broadcast: Broadcast }>();

  constructor(context: Pick<EngineContext, "arena" | "runtime" | "cpu" | "stack">) {
    this.#context = context;
  }

  /** `verdict` of the program that has just run on `slot`, with the ports that it asked for, if it did. */
  resolve(slot: number, verdict: Verdict): Verdict {
    const { words } = this.#context.arena;
    if (verdict.kind !== "redirect") return verdict;
    const flags = words[(slot + SLOT_REDIRECT_FLAGS) >> 2]!;
    if ((flags & F_BROADCAST) === 0) return verdict;
    const { runtime, cpu, stack } = this.#context;
    const map = words[(slot + SLOT_REDIRECT_MAP) >> 2]!;
    const excluded =
      (flags & F_EXCLUDE_INGRESS) === 0 ? 0 : words[(slot + SLOT_INGRESS_IFINDEX) >> 2]!;
    // Between two runs the programs' stack is nobody's.
    const count = runtime.devices(map, excluded, stack, maxBroadcastPorts, cpu) >>> 0;
    return this.#verdict(map ^ excluded, words, stack >> 2, count);
  }

  /** The verdict for `count` ports, of which the first are `words` from `at` on. */
  #verdict(key: number, words: Int32Array, at: number, count: number): Verdict {
    const isCut = count > maxBroadcastPorts;
    const length = isCut ? maxBroadcastPorts : count;
    const kept = this.#kept.get(key);
    if (kept !== undefined && kept.broadcast.isCut === isCut) {
      const { ports } = kept.broadcast;
      let i = ports.length === length ? 0 : -1;
      while (i >= 0 && i < length && ports[i] === words[at + i]! >>> 0) i++;
      if (i === length) return kept;
    }
    const ports = Array.from({ length }, (_, i) => words[at + i]! >>> 0);
    const verdict = { kind: "redirect", ifindex: 0, broadcast: { ports, isCut } } as const;
    if (this.#kept.size === keptVerdicts) this.#kept.clear();
    this.#kept.set(key, verdict);
    return verdict;
  }
}

/** Why a broadcast is less than was asked for, besides what becomes of each port's copy. */
export function shortfall({ ports, isCut }: Broadcast): DropReason | undefined {
  if (isCut) return "redirect_port_limit";
  return ports.length === 0 ? "redirect_no_port" : undefined;
}

/** Whether two broadcasts go to the same ports, in whichever order. */
export function isSameBroadcast(one: Broadcast | undefined, other: Broadcast | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  if (one.isCut !== other.isCut || one.ports.length !== other.ports.length) return false;
  const sorted = other.ports.toSorted((a, b) => a - b);
  return one.ports.toSorted((a, b) => a - b).every((port, i) => port === sorted[i]);
}
