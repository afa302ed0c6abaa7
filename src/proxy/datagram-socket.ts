import type { DropReason } from "../common/drop-reason.ts";
import type { Result } from "../common/result.ts";
import type { Destination } from "./destinations.ts";
import type { Address } from "./plan.ts";
import type { Forwarded, PacketTally } from "./tally.ts";

/** Where answers go, as the listener's socket names it. */
export interface DatagramPeer {
  readonly address: string;
  readonly port: number;
  /** The same as a socket address of the kernel's; set by sockets that have it so. */
  socketName: Uint8Array | undefined;
}

/**
 * Datagrams that came together, in their order. One object serves all batches of a socket: valid until
 * its handler returns, payloads too where they lie in packet slots.
 */
export interface Arrivals<Peer> {
  count: number;
  readonly payloads: Buffer[];
  /** Who sent each; empty on a connected socket. */
  readonly peers: Peer[];
}

export interface ListenerSocketEvents<Peer extends DatagramPeer> {
  readonly onDatagrams: (arrivals: Arrivals<Peer>) => void;
  /** The peer of this address and port: the same object each time, as long as it is `isCurrent`. */
  readonly peer: (address: string, port: number) => Peer;
  readonly isCurrent: (peer: Peer) => boolean;
  readonly onError: () => void;
  /** The kernel dropped `datagrams` for want of room in the socket. Told by sockets that can ask it. */
  readonly onKernelDrops: (datagrams: number) => void;
}

/** A listener's UDP socket, whatever carries its datagrams. */
export interface ListenerSocket<Peer extends DatagramPeer> {
  /** Binds; the address that it got. */
  bind(listen: Address, reusePort: boolean): Promise<Result<Address, NodeJS.ErrnoException>>;
  /** Sends a datagram to `peer`, or drops it; `tally` counts it either way. */
  send(payload: Buffer, peer: Peer, frameBytes: number, kind: Forwarded, tally: PacketTally): void;
  close(): Promise<void>;
}

export interface UpstreamSocketEvents {
  readonly onDatagrams: (arrivals: Arrivals<undefined>) => void;
  /**
   * The socket could not be made or connected, or cannot send, or the kernel reports an earlier datagram
   * refused: `lost` that were counted as sent went nowhere. It is of no more use. It may still come as
   * what waits is sent while the socket is closed.
   */
  readonly onError: (error: NodeJS.ErrnoException, lost: number) => void;
  /** As a listener's. */
  readonly onKernelDrops: (datagrams: number) => void;
  /** It has this port, by which its drops can be found. Told by sockets that cannot ask the kernel. */
  readonly onLocalPort: (port: number) => void;
}

/** A session's UDP socket, connected to its destination. */
export interface UpstreamSocket {
  /** Counts what is sent. */
  tally: PacketTally;
  /** Connects. What goes wrong may be told before this returns. */
  connect(): void;
  /**
   * Sends a datagram, or drops it: counted either way, maybe later. Bytes outside of packet slots must
   * not change afterwards: the kernel may take them later.
   */
  send(payload: Buffer, frameBytes: number, kind: Forwarded): void;
  /** Ends it; datagrams that still wait are sent, or dropped for `reason`. No event comes afterwards. */
  close(reason: DropReason): void;
}

/** Makes the sockets of one UDP listener and its sessions. */
export interface DatagramSockets {
  /**
   * `payloadAt`: where in packet slots datagrams are to be received, if they are; by default behind
   * room for the headers of a UDP frame.
   */
  listener<Peer extends DatagramPeer>(
    family: 4 | 6,
    events: ListenerSocketEvents<Peer>,
    payloadAt?: number,
  ): ListenerSocket<Peer>;
  /** With `tally` at first. */
  upstream(
    destination: Destination,
    tally: PacketTally,
    events: UpstreamSocketEvents,
  ): UpstreamSocket;
}
