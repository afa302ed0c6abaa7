import { createSocket, type Socket } from "node:dgram";
import type { DropReason } from "../../common/drop-reason.ts";
import { SessionLimit } from "../session-limit.ts";
import { SessionLink, SessionTable } from "../session-table.ts";
import { maxQueuedBytes, numericLookup, socketBufferBytes } from "../udp-socket.ts";

/** Sockets kept. A load balancer has a source port a flow; more flows than this take turns. */
const maxSockets = 1024;
/** A socket that could not be bound is tried again after this. */
const retryMs = 1000;
/** Datagrams that wait until a socket is bound; more are dropped. */
const maxWaiting = 16;

interface Waiting {
  readonly datagram: Uint8Array;
  readonly port: number;
  readonly address: string;
}

/** A socket bound to one source port. */
class SourcePort {
  readonly link = new SessionLink<SourcePort>(this);
  readonly key: number;
  readonly socket: Socket;
  state: "binding" | "bound" | "failed" = "binding";
  failedAtMs = 0;
  waiting: Waiting[] = [];

  constructor(key: number, socket: Socket) {
    this.key = key;
    this.socket = socket;
  }
}

interface SourcePortOptions {
  /** Address that answers come from: the listener's. */
  readonly host: string;
  readonly family: 4 | 6;
  /** Other workers bind the same ports. */
  readonly reusePort: boolean;
  readonly idleTimeoutMs: number;
  readonly nowMs: () => number;
  /** A datagram that `send` took went nowhere. */
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

  /** Sends from `sourcePort`, or says why not. The bytes must not change afterwards. */
  send(
    sourcePort: number,
    datagram: Uint8Array,
    port: number,
    address: string,
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
    switch (source.state) {
      case "failed":
        return "send_failed";
      case "binding":
        if (source.waiting.length === maxWaiting) return "send_queue_full";
        source.waiting.push({ datagram, port, address });
        return undefined;
      case "bound":
        if (source.socket.getSendQueueSize() > maxQueuedBytes) return "send_queue_full";
        source.socket.send(datagram, port, address);
        return undefined;
    }
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
    const { family, host, reusePort, nowMs, onLost } = this.#options;
    const socket = createSocket({
      type: family === 4 ? "udp4" : "udp6",
      reusePort,
      lookup: numericLookup,
      sendBufferSize: socketBufferBytes,
    });
    const source = new SourcePort(sourcePort, socket);
    socket.on("error", () => {
      if (source.state !== "binding") return;
      source.state = "failed";
      source.failedAtMs = nowMs();
      for (const _ of source.waiting.splice(0)) onLost("send_failed");
    });
    socket.once("listening", () => {
      source.state = "bound";
      for (const { datagram, port, address } of source.waiting.splice(0))
        socket.send(datagram, port, address);
    });
    this.#table.add(source);
    this.#ports.set(sourcePort, source);
    socket.bind({ address: host, port: sourcePort, exclusive: true });
    return source;
  }

  /** It is in the table no more. */
  #forget(port: SourcePort): void {
    this.#ports.delete(port.key);
    for (const _ of port.waiting.splice(0)) this.#options.onLost("shutting_down");
    port.socket.close();
  }
}
