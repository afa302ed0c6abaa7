import { formatAddress, parseAddress, unmapAddress } from "../packet/address.ts";
import { type AddressRange, contains, rangeOf } from "./address-range.ts";
import { endpointKey } from "./endpoint.ts";
import type { Address, ListenerPlan, ProxyPlan, UpstreamPlan } from "./plan.ts";

/** An address that packets may be sent to. */
export interface Destination {
  readonly host: string;
  readonly port: number;
  readonly family: 4 | 6;
  /** Equal for equal destinations. */
  readonly key: string;
  /** The name of the upstream that it is an address of; undefined for any other. */
  readonly upstream: string | undefined;
}

/** An upstream's addresses, each a destination. */
export class Upstream {
  readonly name: string;
  readonly addresses: readonly Destination[];

  constructor(plan: UpstreamPlan) {
    if (plan.addresses.length === 0) throw new RangeError(`upstream ${plan.name} has no address`);
    this.name = plan.name;
    this.addresses = plan.addresses.map((address) => destinationOf(address, plan.name));
  }

  /** The address for the `choice`th user of this upstream: users are spread evenly. */
  pick(choice: number): Destination {
    return this.addresses[choice % this.addresses.length]!;
  }

  /** All addresses, the `choice`th first: what to try one after another. */
  inOrder(choice: number): readonly Destination[] {
    if (this.addresses.length === 1) return this.addresses;
    const first = choice % this.addresses.length;
    return [...this.addresses.slice(first), ...this.addresses.slice(0, first)];
  }
}

/**
 * Where the packets of one listener may go: its upstream, what ports stand for, and, for a frame
 * whose destination a filter rewrote, any configured address and what `allowDestinations` adds.
 * Nothing else, ever: a filter must not make an open relay.
 */
export class Destinations {
  readonly #upstream: Upstream | undefined;
  readonly #ports: ReadonlyMap<number, Upstream>;
  readonly #configured: ReadonlyMap<string, Destination>;
  readonly #allowed: readonly AddressRange[];

  constructor(plan: Pick<ProxyPlan, "upstreams" | "ports">, listener: ListenerPlan) {
    const upstreams = plan.upstreams.map((upstream) => new Upstream(upstream));
    const byIndex = (index: number, user: string): Upstream => {
      const upstream = upstreams[index];
      if (upstream === undefined) throw new RangeError(`${user}: no upstream ${index}`);
      return upstream;
    };
    this.#upstream =
      listener.upstream === undefined ? undefined : byIndex(listener.upstream, listener.name);
    this.#ports = new Map(
      plan.ports.flatMap((port) =>
        "upstream" in port
          ? [[port.ifindex, byIndex(port.upstream, `port ${port.ifindex}`)] as const]
          : [],
      ),
    );
    this.#configured = new Map(
      upstreams.flatMap((upstream) => upstream.addresses).map((address) => [address.key, address]),
    );
    this.#allowed = (listener.allowDestinations ?? []).map(rangeOf);
  }

  /** The listener's own. A tunnel has none: its frames go to peers. */
  get upstream(): Upstream {
    if (this.#upstream === undefined) throw new Error("a listener without an upstream");
    return this.#upstream;
  }

  /**
   * The upstream that a redirect to `ifindex` goes to; undefined for a number that no port has, or
   * that stands for a tunnel's peer.
   */
  port(ifindex: number): Upstream | undefined {
    return this.#ports.get(ifindex);
  }

  /** The destination that a rewritten frame names, if it may go there. `host` is canonical text. */
  named(host: string, port: number): Destination | undefined {
    // Nothing can be sent to port 0: to sockets it means "any".
    if (port === 0) return undefined;
    const configured = this.#configured.get(endpointKey(host, port));
    if (configured !== undefined) return configured;
    if (this.#allowed.length === 0) return undefined;
    const address = parseAddress(host);
    if (address === undefined) return undefined;
    const inside = this.#allowed.some(
      (range) => (range.port === undefined || range.port === port) && contains(range, address),
    );
    return inside ? destinationOf({ host, port }, undefined) : undefined;
  }
}

function destinationOf({ host, port }: Address, upstream: string | undefined): Destination {
  const parsed = parseAddress(host);
  if (parsed === undefined) throw new RangeError(`destination ${host} is no IP address`);
  const address = unmapAddress(parsed);
  const family = address.length === 4 ? 4 : 6;
  // A scope id is this machine's business and has to reach connect(2).
  const text = host.includes("%") ? host : formatAddress(address, 0, family === 4 ? 4 : 16);
  return { host: text, port, family, key: endpointKey(text, port), upstream };
}
