import type { Executable } from "../engine/engine.ts";
import type { EngineKind } from "../engine/engine-kind.ts";
import type { PacketContext, SkbContext } from "../filter/packet-context.ts";
import type { Verdict, VerdictKind } from "../filter/verdict.ts";
import type { Outcome } from "../filter/workbench.ts";
import type { ProgramType } from "../object/object-spec.ts";
import { bytes, checkArgument, checkOptions, type Kind, record } from "./arguments.ts";

/** What a program has written into a perf_event_array or a ringbuf. */
export interface RunEvent {
  /** The map's name. */
  readonly map: string;
  /** What the program wrote. */
  readonly bytes: Uint8Array;
}

/** Why a run ended before the program's `exit`. */
export interface RunFault {
  /** snake_case: `budget_exceeded`. */
  readonly code: string;
  /** The instruction, counted in 8-byte slots from 0. */
  readonly instruction: number;
  /** What the program did, for people. */
  readonly message: string;
}

/** What came of a packet. */
export interface RunResult {
  /** What the return value means to a packet; "aborted" is a drop that is counted apart. */
  readonly verdict: VerdictKind;
  /** The return value, as the kernel's test run has it: r0's low 32 bits, unsigned. */
  readonly returned: number;
  /**
   * The packet as the program left it: a copy. In front of it lies the metadata that an XDP program
   * put there. A tag of a VLAN that a tc program pushed is beside it, in `ctx`.
   */
  readonly data: Uint8Array;
  /** What a program of a type that has a `__sk_buff` left in it. */
  readonly ctx?: SkbContext;
  /** With the verdict "redirect": the number of the device. Of a broadcast there is `ports` instead. */
  readonly redirect?: number;
  /** With the verdict "redirect" of a broadcast: the numbers of the devices, the first 32. */
  readonly ports?: readonly number[];
  /** With the verdict "pass" of a socket filter that keeps less than all: bytes kept. */
  readonly cutTo?: number;
  /** Set if the run ended before the program's `exit`; the verdict is "aborted" then. */
  readonly fault?: RunFault;
  /** What the run printed, as the kernel's trace_pipe shows it. */
  readonly trace: readonly string[];
  /** What the run wrote into perf_event_arrays and ringbufs, map by map. */
  readonly events: readonly RunEvent[];
}

/** How to run a program once. */
export interface RunOptions {
  /** What is known of the packet besides its bytes. Default: device 1, queue 0, as in the kernel's test run. */
  readonly ctx?: PacketContext;
}

const runOptions: Readonly<Record<keyof RunOptions, Kind>> = { ctx: record };

/**
 * What a program needs of its object to run.
 * @internal
 */
export type Runner = (
  executable: Executable,
  packet: Uint8Array,
  ctx: PacketContext,
) => {
  readonly outcome: Outcome;
  readonly trace: readonly string[];
  readonly events: readonly RunEvent[];
};

/** A verified program of a loaded object, on the object's maps and globals. */
export class LoadedProgram {
  /** Its function's name. */
  readonly name: string;
  /** As its section's name or the caller said. */
  readonly type: ProgramType;
  /** The engine it runs on: the interpreter where the JIT refuses its size. */
  readonly engine: EngineKind;
  readonly #executable: Executable;
  readonly #run: Runner;

  private constructor(executable: Executable, run: Runner) {
    this.name = executable.program.name;
    this.type = executable.program.type;
    this.engine = executable.engine;
    this.#executable = executable;
    this.#run = run;
  }

  /**
   * What `LoadedObject.program` gives.
   * @internal
   */
  static of(executable: Executable, run: Runner): LoadedProgram {
    return new LoadedProgram(executable, run);
  }

  /**
   * Runs the program on a copy of a packet: an Ethernet frame, from its header on. What it leaves in
   * maps and globals stays. Throws a UserError for a packet that no frame is (`PACKET_…`) and for a
   * context that programs of its type do not have (`CONTEXT_…`).
   */
  run(packet: Uint8Array, options: RunOptions = {}): RunResult {
    checkArgument("run, packet", packet, bytes);
    checkOptions("run, options", options, runOptions);
    const { ctx = {} } = options;
    const { outcome, trace, events } = this.#run(this.#executable, packet, ctx);
    const { verdict, returned, data, fault, context } = outcome;
    // Programs that compute instead of judging have no section that names them.
    const judged = verdict as Verdict;
    return {
      verdict: judged.kind,
      returned: Number(returned & 0xffff_ffffn),
      data,
      ...(context !== undefined && { ctx: context }),
      ...(judged.kind === "redirect" &&
        (judged.broadcast === undefined
          ? { redirect: judged.ifindex }
          : { ports: judged.broadcast.ports })),
      ...(judged.kind === "pass" && judged.cutTo !== undefined && { cutTo: judged.cutTo }),
      ...(fault !== undefined && {
        fault: { code: fault.code, instruction: fault.slot, message: fault.message },
      }),
      trace,
      events,
    };
  }
}
