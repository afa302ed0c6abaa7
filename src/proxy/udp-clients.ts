import { Flow } from "../packet/flow.ts";
import type { Destination } from "./destinations.ts";
import { endpointKey } from "./endpoint.ts";
import { addressFamily, defaultLocalAddress, isWildcard } from "./local-address.ts";
import type { ListenerPlan } from "./plan.ts";
import { UdpClient } from "./udp-client.ts";

/**
 * Clients without a session whose flows are kept, for the next datagram that is dropped too: so many of the
 * last, and as many before them.
 */
const maxStrangers = 1024;

type AddressPlan = Pick<ListenerPlan, "listen" | "localAddress">;

/**
 * The clients of a UDP listener by address and port: those with sessions, and some of those without. Both
 * ends of their flows are theirs and the listener's own address, as they see it.
 */
export class UdpClients<Session extends { readonly destination: Destination }> {
  /** That the listener is bound to. */
  listenerPort = 0;
  #plan: AddressPlan;
  /** Those with sessions, by `endpointKey`. */
  readonly #known = new Map<string, UdpClient<Session>>();
  #strangers = new Map<string, UdpClient<Session>>();
  /**
   * That came before those. A batch of datagrams asks for its clients before it opens sessions for them: one
   * that others pushed out in between would be two clients, each with a session.
   */
  #formerStrangers = new Map<string, UdpClient<Session>>();
  readonly #local = new Map<4 | 6, string>();

  constructor(plan: AddressPlan) {
    this.#plan = plan;
  }

  /** Another plan's: clients with sessions stay as they are, all others are made anew. */
  follow(plan: AddressPlan): void {
    this.#plan = plan;
    this.#strangers.clear();
    this.#formerStrangers.clear();
    this.#local.clear();
  }

  /** The client at this address and port: the same object each time, as long as it `isCurrent`. */
  at(address: string, port: number): UdpClient<Session> {
    const key = endpointKey(address, port);
    const known = this.#known.get(key) ?? this.#stranger(key);
    if (known !== undefined) return known;
    const source = { address, port };
    const destination = { address: this.#localAddress(address), port: this.listenerPort };
    const client = new UdpClient<Session>(
      key,
      source,
      new Flow("udp", source, destination),
      new Flow("udp", destination, source),
    );
    if (this.#strangers.size === maxStrangers) {
      this.#formerStrangers = this.#strangers;
      this.#strangers = new Map();
    }
    this.#strangers.set(key, client);
    return client;
  }

  isCurrent(client: UdpClient<Session>): boolean {
    return client.hasSessions || this.#stranger(client.key) === client;
  }

  #stranger(key: string): UdpClient<Session> | undefined {
    return this.#strangers.get(key) ?? this.#formerStrangers.get(key);
  }

  /** `client` has a session now. */
  hasSession(client: UdpClient<Session>): void {
    this.#strangers.delete(client.key);
    this.#formerStrangers.delete(client.key);
    this.#known.set(client.key, client);
  }

  /** The last session of `client` has ended. */
  hasNone(client: UdpClient<Session>): void {
    this.#known.delete(client.key);
  }

  /** The listener's address as a client of `peer`'s family sees it. */
  #localAddress(peer: string): string {
    const { listen, localAddress } = this.#plan;
    if (!isWildcard(listen.host)) return listen.host;
    const family = addressFamily(peer) ?? 4;
    let address = this.#local.get(family);
    if (address === undefined) {
      const fits = addressFamily(localAddress) === family && !isWildcard(localAddress);
      address = fits ? localAddress : defaultLocalAddress(family);
      this.#local.set(family, address);
    }
    return address;
  }
}
