import { errno } from "../common/errno.ts";
import { err, ok, type Result } from "../common/result.ts";
import type {
  Arrivals,
  DatagramPeer,
  ListenerSocket,
  ListenerSocketEvents,
} from "./datagram-socket.ts";
import { PeerNames } from "./peer-names.ts";
import type { Address } from "./plan.ts";
import type { QueueTally } from "./send-queue.ts";
import { decodeSocketName, encodeSocketName } from "./socket-name.ts";
import type { Forwarded, PacketTally } from "./tally.ts";
import { socketBufferBytes } from "./udp-socket.ts";
import { type Batches, WatchedSocket } from "./watched-socket.ts";

/** A listener's, whose peers it knows by the names that the kernel writes. */
export class BatchListenerSocket<Peer extends DatagramPeer>
  extends WatchedSocket
  implements ListenerSocket<Peer>
{
  readonly #events: ListenerSocketEvents<Peer>;
  readonly #names: PeerNames<Peer>;
  readonly #arrivals: Arrivals<Peer> = { count: 0, payloads: [], peers: [] };

  constructor(
    batches: Batches,
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
