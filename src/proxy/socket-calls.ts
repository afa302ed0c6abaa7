import { constants, endianness } from "node:os";
import process, { arch, platform } from "node:process";
import { getSystemErrorName } from "node:util";
import { err, ok, type Result } from "../common/result.ts";
import type { Arena } from "../runtime/arena.ts";
import { SLOT_BYTES } from "../runtime/wasm/layout.ts";
import type { DescriptorSet } from "./descriptor-set.ts";

/**
 * System calls that Node does not offer: many datagrams at once, and one descriptor to wait on for
 * many sockets. Linux on x64 and arm64, through koffi. This is the only file that hands memory to the
 * kernel: packet slots, and tables of its own. Every address and length is checked here before it
 * goes, and everything the kernel wrote before it is believed.
 */

/** Most datagrams one call receives or sends. */
export const maxMessages = 64;

/** `struct sockaddr_in6`, the longer of the two. */
export const maxNameBytes = 28;
const nameStride = 32;

/** linux/socket.h, linux/in6.h, linux/udp.h, sys/epoll.h: the same numbers on x64 and arm64. */
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_REUSEPORT = 15;
const SO_MEMINFO = 55;
/** Of the 32-bit words of SO_MEMINFO: how many, and which is the number of drops. linux/sock_diag.h. */
const memoryWords = 9;
const SK_MEMINFO_DROPS = 8;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const MSG_DONTWAIT = 0x40;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;

/** `struct mmsghdr` of 64-bit systems: a `struct msghdr` of 56 bytes, then the length. */
const message = {
  bytes: 64,
  name: 0,
  nameBytes: 8,
  pieces: 16,
  pieceCount: 24,
  control: 32,
  controlBytes: 40,
  flags: 48,
  length: 56,
} as const;
/** `struct iovec`. */
const pieceBytes = 16;
/** `struct cmsghdr` with a 16-bit value, padded: CMSG_SPACE(2). */
const controlBytes = 24;
/** The kernel packs `struct epoll_event` on x64 alone. */
const eventBytes = arch === "x64" ? 12 : 16;
const eventDataAt = arch === "x64" ? 4 : 8;

interface Calls {
  socket(domain: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, bytes: number): number;
  getsockopt(fd: number, level: number, name: number, value: Uint8Array, bytes: Uint8Array): number;
  bind(fd: number, name: Uint8Array, bytes: number): number;
  connect(fd: number, name: Uint8Array, bytes: number): number;
  getsockname(fd: number, name: Uint8Array, bytes: Uint8Array): number;
  close(fd: number): number;
  recvmmsg(fd: number, messages: number, count: number, flags: number, timeout: null): number;
  sendmmsg(fd: number, messages: number, count: number, flags: number): number;
  epoll_create1(flags: number): number;
  epoll_ctl(epoll: number, operation: number, fd: number, event: Uint8Array): number;
  epoll_wait(epoll: number, events: number, count: number, timeoutMs: number): number;
}

const prototypes = [
  "int socket(int, int, int)",
  "int setsockopt(int, int, int, const void *, uint)",
  "int getsockopt(int, int, int, void *, void *)",
  "int bind(int, const void *, uint)",
  "int connect(int, const void *, uint)",
  "int getsockname(int, void *, void *)",
  "int close(int)",
  "int recvmmsg(int, void *, uint, int, void *)",
  "int sendmmsg(int, void *, uint, int)",
  "int epoll_create1(int)",
  "int epoll_ctl(int, int, int, void *)",
  "int epoll_wait(int, void *, int, int)",
];

type Koffi = typeof import("koffi").default;

/** koffi, or why these calls cannot be made here. */
async function loadKoffi(): Promise<Result<Koffi, string>> {
  if (platform !== "linux") return err(`it is Linux's, and this is ${platform}`);
  if ((arch !== "x64" && arch !== "arm64") || endianness() !== "LE")
    return err(`it is made for x64 and arm64, and this is ${arch}`);
  try {
    return ok((await import("koffi")).default);
  } catch (cause) {
    const { code, message: text } = cause as NodeJS.ErrnoException;
    return err(`the optional package koffi cannot be loaded (${code ?? text})`);
  }
}

/** Why `io: mmsg` cannot be had on this system; undefined where it can. */
export async function socketCallsProblem(): Promise<string | undefined> {
  const koffi = await loadKoffi();
  return koffi.ok ? undefined : koffi.error;
}

