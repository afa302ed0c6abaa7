import { type DropReason, dropReasons } from "../common/drop-reason.ts";
import { allocationBytes } from "../runtime/arena.ts";
import { type Direction, directions, type VerdictKind, verdictKinds } from "./verdict.ts";

/**
 * What is counted a listener besides packets and drops. `sessions` goes up and down;
 * `sessions_evicted_total` are those that had to make room at the listener's cap.
 */
export const listenerCells = ["sessions", "sessions_total", "sessions_evicted_total"] as const;
export type ListenerCell = (typeof listenerCells)[number];

/**
 * Label values of `weir_receive_errors_total{reason}`. What the kernel dropped it counts itself.
 * `client_reset`: a client had broken its connection off before it was taken, as a probe may.
 */
export const receiveErrors = [
  "socket_error",
  "client_reset",
  "kernel_dropped",
  "proxy_header",
  "proxy_untrusted",
] as const;
export type ReceiveError = (typeof receiveErrors)[number];

/** Upper bounds in seconds of `weir_filter_run_seconds`: from a few instructions to a stall. */
export const runBounds = [
  1e-7, 2.5e-7, 5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 1e-3, 1e-2,
] as const;

/** How many of what there are counters for. */
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
/** Of shadows: how often each verdict of a chain met each of the filter's own, row by row. */
const shadowsAt = runSumAt + 1;
/** Not 0: the filter is taken out of its chains. Behind the counters. */
const disabledAt = shadowsAt + verdictKinds.length ** 2;
/** Not 0: the filter is live, though the config has it as a shadow. */
const promotedAt = disabledAt + 1;
/** Not 0: the worker runs the filter now, on the packets of this slot and those behind it. */
const runningAt = promotedAt + 1;
/** So many bytes behind it and each other. */
const strideAt = runningAt + 1;
const perFilter = strideAt + 1;
/** A run's slot is above its number of packets in one cell, and both are exact. */
const runUnit = 1_024;

/** An address's cells: when it was last heard of, failures since, the end of its ejection, its check. */
const failuresAt = 1;
const ejectedAt = 2;
const checkedAt = 3;
const perAddress = 4;

/** What health checks say of an address: nothing (there are none, or no result yet), up or down. */
export type Checked = "unknown" | "up" | "down";
const checkedStates: readonly Checked[] = ["unknown", "up", "down"];

const directionIndex: Readonly<Record<Direction, number>> = { ingress: 0, egress: 1 };
const verdictIndex = indexes(verdictKinds);
const reasonIndex = indexes(dropReasons);
const cellIndex = indexes(listenerCells);
const errorIndex = indexes(receiveErrors);

/**
 * Where one worker's counters lie: arena offsets, by the numbers that a plan gives its listeners,
 * filters, upstream addresses and lanes of tunnels. Each has a place of its own, so that what stays over a reload
 * keeps its counts, whatever its number becomes.
 */
export interface CounterPlaces {
  readonly listeners: readonly number[];
  readonly filters: readonly number[];
  readonly addresses: readonly number[];
  readonly lanes: readonly number[];
}

/** Bytes of the arena that one place takes. */
export const placeBytes: Readonly<Record<keyof CounterPlaces, number>> = {
  listeners: allocationBytes(perListener * 8),
  filters: allocationBytes(perFilter * 8),
  lanes: allocationBytes(laneCells * 8),
  addresses: allocationBytes(perAddress * 8),
};

/** Bytes of the arena that one worker's counters take. */
export function counterBytes(shape: CounterShape): number {
  return (
    shape.listeners * placeBytes.listeners +
    shape.filters * placeBytes.filters +
    shape.addresses * placeBytes.addresses +
    (shape.lanes ?? 0) * placeBytes.lanes
  );
}

/**
 * One worker's counters: 64-bit float cells in the arena (exact to 2⁵³). The worker is the only
 * writer; the main thread reads the same cells when it is scraped, so that rendering costs the
 * worker nothing and needs no message. Some cells go the other way, which the main thread writes and
 * the worker reads: whether a filter is disabled or promoted, and what health checks found.
 */
export class Counters {
  #cells: Float64Array;
  /** The same memory: two to a cell. */
  #words: Int32Array;
  /** Indexes of first cells. */
  readonly #listeners: readonly number[];
  readonly #filters: readonly number[];
  readonly #addresses: readonly number[];
  readonly #lanes: readonly number[];

