import { createSocket, type Socket } from "node:dgram";
import type { DropReason } from "../common/drop-reason.ts";
import { ok, type Result } from "../common/result.ts";
import type {
  Arrivals,
  DatagramPeer,
  DatagramSockets,
  ListenerSocket,
  ListenerSocketEvents,
  UpstreamSocket,
  UpstreamSocketEvents,
} from "./datagram-socket.ts";
import type { Destination } from "./destinations.ts";
import type { Address } from "./plan.ts";
import { RecentPeers } from "./recent-peers.ts";
import { upstreamDropReason } from "./socket-error.ts";
import type { Forwarded, PacketTally } from "./tally.ts";
import { bindSocket, numericLookup, SendRoom, socketBufferBytes } from "./udp-socket.ts";

/** Datagrams that wait for the upstream socket to connect; more are dropped. */
const maxWaiting = 64;
const maxWaitingBytes = 256 * 1024;
/**
 * A callback costs time, and is the one way to learn that the kernel refused to send. While an upstream
 * answers its sockets need none; of as many datagrams that none came back for, the last two are sent with
 * one: two, since where each that is sent is refused, the kernel says so of every other one.
 */
const unheardRun = 16;

/** `io: dgram`: node:dgram everywhere, a system call a datagram. */
export const dgramSockets: DatagramSockets = {
  listener: (family, events) => new DgramListenerSocket(family, events),
  upstream: (destination, tally, events) => new DgramUpstreamSocket(destination, tally, events),
};

class DgramListenerSocket<Peer extends DatagramPeer> implements ListenerSocket<Peer> {
  readonly #family: 4 | 6;
  readonly #events: ListenerSocketEvents<Peer>;
  readonly #arrivals: Arrivals<Peer> = { count: 1, payloads: [], peers: [] };
  readonly #peers: RecentPeers<Peer>;
  #socket: Socket | undefined;
  #room: SendRoom | undefined;

  constructor(family: 4 | 6, events: ListenerSocketEvents<Peer>) {
    this.#family = family;
    this.#events = events;
    this.#peers = new RecentPeers(events);
  }

  bind(listen: Address, reusePort: boolean): Promise<Result<Address, NodeJS.ErrnoException>> {
    const options = {
      family: this.#family,
      host: listen.host,
      port: listen.port,
      reusePort,
      sendsOnly: false,
    };
    return new Promise((resolve) =>
      bindSocket(options, (bound) => {
        if (!bound.ok) {
          resolve(bound);
          return;
        }
        this.#receive(bound.value);
        const { address: host, port } = bound.value.address();
        resolve(ok({ host, port }));
      }),
    );
  }

  #receive(socket: Socket): void {
    this.#socket = socket;
    this.#room = new SendRoom(socket);
    const [arrivals, peers, { onDatagrams, onError }] = [this.#arrivals, this.#peers, this.#events];
    socket.on("error", onError);
    socket.on("message", (payload, { address, port }) => {
      arrivals.payloads[0] = payload;
      arrivals.peers[0] = peers.find(address, port);
      onDatagrams(arrivals);
    });
  }

  send(payload: Buffer, peer: Peer, frameBytes: number, kind: Forwarded, tally: PacketTally): void {
    const socket = this.#socket;
    if (socket === undefined) tally.dropped("send_failed", frameBytes);
    else if (!this.#room!.take(payload.length)) tally.dropped("send_queue_full", frameBytes);
    else {
      tally.forwarded(kind, frameBytes);
      socket.send(payload, peer.port, peer.address);
    }
  }

  async close(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined) return;
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  }
}

interface Waiting {
  readonly payload: Buffer;
  readonly frameBytes: number;
  readonly kind: Forwarded;
}

