import { err, ok, type Result } from "../common/result.ts";
import { atOnce } from "../common/steps.ts";
import { UserError } from "../common/user-error.ts";
import {
  type EngineContext,
  type Executable,
  type Fault,
  type LinkedProgram,
  stackBytes,
} from "../engine/engine.ts";
import { observedInterpreter } from "../engine/interpreter/interpreter.ts";
import { TraceRecorder, type TraceStep } from "../engine/interpreter/trace-recorder.ts";
import { linkProgram } from "../engine/link.ts";
import { KnownNetwork, type NetworkParts } from "../engine/network.ts";
import { describeFrame, frameOffset } from "../engine/packet-slot.ts";
import { MapAccess, type MapContent } from "../maps/map-access.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { ObjectSpec, ProgramSpec, ProgramType } from "../object/object-spec.ts";
import { Arena, allocationBytes, maxArenaBytes, reservedBytes } from "../runtime/arena.ts";
import { compileRuntime, instantiateRuntime } from "../runtime/instantiate.ts";
import {
  FRAME_CAPACITY,
  SLOT_BYTES,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_FLAGS,
  SLOT_OUTGOING,
  SLOT_REDIRECT_IFINDEX,
  SLOT_RETURN_LOW,
} from "../runtime/wasm/layout.ts";
import { Broadcasts } from "./broadcasts.ts";
import { type ProgramSlot, resolveTailCalls, slotEntry } from "./program-arrays.ts";
import { decisionOf, type TraceDecision } from "./trace-decision.ts";
import { bytesOfMaps, makeMaps, type NestedMap } from "./trace-maps.ts";
import type { Direction, MatchVerdicts, Verdict, VerdictKind } from "./verdict.ts";
import { cutTo, matchVerdictOf, passed, verdictOf, verdictOfFault } from "./verdict-of.ts";

/** A filter of a chain to be traced, and what its maps held. */
export interface TracedFilter {
  readonly name: string;
  readonly object: ObjectSpec;
  readonly program: string;
  /** In place of what the program's section says. */
  readonly type?: ProgramType;
  readonly match?: MatchVerdicts | undefined;
  readonly continueOn?: readonly VerdictKind[] | undefined;
  /** Entries besides those of the object, by index into its maps; of maps of entries only. */
  readonly contents: readonly (readonly MapContent[])[];
  /** What prog_arrays hold besides what the object puts into them. */
  readonly slots: readonly ProgramSlot[];
  /** What maps of maps hold besides what the object puts into them. */
  readonly nested: readonly NestedMap[];
}

/** One filter's run on the packet. */
export interface TracedRun {
  readonly filter: string;
  readonly program: LinkedProgram;
  /** The programs that steps are of, as their objects have them. */
  readonly specOf: (program: LinkedProgram) => ProgramSpec;
  readonly object: ObjectSpec;
  readonly steps: readonly TraceStep[];
  /** Steps there were: more than `steps` holds where the run was too long to keep. */
  readonly count: number;
  readonly returned: bigint;
  /** Undefined for `raw` programs. */
  readonly verdict: Verdict | undefined;
  readonly fault: Fault | undefined;
  /** Undefined where it cannot be told: the run faulted, or was too long to keep. */
  readonly decision: TraceDecision | undefined;
}

export interface TracedChain {
  readonly runs: readonly TracedRun[];
  /** The chain's; undefined where its only program is `raw`. */
  readonly verdict: Verdict | undefined;
  /** The frame as the filters left it. */
  readonly data: Uint8Array;
}

export interface TraceBenchOptions {
  /** Workers of the proxy that the maps are from: values of a per-CPU map's entry. */
  readonly cpus?: number;
  /** The worker whose per-CPU values programs see. */
  readonly cpu?: number;
  readonly maxSteps?: number;
  /** Takes what programs print. */
  readonly trace?: (line: string) => void;
  /** What helpers find of ports and routes. Default: the loopback device alone. */
  readonly network?: NetworkParts | undefined;
}

/** Steps of a run that are kept: some 40 MB. */
const defaultMaxSteps = 100_000;

