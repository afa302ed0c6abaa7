import { errno } from "../common/errno.ts";
import { type AddressBytes, deriveMac } from "../packet/address.ts";
import { Prefix } from "../packet/prefix.ts";

/** ip-route(8): on its way; or dropped silently, or with one answer or another. */
export const routeActions = ["forward", "blackhole", "unreachable", "prohibit"] as const;

/** What a route says of packets to its prefix. Plain data: it crosses to the workers. */
export interface Route {
  /** Of the addresses it is for: 4 or 16 bytes, and how many leading bits count. */
  readonly to: AddressBytes;
  readonly length: number;
  readonly action: (typeof routeActions)[number];
  /** The port that such packets leave by; 0 where they are not forwarded. */
  readonly ifindex: number;
  /** The next hop, where that is not the destination itself; of either family. */
  readonly gateway: AddressBytes | undefined;
  /** Hardware addresses; undefined: derived from the next hop's address, and from the port's number. */
  readonly destinationMac: Uint8Array | undefined;
  readonly sourceMac: Uint8Array | undefined;
  /** The address that packets of this host's own would leave with. */
  readonly source: AddressBytes | undefined;
  readonly metric: number;
  /** Longest IP packet in bytes. */
  readonly mtu: number;
}

/** Longest IP packet that a port takes where its route says nothing else: the loopback device's. */
export const portMtu = 65_536;

/** What helpers know of the network around their packets. */
export interface Network {
  /** Whether a listener or a port has this number. */
  hasDevice(ifindex: number): boolean;
  /** The route to the address of `family` at `at`, or undefined. `by`: as in `RouteTable.find`. */
  routeTo(bytes: Uint8Array, at: number, family: 4 | 6, by?: number): Route | undefined;
  /** Sends a copy of the frame in `slot` to a port: 0, or a negative errno where that cannot be. */
  sendCopy(slot: number, ifindex: number): number;
}

/** Routes by the length of their prefix: the longest that holds an address is its route. */
export class RouteTable {
  readonly #routes: readonly { readonly prefix: Prefix; readonly route: Route }[];

  /** Of two routes to one prefix that with the lower metric counts. */
  constructor(routes: readonly Route[]) {
    this.#routes = routes
      .map((route) => ({ prefix: new Prefix(route.to, route.length), route }))
      .sort((a, b) => b.prefix.length - a.prefix.length || a.route.metric - b.route.metric);
  }

  /** `by`: of routes that forward only those that leave by this port are looked at. */
  find(bytes: Uint8Array, at: number, family: 4 | 6, by?: number): Route | undefined {
    for (const { prefix, route } of this.#routes) {
      if (by !== undefined && route.action === "forward" && route.ifindex !== by) continue;
      if (prefix.contains(bytes, at, family)) return route;
    }
    return undefined;
  }
}

/** What helpers find of a config's network where nothing is sent: for packets run once more. */
export class KnownNetwork implements Network {
  readonly #devices: ReadonlySet<number>;
  readonly #ports: ReadonlySet<number>;
  readonly #routes: RouteTable;

  constructor(parts: NetworkParts) {
    this.#ports = new Set(parts.ports);
    this.#devices = new Set([...parts.ports, ...parts.listeners]);
    this.#routes = new RouteTable(parts.routes);
  }

  hasDevice(ifindex: number): boolean {
    return this.#devices.has(ifindex);
  }

  routeTo(bytes: Uint8Array, at: number, family: 4 | 6, by?: number): Route | undefined {
    return this.#routes.find(bytes, at, family, by);
  }

  sendCopy(_slot: number, ifindex: number): number {
    return this.#ports.has(ifindex) ? 0 : -errno.EINVAL;
  }
}

/** A config's network as plain data. */
export interface NetworkParts {
  /** Numbers of listeners, and of ports. */
  readonly listeners: readonly number[];
  readonly ports: readonly number[];
  readonly routes: readonly Route[];
}

/** The hardware address of a port: locally administered, of its number. */
export function portMac(ifindex: number): Uint8Array {
  return deriveMac(
    Uint8Array.of(ifindex >>> 24, (ifindex >>> 16) & 0xff, (ifindex >>> 8) & 0xff, ifindex & 0xff),
  );
}

/** Where nothing is known of a network: the loopback device alone, as BPF_PROG_TEST_RUN has it. */
export const loopbackOnly: Network = {
  hasDevice: (ifindex) => ifindex === 1,
  routeTo: () => undefined,
  sendCopy: () => 0,
};
