import { errno } from "../common/errno.ts";
import type { Arena } from "../runtime/arena.ts";
import { maxMessages, type SocketCalls, systemError } from "./socket-calls.ts";
import type { Forwarded, PacketTally } from "./tally.ts";

/** Who is told what became of a datagram that waited. */
export type QueueTally = Pick<PacketTally, "forwarded" | "dropped">;

/** A socket that datagrams wait for. */
export interface QueueSocket {
  readonly fd: number;
  /** The kernel has not refused to cut for it. */
  canSegment: boolean;
  /** Of its datagrams that wait; -1: none. */
  firstQueued: number;
  lastQueued: number;
  /**
   * Its datagrams that are lost where the kernel says next that one was refused: those of the last message
   * that it took, or took before it kept an error to itself.
   */
  atStake: number;
  /** The kernel refused a datagram. Whether the socket is of no more use. */
  onRefused(error: NodeJS.ErrnoException, frameBytes: number, tally: QueueTally): boolean;
  /** What becomes of a datagram that is left over then. */
  drop(frameBytes: number, tally: QueueTally): void;
}

/** Most bytes and datagrams that the kernel cuts a message into: an IP packet, UDP_MAX_SEGMENTS. */
const maxSegmentedBytes = 65_000;
const maxSegments = 64;

/** What the kernel says where a route or a device cannot be given segments. */
const cannotSegment: ReadonlySet<number> = new Set([
  errno.EINVAL,
  errno.EIO,
  errno.EMSGSIZE,
  errno.EOPNOTSUPP,
  errno.ENOPROTOOPT,
]);

/**
 * Datagrams of one turn, in packet slots, until they are sent together: those of a socket in one call,
 * runs of equal length to one peer, of which the last may be shorter, as one message that the kernel
 * cuts. Each is counted when its fate is known. What lies elsewhere is copied into a spare slot.
 */
export class SendQueue {
  readonly #arena: Arena;
  readonly #calls: SocketCalls;
  readonly #spares: readonly number[];
  readonly #spareBytes: number;
  /** The spare that has room, and how much of it is taken. */
  #spare = 0;
  #takenBytes = 0;
  /** Sockets with datagrams that wait. */
  readonly #sockets: QueueSocket[] = [];
  #count = 0;
  #isFlushing = false;
  /** By place in the queue. */
  readonly #at = new Int32Array(maxMessages);
  readonly #bytes = new Int32Array(maxMessages);
  readonly #frameBytes = new Int32Array(maxMessages);
  readonly #next = new Int32Array(maxMessages);
  readonly #names: (Uint8Array | undefined)[] = [];
  readonly #kinds: Forwarded[] = [];
  readonly #tallies: QueueTally[] = [];
  /** By message: its first datagram, and how many it is made of. */
  readonly #messageFirst = new Int32Array(maxMessages);
  readonly #messageCount = new Int32Array(maxMessages);

  /** `spares` are offsets in packet slots with `spareBytes` each, which hold the longest datagram. */
  constructor(arena: Arena, calls: SocketCalls, spares: readonly number[], spareBytes: number) {
    this.#arena = arena;
    this.#calls = calls;
    this.#spares = spares;
    this.#spareBytes = spareBytes;
  }

  /** Nothing of it is under way: a socket may be closed at once. */
  get isFlushing(): boolean {
    return this.#isFlushing;
  }

