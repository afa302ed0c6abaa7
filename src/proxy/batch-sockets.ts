import process from "node:process";
import { err, ok, type Result } from "../common/result.ts";
import { frameOffset } from "../engine/packet-slot.ts";
import type { Arena } from "../runtime/arena.ts";
import { SLOT_BYTES } from "../runtime/wasm/layout.ts";
import { BatchListenerSocket } from "./batch-listener-socket.ts";
import { BatchSendingSocket } from "./batch-sending-socket.ts";
import { BatchUpstreamSocket } from "./batch-upstream-socket.ts";
import type {
  Arrivals,
  DatagramPeer,
  DatagramSockets,
  ListenerSocket,
  ListenerSocketEvents,
  UpstreamSocket,
  UpstreamSocketEvents,
} from "./datagram-socket.ts";
import type { DescriptorSet } from "./descriptor-set.ts";
import type { Destination } from "./destinations.ts";
import type { PacketSlots } from "./packet-slots.ts";
import { type QueueSocket, type QueueTally, SendQueue } from "./send-queue.ts";
import type { SendingSocket, SendingSocketOptions, SendingSockets } from "./sending-socket.ts";
import { SlotViews } from "./slot-views.ts";
import { type Readiness, SocketCalls } from "./socket-calls.ts";
import type { PacketTally } from "./tally.ts";
import { maxPayloadBytes } from "./udp-socket.ts";
import type { Batches, WatchedSocket } from "./watched-socket.ts";

/** Slots that datagrams are received into before all that waits is sent. */
const receiveSlots = 24;
/** With fewer slots than this free, what waits is sent before more is received. */
const leastSlots = 8;
/** Slots for what is sent and lies in none: what filters rewrote. */
const spareSlots = 2;
/** Slots that frames are written to, to be judged and sent there: segments. */
const segmentSlots = 4;
/** A turn that has taken as long leaves the sockets that are left to the next: messages come between. */
const longestTurnMs = 2;
/**
 * A socket that gives less at once, and no full batch, was not full: the kernel's default buffers hold more.
 * So it is asked for its drops when it has given as much, and as it is closed.
 */
const leastFullBytes = 65_536;
/** Packet slots that batches take of a worker's. */
export const batchSlots = receiveSlots + spareSlots + segmentSlots;

/**
 * `io: mmsg`: UDP sockets that receive many datagrams a system call, straight into packet slots, and
 * send many out of them. One for all sockets of a worker. Node's event loop waits for one descriptor
 * that stands for all of them; in a turn, what ready sockets have goes through, and out together.
 */
export class BatchSockets implements Batches, DatagramSockets, SendingSockets {
  readonly calls: SocketCalls;
  readonly queue: SendQueue;
  readonly #firstSlot: number;
  readonly #epoll: number;
  readonly #sockets = new Map<number, WatchedSocket>();
  /** Sockets that were said to be ready: how many, and of how many the turn has come. */
  readonly #ready = new Uint32Array(64);
  #readyCount = 0;
  #served = 0;
  readonly #lengths = new Uint32Array(receiveSlots);
  readonly #views: SlotViews;
  #nextSlot = 0;
  #nextSegmentSlot = 0;
  #nextId = 0;
  /** Sockets that are ready are being served: at the end, all that waits is sent. */
  #isInTurn = false;
  #readiness: Readiness | undefined;

  private constructor(arena: Arena, calls: SocketCalls, firstSlot: number, epoll: number) {
    this.calls = calls;
    this.#firstSlot = firstSlot;
    this.#epoll = epoll;
    const spares = Array.from(
      { length: spareSlots },
      (_, i) => firstSlot + (receiveSlots + i) * SLOT_BYTES + frameOffset,
    );
    this.queue = new SendQueue(arena, calls, spares, SLOT_BYTES - frameOffset);
    this.#views = new SlotViews(arena);
  }

  /** Takes `batchSlots` of the worker's slots; or says why there is no such thing here. */
  static async create(
    arena: Arena,
    slots: PacketSlots,
    descriptors: DescriptorSet,
  ): Promise<Result<BatchSockets, string>> {
    const firstSlot = slots.reserve(batchSlots);
    const calls = await SocketCalls.load(arena, descriptors, firstSlot, batchSlots);
    if (!calls.ok) return calls;
    const epoll = calls.value.epoll();
    if (!epoll.ok) return err(epoll.error.message);
    return ok(new BatchSockets(arena, calls.value, firstSlot, epoll.value));
  }

  listener<Peer extends DatagramPeer>(
    family: 4 | 6,
    events: ListenerSocketEvents<Peer>,
    payloadAt?: number,
  ): ListenerSocket<Peer> {
    return new BatchListenerSocket(this, family, events, payloadAt);
  }