/** Closes what a worker left open that has died. */
export async function closeAll(descriptors: DescriptorSet): Promise<void> {
  const left = [...descriptors.values()];
  if (left.length === 0) return;
  const koffi = await loadKoffi();
  if (!koffi.ok) return;
  const close = koffi.value.load(null).func("int close(int)");
  for (const fd of left) {
    descriptors.remove(fd);
    close(fd);
  }
}

/**
 * Has the event loop of a worker that is about to be ended by force hear of its sockets no more. koffi
 * aborts the process where it calls back into a thread that may run no JavaScript any more, and such a
 * thread's loop goes on for a turn or two. In one step the number of its epoll instance becomes an empty one's;
 * the kernel takes the old one, which nobody has any more, out of what the loop waits for.
 */
export async function silence(descriptors: DescriptorSet): Promise<void> {
  if (descriptors.epolls === undefined) return;
  const koffi = await loadKoffi();
  // Only now: where the worker has ended meanwhile, another file may have the number.
  const { epolls } = descriptors;
  if (!koffi.ok || epolls === undefined) return;
  const dup3 = koffi.value.load(null).func("int dup3(int, int, int)");
  dup3(epolls.empty, epolls.watching, SOCK_CLOEXEC);
}

/** _exit(2), once `loadExit` has found it. */
let exitCall: ((code: number) => void) | undefined;

/** Has `exitNow` leave threads alone, which `SocketCalls` may be about to be used on. */
export async function loadExit(): Promise<void> {
  if (exitCall !== undefined) return;
  const koffi = await loadKoffi();
  if (koffi.ok) exitCall = koffi.value.load(null).func("void _exit(int)");
}

/**
 * Ends the process in the middle of whatever its threads do. `process.exit` ends them one by one before, and
 * koffi aborts the process where one of them is just hearing of its sockets.
 */
export function exitNow(code: number): never {
  exitCall?.(code);
  return process.exit(code);
}

/** A readiness notice for the descriptor of `SocketCalls.epoll`, from Node's event loop. */
export interface Readiness {
  close(): void;
}

/** The calls on one thread, for sockets whose datagrams come and go in a row of packet slots. */
export class SocketCalls {
  readonly #calls: Calls;
  readonly #koffi: Koffi;
  readonly #arena: Arena;
  readonly #descriptors: DescriptorSet;
  /** The machine's address of the arena. Its memory never moves. */
  readonly #base: number;
  readonly #firstSlot: number;
  readonly #slotCount: number;
  /** What the kernel reads and writes besides slots. */
  readonly #table: Buffer;
  readonly #words: Int32Array;
  readonly #tableAt: number;
  readonly #received: MessageTable;
  readonly #sent: MessageTable;
  readonly #eventsAt: number;
  /** What the messages that receive are made for. */
  #payloadAt = -1;
  #capacity = -1;
  /** What a socket's memory is told in. */
  readonly #memory = Buffer.alloc(memoryWords * 4);
  readonly #memoryBytes = Buffer.alloc(4);
  /** Of the messages being put together: how many, and their pieces. */
  #messages = 0;
  #pieces = 0;

  private constructor(
    koffi: Koffi,
    arena: Arena,
    descriptors: DescriptorSet,
    firstSlot: number,
    slotCount: number,
  ) {
    if (slotCount > maxMessages) throw new RangeError(`${slotCount} slots`);
    const libc = koffi.load(null);
    this.#koffi = koffi;
    this.#calls = Object.fromEntries(
      prototypes.map((text) => [/(\w+)\(/.exec(text)![1]!, libc.func(text)]),
    ) as unknown as Calls;
    this.#arena = arena;
    this.#descriptors = descriptors;
    this.#base = Number(koffi.address(arena.bytes));
    this.#firstSlot = firstSlot;
    this.#slotCount = slotCount;
    const { bytes } = MessageTable;
    this.#table = Buffer.alloc(2 * bytes + maxMessages * eventBytes);
    this.#words = new Int32Array(this.#table.buffer, 0, this.#table.length >> 2);
    this.#tableAt = Number(koffi.address(this.#table));
    this.#received = new MessageTable(this.#table, 0, this.#tableAt);
    this.#sent = new MessageTable(this.#table, bytes, this.#tableAt);
    this.#eventsAt = 2 * bytes;
  }