interface Loaded {
  readonly filter: TracedFilter;
  readonly program: LinkedProgram;
  readonly executable: Executable;
}

/**
 * Runs packets through a chain in the interpreter, seeing each instruction: on maps of its own, so
 * that nothing it does is felt elsewhere.
 */
export class TraceBench {
  readonly #context: EngineContext;
  readonly #recorder: TraceRecorder;
  readonly #filters: readonly Loaded[];
  readonly #slot: number;
  readonly #broadcasts: Broadcasts;

  private constructor(
    context: EngineContext,
    recorder: TraceRecorder,
    filters: readonly Loaded[],
    slot: number,
  ) {
    this.#context = context;
    this.#recorder = recorder;
    this.#filters = filters;
    this.#slot = slot;
    this.#broadcasts = new Broadcasts(context);
  }

  static async create(
    filters: readonly TracedFilter[],
    options: TraceBenchOptions = {},
  ): Promise<Result<TraceBench, UserError>> {
    const { cpus = 1, cpu = 0, maxSteps = defaultMaxSteps, trace = () => {}, network } = options;
    // Programs of one filter share its maps.
    const objects = new Map(filters.map((filter) => [filter.object, filter]));
    let bytes = reservedBytes + allocationBytes(SLOT_BYTES) + allocationBytes(stackBytes);
    for (const [object, filter] of objects) bytes += bytesOfMaps(object, filter, cpus);
    const arena = Arena.create(Math.min(maxArenaBytes, bytes + 2 * 65_536));
    if (!arena.ok) return arena;
    const slot = arena.value.allocate(SLOT_BYTES, "packet slot");
    if (!slot.ok) return slot;
    const stack = arena.value.allocate(stackBytes, "stack");
    if (!stack.ok) return stack;
    const now = process.hrtime.bigint();
    const programs: Executable[] = [];
    const context: EngineContext = {
      arena: arena.value,
      runtime: instantiateRuntime(await compileRuntime(), arena.value),
      cpu,
      stack: stack.value,
      clock: { low: Number(now & 0xffff_ffffn) | 0, high: Number(now >> 32n) },
      random: () => Math.floor(Math.random() * 2 ** 32),
      trace,
      programs,
      ...(network === undefined ? {} : { network: new KnownNetwork(network) }),
    };
    const recorder = new TraceRecorder(context, maxSteps);
    const handles = new Map<ObjectSpec, readonly MapHandle[]>();
    for (const [object, filter] of objects) {
      const made = makeMaps(object, filter, context, cpus);
      if (!made.ok) return made;
      handles.set(object, made.value);
    }
    const loaded: Loaded[] = [];
    for (const filter of filters) {
      const maps = handles.get(filter.object)!;
      const one = load(filter, maps, context, recorder, programs);
      if (!one.ok) return one;
      loaded.push({ filter, ...one.value });
    }
    return ok(new TraceBench(context, recorder, loaded, slot.value));
  }

  /** Judges a frame as a chain of `direction` would that holds the filters in order. */
  judge(frame: Uint8Array, ifindex: number, direction: Direction): Result<TracedChain, UserError> {
    const { arena, cpu } = this.#context;
    if (frame.length > FRAME_CAPACITY)
      return err(
        new UserError(
          "PACKET_TOO_LONG",
          "packet",
          `${frame.length} bytes`,
          `a packet has at most ${FRAME_CAPACITY} bytes`,
        ),
      );
    const slot = this.#slot;
    arena.bytes.set(frame, slot + frameOffset);
    describeFrame(arena, slot, frame.length, ifindex, cpu);
    if (direction === "egress") arena.words[(slot + SLOT_FLAGS) >> 2] = SLOT_OUTGOING;
    const runs: TracedRun[] = [];
    let verdict: Verdict | undefined = passed;
    let keptBytes = Number.POSITIVE_INFINITY;
    for (const loaded of this.#filters) {
      const run = this.#run(loaded);
      runs.push(run);
      verdict = run.verdict;
      if (verdict?.kind === "pass" && verdict.cutTo !== undefined)
        keptBytes = Math.min(keptBytes, verdict.cutTo);
      const goesOn = (loaded.filter.continueOn ?? ["pass"]) as readonly (VerdictKind | undefined)[];
      if (run.fault !== undefined || !goesOn.includes(verdict?.kind)) break;
      if (verdict !== undefined) verdict = passed;
    }
    if (verdict?.kind === "pass" && keptBytes !== Number.POSITIVE_INFINITY)
      verdict = cutTo(keptBytes);
    const { words, bytes } = arena;
    const data = bytes.slice(words[(slot + SLOT_DATA) >> 2]!, words[(slot + SLOT_DATA_END) >> 2]!);
    return ok({ runs, verdict, data });
  }

