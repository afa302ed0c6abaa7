import { type DropReason, dropReasons } from "../common/drop-reason.ts";
import { type Direction, directions, type VerdictKind, verdictKinds } from "./verdict.ts";

/**
 * What is counted a listener besides packets and drops. `sessions` goes up and down;
 * `sessions_evicted_total` are those that had to make room at the listener's cap.
 */
export const listenerCells = ["sessions", "sessions_total", "sessions_evicted_total"] as const;
export type ListenerCell = (typeof listenerCells)[number];

/** Label values of `weir_receive_errors_total{reason}`. What the kernel dropped it counts itself. */
export const receiveErrors = ["socket_error", "truncated", "kernel_dropped"] as const;
export type ReceiveError = (typeof receiveErrors)[number];

/** Upper bounds in seconds of `weir_filter_run_seconds`: from a few instructions to a stall. */
export const runBounds = [
  1e-7, 2.5e-7, 5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 1e-3, 1e-2,
] as const;

/** What a block of counters has cells for. */
export interface CounterShape {
  readonly listeners: number;
  readonly filters: number;
  /** Addresses of all upstreams together. */
  readonly addresses: number;
  /** A lane is one network of one peer of a tunnel. Absent: there are none. */
  readonly lanes?: number;
}

/** What is counted a lane. */
const laneCells = 4;

const perDirection = verdictKinds.length * 2 + dropReasons.length;
const perListener = directions.length * perDirection + listenerCells.length + receiveErrors.length;
/** A filter's cells: verdicts, then sampled run times by bucket (one more for above all), then their sum. */
const runsAt = verdictKinds.length;
const runSumAt = runsAt + runBounds.length + 1;
const perFilter = runSumAt + 1;

const directionIndex: Readonly<Record<Direction, number>> = { ingress: 0, egress: 1 };
const verdictIndex = indexes(verdictKinds);
const reasonIndex = indexes(dropReasons);
const cellIndex = indexes(listenerCells);
const errorIndex = indexes(receiveErrors);

/** Bytes one worker's counters take in the arena. */
export function counterBytes(shape: CounterShape): number {
  return (
    (shape.listeners * perListener +
      shape.filters * perFilter +
      shape.addresses +
      (shape.lanes ?? 0) * laneCells) *
    8
  );
}

/**
 * One worker's counters: 64-bit float cells in the arena (exact to 2⁵³). The worker is the only
 * writer; the main thread reads the same cells when it is scraped, so that rendering costs the
 * worker nothing and needs no message.
 */
export class Counters {
  readonly #cells: Float64Array;
  readonly #filters: number;
  readonly #addresses: number;
  readonly #lanes: number;

  constructor(memory: WebAssembly.Memory, offset: number, shape: CounterShape) {
    this.#cells = new Float64Array(memory.buffer, offset, counterBytes(shape) / 8);
    this.#filters = shape.listeners * perListener;
    this.#addresses = this.#filters + shape.filters * perFilter;
    this.#lanes = this.#addresses + shape.addresses;
  }

  /** Counts a packet of `bytes` (the frame's length) whose verdict is `kind`. */
  packet(listener: number, direction: Direction, kind: VerdictKind, bytes: number): void {
    this.packets(listener, direction, kind, 1, bytes);
  }

  /** Counts `count` packets of `bytes` altogether. */
  packets(
    listener: number,
    direction: Direction,
    kind: VerdictKind,
    count: number,
    bytes: number,
  ): void {
    const at = packetsAt(listener, direction, kind);
    this.#cells[at]! += count;
    this.#cells[at + 1]! += bytes;
  }

  drop(listener: number, direction: Direction, reason: DropReason): void {
    this.#cells[dropsAt(listener, direction, reason)]! += 1;
  }

  filterVerdict(filter: number, kind: VerdictKind): void {
    this.#cells[this.#filters + filter * perFilter + verdictIndex[kind]]! += 1;
  }

