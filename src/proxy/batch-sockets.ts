import process from "node:process";
import type { DropReason } from "../common/drop-reason.ts";
import { errno } from "../common/errno.ts";
import { err, ok, type Result } from "../common/result.ts";
import { frameOffset } from "../engine/packet-slot.ts";
import { udpHeaderBytes } from "../packet/flow.ts";
import type { Arena } from "../runtime/arena.ts";
import { SLOT_BYTES } from "../runtime/wasm/layout.ts";
import { BatchSendingSocket } from "./batch-sending-socket.ts";
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
import { PeerNames } from "./peer-names.ts";
import type { Address } from "./plan.ts";
import { type QueueSocket, type QueueTally, SendQueue } from "./send-queue.ts";
import type { SendingSocket, SendingSocketOptions, SendingSockets } from "./sending-socket.ts";
import { SlotViews } from "./slot-views.ts";
import { type Readiness, SocketCalls, systemError } from "./socket-calls.ts";
import { upstreamDropReason } from "./socket-error.ts";
import { decodeSocketName, encodeSocketName } from "./socket-name.ts";
import type { Forwarded, PacketTally } from "./tally.ts";
import { maxPayloadBytes, socketBufferBytes } from "./udp-socket.ts";

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
export class BatchSockets implements DatagramSockets, SendingSockets {
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

  closeSending(fd: number): void {
    this.queue.flush();
    this.calls.close(fd);
  }

