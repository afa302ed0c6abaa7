import { frameOffset } from "../engine/packet-slot.ts";
import { udpHeaderBytes } from "../packet/flow.ts";
import type { Arrivals } from "./datagram-socket.ts";
import type { QueueSocket, QueueTally, SendQueue } from "./send-queue.ts";
import type { SocketCalls } from "./socket-calls.ts";

/** The batches of a worker, as a socket that receives needs them. */
export interface Batches {
  readonly calls: SocketCalls;
  readonly queue: SendQueue;
  /** Has `socket` told when it is ready. */
  watch(socket: WatchedSocket): NodeJS.ErrnoException | undefined;
  /**
   * Receives what `socket` has, up to a batch, into `arrivals`: how many, or `-errno`. Their names are
   * those of slots from `firstSlotOf` that number on. What waits may be sent first: where that ends the
   * socket, none are.
   */
  receive(socket: WatchedSocket, arrivals: Arrivals<unknown>): number;
  /** Number of the slot that the first of the last `count` datagrams came into. */
  firstSlotOf(count: number): number;
  /** Closes a socket after what waits for it was sent. */
  close(socket: WatchedSocket): void;
}

/** `io: mmsg`: a socket that a worker's batches watch, and receive from as it is ready. */
export abstract class WatchedSocket implements QueueSocket {
  id = -1;
  fd = -1;
  readonly family: 4 | 6;
  /** Where in their slots datagrams are received. */
  readonly payloadAt: number;
  canSegment = true;
  firstQueued = -1;
  lastQueued = -1;
  atStake = 0;
  protected readonly batches: Batches;
  /** That were told of. */
  #drops = 0;

  constructor(batches: Batches, family: 4 | 6, payloadAt?: number) {
    this.batches = batches;
    this.family = family;
    this.payloadAt = payloadAt ?? frameOffset + udpHeaderBytes[family];
  }

  /** Tells of datagrams that the kernel has dropped since the last time. */
  tellDrops(): void {
    const drops = this.batches.calls.dropped(this.fd);
    if (drops === this.#drops) return;
    this.onKernelDrops((drops - this.#drops) >>> 0);
    this.#drops = drops;
  }

  abstract onReady(): void;
  protected abstract onKernelDrops(datagrams: number): void;
  abstract onRefused(error: NodeJS.ErrnoException, frameBytes: number, tally: QueueTally): boolean;
  abstract drop(frameBytes: number, tally: QueueTally): void;
}