  /**
   * For `slotCount` packet slots in a row from arena offset `firstSlot`; or why there are none. What is
   * opened is in `descriptors` until it is closed.
   */
  static async load(
    arena: Arena,
    descriptors: DescriptorSet,
    firstSlot: number,
    slotCount: number,
  ): Promise<Result<SocketCalls, string>> {
    const koffi = await loadKoffi();
    return koffi.ok
      ? ok(new SocketCalls(koffi.value, arena, descriptors, firstSlot, slotCount))
      : koffi;
  }

  /** A UDP socket that never blocks, with buffers of these sizes, or the error. */
  socket(
    family: 4 | 6,
    sendBytes: number,
    receiveBytes: number,
  ): Result<number, NodeJS.ErrnoException> {
    const type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const opened = this.#calls.socket(family === 4 ? AF_INET : AF_INET6, type, 0);
    if (opened < 0) return err(this.#error("socket"));
    const owned = this.#own(opened);
    if (!owned.ok) return owned;
    const fd = owned.value;
    this.#option(fd, SOL_SOCKET, SO_RCVBUF, receiveBytes);
    this.#option(fd, SOL_SOCKET, SO_SNDBUF, sendBytes);
    // As node:dgram's: an IPv6 socket takes IPv4 too.
    if (family === 6) this.#option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    return ok(fd);
  }

  /** Binds to a socket address as the kernel has it; gives the one that it got. */
  bind(
    fd: number,
    name: Uint8Array,
    reusePort: boolean,
  ): Result<Uint8Array, NodeJS.ErrnoException> {
    if (reusePort && !this.#option(fd, SOL_SOCKET, SO_REUSEPORT, 1))
      return err(this.#error("setsockopt"));
    if (this.#calls.bind(fd, name, name.length) < 0) return err(this.#error("bind"));
    const got = new Uint8Array(maxNameBytes);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(maxNameBytes);
    if (this.#calls.getsockname(fd, got, bytes) < 0) return err(this.#error("getsockname"));
    return ok(got);
  }

  /** undefined, or the error. */
  connect(fd: number, name: Uint8Array): NodeJS.ErrnoException | undefined {
    return this.#calls.connect(fd, name, name.length) < 0 ? this.#error("connect") : undefined;
  }

  /** Datagrams that the kernel dropped for want of room in a socket, modulo 2³²; 0 where it does not tell. */
  dropped(fd: number): number {
    const value = this.#memory;
    this.#memoryBytes.writeUInt32LE(value.length);
    const failed = this.#calls.getsockopt(fd, SOL_SOCKET, SO_MEMINFO, value, this.#memoryBytes) < 0;
    // Kernels before 4.12, and some sandboxes.
    if (failed || this.#memoryBytes.readUInt32LE() < value.length) return 0;
    return value.readUInt32LE(SK_MEMINFO_DROPS * 4);
  }

  close(fd: number): void {
    this.#descriptors.remove(fd);
    this.#calls.close(fd);
  }

  /** A descriptor that is ready when a socket that was added to it has datagrams, until `silence`. One a thread. */
  epoll(): Result<number, NodeJS.ErrnoException> {
    const watching = this.#epoll();
    if (!watching.ok) return watching;
    const empty = this.#epoll();
    if (!empty.ok) {
      this.close(watching.value);
      return empty;
    }
    this.#descriptors.epolls = { watching: watching.value, empty: empty.value };
    return watching;
  }

  #epoll(): Result<number, NodeJS.ErrnoException> {
    const epoll = this.#calls.epoll_create1(SOCK_CLOEXEC);
    return epoll < 0 ? err(this.#error("epoll_create1")) : this.#own(epoll);
  }

  /** Closing `fd` takes it out again. `id` is what `ready` tells of it. */
  watch(epoll: number, fd: number, id: number): NodeJS.ErrnoException | undefined {
    const event = Buffer.alloc(16);
    event.writeUInt32LE(EPOLLIN, 0);
    event.writeUInt32LE(id, eventDataAt);
    return this.#calls.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, event) < 0
      ? this.#error("epoll_ctl")
      : undefined;
  }

  /**
   * Has Node's event loop call `onReady` in each turn in which `epoll` is ready. It must not throw, and
   * is to be short: a thread that is ended by force in the middle of it aborts the process.
   */
  notify(epoll: number, onReady: () => void): Readiness {
    return this.#koffi.node.poll(epoll, { readable: true }, onReady);
  }

  /** Writes the ids of sockets that are ready to `ids`; their number. Does not wait. */
  ready(epoll: number, ids: Uint32Array): number {
    const most = Math.min(ids.length, maxMessages);
    const count = this.#calls.epoll_wait(epoll, this.#tableAt + this.#eventsAt, most, 0);
    for (let i = 0; i < count; i++)
      ids[i] = this.#table.readUInt32LE(this.#eventsAt + i * eventBytes + eventDataAt);
    return Math.max(0, count);
  }

  /**
   * Receives up to `count` datagrams into slots number `first` and on, each at most `capacity` bytes at `payloadAt`
   * of its slot. Returns how many; `lengths` and `nameOf` tell of each, by the slot's number. Below
   * 0: `-errno`.
   */
  receive(
    fd: number,
    first: number,
    count: number,
    payloadAt: number,
    capacity: number,
    lengths: Uint32Array,
  ): number {
    if (!(first >= 0 && count > 0 && first + count <= this.#slotCount))
      throw new RangeError(`slots ${first} to ${first + count} of ${this.#slotCount}`);
    const table = this.#received;
    if (payloadAt !== this.#payloadAt || capacity !== this.#capacity)
      this.#prepare(payloadAt, capacity);
    const received = this.#calls.recvmmsg(fd, table.address(first), count, MSG_DONTWAIT, null);
    if (received < 0) return -this.#koffi.errno();
    for (let i = 0; i < received; i++) {
      const bytes = table.length(first + i);
      if (bytes > capacity) throw new RangeError(`a datagram of ${bytes} bytes`);
      lengths[first + i] = bytes;
      table.renew(first + i);
    }
    return received;
  }

  /** What of the receiving messages stays the same from call to call. */
  #prepare(payloadAt: number, capacity: number): void {
    const table = this.#received;
    for (let slot = 0; slot < this.#slotCount; slot++) {
      table.begin(slot, slot, 1, maxNameBytes);
      const at = this.#firstSlot + slot * SLOT_BYTES + payloadAt;
      table.piece(slot, this.#address(at, capacity), capacity);
    }
    this.#payloadAt = payloadAt;
    this.#capacity = capacity;
  }

  /** Where the sender of the datagram in slot number `slot` is in `names`. */
  nameAt(slot: number): number {
    return this.#received.nameAt(slot);
  }

  /** Socket addresses as the kernel wrote them, `maxNameBytes` each, at `nameAt`. */
  get names(): Buffer {
    return this.#table;
  }

  /** The same in words. */
  get nameWords(): Int32Array {
    return this.#words;
  }

  /** Forgets the messages that were put together. */
  clear(): void {
    this.#messages = 0;
    this.#pieces = 0;
  }

  /** Begins a message, to `name` on a socket that is not connected. */
  addMessage(name: Uint8Array | undefined): void {
    if (this.#messages === maxMessages) throw new RangeError("too many messages");
    const table = this.#sent;
    table.begin(this.#messages, this.#pieces, 0, name?.length ?? 0);
    if (name !== undefined) table.name(this.#messages, name);
    this.#messages++;
  }

  /** Adds bytes that lie in a slot to the last message. */
  addPiece(at: number, bytes: number): void {
    if (this.#messages === 0 || this.#pieces === maxMessages) throw new RangeError("no message");
    this.#sent.piece(this.#pieces++, this.#address(at, bytes), bytes);
    this.#sent.addPiece(this.#messages - 1);
  }

  /** Has the kernel cut the last message into datagrams of `bytes` (UDP_SEGMENT, udp(7)). */
  cutLast(bytes: number): void {
    if (this.#messages === 0 || bytes < 1 || bytes > 0xffff) throw new RangeError("no segments");
    this.#sent.segment(this.#messages - 1, bytes);
  }

  /** Sends the messages from number `from` on. Returns how many were taken, or `-errno` of the first. */
  send(fd: number, from: number): number {
    const count = this.#messages - from;
    if (from < 0 || count <= 0) throw new RangeError("no messages");
    const sent = this.#calls.sendmmsg(fd, this.#sent.address(from), count, MSG_DONTWAIT);
    return sent < 0 ? -this.#koffi.errno() : sent;
  }

  /** Whether an arena offset is in one of the slots. */
  holds(at: number): boolean {
    return at >= this.#firstSlot && at < this.#firstSlot + this.#slotCount * SLOT_BYTES;
  }

  /** The machine's address of `bytes` bytes at an arena offset, which must lie in one of the slots. */
  #address(at: number, bytes: number): number {
    const from = at - this.#firstSlot;
    const last = from + bytes;
    const inSlot = Math.floor(from / SLOT_BYTES) * SLOT_BYTES + SLOT_BYTES;
    if (!(from >= 0 && bytes >= 0 && last <= inSlot && last <= this.#slotCount * SLOT_BYTES))
      throw new RangeError(`${bytes} bytes at ${at} are in no packet slot`);
    if (at + bytes > this.#arena.memory.buffer.byteLength) throw new RangeError("no such memory");
    return this.#base + at;
  }

  #own(fd: number): Result<number, NodeJS.ErrnoException> {
    if (this.#descriptors.add(fd)) return ok(fd);
    this.#calls.close(fd);
    return err(systemError(constants.errno.EMFILE, "socket"));
  }

  #option(fd: number, level: number, name: number, value: number): boolean {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    return this.#calls.setsockopt(fd, level, name, bytes, bytes.length) === 0;
  }

  #error(syscall: string): NodeJS.ErrnoException {
    return systemError(this.#koffi.errno(), syscall);
  }
}

/** As Node's own errors of system calls. */
export function systemError(number: number, syscall: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(-number);
  return Object.assign(new Error(`${syscall} ${code}`), { errno: -number, code, syscall });
}

/** Messages for recvmmsg or sendmmsg, with a name, a control block and the pieces they point to. */
class MessageTable {
  static readonly bytes = maxMessages * (message.bytes + pieceBytes + nameStride + controlBytes);
  readonly #table: Buffer;
  readonly #words: Uint32Array;
  readonly #at: number;
  readonly #piecesAt: number;
  readonly #namesAt: number;
  readonly #controlsAt: number;
  readonly #base: number;

  /** At `at` of `table`, whose first byte has the machine's address `base`. */
  constructor(table: Buffer, at: number, base: number) {
    this.#table = table;
    this.#words = new Uint32Array(table.buffer, table.byteOffset, table.length >> 2);
    this.#at = at;
    this.#piecesAt = at + maxMessages * message.bytes;
    this.#namesAt = this.#piecesAt + maxMessages * pieceBytes;
    this.#controlsAt = this.#namesAt + maxMessages * nameStride;
    this.#base = base;
  }

  address(index: number): number {
    return this.#base + this.#at + index * message.bytes;
  }

  /** Message number `index`, whose pieces begin with number `piece`; `nameBytes` 0: without a name. */
  begin(index: number, piece: number, pieceCount: number, nameBytes: number): void {
    const at = this.#at + index * message.bytes;
    this.#put64(at + message.name, nameBytes === 0 ? 0 : this.#base + this.nameAt(index));
    this.#put(at + message.nameBytes, nameBytes);
    this.#put64(at + message.pieces, this.#base + this.#piecesAt + piece * pieceBytes);
    this.#put64(at + message.pieceCount, pieceCount);
    this.#put64(at + message.control, 0);
    this.#put64(at + message.controlBytes, 0);
    this.#put(at + message.flags, 0);
    this.#put(at + message.length, 0);
  }

  /** A message that received, for the next time: the kernel has written to it. */
  renew(index: number): void {
    this.#put(this.#at + index * message.bytes + message.nameBytes, maxNameBytes);
  }

  piece(index: number, address: number, bytes: number): void {
    const at = this.#piecesAt + index * pieceBytes;
    this.#put64(at, address);
    this.#put64(at + 8, bytes);
  }

  addPiece(index: number): void {
    this.#words[(this.#at + index * message.bytes + message.pieceCount) >> 2]! += 1;
  }

  name(index: number, name: Uint8Array): void {
    if (name.length > maxNameBytes) throw new RangeError("a name too long");
    this.#table.set(name, this.nameAt(index));
  }

  nameAt(index: number): number {
    return this.#namesAt + index * nameStride;
  }

  segment(index: number, bytes: number): void {
    const at = this.#at + index * message.bytes;
    const control = this.#controlsAt + index * controlBytes;
    this.#put64(at + message.control, this.#base + control);
    this.#put64(at + message.controlBytes, controlBytes);
    // CMSG_LEN(2): a header of 16 bytes and the value.
    this.#put64(control, 18);
    this.#put(control + 8, SOL_UDP);
    this.#put(control + 12, UDP_SEGMENT);
    this.#put(control + 16, bytes);
  }

  length(index: number): number {
    return this.#words[(this.#at + index * message.bytes + message.length) >> 2]!;
  }

  #put(at: number, value: number): void {
    this.#words[at >> 2] = value;
  }

  #put64(at: number, value: number): void {
    this.#words[at >> 2] = value;
    this.#words[(at >> 2) + 1] = Math.floor(value / 2 ** 32);
  }
}
