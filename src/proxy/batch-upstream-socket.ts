import type { DropReason } from "../common/drop-reason.ts";
import { errno } from "../common/errno.ts";
import type { Arrivals, UpstreamSocket, UpstreamSocketEvents } from "./datagram-socket.ts";
import type { Destination } from "./destinations.ts";
import type { QueueTally } from "./send-queue.ts";
import { systemError } from "./socket-calls.ts";
import { upstreamDropReason } from "./socket-error.ts";
import { encodeSocketName } from "./socket-name.ts";
import type { Forwarded, PacketTally } from "./tally.ts";
import { socketBufferBytes } from "./udp-socket.ts";
import { type Batches, WatchedSocket } from "./watched-socket.ts";

/** A session's, connected to its destination. */
export class BatchUpstreamSocket extends WatchedSocket implements UpstreamSocket {
  readonly #destination: Destination;
  tally: PacketTally;
  readonly #events: UpstreamSocketEvents;
  readonly #arrivals: Arrivals<undefined> = { count: 0, payloads: [], peers: [] };
  /** Why what is sent from now on is dropped. */
  #lost: DropReason = "upstream_error";

  constructor(
    batches: Batches,
    destination: Destination,
    tally: PacketTally,
    events: UpstreamSocketEvents,
  ) {
    super(batches, destination.family);
    this.#destination = destination;
    this.tally = tally;
    this.#events = events;
  }

  connect(): void {
    const { calls } = this.batches;
    const fd = calls.socket(this.family, socketBufferBytes, socketBufferBytes);
    if (!fd.ok) {
      this.#failed(fd.error, 0);
      return;
    }
    this.fd = fd.value;
    const failed =
      calls.connect(this.fd, encodeSocketName(this.#destination, this.family)) ??
      this.batches.watch(this);
    if (failed !== undefined) this.#failed(failed, 0);
  }

  onReady(): void {
    const count = this.batches.receive(this, this.#arrivals);
    if (count > 0) this.#events.onDatagrams(this.#arrivals);
    else if (count < 0 && -count !== errno.EAGAIN && -count !== errno.EINTR)
      this.#failed(systemError(-count, "recvmmsg"), this.atStake);
  }

  protected onKernelDrops(datagrams: number): void {
    this.#events.onKernelDrops(datagrams);
  }

  send(payload: Buffer, frameBytes: number, kind: Forwarded): void {
    if (this.fd < 0) this.drop(frameBytes, this.tally);
    else this.batches.queue.add(this, payload, undefined, frameBytes, kind, this.tally);
  }

  onRefused(error: NodeJS.ErrnoException, frameBytes: number, tally: QueueTally): boolean {
    // All else is what befell this datagram, and not one before it.
    this.#failed(error, error.code === "ECONNREFUSED" ? this.atStake : 0);
    this.drop(frameBytes, tally);
    return true;
  }

  drop(frameBytes: number, tally: QueueTally): void {
    tally.dropped(this.#lost, frameBytes);
  }

  close(reason: DropReason): void {
    if (this.fd < 0) return;
    this.#lost = reason;
    this.batches.close(this);
    this.fd = -1;
  }

  /** `lost`: see `UpstreamSocketEvents.onError`. What waits is not sent after them. */
  #failed(error: NodeJS.ErrnoException, lost: number): void {
    this.#lost = upstreamDropReason(error);
    this.batches.queue.drop(this);
    this.atStake = 0;
    this.#events.onError(error, lost);
  }
}
