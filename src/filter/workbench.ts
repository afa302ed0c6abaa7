import { err, ok, type Result } from "../common/result.ts";
import { atOnce } from "../common/steps.ts";
import type { UserError } from "../common/user-error.ts";
import {
  type EngineContext,
  type EngineKind,
  type Executable,
  type Fault,
  type LinkedProgram,
  stackBytes,
} from "../engine/engine.ts";
import { compileProgram } from "../engine/jit/compile-program.ts";
import { printModule } from "../engine/jit/print-module.ts";
import { type LinkSource, linkProgram } from "../engine/link.ts";
import { placeFrame } from "../engine/packet-slot.ts";
import { hasSocketContext } from "../engine/socket-context.ts";
import { createMap, releaseMap } from "../maps/create-map.ts";
import { EventReader, type MapEvent } from "../maps/event-reader.ts";
import { MapAccess } from "../maps/map-access.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { placeInnerMaps } from "../maps/place-inner-maps.ts";
import { holdsEvents } from "../object/map-rules.ts";
import type { MapSpec, ProgramSpec, ProgramType } from "../object/object-spec.ts";
import { Arena } from "../runtime/arena.ts";
import { compileRuntime, instantiateRuntime } from "../runtime/instantiate.ts";
import {
  SLOT_BYTES,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_DATA_META,
  SLOT_REDIRECT_IFINDEX,
  SLOT_RETURN_LOW,
} from "../runtime/wasm/layout.ts";
import { Broadcasts } from "./broadcasts.ts";
import { engines } from "./engines.ts";
import type { PacketContext, SkbContext } from "./packet-context.ts";
import { placeContext, readContext } from "./place-context.ts";
import {
  type ProgramSlot,
  resolveTailCalls,
  slotEntry,
  type TailCallObject,
} from "./program-arrays.ts";
import type { Verdict } from "./verdict.ts";
import { verdictOf, verdictOfFault } from "./verdict-of.ts";

/** What came of running a program on a packet. */
export interface Outcome {
  /** r0. Programs that judge packets return its low word. */
  readonly returned: bigint;
  /** What the return value means; undefined for `raw`, whose result is no verdict. */
  readonly verdict: Verdict | undefined;
  /** The packet as the program left it; with metadata in front if an XDP program put some there, as in BPF_PROG_TEST_RUN. */
  readonly data: Uint8Array;
  /** Why the run ended before `exit`, if it did. */
  readonly fault: Fault | undefined;
  /** What it left in its `__sk_buff`; undefined for programs that have none. */
  readonly context: SkbContext | undefined;
}

export interface WorkbenchOptions {
  /** Most bytes the arena may take. */
  readonly memoryBytes?: number;
  /** Values a per-CPU map holds an entry. */
  readonly cpus?: number;
  /** Takes what programs print. */
  readonly trace?: (line: string) => void;
  /** Nanoseconds as `bpf_ktime_get_ns` gives them, asked before each run. Default: since creation. */
  readonly nowNs?: () => bigint;
}

const defaultMemoryBytes = 512 * 1024 * 1024;

/**
 * Programs, maps and packets without a proxy: an arena, a runtime and one packet slot, on this
 * thread. What `weir prog run` and tests of filters use.
 */
export class Workbench {
  readonly #context: EngineContext;
  /** The context's. */
  readonly #programs: Executable[];
  readonly #broadcasts: Broadcasts;
  readonly #slot: number;
  readonly #cpus: number;
  readonly #nowNs: () => bigint;
  /** What `prepare` made executables of. */
  readonly #linked = new WeakMap<Executable, LinkedProgram>();

  private constructor(
    context: EngineContext,
    programs: Executable[],
    slot: number,
    { cpus = 1, nowNs = sinceNow() }: WorkbenchOptions,
  ) {
    this.#context = context;
    this.#programs = programs;
    this.#broadcasts = new Broadcasts(context);
    this.#slot = slot;
    this.#cpus = cpus;
    this.#nowNs = nowNs;
  }