  /** A run of a filter that was timed. */
  filterRun(filter: number, seconds: number): void {
    const at = this.#filters + filter * perFilter;
    let bucket = 0;
    while (bucket < runBounds.length && seconds > runBounds[bucket]!) bucket++;
    this.#cells[at + runsAt + bucket]! += 1;
    this.#cells[at + runSumAt]! += seconds;
  }

  /** An upstream's address answered, or could not be reached, at `nowMs` (above 0). */
  upstream(address: number, up: boolean, nowMs: number): void {
    this.#cells[this.#addresses + address] = up ? nowMs : -nowMs;
  }

  /** A frame of `bytes` came from a lane's peer (ingress), or was sent there (egress). */
  laneFrame(lane: number, direction: Direction, bytes: number): void {
    const at = this.#lanes + lane * laneCells + directionIndex[direction] * 2;
    this.#cells[at]! += 1;
    this.#cells[at + 1]! += bytes;
  }

  add(listener: number, cell: ListenerCell, by: number): void {
    this.#cells[cellAt(listener, cell)]! += by;
  }

  receiveError(listener: number, reason: ReceiveError, by = 1): void {
    this.#cells[errorAt(listener, reason)]! += by;
  }

  readPackets(listener: number, direction: Direction, kind: VerdictKind): number {
    return this.#cells[packetsAt(listener, direction, kind)]!;
  }

  readBytes(listener: number, direction: Direction, kind: VerdictKind): number {
    return this.#cells[packetsAt(listener, direction, kind) + 1]!;
  }

  readDrops(listener: number, direction: Direction, reason: DropReason): number {
    return this.#cells[dropsAt(listener, direction, reason)]!;
  }

  readFilterVerdicts(filter: number, kind: VerdictKind): number {
    return this.#cells[this.#filters + filter * perFilter + verdictIndex[kind]]!;
  }

  /** Timed runs of a filter in each bucket of `runBounds`, then those above all; not cumulative. */
  readFilterRuns(filter: number): Float64Array {
    const at = this.#filters + filter * perFilter + runsAt;
    return this.#cells.subarray(at, at + runBounds.length + 1);
  }

  /** Seconds that a filter's timed runs took together. */
  readFilterRunSum(filter: number): number {
    return this.#cells[this.#filters + filter * perFilter + runSumAt]!;
  }

  /** When an upstream's address was last heard of: above 0 it was up, below 0 down, 0 never tried. */
  readUpstream(address: number): number {
    return this.#cells[this.#addresses + address]!;
  }

  readLaneFrames(lane: number, direction: Direction): number {
    return this.#cells[this.#lanes + lane * laneCells + directionIndex[direction] * 2]!;
  }

  readLaneBytes(lane: number, direction: Direction): number {
    return this.#cells[this.#lanes + lane * laneCells + directionIndex[direction] * 2 + 1]!;
  }

  readCell(listener: number, cell: ListenerCell): number {
    return this.#cells[cellAt(listener, cell)]!;
  }

  readReceiveErrors(listener: number, reason: ReceiveError): number {
    return this.#cells[errorAt(listener, reason)]!;
  }
}

function packetsAt(listener: number, direction: Direction, kind: VerdictKind): number {
  return listener * perListener + directionIndex[direction] * perDirection + verdictIndex[kind] * 2;
}

function dropsAt(listener: number, direction: Direction, reason: DropReason): number {
  const drops = directionIndex[direction] * perDirection + verdictKinds.length * 2;
  return listener * perListener + drops + reasonIndex[reason];
}

function cellAt(listener: number, cell: ListenerCell): number {
  return listener * perListener + directions.length * perDirection + cellIndex[cell];
}

function errorAt(listener: number, reason: ReceiveError): number {
  const cells = directions.length * perDirection + listenerCells.length;
  return listener * perListener + cells + errorIndex[reason];
}

function indexes<const Names extends readonly string[]>(
  names: Names,
): Readonly<Record<Names[number], number>> {
  return Object.fromEntries(names.map((name, i) => [name, i])) as Record<Names[number], number>;
}
