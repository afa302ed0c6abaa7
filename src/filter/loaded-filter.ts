import type { BatchFault, Executable, Fault } from "../engine/engine.ts";
import type { Arena } from "../runtime/arena.ts";
import {
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_REDIRECT_IFINDEX,
  SLOT_RETURN_LOW,
} from "../runtime/wasm/layout.ts";
import type { Broadcasts } from "./broadcasts.ts";
import type { Counters } from "./counters.ts";
import type { FaultReporter } from "./fault-reporter.ts";
import type { MatchVerdicts, Verdict, VerdictKind } from "./verdict.ts";
import {
  type JudgingType,
  matchVerdictOf,
  type VerdictOf,
  verdictOf,
  verdictOfFault,
} from "./verdict-of.ts";

/** What a filter of one worker is made of. */
export interface FilterParts {
  /** As metrics label it. */
  readonly name: string;
  /** Its number among the plan's filters, which is its place in the counters. */
  readonly index: number;
  readonly type: JudgingType;
  /** For expressions, instead of the type's table. */
  readonly match?: MatchVerdicts | undefined;
  readonly executable: Executable;
  /** The worker's. Absent: its programs send to one port at most. */
  readonly broadcasts?: Broadcasts | undefined;
  /** Asked without effect, unless it has been promoted. */
  readonly shadow?: boolean | undefined;
}

/** One run in this many is timed, on average: reading the clock twice costs more than a small filter. */
const runsPerSample = 128;

/** One program of a filter, ready to judge packets on one worker: engine, verdict table, counters. */
export class LoadedFilter {
  readonly name: string;
  /** The config has it as a shadow. */
  readonly isCandidate: boolean;
  readonly #index: number;
  readonly #executable: Executable;
  readonly #verdictOf: VerdictOf;
  readonly #broadcasts: Broadcasts | undefined;
  readonly #arena: Arena;
  readonly #counters: Counters;
  readonly #faults: FaultReporter;
  #untilSample = runsPerSample;
  #batchFaults: readonly BatchFault[] = [];

  constructor(parts: FilterParts, arena: Arena, counters: Counters, faults: FaultReporter) {
    this.name = parts.name;
    this.isCandidate = parts.shadow === true;
    this.#index = parts.index;
    this.#executable = parts.executable;
    this.#verdictOf =
      parts.match === undefined ? verdictOf[parts.type] : matchVerdictOf(parts.match);
    this.#broadcasts = parts.broadcasts;
    this.#arena = arena;
    this.#counters = counters;
    this.#faults = faults;
  }

  /** The main thread has taken it out of its chains. */
  get disabled(): boolean {
    return this.#counters.isDisabled(this.#index);
  }

  /** Its verdicts are to have no effect: a candidate that has not been promoted. */
  get isShadow(): boolean {
    return this.isCandidate && !this.#counters.isPromoted(this.#index);
  }

  /** Counts what its verdict on a packet was, as a shadow, beside the chain's. */
  compare(live: VerdictKind, shadow: VerdictKind): void {
    this.#counters.shadowVerdict(this.#index, live, shadow);
  }

  /** Runs the program on the frame in `slot` and counts its verdict. Allocates nothing. */
  judge(slot: number): Verdict {
    const verdict = this.ask(slot);
    this.#counters.filterVerdict(this.#index, verdict.kind);
    return verdict;
  }

  /** As `judge`, without counting: a shadow's verdict is no packet's. `compare` counts it. */
  ask(slot: number): Verdict {
    this.#counters.beginRun(this.#index, slot, 1, 0);
    const returned = --this.#untilSample === 0 ? this.#timedRun(slot) : this.#executable.run(slot);
    this.#counters.endRun(this.#index);
    const fault = this.#executable.fault;
    return fault === undefined ? this.#verdict(slot, returned) : this.#faulted(fault);
  }

  /** Its engine runs many packets a call. */
  get canBatch(): boolean {
    return this.#executable.runBatch !== undefined;
  }

  /** As `judge`, for the frames in `count` slots, `stride` bytes apart. Where `canBatch`. */
  judgeBatch(first: number, stride: number, count: number, verdicts: Verdict[]): void {
    this.#counters.beginRun(this.#index, first, count, stride);
    this.#untilSample -= count;
    const faults =
      this.#untilSample <= 0
        ? this.#timedBatch(first, stride, count)
        : this.#executable.runBatch!(first, stride, count);
    this.#counters.endRun(this.#index);
    this.#batchFaults = faults;
    const { words } = this.#arena;
    let nextFault = 0;
    for (let i = 0, slot = first; i < count; i++, slot += stride) {
      const verdict =
        faults[nextFault]?.packetSlot === slot
          ? this.#faulted(faults[nextFault++]!.fault)
          : this.#verdict(slot, words[(slot + SLOT_RETURN_LOW) >> 2]! >>> 0);
      this.#counters.filterVerdict(this.#index, verdict.kind);
      verdicts[i] = verdict;
    }
  }

  /** The run on `slot` in the last batch ended before its program's `exit`. */
  hasFaulted(slot: number): boolean {
    return this.#batchFaults.some(({ packetSlot }) => packetSlot === slot);
  }

  #verdict(slot: number, returned: number): Verdict {
    const { words } = this.#arena;
    const frameBytes = words[(slot + SLOT_DATA_END) >> 2]! - words[(slot + SLOT_DATA) >> 2]!;
    const ifindex = words[(slot + SLOT_REDIRECT_IFINDEX) >> 2]! >>> 0;
    const verdict = this.#verdictOf(returned, ifindex, frameBytes);
    return this.#broadcasts === undefined ? verdict : this.#broadcasts.resolve(slot, verdict);
  }

  #faulted(fault: Fault): Verdict {
    this.#faults.faulted(this.name, fault.program ?? this.#executable.program.name, fault);
    return verdictOfFault(fault);
  }

  /** Times a batch: the sample is one run's share of it. */
  #timedBatch(first: number, stride: number, count: number): readonly BatchFault[] {
    this.#chooseSample();
    const fromMs = performance.now();
    const faults = this.#executable.runBatch!(first, stride, count);
    this.#counters.filterRun(this.#index, (performance.now() - fromMs) / 1000 / count);
    return faults;
  }

  /** The next sample comes after a random number of runs, so as to follow no pattern. */
  #chooseSample(): void {
    this.#untilSample = 1 + Math.floor(Math.random() * (2 * runsPerSample - 1));
  }

  #timedRun(slot: number): number {
    this.#chooseSample();
    const fromMs = performance.now();
    const returned = this.#executable.run(slot);
    this.#counters.filterRun(this.#index, (performance.now() - fromMs) / 1000);
    return returned;
  }

  /** The last run ended before its program's `exit`: no later filter may overrule it. */
  get faulted(): boolean {
    return this.#executable.fault !== undefined;
  }
}
