import type { DropReason } from "../common/drop-reason.ts";
import { dropReasons } from "../common/drop-reason.ts";
import { type TunnelProtocol, tunnelProtocols } from "../packet/tunnel-header.ts";
import { maxBroadcastPorts } from "./broadcasts.ts";
import { type Direction, directions, type VerdictKind, verdictKinds } from "./verdict.ts";

/** Where a chain stands, and what its frame was in. */
export interface CapturePlace {
  /** The listener's name. */
  readonly listener: string;
  readonly direction: Direction;
  /** Undefined where the listener is no tunnel. */
  readonly tunnel?: CapturedTunnel | undefined;
}

/** What was around a tunnel's frame. */
export interface CapturedTunnel {
  readonly protocol: TunnelProtocol;
  /** Its name; undefined for a stranger. */
  readonly peer: string | undefined;
  readonly vni: number;
  /** The far end: outer source of what came in, outer destination of what goes out. */
  readonly far: CapturedEnd;
  /** Weir's end, of the same family. Port 0: one of those that a bridge sends from. */
  readonly own: CapturedEnd;
  /** The tunnel's header as it came, options and all: at most 260 bytes. */
  readonly header: Uint8Array;
}

export interface CapturedEnd {
  readonly address: string;
  readonly port: number;
}

/** Where a redirect leads; both undefined for any other verdict. */
export interface RedirectTarget {
  readonly ifindex: number | undefined;
  /** Of a broadcast, in place of `ifindex`: `maxBroadcastPorts` at most. */
  readonly ports?: readonly number[] | undefined;
}

/** What became of a packet at a chain. */
export interface CaptureOutcome extends RedirectTarget {
  readonly verdict: VerdictKind;
  /** Why it was dropped: where the verdict is no drop, after it. */
  readonly reason: DropReason | undefined;
  /** The filter that was asked last, which is the one that decided. */
  readonly filter: string | undefined;
  /** A shadow that would have had it otherwise. */
  readonly shadow?: ShadowOutcome | undefined;
}

export interface ShadowOutcome extends RedirectTarget {
  readonly filter: string;
  readonly verdict: VerdictKind;
}

/**
 * One packet at a chain: as it came, what became of it, and as the filters left it. It holds names,
 * not the plan's numbers, which mean something else after a reload.
 */
export interface CaptureRecord extends CapturePlace, CaptureOutcome {
  /** Since 1970. */
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly entry: CapturedFrame;
  /** Undefined where no filter changed the frame. */
  readonly exit: CapturedFrame | undefined;
}

export interface CapturedFrame {
  /** Bytes of the whole frame. */
  readonly length: number;
  /** Its first bytes, as many as were asked for. */
  readonly data: Uint8Array;
}

// Words of the ring's head. Positions count bytes, and go round at 2³².
const writtenAt = 0;
const readAt = 1;
const lostAt = 2;
const ringHeadBytes = 64;

// Words of a record.
const sizeWord = 0;
const labelBytesWord = 1;
const verdictWord = 2;
const vniWord = 3;
const ifindexWord = 4;
const secondsWord = 5;
const nanosecondsWord = 6;
const entryLengthWord = 7;
const entryBytesWord = 8;
const exitLengthWord = 9;
const exitBytesWord = 10;
/** The far port, and above it our own. */
const portsWord = 11;
const shadowIfindexWord = 12;
/** Bytes of the tunnel's header, and above them its protocol. */
const headerWord = 13;
/** Ports of a broadcast and 1, 0 for what is none; above it the same of the shadow's. */
const broadcastWord = 14;
const recordHeadBytes = 64;

/** Longest header of a tunnel: GENEVE's with 63 words of options (RFC 8926 §3.4), padded. */
const maxHeaderBytes = 264;
/**
 * Bytes of a record's names, at its end: listener, peer, outer addresses, shadow, filter, a line each. Those
 * of a config take less; only a program's name, which is last, can be so long that it is cut.
 */
