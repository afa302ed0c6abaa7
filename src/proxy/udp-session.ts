import { createSocket, type Socket } from "node:dgram";
import type { DropReason } from "../common/drop-reason.ts";
import type { EndReason } from "./access-log.ts";
import type { Destination } from "./destinations.ts";
import type { SessionTallies } from "./session-ledger.ts";
import { SessionLink } from "./session-table.ts";
import { upstreamDropReason } from "./socket-error.ts";
import type { Forwarded } from "./tally.ts";
import type { UdpClient } from "./udp-client.ts";
import { maxPayloadBytes, maxQueuedBytes, numericLookup, socketBufferBytes } from "./udp-socket.ts";

/** Datagrams that wait for the upstream socket to connect; more are dropped. */
const maxWaiting = 64;
const maxWaitingBytes = 256 * 1024;

interface Waiting {
  readonly payload: Uint8Array;
  readonly frameBytes: number;
  readonly kind: Forwarded;
}

export interface SessionEvents {
  /** A datagram of the upstream, for the client. */
  readonly onReply: (session: UdpSession, payload: Buffer) => void;
  /** The destination has answered for the first time, or cannot be reached. */
  readonly onHeard: (destination: Destination, up: boolean) => void;
  /** The upstream is lost. The session has closed itself. */
  readonly onClosed: (session: UdpSession) => void;
}

/** One client's datagrams to one destination, over a connected socket of their own. */
export class UdpSession {
  readonly link = new SessionLink<UdpSession>(this);
  readonly client: UdpClient<UdpSession>;
  readonly destination: Destination;
  readonly #socket: Socket;
  readonly tallies: SessionTallies;
  readonly #events: SessionEvents;
  #state: "connecting" | "connected" | "closed" = "connecting";
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** The upstream has answered: it is there. */
  #answered = false;
  #closedFor: DropReason = "upstream_error";
  #awaitsAnswer = false;

  /** Nothing happens before `open`. */
  constructor(
    client: UdpClient<UdpSession>,
    destination: Destination,
    tallies: SessionTallies,
    events: SessionEvents,
  ) {
    this.client = client;
    this.destination = destination;
    this.tallies = tallies;
    this.#events = events;
    this.#socket = createSocket({
      type: destination.family === 4 ? "udp4" : "udp6",
      lookup: numericLookup,
      recvBufferSize: socketBufferBytes,
      sendBufferSize: socketBufferBytes,
    });
    this.#socket.on("message", (payload) => this.#onMessage(payload));
    this.#socket.on("error", (error) => this.#onError(error));
    this.#socket.once("connect", () => this.#onConnected());
  }

  /** The last datagram went to the destination: it may answer. */
  get awaitsAnswer(): boolean {
    return this.#awaitsAnswer;
  }

  /** Connects. What goes wrong may be told before this returns. */
  open(): void {
    this.tallies.ledger?.started(this.destination);
    this.#socket.connect(this.destination.port, this.destination.host);
  }

  /**
   * Sends `payload`, or drops it; counted either way. The bytes must not change afterwards: the
   * kernel may take them later.
   */
  send(payload: Uint8Array, frameBytes: number, kind: Forwarded): void {
    if (payload.length > maxPayloadBytes[this.destination.family]) {
      this.tallies.received.dropped("frame_too_large", frameBytes);
      return;
    }
    this.#awaitsAnswer = true;
    if (this.#state === "connecting") this.#wait(payload, frameBytes, kind);
    else if (this.#state === "closed") this.tallies.received.dropped(this.#closedFor, frameBytes);
    else this.#sendNow(payload, frameBytes, kind);
  }

  /**
   * Ends the session. Datagrams that still wait are dropped for `reason`; the log is told `as`, where
   * that is another.
   */
  close(reason: DropReason, as: EndReason = reason): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#closedFor = reason;
    for (const waiting of this.#waiting) this.tallies.received.dropped(reason, waiting.frameBytes);
    this.#waiting = [];
    this.tallies.ledger?.willEnd(as);
    this.tallies.ledger?.ended(as);
    this.#socket.close();
  }

  #wait(payload: Uint8Array, frameBytes: number, kind: Forwarded): void {
    const bytes = this.#waitingBytes + payload.length;
    if (this.#waiting.length === maxWaiting || bytes > maxWaitingBytes) {
      this.tallies.received.dropped("send_queue_full", frameBytes);
      return;
    }
    this.#waitingBytes = bytes;
    this.#waiting.push({ payload, frameBytes, kind });
  }

  #sendNow(payload: Uint8Array, frameBytes: number, kind: Forwarded): void {
    if (this.#socket.getSendQueueSize() > maxQueuedBytes) {
      this.tallies.received.dropped("send_queue_full", frameBytes);
      return;
    }
    if (this.#answered) {
      this.tallies.received.forwarded(kind, frameBytes);
      this.#socket.send(payload);
      return;
    }
    // A callback costs time, and is how a refused send shows itself: worth it until the upstream
    // is known to be there.
    this.#socket.send(payload, (error) => {
      if (error === null) this.tallies.received.forwarded(kind, frameBytes);
      else this.tallies.received.dropped(upstreamDropReason(error), frameBytes);
    });
  }

  #onConnected(): void {
    if (this.#state !== "connecting") return;
    this.#state = "connected";
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const { payload, frameBytes, kind } of waiting) this.#sendNow(payload, frameBytes, kind);
  }

  #onMessage(payload: Buffer): void {
    if (this.#state === "closed") return;
    this.#awaitsAnswer = false;
    if (!this.#answered) {
      this.#answered = true;
      this.#events.onHeard(this.destination, true);
    }
    this.#events.onReply(this, payload);
  }

  /** The socket could not be made or connected, or the kernel reports an earlier datagram refused. */
  #onError(error: NodeJS.ErrnoException): void {
    if (this.#state === "closed") return;
    const reason = upstreamDropReason(error);
    if (this.#state === "connected") this.tallies.received.lost(reason);
    this.#events.onHeard(this.destination, false);
    this.close(reason);
    this.#events.onClosed(this);
  }
}
