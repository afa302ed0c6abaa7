import { formatAddress, parseAddress, unmapAddress } from "../../packet/address.ts";
import type { DatagramPeer } from "../datagram-socket.ts";
import type { PeerPlan } from "../plan.ts";

/** The other end of a tunnel: where frames to it go. */
export interface Peer extends DatagramPeer {
  /** Its place in the plan's list; 0 where there is no list. */
  readonly index: number;
  /** As the config calls it; `any` where there is no list. */
  readonly name: string;
  /** Canonical text, IPv4 where it was IPv4-mapped. */
  readonly address: string;
  readonly family: 4 | 6;
  /** The number that filters see for what comes from it. */
  readonly ifindex: number;
  /** A frame came from it: it is there. */
  heard: boolean;
}

/** Source addresses whose peer is remembered. What a stranger sends is not to fill memory. */
const maxRemembered = 1024;

/**
 * Who may send to a tunnel. Peers are told by address, because VXLAN and GENEVE use a source port
 * for each flow; by address and port where several share an address.
 */
export class PeerTable {
  readonly all: readonly Peer[];
  readonly #anyone: Peer | undefined;
  readonly #byHost = new Map<string, Peer[]>();
  /** By address as the socket writes it. */
  readonly #remembered = new Map<string, readonly Peer[]>();

  /** `ifindexOf` gives the number of the peer at a place in the list, and the listener's without one. */
  constructor(plans: readonly PeerPlan[], ifindexOf: (peer: number) => number) {
    this.all = plans.map(({ name, address }, index) => {
      const { host, family } = canonical(address.host);
      return {
        index,
        name,
        address: host,
        port: address.port,
        socketName: undefined,
        family,
        ifindex: ifindexOf(index),
        heard: false,
      };
    });
    for (const peer of this.all) {
      const sharing = this.#byHost.get(peer.address);
      if (sharing === undefined) this.#byHost.set(peer.address, [peer]);
      else sharing.push(peer);
    }
    if (plans.length === 0)
      this.#anyone = {
        index: 0,
        name: "any",
        address: "",
        port: 0,
        socketName: undefined,
        family: 4,
        ifindex: ifindexOf(0),
        heard: true,
      };
  }

  /** The peer that `before` was in another list: of the same name, at the same address. */
  successor(before: Peer): Peer | undefined {
    const anyone = this.#anyone;
    if (anyone !== undefined) return before.name === anyone.name ? anyone : undefined;
    return this.all.find(
      ({ name, address, port }) =>
        name === before.name && address === before.address && port === before.port,
    );
  }

  /** The peer at an address of 4 or 16 bytes, of several there the one at `place` or else the first. */
  at(address: Uint8Array, place: number): Peer | undefined {
    const there = this.#byHost.get(formatAddress(address, 0, address.length === 4 ? 4 : 16));
    return there?.find(({ index }) => index === place) ?? there?.[0];
  }

  /** Who sends from there; undefined for a stranger. */
  find(address: string, port: number): Peer | undefined {
    if (this.#anyone !== undefined) return this.#anyone;
    const peers = this.#remembered.get(address) ?? this.#remember(address);
    if (peers.length <= 1) return peers[0];
    return peers.find((peer) => peer.port === port);
  }

  #remember(address: string): readonly Peer[] {
    const peers = this.#byHost.get(canonical(address).host) ?? [];
    if (this.#remembered.size === maxRemembered) this.#remembered.clear();
    this.#remembered.set(address, peers);
    return peers;
  }
}

function canonical(text: string): { host: string; family: 4 | 6 } {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new RangeError(`peer ${text} is no IP address`);
  const address = unmapAddress(parsed);
  const family = address.length === 4 ? 4 : 6;
  // A scope id is this machine's business and has to reach sendto(2).
  const host = text.includes("%") ? text : formatAddress(address, 0, family === 4 ? 4 : 16);
  return { host, family };
}