const maxLabelBytes = 384;
/** Ports of two broadcasts, a word each. */
const maxPortsBytes = 2 * 4 * maxBroadcastPorts;
const noHeader = new Uint8Array(0);
const noPorts: readonly number[] = [];
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Memory for a ring of `capacity` bytes, a power of two: one thread writes, one other reads. */
export function captureRingMemory(capacity: number): SharedArrayBuffer {
  if (capacity < 1024 || (capacity & (capacity - 1)) !== 0)
    throw new RangeError(`a ring of ${capacity} bytes`);
  return new SharedArrayBuffer(ringHeadBytes + capacity);
}

/** Makes a ring that nobody writes to or reads from as if it were new. What its records held stays, unseen. */
export function clearCaptureRing(memory: SharedArrayBuffer): void {
  new Ring(memory).head.fill(0);
}

/** What both ends share: the ring's words and bytes, and where a position lies in them. */
class Ring {
  readonly head: Int32Array;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly capacity: number;

  constructor(memory: SharedArrayBuffer) {
    this.capacity = memory.byteLength - ringHeadBytes;
    this.head = new Int32Array(memory, 0, ringHeadBytes / 4);
    this.words = new Int32Array(memory, ringHeadBytes);
    this.bytes = new Uint8Array(memory, ringHeadBytes);
  }

  word(position: number, index: number): number {
    return ((position + index * 4) & (this.capacity - 1)) >> 2;
  }

  /** Copies `from[start, end)` to `position`, round the ring's end where it has to. */
  put(position: number, from: Uint8Array, start: number, end: number): void {
    const at = position & (this.capacity - 1);
    const first = Math.min(end - start, this.capacity - at);
    this.bytes.set(from.subarray(start, start + first), at);
    if (start + first < end) this.bytes.set(from.subarray(start + first, end), 0);
  }

  take(position: number, length: number): Uint8Array {
    const at = position & (this.capacity - 1);
    const taken = new Uint8Array(length);
    const first = Math.min(length, this.capacity - at);
    taken.set(this.bytes.subarray(at, at + first));
    taken.set(this.bytes.subarray(0, length - first), first);
    return taken;
  }
}

/**
 * The worker's end. A record is begun with the frame as it came, before filters can change it, filled
 * once they have judged it, and becomes visible with `commit`; beginning another instead forgets it.
 * Never waits: a packet for which there is no room is counted as lost.
 */
export class CaptureWriter {
  readonly #ring: Ring;
  readonly #snapLength: number;
  readonly #labels = new Uint8Array(maxLabelBytes);
  #entryLength = 0;
  #entryBytes = 0;
  /** Of the record that was filled. */
  #size = 0;

  /** `snapLength`: bytes of a frame that are kept. */
  constructor(memory: SharedArrayBuffer, snapLength: number) {
    this.#ring = new Ring(memory);
    this.#snapLength = snapLength;
  }