  constructor(memory: WebAssembly.Memory, places: CounterPlaces) {
    this.#cells = new Float64Array(memory.buffer);
    this.#words = new Int32Array(memory.buffer);
    this.#listeners = places.listeners.map((offset) => offset / 8);
    this.#filters = places.filters.map((offset) => offset / 8);
    this.#addresses = places.addresses.map((offset) => offset / 8);
    this.#lanes = places.lanes.map((offset) => offset / 8);
  }

  /** Counts nothing any more: the cells may soon be something else's. */
  detach(): void {
    this.#cells = new Float64Array(0);
    this.#words = new Int32Array(0);
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
    const at = packetsAt(this.#listeners[listener]!, direction, kind);
    this.#cells[at]! += count;
    this.#cells[at + 1]! += bytes;
  }

  drop(listener: number, direction: Direction, reason: DropReason): void {
    this.#cells[dropsAt(this.#listeners[listener]!, direction, reason)]! += 1;
  }

  filterVerdict(filter: number, kind: VerdictKind): void {
    this.#cells[this.#filters[filter]! + verdictIndex[kind]]! += 1;
  }

  /**
   * The filter runs on `count` (below 1,024) packet slots from `slot` on, `stride` bytes apart: what is known
   * of it if that never ends.
   */
  beginRun(filter: number, slot: number, count: number, stride: number): void {
    const at = this.#filters[filter]!;
    this.#cells[at + strideAt] = stride;
    this.#cells[at + runningAt] = slot * runUnit + count;
  }

  endRun(filter: number): void {
    this.#cells[this.#filters[filter]! + runningAt] = 0;
  }

  /** The slots of the run that a worker which has ended did not come to the end of; from then on there is none. */
  takeRun(filter: number): readonly number[] | undefined {
    const at = this.#filters[filter]!;
    const run = this.#cells[at + runningAt]!;
    if (run === 0) return undefined;
    this.#cells[at + runningAt] = 0;
    const first = Math.floor(run / runUnit);
    const stride = this.#cells[at + strideAt]!;
    return Array.from({ length: run % runUnit }, (_, i) => first + i * stride);
  }

  /** A run of a filter that was timed. */
  filterRun(filter: number, seconds: number): void {
    const at = this.#filters[filter]!;
    let bucket = 0;
    while (bucket < runBounds.length && seconds > runBounds[bucket]!) bucket++;
    this.#cells[at + runsAt + bucket]! += 1;
    this.#cells[at + runSumAt]! += seconds;
  }

  /** A shadow's verdict on a packet whose chain's verdict was `live`. */
  shadowVerdict(filter: number, live: VerdictKind, shadow: VerdictKind): void {
    this.#cells[shadowAt(this.#filters[filter]!, live, shadow)]! += 1;
  }

  /** An upstream's address answered, or could not be reached, at `nowMs` (above 0). */
  upstream(address: number, up: boolean, nowMs: number): void {
    this.#cells[this.#addresses[address]!] = up ? nowMs : -nowMs;
  }

  /** A frame of `bytes` came from a lane's peer (ingress), or was sent there (egress). */
  laneFrame(lane: number, direction: Direction, bytes: number): void {
    const at = this.#lanes[lane]! + directionIndex[direction] * 2;
    this.#cells[at]! += 1;
    this.#cells[at + 1]! += bytes;
  }

  /** Failures of an address in a row, this one included. */
  addFailure(address: number): number {
    const at = this.#addresses[address]! + failuresAt;
    this.#cells[at]! += 1;
    return this.#cells[at]!;
  }

  clearFailures(address: number): void {
    this.#cells[this.#addresses[address]! + failuresAt] = 0;
  }

  /** Leaves an address out until `untilMs`, on the clock of `upstream`. */
  eject(address: number, untilMs: number): void {
    this.#cells[this.#addresses[address]! + ejectedAt] = untilMs;
  }

  isEjected(address: number, nowMs: number): boolean {
    return this.#cells[this.#addresses[address]! + ejectedAt]! > nowMs;
  }

  /** Tells the worker what health checks say; the main thread's part. */
  setChecked(address: number, checked: Checked): void {
    const at = (this.#addresses[address]! + checkedAt) * 2;
    Atomics.store(this.#words, at, checkedStates.indexOf(checked));
  }

  readChecked(address: number): Checked {
    // Detached: whoever asks has no say any more.
    if (this.#words.length === 0) return "unknown";
    const at = (this.#addresses[address]! + checkedAt) * 2;
    return checkedStates[Atomics.load(this.#words, at)]!;
  }

  /** Where a listener counts: no other does there. */
  placeOf(listener: number): number {
    return this.#listeners[listener]! * 8;
  }

  add(listener: number, cell: ListenerCell, by: number): void {
    this.#cells[cellAt(this.#listeners[listener]!, cell)]! += by;
  }

  receiveError(listener: number, reason: ReceiveError, by = 1): void {
    this.#cells[errorAt(this.#listeners[listener]!, reason)]! += by;
  }

  readPackets(listener: number, direction: Direction, kind: VerdictKind): number {
    return this.#cells[packetsAt(this.#listeners[listener]!, direction, kind)]!;
  }

  readBytes(listener: number, direction: Direction, kind: VerdictKind): number {
    return this.#cells[packetsAt(this.#listeners[listener]!, direction, kind) + 1]!;
  }

  readDrops(listener: number, direction: Direction, reason: DropReason): number {
    return this.#cells[dropsAt(this.#listeners[listener]!, direction, reason)]!;
  }

  readFilterVerdicts(filter: number, kind: VerdictKind): number {
    return this.#cells[this.#filters[filter]! + verdictIndex[kind]]!;
  }

  /** Timed runs of a filter in each bucket of `runBounds`, then those above all; not cumulative. */
  readFilterRuns(filter: number): Float64Array {
    const at = this.#filters[filter]! + runsAt;
    return this.#cells.subarray(at, at + runBounds.length + 1);
  }

  /** Seconds that a filter's timed runs took together. */
  readFilterRunSum(filter: number): number {
    return this.#cells[this.#filters[filter]! + runSumAt]!;
  }

  readShadowVerdicts(filter: number, live: VerdictKind, shadow: VerdictKind): number {
    return this.#cells[shadowAt(this.#filters[filter]!, live, shadow)]!;
  }

  /** Takes a filter out of its chains on this worker, or puts it back. The main thread's to call. */
  disable(filter: number, disabled: boolean): void {
    this.#cells[this.#filters[filter]! + disabledAt] = disabled ? 1 : 0;
  }

  /** Never once detached: filters that still run then were not disabled by that. */
  isDisabled(filter: number): boolean {
    return this.#cells[this.#filters[filter]! + disabledAt] === 1;
  }

  /** Makes a shadow live on this worker, or a shadow again. The main thread's to call. */
  promote(filter: number, promoted: boolean): void {
    this.#cells[this.#filters[filter]! + promotedAt] = promoted ? 1 : 0;
  }

  isPromoted(filter: number): boolean {
    return this.#cells[this.#filters[filter]! + promotedAt] === 1;
  }

  /** When an upstream's address was last heard of: above 0 it was up, below 0 down, 0 never tried. */
  readUpstream(address: number): number {
    return this.#cells[this.#addresses[address]!]!;
  }

  readLaneFrames(lane: number, direction: Direction): number {
    return this.#cells[this.#lanes[lane]! + directionIndex[direction] * 2]!;
  }

  readLaneBytes(lane: number, direction: Direction): number {
    return this.#cells[this.#lanes[lane]! + directionIndex[direction] * 2 + 1]!;
  }

  readCell(listener: number, cell: ListenerCell): number {
    return this.#cells[cellAt(this.#listeners[listener]!, cell)]!;
  }

  readReceiveErrors(listener: number, reason: ReceiveError): number {
    return this.#cells[errorAt(this.#listeners[listener]!, reason)]!;
  }
}

function packetsAt(first: number, direction: Direction, kind: VerdictKind): number {
  return first + directionIndex[direction] * perDirection + verdictIndex[kind] * 2;
}

function dropsAt(first: number, direction: Direction, reason: DropReason): number {
  const drops = directionIndex[direction] * perDirection + verdictKinds.length * 2;
  return first + drops + reasonIndex[reason];
}

function shadowAt(first: number, live: VerdictKind, shadow: VerdictKind): number {
  return first + shadowsAt + verdictIndex[live] * verdictKinds.length + verdictIndex[shadow];
}

function cellAt(first: number, cell: ListenerCell): number {
  return first + directions.length * perDirection + cellIndex[cell];
}

function errorAt(first: number, reason: ReceiveError): number {
  const cells = directions.length * perDirection + listenerCells.length;
  return first + cells + errorIndex[reason];
}

function indexes<const Names extends readonly string[]>(
  names: Names,
): Readonly<Record<Names[number], number>> {
  return Object.fromEntries(names.map((name, i) => [name, i])) as Record<Names[number], number>;
}
