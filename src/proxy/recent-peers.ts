import type { DatagramPeer, ListenerSocketEvents } from "./datagram-socket.ts";

/** A power of two. Peers whose ports have the same low bits take each other's places. */
const places = 256;

/**
 * Peers as node:dgram names them, by an address and a port: for one that came lately neither is text made
 * of both nor a table of all peers asked.
 */
export class RecentPeers<Peer extends DatagramPeer> {
  readonly #events: Pick<ListenerSocketEvents<Peer>, "peer" | "isCurrent">;
  readonly #peers: (Peer | undefined)[] = new Array(places).fill(undefined);

  constructor(events: Pick<ListenerSocketEvents<Peer>, "peer" | "isCurrent">) {
    this.#events = events;
  }

  find(address: string, port: number): Peer {
    const place = port & (places - 1);
    const recent = this.#peers[place];
    if (
      recent !== undefined &&
      recent.port === port &&
      recent.address === address &&
      this.#events.isCurrent(recent)
    )
      return recent;
    const peer = this.#events.peer(address, port);
    this.#peers[place] = peer;
    return peer;
  }
}