  static async create(options: WorkbenchOptions = {}): Promise<Result<Workbench, UserError>> {
    const arena = Arena.create(options.memoryBytes ?? defaultMemoryBytes);
    if (!arena.ok) return arena;
    const slot = arena.value.allocate(SLOT_BYTES, "packet slot");
    if (!slot.ok) return slot;
    const stack = arena.value.allocate(stackBytes, "stack");
    if (!stack.ok) return stack;
    const module = await compileRuntime();
    const programs: Executable[] = [];
    const context: EngineContext = {
      arena: arena.value,
      runtime: instantiateRuntime(module, arena.value),
      cpu: 0,
      stack: stack.value,
      clock: { low: 0, high: 0 },
      random: () => Math.floor(Math.random() * 2 ** 32),
      trace: options.trace ?? (() => {}),
      programs,
    };
    return ok(new Workbench(context, programs, slot.value, options));
  }

  /** Storage for these maps, filled with their contents. On failure nothing stays allocated. */
  createMaps(specs: readonly MapSpec[]): Result<readonly MapHandle[], UserError> {
    const handles: MapHandle[] = [];
    for (const spec of specs) {
      const handle = createMap(spec, this.#context.arena, this.#context.runtime, this.#cpus);
      if (!handle.ok) {
        this.releaseMaps(handles);
        return handle;
      }
      handles.push(handle.value);
    }
    const { arena, runtime } = this.#context;
    const refused = placeInnerMaps(specs, handles, arena, runtime);
    if (refused !== undefined) {
      this.releaseMaps(handles);
      return err(refused);
    }
    return ok(handles);
  }

  releaseMaps(handles: readonly MapHandle[]): void {
    for (const handle of handles) releaseMap(handle, this.#context.arena);
  }

  access(handle: MapHandle): MapAccess {
    return new MapAccess(handle, this.#context.arena, this.#context.runtime);
  }

  /** Takes all events that programs have written into these maps, map by map. */
  readEvents(handles: readonly MapHandle[]): MapEvent[] {
    return handles.flatMap((handle) => this.#reader(handle)?.read(Number.MAX_SAFE_INTEGER) ?? []);
  }

  /** Events that found no room in this map. */
  lostEvents(handle: MapHandle): number {
    return this.#reader(handle)?.lost ?? 0;
  }

  #reader(handle: MapHandle): EventReader | undefined {
    const { arena, runtime } = this.#context;
    return holdsEvents(handle.type) ? new EventReader(handle, arena, runtime) : undefined;
  }

  /**
   * Binds a program to maps, verifies it and makes it ready to run. `type` stands in for the
   * section's.
   */
  prepare(
    spec: ProgramSpec,
    maps: readonly MapHandle[],
    type?: ProgramType,
    engine: EngineKind = "interpreter",
    source?: LinkSource,
  ): Result<Executable, UserError> {
    const linked = linkProgram(spec, maps, type ?? spec.type, source);
    if (!linked.ok) return linked;
    const executable = engines[engine](linked.value, this.#context);
    if (executable.ok) this.#linked.set(executable.value, linked.value);
    return executable;
  }

  /** The WebAssembly that the JIT makes of a program bound to these maps, as text. */
  wasmText(
    spec: ProgramSpec,
    maps: readonly MapHandle[],
    type?: ProgramType,
    source?: LinkSource,
  ): Result<string, UserError> {
    const linked = linkProgram(spec, maps, type, source);
    if (!linked.ok) return linked;
    return ok(printModule(compileProgram(linked.value, this.#context).bytes));
  }

  /**
   * Fills the prog_arrays that tail calls of `root`, a program of `object` prepared on `maps`, can
   * get to: with what the object puts into them, and with `chosen` in place of that. `type` stands in
   * for the sections'. The first refusal, where there is one; then nothing is filled.
   */
  fillProgramArrays(
    object: TailCallObject,
    root: Executable,
    maps: readonly MapHandle[],
    chosen: readonly ProgramSlot[] = [],
    type?: ProgramType,
  ): Result<undefined, UserError> {
    const rootProgram = this.#linked.get(root);
    if (rootProgram === undefined) throw new Error(`${root.program.name} was prepared elsewhere`);
    const calls = atOnce(resolveTailCalls(object, [rootProgram], maps, chosen, type));
    if (!calls.ok) return err(calls.error[0]!.error);
    const executables: Executable[] = [];
    for (const program of calls.value.programs) {
      const executable =
        program === rootProgram ? ok(root) : engines[root.engine](program, this.#context);
      if (!executable.ok) return executable;
      executables.push(executable.value);
    }
    const before = this.#programs.length;
    this.#programs.push(...executables);
    for (const [i, slots] of calls.value.slots.entries())
      for (const { index, program } of slots) {
        const { key, value } = slotEntry({ index, program: before + program });
        const result = this.access(maps[i]!).initialize(key, value);
        if (result !== 0) throw new Error(`map ${maps[i]!.name}[${index}]: error ${-result}`);
      }
    return ok(undefined);
  }

  /**
   * Runs a program `repeat` times on a packet. Each run starts from what the one before left, as in
   * the kernel's BPF_PROG_TEST_RUN. Fails for packets no slot can hold, and for a context that the
   * program's type does not have. A `raw` program takes data
   * of the length that it was prepared for.
   */
  run(
    executable: Executable,
    packet: Uint8Array,
    repeat = 1,
    packetContext: PacketContext = {},
  ): Result<Outcome, UserError> {
    const { arena, clock } = this.#context;
    const { name, type, dataBytes } = executable.program;
    if (type === "raw" && packet.length !== dataBytes)
      throw new RangeError(`${name}: verified for ${dataBytes} bytes, given ${packet.length}`);
    const slot = this.#slot;
    const placed = placeFrame(arena, slot, packet, type);
    if (!placed.ok) return placed;
    const described = placeContext(arena, slot, type, packetContext);
    if (!described.ok) return described;
    for (let i = 0; i < repeat; i++) {
      const now = this.#nowNs();
      clock.low = Number(now & 0xffff_ffffn) | 0;
      clock.high = Number(now >> 32n);
      arena.words[(slot + SLOT_REDIRECT_IFINDEX) >> 2] = 0;
      executable.run(slot);
      if (executable.fault !== undefined) break;
    }
    return ok(this.#outcome(executable));
  }

  #outcome(executable: Executable): Outcome {
    const { words, bytes, view } = this.#context.arena;
    const slot = this.#slot;
    const data = words[(slot + SLOT_DATA) >> 2]!;
    const end = words[(slot + SLOT_DATA_END) >> 2]!;
    const returned = view.getBigUint64(slot + SLOT_RETURN_LOW, true);
    const type = executable.program.type;
    const fault = executable.fault;
    const ifindex = words[(slot + SLOT_REDIRECT_IFINDEX) >> 2]! >>> 0;
    let verdict: Verdict | undefined;
    if (type !== "raw") {
      if (fault === undefined)
        verdict = this.#broadcasts.resolve(
          slot,
          verdictOf[type](Number(returned & 0xffff_ffffn), ifindex, end - data),
        );
      else verdict = verdictOfFault(fault);
    }
    const start = type === "xdp" ? words[(slot + SLOT_DATA_META) >> 2]! : data;
    const context = hasSocketContext(type) ? readContext(this.#context.arena, slot) : undefined;
    return { returned, verdict, data: bytes.slice(start, end), fault, context };
  }
}

function sinceNow(): () => bigint {
  const start = process.hrtime.bigint();
  return () => process.hrtime.bigint() - start;
}
