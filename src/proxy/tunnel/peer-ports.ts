import type { PortPlan } from "../plan.ts";
import type { TunnelEgress } from "./tunnel-egress.ts";

/** A peer that a redirect can name, and the tunnel that sends to it. */
interface PeerPort {
  readonly egress: TunnelEgress;
  readonly peer: number;
}

/**
 * The peers of one worker's tunnels that are ports. A redirect of one tunnel may lead to another's
 * peer, so tunnels share this.
 */
export class PeerPorts {
  readonly #numbers = new Map<string, number>();
  readonly #places = new Map<number, { listener: number; peer: number }>();
  readonly #tunnels = new Map<number, TunnelEgress>();

  constructor(ports: readonly PortPlan[]) {
    for (const port of ports) {
      if (!("peer" in port)) continue;
      const { ifindex, listener, peer } = port;
      this.#places.set(ifindex, { listener, peer });
      // A peer with several numbers is seen under the first.
      const key = `${listener}|${peer}`;
      if (!this.#numbers.has(key)) this.#numbers.set(key, ifindex);
    }
  }

  /** The number of a listener's peer; undefined if it is no port. */
  numberOf(listener: number, peer: number): number | undefined {
    return this.#numbers.get(`${listener}|${peer}`);
  }

  /** `egress` sends to the peers of this listener. */
  attach(listener: number, egress: TunnelEgress): void {
    this.#tunnels.set(listener, egress);
  }

  find(ifindex: number): PeerPort | undefined {
    const place = this.#places.get(ifindex);
    if (place === undefined) return undefined;
    const egress = this.#tunnels.get(place.listener);
    return egress === undefined ? undefined : { egress, peer: place.peer };
  }
}
