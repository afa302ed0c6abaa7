import type { DropReason } from "../common/drop-reason.ts";
import { dropReasons } from "../common/drop-reason.ts";
import { type Direction, directions, type VerdictKind, verdictKinds } from "./verdict.ts";

/** One packet at a chain: as it came, what became of it, and as the filters left it. */
export interface CaptureRecord {
  /** Its number among the plan's listeners. */
  readonly listener: number;
  readonly direction: Direction;
  readonly verdict: VerdictKind;
  readonly reason: DropReason | undefined;
  /** Where a redirect leads; undefined for any other verdict. */
  readonly ifindex: number | undefined;
  /** The plan's filter that was asked last, which is the one that decided. */
  readonly filter: number | undefined;
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
const listenerWord = 1;
const verdictWord = 2;
const filterWord = 3;
const ifindexWord = 4;
const secondsWord = 5;
const nanosecondsWord = 6;
const entryLengthWord = 7;
const entryBytesWord = 8;
const exitLengthWord = 9;
const exitBytesWord = 10;
const recordHeadBytes = 48;

/** Memory for a ring of `capacity` bytes, a power of two: one thread writes, one other reads. */
export function captureRingMemory(capacity: number): SharedArrayBuffer {
  if (capacity < 1024 || (capacity & (capacity - 1)) !== 0)
    throw new RangeError(`a ring of ${capacity} bytes`);
  return new SharedArrayBuffer(ringHeadBytes + capacity);
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
 * The worker's end. A record is begun with the frame as it came, before filters can change it, and
 * becomes visible with `end`; beginning another instead forgets it. Never waits: a packet for which
 * there is no room is counted as lost.
 */
export class CaptureWriter {
  readonly #ring: Ring;
  readonly #snapLength: number;
  #entryLength = 0;
  #entryBytes = 0;

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
    if (this.#free() < recordHeadBytes + padded(kept) + padded(this.#snapLength)) {
      this.lose();
      return false;
    }
    this.#entryLength = end - start;
    this.#entryBytes = kept;
    ring.put(Atomics.load(ring.head, writtenAt) + recordHeadBytes, bytes, start, start + kept);
    return true;
  }

  /**
   * Ends the record that was begun. `filter` is a number of the plan, or -1; `exit` is the frame as
   * the filters left it, undefined where it is as it came.
   */
  end(
    listener: number,
    direction: Direction,
    verdict: VerdictKind,
    reason: DropReason | undefined,
    ifindex: number,
    filter: number,
    exit: { readonly bytes: Uint8Array; readonly start: number; readonly end: number } | undefined,
  ): void {
    const ring = this.#ring;
    const { words } = ring;
    const position = Atomics.load(ring.head, writtenAt);
    const exitLength = exit === undefined ? 0 : exit.end - exit.start;
    const exitBytes = Math.min(exitLength, this.#snapLength);
    const exitAt = recordHeadBytes + padded(this.#entryBytes);
    const size = exitAt + padded(exitBytes);
    const nowMs = performance.timeOrigin + performance.now();
    const put = (index: number, value: number): void => {
      words[ring.word(position, index)] = value;
    };
    put(sizeWord, size);
    put(listenerWord, listener);
    put(
      verdictWord,
      directions.indexOf(direction) |
        (verdictKinds.indexOf(verdict) << 8) |
        ((reason === undefined ? 0 : dropReasons.indexOf(reason) + 1) << 16),
    );
    put(filterWord, filter);
    put(ifindexWord, ifindex);
    put(secondsWord, Math.floor(nowMs / 1000));
    put(nanosecondsWord, Math.floor((nowMs % 1000) * 1e6));
    put(entryLengthWord, this.#entryLength);
    put(entryBytesWord, this.#entryBytes);
    put(exitLengthWord, exit === undefined ? -1 : exitLength);
    put(exitBytesWord, exitBytes);
    if (exit !== undefined)
      ring.put(position + exitAt, exit.bytes, exit.start, exit.start + exitBytes);
    Atomics.store(ring.head, writtenAt, (position + size) | 0);
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
    const filter = word(filterWord);
    const record: CaptureRecord = {
      listener: word(listenerWord),
      direction: directions[kinds & 0xff]!,
      verdict,
      reason: dropReasons[(kinds >> 16) - 1],
      ifindex: verdict === "redirect" ? word(ifindexWord) : undefined,
      filter: filter < 0 ? undefined : filter,
      seconds: word(secondsWord) >>> 0,
      nanoseconds: word(nanosecondsWord),
      entry: {
        length: word(entryLengthWord),
        data: ring.take(position + recordHeadBytes, entryBytes),
      },
      exit:
        exitLength < 0
          ? undefined
          : { length: exitLength, data: ring.take(exitAt, word(exitBytesWord)) },
    };
    Atomics.store(ring.head, readAt, (position + word(sizeWord)) | 0);
    return record;
  }
}

/** Records begin at multiples of 8, so that no word of one goes round the ring's end. */
function padded(bytes: number): number {
  return (bytes + 7) & ~7;
}
