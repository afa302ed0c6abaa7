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
  send(
    socket: QueueSocket,
    datagram: Uint8Array,
    name: Uint8Array,
    frameBytes: number,
    tally: QueueTally,
  ): void;
  /** Closes a socket after what waits for it was sent. */
  closeSending(socket: QueueSocket): void;
}

/** `io: mmsg`: its datagrams wait in the worker's queue until the end of the turn. */
export class BatchSendingSocket implements SendingSocket, QueueSocket {
  readonly fd: number;
  canSegment = true;
  firstQueued = -1;
  lastQueued = -1;
  atStake = 0;
  readonly #batches: SendingBatches;
  readonly #family: 4 | 6;
  #isOpen = true;

  private constructor(batches: SendingBatches, fd: number, family: 4 | 6) {
    this.#batches = batches;
    this.fd = fd;
    this.#family = family;
  }

  static bind(
    batches: SendingBatches,
    { family, host, port, reusePort }: SendingSocketOptions,
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
    return ok(new BatchSendingSocket(batches, fd.value, family));
  }

  send(
    datagram: Uint8Array,
    to: DatagramPeer,
    _isHeard: boolean,
    frameBytes: number,
    tally: QueueTally,
  ): DropReason | undefined {
    if (!this.#isOpen) return "shutting_down";
    to.socketName ??= encodeSocketName({ host: to.address, port: to.port }, this.#family);
    this.#batches.send(this, datagram, to.socketName, frameBytes, tally);
    return undefined;
  }

  /** Whom a datagram cannot reach is that one's alone. */
  onRefused(error: NodeJS.ErrnoException, frameBytes: number, tally: QueueTally): boolean {
    tally.dropped(upstreamDropReason(error), frameBytes);
    return false;
  }

  drop(frameBytes: number, tally: QueueTally): void {
    tally.dropped("send_failed", frameBytes);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#batches.closeSending(this);
  }
}
