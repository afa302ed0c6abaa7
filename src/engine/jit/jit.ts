import { err, ok, type Result } from "../../common/result.ts";
import { UserError } from "../../common/user-error.ts";
import { SLOT_RETURN_HIGH, SLOT_RETURN_LOW } from "../../runtime/wasm/layout.ts";
import type {
  BatchFault,
  CodePlace,
  Engine,
  EngineContext,
  EngineKind,
  Executable,
  Fault,
  LinkedProgram,
  RunnableProgram,
} from "../engine.ts";
import { tailCall } from "../helpers/tail-call.ts";
import { surveyProgram } from "../program-survey.ts";
import { runnableProgram } from "../runnable-program.ts";
import type { CodeOrigin } from "./code-origin.ts";
import { compileProgram } from "./compile-program.ts";
import { Host } from "./host.ts";
import { maxFunctionBytes } from "./module-builder.ts";
import { addEntry, type Enter } from "./program-table.ts";
import { scratch } from "./scratch.ts";

/** The code of the one error that the JIT gives. */
export const jitTooLarge = "JIT_PROGRAM_TOO_LARGE";

/**
 * A program compiled for one worker: the worker's places in the arena are constants in it. Survives
 * structured cloning, and threads share its machine code.
 */
export interface JitCode {
  readonly engine: "jit";
  readonly program: RunnableProgram;
  readonly module: WebAssembly.Module;
  readonly usesClock: boolean;
  readonly makesTailCalls: boolean;
  /** For traps. */
  readonly origin: CodeOrigin;
  /** Of the largest function as WebAssembly: V8 compiles a function when it is first called. */
  readonly largestBody: number;
}

/**
 * Compiles a program to WebAssembly, which V8 compiles to machine code. Refuses what is too large for
 * V8 with JIT_PROGRAM_TOO_LARGE: the interpreter runs that. The part of the work that grows with the
 * program: it can be done on another thread.
 */
export function compile(program: LinkedProgram, place: CodePlace): Result<JitCode, UserError> {
  const where = `program ${program.name}`;
  const survey = surveyProgram(program.instructions);
  const { bytes, largestBody, origin, usesClock } = compileProgram(program, place, survey);
  const tooLarge = (what: string) =>
    err(
      new UserError(
        jitTooLarge,
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
  const makesTailCalls = survey.helpers.has(tailCall.id);
  const runnable = runnableProgram(program, survey);
  return ok({
    engine: "jit",
    program: runnable,
    module,
    usesClock,
    makesTailCalls,
    origin,
    largestBody,
  });
}

/** The other part, on the thread that runs it. */
export function instantiate(code: JitCode, context: EngineContext): Executable {
  const { host, exports } = newInstance(code, context);
  return new Compiled(code, context, host, exports);
}

/** The engine that compiles: the default. */
export const jit: Engine = (program, context) => {
  const code = compile(program, context);
  return code.ok ? ok(instantiate(code.value, context)) : code;
};

/**
 * A second instance of a compiled program, on the same machine code: what V8 does for one it has done
 * for both. `context` has the same addresses, in a memory of its own.
 */
export function twin(executable: Executable, context: EngineContext): Twin {
  if (!(executable instanceof Compiled)) throw new Error("only a compiled program has a twin");
  const { host, exports } = newInstance(executable.code, context);
  const instance = new Compiled(executable.code, context, host, exports);
  // A call of its own: V8 compiles `Compiled.run` for the instances it has seen there.
  const run = (slot: number): void => {
    try {
      exports.run(slot);
    } catch (cause) {
      host.faultOf(cause);
    }
  };
  return { executable: instance, run };
}

export interface Twin {
  /** For tail calls of other twins. */
  readonly executable: Executable;
  readonly run: (slot: number) => void;
}

function newInstance(code: JitCode, context: EngineContext): { host: Host; exports: Exports } {
  const host = new Host(code.program, code.makesTailCalls, code.origin, context);
  const { exports } = new WebAssembly.Instance(code.module, {
    env: { memory: context.arena.memory, programs: host.table },
    host: host.imports,
    runtime: context.runtime as unknown as Record<string, unknown>,
  });
  return { host, exports: exports as unknown as Exports };
}

interface Exports {
  run(slot: number): number;
  batch(first: number, stride: number, end: number): void;
  /** Of programs that tail calls can lead to. */
  readonly enter?: Enter;
}

const noFaults: readonly BatchFault[] = [];

class Compiled implements Executable {
  readonly engine: EngineKind = "jit";
  readonly program: RunnableProgram;
  fault: Fault | undefined;
  readonly #context: EngineContext;
  readonly #host: Host;
  readonly code: JitCode;
  readonly #batch: Exports["batch"];
  /** Of its own, not looked up in the exports: that takes longer than a small program. */
  readonly #run: Exports["run"];
  readonly #usesClock: boolean;

  constructor(code: JitCode, context: EngineContext, host: Host, exports: Exports) {
    this.program = code.program;
    this.code = code;
    this.#context = context;
    this.#host = host;
    this.#run = exports.run;
    this.#batch = exports.batch;
    this.#usesClock = code.usesClock;
    if (exports.enter !== undefined) addEntry(this, exports.enter, code.origin);
  }

  run(slot: number): number {
    this.fault = undefined;
    if (this.#usesClock) this.#host.setClock();
    try {
      const returned = this.#run(slot) >>> 0;
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
        this.#batch(next, stride, end);
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