class DgramUpstreamSocket implements UpstreamSocket {
  readonly #destination: Destination;
  tally: PacketTally;
  readonly #socket: Socket;
  readonly #room: SendRoom;
  #state: "connecting" | "connected" | "closed" = "connecting";
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** The upstream has answered: it is there. */
  #answered = false;
  /** Sent since it answered last. */
  #unheard = 0;
  /** Why what is sent from now on is lost. */
  #lost: DropReason | undefined;
  /** Why what still waits in libuv does not go. */
  #closedFor: DropReason = "upstream_error";
  readonly #events: UpstreamSocketEvents;
  readonly #arrivals: Arrivals<undefined> = { count: 1, payloads: [], peers: [] };

  constructor(destination: Destination, tally: PacketTally, events: UpstreamSocketEvents) {
    this.#destination = destination;
    this.tally = tally;
    this.#events = events;
    this.#socket = createSocket({
      type: destination.family === 4 ? "udp4" : "udp6",
      lookup: numericLookup,
      recvBufferSize: socketBufferBytes,
      sendBufferSize: socketBufferBytes,
    });
    this.#room = new SendRoom(this.#socket);
    this.#socket.on("message", (payload) => {
      if (this.#state === "closed") return;
      this.#answered = true;
      this.#unheard = 0;
      this.#arrivals.payloads[0] = payload;
      events.onDatagrams(this.#arrivals);
    });
    this.#socket.on("error", (error) => {
      if (this.#state !== "closed") this.#failed(error, this.#state === "connected" ? 1 : 0);
    });
    this.#socket.once("connect", () => this.#onConnected());
  }

  connect(): void {
    this.#socket.connect(this.#destination.port, this.#destination.host);
  }

  send(payload: Buffer, frameBytes: number, kind: Forwarded): void {
    if (this.#state === "connecting") this.#wait(payload, frameBytes, kind);
    else this.#sendNow(payload, frameBytes, kind);
  }

  close(reason: DropReason): void {
    this.#state = "closed";
    this.#closedFor = reason;
    for (const waiting of this.#waiting) this.tally.dropped(reason, waiting.frameBytes);
    this.#waiting = [];
    this.#socket.close();
  }

  #wait(payload: Buffer, frameBytes: number, kind: Forwarded): void {
    const bytes = this.#waitingBytes + payload.length;
    if (this.#waiting.length === maxWaiting || bytes > maxWaitingBytes) {
      this.tally.dropped("send_queue_full", frameBytes);
      return;
    }
    this.#waitingBytes = bytes;
    this.#waiting.push({ payload, frameBytes, kind });
  }

  #sendNow(payload: Buffer, frameBytes: number, kind: Forwarded): void {
    if (!this.#room.take(payload.length)) {
      this.tally.dropped("send_queue_full", frameBytes);
      return;
    }
    if (this.#answered && this.#unheard++ % unheardRun < unheardRun - 2) {
      this.tally.forwarded(kind, frameBytes);
      this.#socket.send(payload);
    } else this.#socket.send(payload, (error) => this.#onSent(error, frameBytes, kind));
  }

  /** Told in a later turn, maybe after the end. What went along with one that was refused is lost too. */
  #onSent(error: NodeJS.ErrnoException | null, frameBytes: number, kind: Forwarded): void {
    if (error === null) {
      if (this.#lost === undefined) this.tally.forwarded(kind, frameBytes);
      else this.tally.dropped(this.#lost, frameBytes);
      return;
    }
    const reason = error.code === "ECANCELED" ? this.#closedFor : upstreamDropReason(error);
    this.tally.dropped(reason, frameBytes);
    // All else may be this datagram's alone.
    if (reason === "upstream_unreachable" && this.#lost === undefined)
      this.#failed(error, error.code === "ECONNREFUSED" ? 1 : 0);
  }

  /** `lost`: see `UpstreamSocketEvents.onError`. */
  #failed(error: NodeJS.ErrnoException, lost: number): void {
    this.#lost = upstreamDropReason(error);
    this.#events.onError(error, lost);
  }

  #onConnected(): void {
    if (this.#state !== "connecting") return;
    this.#state = "connected";
    this.#events.onLocalPort(this.#socket.address().port);
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const { payload, frameBytes, kind } of waiting) this.#sendNow(payload, frameBytes, kind);
  }
}
