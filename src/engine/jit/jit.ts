import { err, ok } from "../../common/result.ts";
import { UserError } from "../../common/user-error.ts";
import { SLOT_RETURN_HIGH, SLOT_RETURN_LOW } from "../../runtime/wasm/layout.ts";
import type {
  BatchFault,
  Engine,
  EngineContext,
  EngineKind,
  Executable,
  Fault,
  LinkedProgram,
} from "../engine.ts";
import { tailCall } from "../helpers/tail-call.ts";
import { compileProgram } from "./compile-program.ts";
import { Host } from "./host.ts";
import { maxFunctionBytes } from "./module-builder.ts";
import { scratch } from "./scratch.ts";

/**
 * The engine that compiles programs to WebAssembly, which V8 compiles to machine code. Refuses what
 * is too large for V8 with JIT_PROGRAM_TOO_LARGE: the interpreter runs that.
 */
export const jit: Engine = (program, context) => {
  const where = `program ${program.name}`;
  if (program.instructions.some((one) => one.kind === "call_helper" && one.id === tailCall.id))
    return err(
      new UserError(
        "JIT_NO_TAIL_CALLS",
        where,
        "calls bpf_tail_call (helper 12), which the JIT does not compile",
        "set engine: interpreter for this filter",
      ),
    );
  const { bytes, largestBody, usesClock } = compileProgram(program, context);
  const tooLarge = (what: string) =>
    err(
      new UserError(
        "JIT_PROGRAM_TOO_LARGE",
        where,
        what,
        "set engine: interpreter for this filter, or split it into functions",
      ),
    );
  if (largestBody > maxFunctionBytes)
    return tooLarge(
      `a function of it becomes ${largestBody} bytes of WebAssembly, and V8 takes ${maxFunctionBytes}`,
    );
  let module: WebAssembly.Module;
  try {
    module = new WebAssembly.Module(bytes);
  } catch (cause) {
    // The emitter has checked every instruction: what is left are limits.
    return tooLarge(`V8 refuses it (${(cause as Error).message})`);
  }
  const host = new Host(program, context);
  const { exports } = new WebAssembly.Instance(module, {
    env: { memory: context.arena.memory },
    host: host.imports,
    runtime: context.runtime as unknown as Record<string, unknown>,
  });
  return ok(new Compiled(program, context, host, exports as unknown as Exports, usesClock));
};

/**
 * Runs a program until V8 has replaced its first, slow code: some thousand runs, some milliseconds.
 * They are runs like any other, on the packet in `slot`: a program that counts will have counted.
 */
export function warmUp(executable: Executable, slot: number, runs: number): void {
  for (let i = 0; i < runs; i++) executable.run(slot);
}

interface Exports {
  run(slot: number): number;
  batch(first: number, stride: number, end: number): void;
}

const noFaults: readonly BatchFault[] = [];

class Compiled implements Executable {
  readonly engine: EngineKind = "jit";
  readonly program: LinkedProgram;
  fault: Fault | undefined;
  readonly #context: EngineContext;
  readonly #host: Host;
  readonly #exports: Exports;
  readonly #usesClock: boolean;

  constructor(
    program: LinkedProgram,
    context: EngineContext,
    host: Host,
    exports: Exports,
    usesClock: boolean,
  ) {
    this.program = program;
    this.#context = context;
    this.#host = host;
    this.#exports = exports;
    this.#usesClock = usesClock;
  }

  run(slot: number): number {
    this.fault = undefined;
    if (this.#usesClock) this.#host.setClock();
    try {
      const returned = this.#exports.run(slot) >>> 0;
      this.#host.memory.leave();
      return returned;
    } catch (cause) {
      this.fault = this.#host.faultOf(cause);
      this.#return0(slot);
      return 0;
    }
  }

  runBatch(first: number, stride: number, count: number): readonly BatchFault[] {
    this.fault = undefined;
    if (this.#usesClock) this.#host.setClock();
    const end = first + stride * count;
    let faults: BatchFault[] | undefined;
    for (let next = first; next < end; ) {
      try {
        this.#exports.batch(next, stride, end);
        break;
      } catch (cause) {
        const packetSlot = this.#host.word(scratch.slot);
        this.fault = this.#host.faultOf(cause);
        this.#return0(packetSlot);
        faults ??= [];
        faults.push({ packetSlot, fault: this.fault });
        next = packetSlot + stride;
      }
    }
    return faults ?? noFaults;
  }

  #return0(slot: number): void {
    this.#host.memory.leave();
    const { words } = this.#context.arena;
    words[(slot + SLOT_RETURN_LOW) >> 2] = 0;
    words[(slot + SLOT_RETURN_HIGH) >> 2] = 0;
  }
}
