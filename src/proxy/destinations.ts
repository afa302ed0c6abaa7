import { formatAddress, parseAddress, unmapAddress } from "../packet/address.ts";
import { type AddressRange, contains, rangeOf } from "./address-range.ts";
import type { AddressStates } from "./address-states.ts";
import { endpointKey } from "./endpoint.ts";
import type { Address, ListenerPlan, ProxyPlan, UpstreamPlan } from "./plan.ts";
import { rendezvousOrder } from "./rendezvous.ts";

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

/** An upstream does not take a connection for this long: given up. The kernel would take minutes. */
export const defaultConnectTimeoutMs = 10_000;

/**
 * An upstream's addresses, each a destination, and which of them is next. Addresses that are out
 * (ejected, or down as health checks find) are not used; where all are out, all are used. One whose
 * names nobody could look up yet has none.
 */
export class Upstream {
  readonly name: string;
  readonly addresses: readonly Destination[];
  readonly connectTimeoutMs: number;
  readonly #byClient: boolean;
  /** By place in `addresses`. */
  readonly #isOut: (place: number) => boolean;
  #turn: number;

  /**
   * `first` is the number of its first address among those of all upstreams; `turn` the place of the
   * address that begins.
   */
  constructor(
    plan: UpstreamPlan,
    first: number,
    states: Pick<AddressStates, "isOut">,
    turn: number,
  ) {
    this.#turn = turn;
    this.name = plan.name;
    this.addresses = plan.addresses.map((address) => destinationOf(address, plan.name));
    this.connectTimeoutMs = plan.connectTimeoutMs ?? defaultConnectTimeoutMs;
    this.#byClient = plan.balance === "client_hash";
    this.#isOut = (place) => states.isOut(first + place);
  }

  /** The address for a new session of the client at this IP address; undefined: there is none yet. */
  pick(client: string): Destination | undefined {
    return this.inOrder(client)[0];
  }

  /** The addresses that a new connection of this client may try, in this order. */
  inOrder(client: string): readonly Destination[] {
    const { addresses } = this;
    if (addresses.length < 2) return addresses;
    const inUse = addresses.filter((_, place) => !this.#isOut(place));
    const usable = inUse.length > 0 ? inUse : addresses;
    if (!this.#byClient) return this.#inTurn(usable);
    return rendezvousOrder(bare(client), usable).map((place) => usable[place]!);
  }

  /**
   * The address for another packet of a client that has sessions at `before`: the same while it is
   * there and can be used, else undefined. `before` may be an earlier plan's.
   */
  kept(before: Destination): Destination | undefined {
    const { addresses } = this;
    let place = addresses.indexOf(before);
    if (place < 0) place = addresses.findIndex((address) => address.key === before.key);
    if (place < 0) return undefined;
    const leave =
      addresses.length > 1 &&
      this.#isOut(place) &&
      addresses.some((_, other) => !this.#isOut(other));
    return leave ? undefined : addresses[place];
  }

  /**
   * Turns go over what can be used: were those that are out passed over, the next one would get their
   * share. For the same reason the others follow by chance: they share evenly what the first refuses.
   */
  #inTurn(usable: readonly Destination[]): Destination[] {
    const order = [...usable];
    const first = this.#turn++ % order.length;
    swap(order, 0, first);
    for (let i = 1; i < order.length - 1; i++)
      swap(order, i, i + Math.floor(Math.random() * (order.length - i)));
    return order;
  }
}

function swap<T>(list: T[], one: number, other: number): void {
  const moved = list[one]!;
  list[one] = list[other]!;
  list[other] = moved;
}

/** An IPv4 client is the same client on a socket for both families. */
function bare(address: string): string {
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}

/**
 * The upstreams of a plan, by its numbers, for worker number `worker`: workers that begin at
 * different addresses spread what few connections each of them has.
 */
export function upstreamsOf(
  plans: readonly UpstreamPlan[],
  states: AddressStates,
  worker: number,
): readonly Upstream[] {
  let first = 0;
  return plans.map((plan) => {
    const upstream = new Upstream(plan, first, states, worker);
    first += plan.addresses.length;
    return upstream;
  });
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

  /** `upstreams` are the plan's. */
  constructor(
    plan: Pick<ProxyPlan, "ports">,
    listener: ListenerPlan,
    upstreams: readonly Upstream[],
  ) {
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
