import type { DropReason } from "../../common/drop-reason.ts";
import type { Counters } from "../../filter/counters.ts";
import type { TunnelPlan } from "../plan.ts";
import type { QueueTally } from "../send-queue.ts";
import type { Forwarded } from "../tally.ts";
import type { Peer } from "./peers.ts";

/**
 * What metrics call the lanes of a tunnel, in the order of their counters: each of its peers in
 * each of its networks. Their number is the config's to choose, never a sender's: a tunnel that
 * takes all networks, or frames of anyone, counts them together as `any`.
 */
export function laneNames(
  plan: Pick<TunnelPlan, "peers" | "vnis">,
): { readonly peer: string; readonly vni: string }[] {
  const peers = plan.peers.length === 0 ? ["any"] : plan.peers.map(({ name }) => name);
  const vnis = plan.vnis.length === 0 ? ["any"] : plan.vnis.map(String);
  return peers.flatMap((peer) => vnis.map((vni) => ({ peer, vni })));
}

/** One network of one peer, and the frames that came from there and went there. */
class Lane implements QueueTally {
  readonly #counters: Counters;
  readonly #index: number;
  readonly #onLost: (reason: DropReason) => void;

  constructor(counters: Counters, index: number, onLost: (reason: DropReason) => void) {
    this.#counters = counters;
    this.#index = index;
    this.#onLost = onLost;
  }

  received(frameBytes: number): void {
    this.#counters.laneFrame(this.#index, "ingress", frameBytes);
  }

  /** The system has taken a frame that goes there. */
  forwarded(_kind: Forwarded, frameBytes: number): void {
    this.#counters.laneFrame(this.#index, "egress", frameBytes);
  }

  dropped(reason: DropReason): void {
    this.#onLost(reason);
  }
}

/** Counts the frames of a tunnel by peer and network. */
export class TunnelLanes {
  readonly #vnis: readonly number[];
  readonly #lanes: readonly Lane[];

  /** `onLost`: a frame that was to be sent was not. */
  constructor(counters: Counters, plan: TunnelPlan, onLost: (reason: DropReason) => void) {
    this.#vnis = plan.vnis;
    this.#lanes = laneNames(plan).map((_, i) => new Lane(counters, plan.firstLane + i, onLost));
  }

  /** `vni` is one that the tunnel takes. */
  of(peer: Peer, vni: number): Lane {
    const vnis = this.#vnis;
    const network = vnis.length === 0 ? 0 : vnis.indexOf(vni);
    return this.#lanes[peer.index * Math.max(1, vnis.length) + network]!;
  }
}