  #run({ filter, program, executable }: Loaded): TracedRun {
    const { words, view } = this.#context.arena;
    const slot = this.#slot;
    this.#recorder.begin(slot);
    executable.run(slot);
    const returned = view.getBigUint64(slot + SLOT_RETURN_LOW, true);
    const { steps, count } = this.#recorder.end(returned);
    const { fault } = executable;
    const frameBytes = words[(slot + SLOT_DATA_END) >> 2]! - words[(slot + SLOT_DATA) >> 2]!;
    const ifindex = words[(slot + SLOT_REDIRECT_IFINDEX) >> 2]! >>> 0;
    const verdict = verdictOfRun(filter, program.type, fault, returned, ifindex, frameBytes);
    return {
      filter: filter.name,
      program,
      specOf: ({ name }) => filter.object.programs.find((spec) => spec.name === name)!,
      object: filter.object,
      steps,
      count,
      returned,
      verdict: verdict && this.#broadcasts.resolve(slot, verdict),
      fault,
      decision: fault === undefined && count === steps.length ? decisionOf(steps) : undefined,
    };
  }
}

function verdictOfRun(
  filter: TracedFilter,
  type: ProgramType,
  fault: Fault | undefined,
  returned: bigint,
  ifindex: number,
  frameBytes: number,
): Verdict | undefined {
  if (type === "raw") return undefined;
  if (fault !== undefined) return verdictOfFault(fault);
  const judge = filter.match === undefined ? verdictOf[type] : matchVerdictOf(filter.match);
  return judge(Number(returned & 0xffff_ffffn), ifindex, frameBytes);
}

function load(
  filter: TracedFilter,
  maps: readonly MapHandle[],
  context: EngineContext,
  recorder: TraceRecorder,
  programs: Executable[],
): Result<Omit<Loaded, "filter">, UserError> {
  const { object, type } = filter;
  const spec = object.programs.find(({ name }) => name === filter.program);
  if (spec === undefined)
    return err(
      new UserError(
        "OBJECT_NO_PROGRAM",
        object.file,
        `has no program "${filter.program}"`,
        `it has ${object.programs.map(({ name }) => name).join(", ")}`,
      ),
    );
  const linked = linkProgram(spec, maps, type, { object });
  if (!linked.ok) return linked;
  const observed = (program: LinkedProgram) =>
    observedInterpreter(recorder.observerOf(program))(program, context);
  const own = observed(linked.value);
  if (!own.ok) return own;
  const calls = atOnce(resolveTailCalls(object, [linked.value], maps, filter.slots, type));
  if (!calls.ok) return err(calls.error[0]!.error);
  const before = programs.length;
  for (const program of calls.value.programs) {
    const executable = program === linked.value ? own : observed(program);
    if (!executable.ok) return executable;
    programs.push(executable.value);
  }
  for (const [i, slots] of calls.value.slots.entries()) {
    const access = new MapAccess(maps[i]!, context.arena, context.runtime);
    for (const { index, program } of slots) {
      const { key, value } = slotEntry({ index, program: before + program });
      const result = access.initialize(key, value);
      if (result !== 0) throw new Error(`map ${maps[i]!.name}[${index}]: error ${-result}`);
    }
  }
  return ok({ program: linked.value, executable: own.value });
}