  /** Has `socket` told when it is ready. */
  watch(socket: WatchedSocket): NodeJS.ErrnoException | undefined {
    const id = this.#nextId++ >>> 0;
    const failed = this.calls.watch(this.#epoll, socket.fd, id);
    if (failed !== undefined) return failed;
    socket.id = id;
    this.#sockets.set(id, socket);
    this.#notify();
    return undefined;
  }

  /** Closes a socket after what waits for it was sent. */
  close(socket: WatchedSocket): void {
    this.queue.flush();
    socket.tellDrops();
    this.#sockets.delete(socket.id);
    this.calls.close(socket.fd);
    if (this.#sockets.size === 0) this.#unnotify();
  }

  /**
   * Receives what `socket` has, up to a batch, into `arrivals`: how many, or `-errno`. Their names are
   * those of slots from `firstOf(arrivals)` on.
   */
  receive(socket: WatchedSocket, arrivals: Arrivals<unknown>): number {
    if (receiveSlots - this.#nextSlot < leastSlots) this.#flush();
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

  /** Number of the slot that the first of the last `count` datagrams came into. */
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

  #flush(): void {
    this.queue.flush();
    this.#nextSlot = 0;
    this.#nextSegmentSlot = 0;
  }
}

/** A socket that `BatchSockets` watches. */
abstract class WatchedSocket implements QueueSocket {
  id = -1;
  fd = -1;
  readonly family: 4 | 6;
  /** Where in their slots datagrams are received. */
  readonly payloadAt: number;
  canSegment = true;
  firstQueued = -1;
  lastQueued = -1;
  protected readonly batches: BatchSockets;
  /** That were told of. */
  #drops = 0;

  constructor(batches: BatchSockets, family: 4 | 6, payloadAt?: number) {
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

class BatchListenerSocket<Peer extends DatagramPeer>
  extends WatchedSocket
  implements ListenerSocket<Peer>
{
  readonly #events: ListenerSocketEvents<Peer>;
  readonly #names: PeerNames<Peer>;
  readonly #arrivals: Arrivals<Peer> = { count: 0, payloads: [], peers: [] };

  constructor(
    batches: BatchSockets,
    family: 4 | 6,
    events: ListenerSocketEvents<Peer>,
    payloadAt: number | undefined,
  ) {
    super(batches, family, payloadAt);
    this.#events = events;
    this.#names = new PeerNames(events);
  }

  bind(listen: Address, reusePort: boolean): Promise<Result<Address, NodeJS.ErrnoException>> {
    return Promise.resolve(this.#bind(listen, reusePort));
  }

  #bind(listen: Address, reusePort: boolean): Result<Address, NodeJS.ErrnoException> {
    const { calls } = this.batches;
    const fd = calls.socket(this.family, socketBufferBytes, socketBufferBytes);
    if (!fd.ok) return fd;
    this.fd = fd.value;
    const bound = calls.bind(this.fd, encodeSocketName(listen, this.family), reusePort);
    const failed = bound.ok ? this.batches.watch(this) : bound.error;
    if (failed !== undefined) {
      calls.close(this.fd);
      this.fd = -1;
      return err(failed);
    }
    if (!bound.ok) throw new Error("unreachable: a failed bind was returned");
    const { address, port } = decodeSocketName(Buffer.from(bound.value), 0);
    return ok({ host: address, port });
  }

  onReady(): void {
    const arrivals = this.#arrivals;
    const count = this.batches.receive(this, arrivals);
    if (count < 0) {
      if (-count !== errno.EAGAIN && -count !== errno.EINTR) this.#events.onError();
      return;
    }
    const { calls } = this.batches;
    const first = this.batches.firstSlotOf(count);
    for (let i = 0; i < count; i++)
      arrivals.peers[i] = this.#names.find(calls.names, calls.nameWords, calls.nameAt(first + i));
    this.#events.onDatagrams(arrivals);
  }

  protected onKernelDrops(datagrams: number): void {
    this.#events.onKernelDrops(datagrams);
  }

  send(payload: Buffer, peer: Peer, frameBytes: number, kind: Forwarded, tally: PacketTally): void {
    if (this.fd < 0) tally.dropped("send_failed", frameBytes);
    else {
      peer.socketName ??= encodeSocketName({ host: peer.address, port: peer.port }, this.family);
      this.batches.queue.add(this, payload, peer.socketName, frameBytes, kind, tally);
    }
  }

  /** A peer that cannot be reached is that peer's alone. */
  onRefused(_error: NodeJS.ErrnoException, frameBytes: number, tally: QueueTally): boolean {
    this.drop(frameBytes, tally);
    return false;
  }

  drop(frameBytes: number, tally: QueueTally): void {
    tally.dropped("send_failed", frameBytes);
  }

  close(): Promise<void> {
    if (this.fd >= 0) this.batches.close(this);
    this.fd = -1;
    return Promise.resolve();
  }
}

class BatchUpstreamSocket extends WatchedSocket implements UpstreamSocket {
  readonly #destination: Destination;
  tally: PacketTally;
  readonly #events: UpstreamSocketEvents;
  readonly #arrivals: Arrivals<undefined> = { count: 0, payloads: [], peers: [] };
  /** Why what is sent from now on is dropped. */
  #lost: DropReason = "upstream_error";

  constructor(
    batches: BatchSockets,
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
      this.#failed(fd.error, false);
      return;
    }
    this.fd = fd.value;
    const failed =
      calls.connect(this.fd, encodeSocketName(this.#destination, this.family)) ??
      this.batches.watch(this);
    if (failed !== undefined) this.#failed(failed, false);
  }

  onReady(): void {
    const count = this.batches.receive(this, this.#arrivals);
    if (count > 0) this.#events.onDatagrams(this.#arrivals);
    else if (count < 0 && -count !== errno.EAGAIN && -count !== errno.EINTR)
      this.#failed(systemError(-count, "recvmmsg"), true);
  }

  protected onKernelDrops(datagrams: number): void {
    this.#events.onKernelDrops(datagrams);
  }

  send(payload: Buffer, frameBytes: number, kind: Forwarded): void {
    if (this.fd < 0) this.drop(frameBytes, this.tally);
    else this.batches.queue.add(this, payload, undefined, frameBytes, kind, this.tally);
  }

  onRefused(error: NodeJS.ErrnoException, frameBytes: number, tally: QueueTally): boolean {
    this.#failed(error, true);
    this.drop(frameBytes, tally);
    return true;
  }

  drop(frameBytes: number, tally: QueueTally): void {
    tally.dropped(this.#lost, frameBytes);
  }

  close(reason: DropReason): void {
    this.#lost = reason;
    if (this.fd >= 0) this.batches.close(this);
    this.fd = -1;
  }

  #failed(error: NodeJS.ErrnoException, wasConnected: boolean): void {
    this.#lost = upstreamDropReason(error);
    this.#events.onError(error, wasConnected);
  }
}