  /** Counts a packet that will not be recorded. */
  lose(): void {
    Atomics.add(this.#ring.head, lostAt, 1);
  }

  /** Takes the frame in `bytes[start, end)` as it came; false (and counted) where there is no room. */
  begin(bytes: Uint8Array, start: number, end: number): boolean {
    const ring = this.#ring;
    const kept = Math.min(end - start, this.#snapLength);
    // The frame may come out of the chain as long as the longest one kept.
    const frames = padded(kept) + padded(this.#snapLength);
    const most = recordHeadBytes + frames + maxHeaderBytes + maxPortsBytes + maxLabelBytes;
    if (this.#free() < most) {
      this.lose();
      return false;
    }
    this.#entryLength = end - start;
    this.#entryBytes = kept;
    ring.put(Atomics.load(ring.head, writtenAt) + recordHeadBytes, bytes, start, start + kept);
    return true;
  }

  /**
   * Fills the record that was begun. `exit` is the frame as the filters left it, undefined where it
   * is as it came.
   */
  fill(
    { listener, direction, tunnel }: CapturePlace,
    { verdict, reason, ifindex, ports, filter, shadow }: CaptureOutcome,
    exit: { readonly bytes: Uint8Array; readonly start: number; readonly end: number } | undefined,
  ): void {
    const ring = this.#ring;
    const { words } = ring;
    const position = Atomics.load(ring.head, writtenAt);
    const exitLength = exit === undefined ? 0 : exit.end - exit.start;
    const exitBytes = Math.min(exitLength, this.#snapLength);
    const exitAt = recordHeadBytes + padded(this.#entryBytes);
    const headerAt = exitAt + padded(exitBytes);
    const header = tunnel?.header ?? noHeader;
    const portsAt = headerAt + padded(header.length);
    const allPorts = [...(ports ?? noPorts), ...(shadow?.ports ?? noPorts)];
    const labelsAt = portsAt + padded(allPorts.length * 4);
    const labels = [
      listener,
      tunnel?.peer ?? "",
      tunnel?.far.address ?? "",
      tunnel?.own.address ?? "",
      shadow?.filter ?? "",
      filter ?? "",
    ];
    const labelBytes = encoder.encodeInto(labels.join("\n"), this.#labels).written;
    const size = labelsAt + padded(labelBytes);
    const nowMs = performance.timeOrigin + performance.now();
    const put = (index: number, value: number): void => {
      words[ring.word(position, index)] = value;
    };
    put(sizeWord, size);
    put(labelBytesWord, labelBytes);
    put(
      verdictWord,
      directions.indexOf(direction) |
        (verdictKinds.indexOf(verdict) << 8) |
        ((reason === undefined ? 0 : dropReasons.indexOf(reason) + 1) << 16) |
        ((shadow === undefined ? 0 : verdictKinds.indexOf(shadow.verdict) + 1) << 24),
    );
    put(vniWord, tunnel?.vni ?? -1);
    put(portsWord, tunnel === undefined ? 0 : tunnel.far.port | (tunnel.own.port << 16));
    put(
      headerWord,
      tunnel === undefined ? 0 : header.length | (tunnelProtocols.indexOf(tunnel.protocol) << 16),
    );
    put(ifindexWord, ifindex ?? 0);
    put(shadowIfindexWord, shadow?.ifindex ?? 0);
    put(broadcastWord, countOf(ports) | (countOf(shadow?.ports) << 8));
    for (const [i, port] of allPorts.entries()) put(portsAt / 4 + i, port);
    put(secondsWord, Math.floor(nowMs / 1000));
    put(nanosecondsWord, Math.floor((nowMs % 1000) * 1e6));
    put(entryLengthWord, this.#entryLength);
    put(entryBytesWord, this.#entryBytes);
    put(exitLengthWord, exit === undefined ? -1 : exitLength);
    put(exitBytesWord, exitBytes);
    if (exit !== undefined)
      ring.put(position + exitAt, exit.bytes, exit.start, exit.start + exitBytes);
    ring.put(position + headerAt, header, 0, header.length);
    ring.put(position + labelsAt, this.#labels, 0, labelBytes);
    this.#size = size;
  }

  /** Shows the record that was filled. `dropped`: its packet went no further, whatever its verdict. */
  commit(dropped?: DropReason): void {
    const { head, words } = this.#ring;
    const position = Atomics.load(head, writtenAt);
    if (dropped !== undefined) {
      const at = this.#ring.word(position, verdictWord);
      words[at] = (words[at]! & ~(0xff << 16)) | ((dropReasons.indexOf(dropped) + 1) << 16);
    }
    Atomics.store(head, writtenAt, (position + this.#size) | 0);
  }

  #free(): number {
    const { head, capacity } = this.#ring;
    return capacity - ((Atomics.load(head, writtenAt) - Atomics.load(head, readAt)) >>> 0);
  }
}

/** The main thread's end. */
export class CaptureReader {
  readonly #ring: Ring;

  constructor(memory: SharedArrayBuffer) {
    this.#ring = new Ring(memory);
  }

  /** Packets that were to be captured and were not, since the start. */
  get lost(): number {
    return Atomics.load(this.#ring.head, lostAt) >>> 0;
  }

  /** The next record, a copy; undefined where there is none yet. */
  next(): CaptureRecord | undefined {
    const ring = this.#ring;
    const position = Atomics.load(ring.head, readAt);
    if (position === Atomics.load(ring.head, writtenAt)) return undefined;
    const word = (index: number): number => ring.words[ring.word(position, index)]!;
    const kinds = word(verdictWord);
    const entryBytes = word(entryBytesWord);
    const exitLength = word(exitLengthWord);
    const exitAt = position + recordHeadBytes + padded(entryBytes);
    const verdict = verdictKinds[(kinds >> 8) & 0xff]!;
    const exitBytes = word(exitBytesWord);
    const headerAt = exitAt + padded(exitBytes);
    const headerBytes = word(headerWord) & 0xffff;
    const portsAt = headerAt + padded(headerBytes);
    const broadcasts = word(broadcastWord);
    const portCount = Math.max(0, (broadcasts & 0xff) - 1);
    const shadowPortCount = Math.max(0, (broadcasts >> 8) - 1);
    const portsOf = (first: number, count: number): number[] =>
      Array.from({ length: count }, (_, i) => ring.words[ring.word(portsAt, first + i)]! >>> 0);
    const labels = ring.take(
      portsAt + padded((portCount + shadowPortCount) * 4),
      word(labelBytesWord),
    );
    const [listener = "", peer = "", far = "", own = "", shadow = "", ...rest] = decoder
      .decode(labels)
      .split("\n");
    const ports = word(portsWord);
    const shadowVerdict = verdictKinds[(kinds >> 24) - 1];
    const filter = rest.join("\n");
    const vni = word(vniWord);
    const record: CaptureRecord = {
      listener,
      tunnel:
        vni < 0
          ? undefined
          : {
              protocol: tunnelProtocols[word(headerWord) >>> 16]!,
              peer: peer === "" ? undefined : peer,
              vni,
              far: { address: far, port: ports & 0xffff },
              own: { address: own, port: ports >>> 16 },
              header: ring.take(headerAt, headerBytes),
            },
      direction: directions[kinds & 0xff]!,
      verdict,
      reason: dropReasons[((kinds >> 16) & 0xff) - 1],
      ...targetOf(verdict, word(ifindexWord), (broadcasts & 0xff) !== 0, portsOf(0, portCount)),
      filter: filter === "" ? undefined : filter,
      shadow: shadowVerdict && {
        filter: shadow,
        verdict: shadowVerdict,
        ...targetOf(
          shadowVerdict,
          word(shadowIfindexWord),
          broadcasts >> 8 !== 0,
          portsOf(portCount, shadowPortCount),
        ),
      },
      seconds: word(secondsWord) >>> 0,
      nanoseconds: word(nanosecondsWord),
      entry: {
        length: word(entryLengthWord),
        data: ring.take(position + recordHeadBytes, entryBytes),
      },
      exit: exitLength < 0 ? undefined : { length: exitLength, data: ring.take(exitAt, exitBytes) },
    };
    Atomics.store(ring.head, readAt, (position + word(sizeWord)) | 0);
    return record;
  }
}

function countOf(ports: readonly number[] | undefined): number {
  return ports === undefined ? 0 : ports.length + 1;
}

function targetOf(
  verdict: VerdictKind,
  ifindex: number,
  isBroadcast: boolean,
  ports: readonly number[],
): RedirectTarget {
  if (verdict !== "redirect") return { ifindex: undefined, ports: undefined };
  return isBroadcast ? { ifindex: undefined, ports } : { ifindex: ifindex >>> 0, ports: undefined };
}

/** Records begin at multiples of 8, so that no word of one goes round the ring's end. */
function padded(bytes: number): number {
  return (bytes + 7) & ~7;
}