  upstream(
    destination: Destination,
    tally: PacketTally,
    events: UpstreamSocketEvents,
  ): UpstreamSocket {
    return new BatchUpstreamSocket(this, destination, tally, events);
  }

  sending(
    options: SendingSocketOptions,
    onBound: (bound: Result<SendingSocket, NodeJS.ErrnoException>) => void,
  ): void {
    onBound(BatchSendingSocket.bind(this, options));
  }

  send(
    socket: QueueSocket,
    datagram: Uint8Array,
    name: Uint8Array,
    frameBytes: number,
    tally: QueueTally,
  ): void {
    this.queue.add(socket, datagram, name, frameBytes, "pass", tally);
    if (!this.#isInTurn) this.queue.flush();
  }

  /**
   * A packet slot to write frames to, which may then be sent. It is another's no sooner than all others
   * have been given, and then what waits is sent first.
   */
  segmentSlot(): number {
    if (this.#nextSegmentSlot === segmentSlots) {
      this.queue.flush();
      this.#nextSegmentSlot = 0;
    }
    const slot = receiveSlots + spareSlots + this.#nextSegmentSlot++;
    return this.#firstSlot + slot * SLOT_BYTES;
  }

  closeSending(socket: QueueSocket): void {
    this.#sendLast(socket);
    this.calls.close(socket.fd);
  }

  watch(socket: WatchedSocket): NodeJS.ErrnoException | undefined {
    const id = this.#nextId++ >>> 0;
    const failed = this.calls.watch(this.#epoll, socket.fd, id);
    if (failed !== undefined) return failed;
    socket.id = id;
    this.#sockets.set(id, socket);
    this.#notify();
    return undefined;
  }

  close(socket: WatchedSocket): void {
    this.#sendLast(socket);
    socket.tellDrops();
    this.#sockets.delete(socket.id);
    this.calls.close(socket.fd);
    if (this.#sockets.size === 0) this.#unnotify();
  }

  receive(socket: WatchedSocket, arrivals: Arrivals<unknown>): number {
    if (receiveSlots - this.#nextSlot < leastSlots) {
      this.#flush();
      arrivals.count = 0;
      if (socket.fd < 0) return 0;
    }
    const first = this.#nextSlot;
    const room = receiveSlots - first;
    const { payloadAt } = socket;
    const capacity = maxPayloadBytes[socket.family];
    const count = this.calls.receive(socket.fd, first, room, payloadAt, capacity, this.#lengths);
    if (count < 0) return count;
    this.#nextSlot = first + count;
    arrivals.count = count;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const slot = first + i;
      const at = this.#firstSlot + slot * SLOT_BYTES + payloadAt;
      arrivals.payloads[i] = this.#views.of(slot, at, this.#lengths[slot]!);
      bytes += this.#lengths[slot]!;
    }
    if (count === room || bytes >= leastFullBytes) socket.tellDrops();
    return count;
  }

  firstSlotOf(count: number): number {
    return this.#nextSlot - count;
  }

  /** A notice keeps the event loop alive, so it is there only while a socket is. */
  #notify(): void {
    if (this.#readiness !== undefined) return;
    // In the same turn, and not out of koffi's call: nothing may be thrown there, and who gets stuck there
    // cannot be ended.
    this.#readiness = this.calls.notify(this.#epoll, () => setImmediate(this.#onReady));
    // koffi aborts the process where it calls back into a thread that may run no JavaScript any more.
    process.once("exit", this.#unnotify);
  }

  readonly #unnotify = (): void => {
    process.off("exit", this.#unnotify);
    this.#readiness?.close();
    this.#readiness = undefined;
  };

  readonly #onReady = (): void => {
    this.#isInTurn = true;
    try {
      if (this.#served === this.#readyCount) {
        this.#readyCount = this.calls.ready(this.#epoll, this.#ready);
        this.#served = 0;
      }
      const endMs = performance.now() + longestTurnMs;
      while (this.#served < this.#readyCount) {
        this.#sockets.get(this.#ready[this.#served++]!)?.onReady();
        if (performance.now() >= endMs) break;
      }
      this.#flush();
    } finally {
      this.#isInTurn = false;
    }
  };

  /** Sends what waits for a socket that is to be closed; what cannot go, within a flush, is dropped. */
  #sendLast(socket: QueueSocket): void {
    this.queue.flush();
    this.queue.drop(socket);
  }

  #flush(): void {
    this.queue.flush();
    this.#nextSlot = 0;
    this.#nextSegmentSlot = 0;
  }
}