  /** `name`: whom it goes to, on a socket that is not connected. */
  add(
    socket: QueueSocket,
    payload: Uint8Array,
    name: Uint8Array | undefined,
    frameBytes: number,
    kind: Forwarded,
    tally: QueueTally,
  ): void {
    let at = this.#arena.offsetOf(payload);
    // Other slots are other listeners', and soon other packets'.
    if (!this.#calls.holds(at)) {
      at = this.#room(payload.length);
      this.#arena.copyIn(payload, at);
    }
    const place = this.#count++;
    this.#at[place] = at;
    this.#bytes[place] = payload.length;
    this.#frameBytes[place] = frameBytes;
    this.#next[place] = -1;
    this.#names[place] = name;
    this.#kinds[place] = kind;
    this.#tallies[place] = tally;
    if (socket.firstQueued < 0) {
      socket.firstQueued = place;
      this.#sockets.push(socket);
    } else this.#next[socket.lastQueued] = place;
    socket.lastQueued = place;
    // Now and not before the next: what has room in a spare slot must go before that has others.
    if (this.#count === maxMessages) this.flush();
  }

  /** Offset of room for `bytes` bytes, at most a spare slot's. Where there is none, what waits is sent first. */
  #room(bytes: number): number {
    if (bytes > this.#spareBytes) throw new RangeError(`room for ${bytes} bytes`);
    if (this.#takenBytes + bytes > this.#spareBytes) {
      this.#takenBytes = 0;
      this.#spare++;
      if (this.#spare === this.#spares.length) this.flush();
    }
    const at = this.#spares[this.#spare]! + this.#takenBytes;
    this.#takenBytes += bytes;
    return at;
  }

  /** Sends all that waits. */
  flush(): void {
    if (this.#isFlushing) return;
    this.#spare = 0;
    this.#takenBytes = 0;
    if (this.#count === 0) return;
    this.#isFlushing = true;
    for (const socket of this.#sockets) {
      const first = socket.firstQueued;
      socket.firstQueued = -1;
      if (first >= 0) this.#send(socket, first);
    }
    this.#sockets.length = 0;
    this.#count = 0;
    this.#isFlushing = false;
  }

  /** Drops all that waits for `socket`, which is given no more. */
  drop(socket: QueueSocket): void {
    for (let left = socket.firstQueued; left >= 0; left = this.#next[left]!)
      socket.drop(this.#frameBytes[left]!, this.#tallies[left]!);
    socket.firstQueued = -1;
  }

  #send(socket: QueueSocket, first: number): void {
    let messages = this.#build(socket, first);
    let atStake = 0;
    for (let sent = 0; sent < messages; ) {
      const taken = this.#calls.send(socket.fd, sent);
      if (taken > 0) {
        for (const end = sent + taken; sent < end; sent++) this.#forwarded(sent);
        // sendmmsg tells no error once it has taken a message: it only takes fewer than there are, and what
        // was refused then is what the last one of them is made of.
        atStake += this.#messageCount[sent - 1]!;
        socket.atStake = atStake;
        continue;
      }
      const place = this.#messageFirst[sent]!;
      if (-taken === errno.EINTR) continue;
      if (-taken === errno.EAGAIN) {
        for (let left = place; left >= 0; left = this.#next[left]!)
          this.#tallies[left]!.dropped("send_queue_full", this.#frameBytes[left]!);
        return;
      }
      if (this.#messageCount[sent]! > 1 && cannotSegment.has(-taken)) {
        socket.canSegment = false;
        messages = this.#build(socket, place);
        sent = 0;
        continue;
      }
      const error = systemError(-taken, "sendmmsg");
      // As many are refused as the message is made of; what follows may go.
      let left = place;
      let isOver = false;
      for (let i = 0; i < this.#messageCount[sent]!; i++) {
        if (isOver) socket.drop(this.#frameBytes[left]!, this.#tallies[left]!);
        else isOver = socket.onRefused(error, this.#frameBytes[left]!, this.#tallies[left]!);
        left = this.#next[left]!;
      }
      sent++;
      if (!isOver) continue;
      for (; left >= 0; left = this.#next[left]!)
        socket.drop(this.#frameBytes[left]!, this.#tallies[left]!);
      return;
    }
  }

  #forwarded(message: number): void {
    let place = this.#messageFirst[message]!;
    for (let i = 0; i < this.#messageCount[message]!; i++) {
      this.#tallies[place]!.forwarded(this.#kinds[place]!, this.#frameBytes[place]!);
      place = this.#next[place]!;
    }
  }

  /** Puts the datagrams of a socket from `first` on together as messages; their number. */
  #build(socket: QueueSocket, first: number): number {
    const calls = this.#calls;
    calls.clear();
    let messages = 0;
    for (let place = first; place >= 0; ) {
      const bytes = this.#bytes[place]!;
      const name = this.#names[place];
      calls.addMessage(name);
      calls.addPiece(this.#at[place]!, bytes);
      this.#messageFirst[messages] = place;
      let count = 1;
      let total = bytes;
      let next = this.#next[place]!;
      while (next >= 0 && socket.canSegment && this.#names[next] === name && count < maxSegments) {
        const more = this.#bytes[next]!;
        if (more === 0 || more > bytes || total + more > maxSegmentedBytes) break;
        calls.addPiece(this.#at[next]!, more);
        total += more;
        count++;
        next = this.#next[next]!;
        if (more < bytes) break;
      }
      if (count > 1) calls.cutLast(bytes);
      this.#messageCount[messages++] = count;
      place = next;
    }
    return messages;
  }
}
