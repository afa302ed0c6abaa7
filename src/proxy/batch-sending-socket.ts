import type { DropReason } from "../common/drop-reason.ts";
import { err, ok, type Result } from "../common/result.ts";
import type { DatagramPeer } from "./datagram-socket.ts";
import type { QueueSocket, QueueTally } from "./send-queue.ts";
import type { SendingSocket, SendingSocketOptions } from "./sending-socket.ts";
import type { SocketCalls } from "./socket-calls.ts";
import { upstreamDropReason } from "./socket-error.ts";
import { encodeSocketName } from "./socket-name.ts";
import { socketBufferBytes } from "./udp-socket.ts";

/** The batches of a worker, as a socket that sends needs them. */
interface SendingBatches {
  readonly calls: SocketCalls;
  /** Sends from `socket` when this turn ends; outside of a turn of its own, at once. */
  send(socket: QueueSocket, datagram: Uint8Array, name: Uint8Array, tally: QueueTally): void;
  /** Closes a socket after what waits for it was sent. */
  closeSending(fd: number): void;
}

/** Whoever sends counts a datagram as sent when it is queued: only what is lost is told. */
class LossTally implements QueueTally {
  readonly #onLost: (reason: DropReason) => void;

  constructor(onLost: (reason: DropReason) => void) {
    this.#onLost = onLost;
  }

  forwarded(): void {}

  dropped(reason: DropReason): void {
    this.#onLost(reason);
  }
}

/** `io: mmsg`: its datagrams wait in the worker's queue until the end of the turn. */
export class BatchSendingSocket implements SendingSocket, QueueSocket {
  readonly fd: number;
  canSegment = true;
  firstQueued = -1;
  lastQueued = -1;
  readonly #batches: SendingBatches;
  readonly #family: 4 | 6;
  readonly #tally: LossTally;
  #isOpen = true;

  private constructor(
    batches: SendingBatches,
    fd: number,
    family: 4 | 6,
    onLost: (reason: DropReason) => void,
  ) {
    this.#batches = batches;
    this.fd = fd;
    this.#family = family;
    this.#tally = new LossTally(onLost);
  }

  static bind(
    batches: SendingBatches,
    { family, host, port, reusePort, onLost }: SendingSocketOptions,
  ): Result<BatchSendingSocket, NodeJS.ErrnoException> {
    const { calls } = batches;
    // What strangers send to it nobody reads, so it is to hold as little as the kernel allows.
    const fd = calls.socket(family, socketBufferBytes, 0);
    if (!fd.ok) return fd;
    const bound = calls.bind(fd.value, encodeSocketName({ host, port }, family), reusePort);
    if (!bound.ok) {
      calls.close(fd.value);
      return err(bound.error);
    }
    return ok(new BatchSendingSocket(batches, fd.value, family, onLost));
  }

  send(datagram: Uint8Array, to: DatagramPeer): DropReason | undefined {
    if (!this.#isOpen) return "shutting_down";
    to.socketName ??= encodeSocketName({ host: to.address, port: to.port }, this.#family);
    this.#batches.send(this, datagram, to.socketName, this.#tally);
    return undefined;
  }

  /** Whom a datagram cannot reach is that one's alone. */
  onRefused(error: NodeJS.ErrnoException): boolean {
    this.#tally.dropped(upstreamDropReason(error));
    return false;
  }

  drop(): void {
    this.#tally.dropped("send_failed");
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#batches.closeSending(this.fd);
  }
}
