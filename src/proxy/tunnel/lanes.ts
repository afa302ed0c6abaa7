import type { Counters } from "../../filter/counters.ts";
import type { TunnelPlan } from "../plan.ts";
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

/** Counts the frames of a tunnel by peer and network. */
export class TunnelLanes {
  readonly #counters: Counters;
  readonly #first: number;
  readonly #vnis: readonly number[];

  constructor(counters: Counters, plan: TunnelPlan) {
    this.#counters = counters;
    this.#first = plan.firstLane;
    this.#vnis = plan.vnis;
  }

  received(peer: Peer, vni: number, frameBytes: number): void {
    this.#counters.laneFrame(this.#lane(peer, vni), "ingress", frameBytes);
  }

  sent(peer: Peer, vni: number, frameBytes: number): void {
    this.#counters.laneFrame(this.#lane(peer, vni), "egress", frameBytes);
  }

  /** `vni` is one that the tunnel takes. */
  #lane(peer: Peer, vni: number): number {
    const vnis = this.#vnis;
    if (vnis.length === 0) return this.#first + peer.index;
    return this.#first + peer.index * vnis.length + vnis.indexOf(vni);
  }
}
