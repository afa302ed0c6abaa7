import type { DropReason } from "../../common/drop-reason.ts";
import type { DatagramPeer } from "../datagram-socket.ts";
import type { QueueTally } from "../send-queue.ts";
import type { SendingSocket, SendingSockets } from "../sending-socket.ts";
import { SessionLimit } from "../session-limit.ts";
import { SessionLink, SessionTable } from "../session-table.ts";

/** Sockets kept. A load balancer has a source port a flow; more flows than this take turns. */
const maxSockets = 1024;
/** A socket that could not be bound is tried again after this. */
const retryMs = 1000;
/** Datagrams that wait until a socket is bound; more are dropped. */
const maxWaiting = 16;

interface Waiting {
  readonly datagram: Uint8Array;
  readonly to: DatagramPeer;
  readonly frameBytes: number;
  readonly tally: QueueTally;
}

/** A socket bound to one source port. */
class SourcePort {
  readonly link = new SessionLink<SourcePort>(this);
  readonly key: number;
  socket: SendingSocket | undefined;
  state: "binding" | "bound" | "failed" | "closed" = "binding";
  failedAtMs = 0;
  waiting: Waiting[] = [];

  constructor(key: number) {
    this.key = key;
  }
}

function drop(waiting: Waiting[], reason: DropReason): void {
  for (const { frameBytes, tally } of waiting.splice(0)) tally.dropped(reason, frameBytes);
}

interface SourcePortOptions {
  readonly sockets: SendingSockets;
  /** Address that answers come from: the listener's. */
  readonly host: string;
  readonly family: 4 | 6;
  /** Other workers bind the same ports. */
  readonly reusePort: boolean;
  readonly idleTimeoutMs: number;
  readonly nowMs: () => number;
  /** A datagram that was counted as sent went nowhere. */
  readonly onLost: (reason: DropReason) => void;
}

/**
 * Sends from the port that a packet came from, as a gateway load balancer asks: one bound socket a
 * source port, the least recently used closed beyond 1,024. A raw socket would need a privilege.
 */
export class SourcePorts {
  readonly #options: SourcePortOptions;
  readonly #ports = new Map<number, SourcePort>();
  readonly #table: SessionTable<SourcePort>;

  constructor(options: SourcePortOptions) {
    this.#options = options;
    const forget = (port: SourcePort): void => this.#forget(port);
    this.#table = new SessionTable({
      limit: SessionLimit.alone(maxSockets),
      idleTimeoutMs: options.idleTimeoutMs,
      nowMs: options.nowMs,
      onIdle: forget,
      onEvicted: forget,
    });
  }

  /** Sockets open now. */
  get size(): number {
    return this.#table.size;
  }

  /** Sends from `sourcePort`, or says why not. See `SendingSocket` on what becomes of the bytes, and of the frame. */
  send(
    sourcePort: number,
    datagram: Uint8Array,
    to: DatagramPeer,
    frameBytes: number,
    tally: QueueTally,
  ): DropReason | undefined {
    // A datagram may come from port 0 (RFC 768); none can be sent from there.
    if (sourcePort === 0) return "send_failed";
    let source = this.#ports.get(sourcePort);
    if (source?.state === "failed" && this.#options.nowMs() - source.failedAtMs >= retryMs) {
      this.#table.remove(source);
      this.#forget(source);
      source = undefined;
    }
    source ??= this.#open(sourcePort);
    this.#table.touch(source);
    // It sent from there what is being answered.
    if (source.socket !== undefined)
      return source.socket.send(datagram, to, true, frameBytes, tally);
    if (source.state !== "binding") return "send_failed";
    if (source.waiting.length === maxWaiting) return "send_queue_full";
    source.waiting.push({ datagram, to, frameBytes, tally });
    return undefined;
  }

  /** Keeps sockets so long without use from now on. */
  follow(idleTimeoutMs: number): void {
    this.#table.follow(SessionLimit.alone(maxSockets), idleTimeoutMs);
  }

  close(): void {
    for (const port of this.#table.entries()) {
      this.#table.remove(port);
      this.#forget(port);
    }
  }

  #open(sourcePort: number): SourcePort {
    const { sockets, family, host, reusePort, nowMs, onLost } = this.#options;
    const source = new SourcePort(sourcePort);
    this.#table.add(source);
    this.#ports.set(sourcePort, source);
    sockets.sending({ family, host, port: sourcePort, reusePort, onLost }, (bound) => {
      if (source.state === "closed") {
        if (bound.ok) bound.value.close();
        return;
      }
      if (!bound.ok) {
        source.state = "failed";
        source.failedAtMs = nowMs();
        drop(source.waiting, "send_failed");
        return;
      }
      source.state = "bound";
      source.socket = bound.value;
      for (const { datagram, to, frameBytes, tally } of source.waiting.splice(0)) {
        const dropped = source.socket.send(datagram, to, true, frameBytes, tally);
        if (dropped !== undefined) tally.dropped(dropped, frameBytes);
      }
    });
    return source;
  }

  /** It is in the table no more. */
  #forget(port: SourcePort): void {
    this.#ports.delete(port.key);
    drop(port.waiting, "shutting_down");
    port.state = "closed";
    port.socket?.close();
    port.socket = undefined;
  }
}
