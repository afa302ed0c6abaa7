import type { DropReason } from "../common/drop-reason.ts";
import type { AccessLog, EndReason } from "./access-log.ts";
import type { Arrivals, DatagramSockets, UpstreamSocket } from "./datagram-socket.ts";
import type { Destination } from "./destinations.ts";
import type { ListenerPlan } from "./plan.ts";
import { SessionLedger, type SessionTallies } from "./session-ledger.ts";
import { SessionLink } from "./session-table.ts";
import { upstreamDropReason } from "./socket-error.ts";
import type { Forwarded } from "./tally.ts";
import type { UdpClient } from "./udp-client.ts";
import { maxPayloadBytes } from "./udp-socket.ts";

export interface SessionEvents {
  /** Datagrams of the upstream, for the client. */
  readonly onReplies: (session: UdpSession, arrivals: Arrivals<undefined>) => void;
  /** The destination has answered for the first time, or cannot be reached. */
  readonly onHeard: (destination: Destination, up: boolean) => void;
  /** The upstream is lost. The session has closed itself. */
  readonly onClosed: (session: UdpSession) => void;
  /** See `UpstreamSocketEvents`. */
  readonly onKernelDrops: (datagrams: number) => void;
  readonly onLocalPort: (session: UdpSession) => void;
}

/** One client's datagrams to one destination, over a connected socket of their own. */
export class UdpSession {
  readonly link = new SessionLink<UdpSession>(this);
  readonly client: UdpClient<UdpSession>;
  readonly destination: Destination;
  readonly #socket: UpstreamSocket;
  #tallies: SessionTallies;
  readonly #events: SessionEvents;
  #isClosed = false;
  /** The upstream has answered: it is there. */
  #answered = false;
  #closedFor: DropReason = "upstream_error";
  #awaitsAnswer = false;
  #localPort = 0;

  /** Nothing happens before `open`. */
  constructor(
    client: UdpClient<UdpSession>,
    destination: Destination,
    tallies: SessionTallies,
    sockets: DatagramSockets,
    events: SessionEvents,
  ) {
    this.client = client;
    this.destination = destination;
    this.#tallies = tallies;
    this.#events = events;
    this.#socket = sockets.upstream(destination, tallies.received, {
      onDatagrams: (arrivals) => this.#onDatagrams(arrivals),
      onError: (error, lost) => this.#onError(error, lost),
      onKernelDrops: events.onKernelDrops,
      onLocalPort: (port) => {
        this.#localPort = port;
        events.onLocalPort(this);
      },
    });
  }

  get tallies(): SessionTallies {
    return this.#tallies;
  }

  /** Goes on under the access log of a plan that comes into force. */
  follow(log: AccessLog, plan: Pick<ListenerPlan, "name" | "protocol">): void {
    this.#tallies = SessionLedger.goOn(log, plan, this.client, this.destination, this.#tallies);
    this.#socket.tally = this.#tallies.received;
  }

  /** Its socket's, where `onLocalPort` has told it; else 0. */
  get localPort(): number {
    return this.#localPort;
  }

  /** The last datagram went to the destination: it may answer. */
  get awaitsAnswer(): boolean {
    return this.#awaitsAnswer;
  }

  /** Connects. What goes wrong may be told before this returns. */
  open(): void {
    this.#tallies.ledger?.started(this.destination);
    this.#socket.connect();
  }

  /** Sends `payload`, or drops it; counted either way. See `UpstreamSocket.send`. */
  send(payload: Buffer, frameBytes: number, kind: Forwarded): void {
    if (payload.length > maxPayloadBytes[this.destination.family]) {
      this.#tallies.received.dropped("frame_too_large", frameBytes);
      return;
    }
    this.#awaitsAnswer = true;
    if (this.#isClosed) this.#tallies.received.dropped(this.#closedFor, frameBytes);
    else this.#socket.send(payload, frameBytes, kind);
  }

  /**
   * Ends the session. Datagrams that still wait are dropped for `reason`; the log is told `as`, where
   * that is another.
   */
  close(reason: DropReason, as: EndReason = reason): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closedFor = reason;
    this.#tallies.ledger?.willEnd(as);
    this.#socket.close(reason);
    this.#tallies.ledger?.ended(as);
  }

  #onDatagrams(arrivals: Arrivals<undefined>): void {
    this.#awaitsAnswer = false;
    if (!this.#answered) {
      this.#answered = true;
      this.#events.onHeard(this.destination, true);
    }
    this.#events.onReplies(this, arrivals);
  }

  #onError(error: NodeJS.ErrnoException, lost: number): void {
    const reason = upstreamDropReason(error);
    for (let i = 0; i < lost; i++) this.#tallies.received.lost(reason);
    // Told as its last datagrams are sent: it has its end already.
    if (this.#isClosed) return;
    this.#events.onHeard(this.destination, false);
    this.close(reason);
    this.#events.onClosed(this);
  }
}
