import type { Instruction } from "../../isa/instruction.ts";
import {
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_REDIRECT_FLAGS,
  SLOT_REDIRECT_IFINDEX,
  SLOT_RETURN_LOW,
  SLOT_SKB,
} from "../../runtime/wasm/layout.ts";
import { addressedFunctions, callsBack } from "../callbacks.ts";
import {
  type EngineContext,
  frameBytes,
  framesBytes,
  type LinkedProgram,
  maxCallbacks,
  stepLimit,
} from "../engine.ts";
import { tailCall } from "../helpers/tail-call.ts";
import { hasSocketContext, hiddenBytes } from "../socket-context.ts";
import { type Blocks, type FunctionRange, findBlocks, functionRanges } from "./blocks.ts";
import { CallbackLoops } from "./callbacks.ts";
import { forgetBounds } from "./calls.ts";
import { FunctionBody } from "./emit-function.ts";
import { graphOf } from "./flow-graph.ts";
import type { FunctionBuilder, FunctionReference } from "./function-builder.ts";
import { FunctionEmitter } from "./function-emitter.ts";
import { callsRuntime, readsClock } from "./inline-helpers.ts";
import { frameUse, knownAtBlocks } from "./known-values.ts";
import { registersOf, signatures } from "./liveness.ts";
import { usesSlot } from "./memory-access.ts";
import { ModuleBuilder } from "./module-builder.ts";
import { makeReducible } from "./reducible.ts";
import { scratch, scratchAddress, sizeIndex } from "./scratch.ts";
import { declareTailCalls } from "./tail-calls.ts";
import {
  type CompiledFunction,
  countsProvenSteps,
  type Imports,
  needsCheck,
  type Unit,
} from "./unit.ts";
import { I32, I64, i32, i64, type ValueType } from "./wasm-operation.ts";

/** A program as WebAssembly, for one worker: its addresses are constants in the code. */
export interface CompiledProgram {
  /** Imports `env.memory`, functions of `host` (host.ts) and of `runtime`; exports `run`, `batch`. */
  readonly bytes: Uint8Array;
  readonly largestBody: number;
  /** It, or what it tail-calls, may ask for the time. */
  readonly usesClock: boolean;
}

/** Compiles a linked program. Time and size grow with its length alone. */
export function compileProgram(program: LinkedProgram, context: EngineContext): CompiledProgram {
  const { instructions, type } = program;
  const module = new ModuleBuilder();
  const { imports, ...uses } = declareImports(module, program);
  const bodies = functionRanges(instructions).map((range) => ({
    range,
    blocks: findBlocks(instructions, range),
  }));
  const functions = new Map<number, CompiledFunction>();
  const callbacks = uses.callbacks ? addressedFunctions(instructions) : noFunctions;
  for (const [i, { needs, gives }] of signatures(instructions, type, bodies, callbacks).entries()) {
    const parameters: ValueType[] = [I32, ...registersOf(needs).map((): ValueType => I64)];
    const results = registersOf(gives).map((): ValueType => I64);
    functions.set(bodies[i]!.range.start, {
      reference: module.declare(parameters, results),
      needs: registersOf(needs),
      gives: registersOf(gives),
    });
  }
  const parts = { program, context, scratch: scratchAddress(context.stack), imports, functions };
  const loops = uses.callbacks ? new CallbackLoops(module, parts, callbacks) : undefined;
  const unit: Unit = { ...parts, callbacks: loops };
  for (const { range, blocks } of bodies) compileFunction(module, unit, range, blocks);
  loops?.finish();
  const run = emitRun(module, unit);
  emitBatch(module, run);
  if (type !== "raw") emitEnter(module, unit);
  return {
    bytes: module.finish(),
    largestBody: module.largestBody,
    usesClock: instructions.some(
      (one) => one.kind === "call_helper" && (readsClock(one.id) || one.id === tailCall.id),
    ),
  };
}

const noFunctions: ReadonlySet<number> = new Set();

interface Uses {
  readonly imports: Imports;
  /** Some helper calls back. */
  readonly callbacks: boolean;
}

function declareImports(module: ModuleBuilder, { instructions }: LinkedProgram): Uses {
  module.importSharedMemory("env", "memory");
  const callbacks = instructions.some(callsBack);
  const calls = (wanted: (id: number) => boolean): boolean =>
    instructions.some((one) => one.kind === "call_helper" && wanted(one.id));
  const host = (name: string, parameters: number, results: ValueType[] = []): FunctionReference =>
    module.importFunction("host", name, new Array(parameters).fill(I32), results);
  const runtime = new Map<string, FunctionReference>();
  const imports: Imports = {
    locate: host("locate", 3),
    misaligned: host("misaligned", 3),
    stop: host("stop", 2),
    helper: host("helper", 2, [I32]),
    numberedHelper: host("numberedHelper", 3, [I32]),
    begin: host("begin", 1),
    tailCalls: calls((id) => id === tailCall.id) ? declareTailCalls(module, host) : undefined,
    checkCallback: callbacks ? host("checkCallback", 2) : undefined,
    runtime,
  };
  const needed = [
    ...(calls(callsRuntime) ? runtimeFunctions : []),
    ...(callbacks ? walkFunctions : []),
  ];
  for (const [name, parameters] of needed)
    runtime.set(
      name,
      module.importFunction("runtime", name, new Array(parameters).fill(I32), [I32]),
    );
  return { imports, callbacks };
}

/** Of map-runtime.ts, by name and number of parameters. */
const runtimeFunctions: readonly (readonly [string, number])[] = [
  ["lookup", 3],
  ["update", 5],
  ["remove", 3],
  ["lookupHash4", 3],
  ["lookupHash8", 3],
  ["lookupHash16", 3],
  ["lookupHashN", 3],
  ["lookupLru4", 3],
  ["lookupLru8", 3],
  ["lookupLru16", 3],
  ["lookupLruN", 3],
  ["lookupTrie", 3],
];

const walkFunctions: typeof runtimeFunctions = [["walk", 3]];

function compileFunction(
  module: ModuleBuilder,
  unit: Unit,
  range: FunctionRange,
  blocks: Blocks,
): void {
  const { instructions } = unit.program;
  const self = unit.functions.get(range.start)!;
  const flow = makeReducible(graphOf(blocks));
  const hasContext = range.start === 0 && unit.program.type !== "raw" && !isCalled(instructions, 0);
  const states = knownAtBlocks(instructions, blocks, flow.order.nodes, hasContext);
  const use = frameUse(instructions, blocks, states);
  const code = module.define(self.reference);
  const own = instructions.slice(range.start, range.end);
  const checks = needsCheck(unit.program);
  // The program itself may be another's successor by a tail call, and be returned from.
  const chargedAtExit =
    checks && (range.start !== 0 || unit.program.type !== "raw" || isCalled(instructions, 0));
  const used = chargedAtExit || (checks && own.some(mayTakeFuel));
  const to = new FunctionEmitter(unit, code, self, use, range, { used, chargedAtExit });
  if (own.some(usesSlot)) to.loadSlot();
  new FunctionBody(to, blocks, flow, states).emit(instructions);
}

/** A jump back, a helper's work, or a function that may have either. */
function mayTakeFuel(instruction: Instruction): boolean {
  const { kind } = instruction;
  if (kind === "jump" || kind === "branch") return instruction.offset < 0;
  return kind === "call_local" || kind === "call_helper" || kind === "call_register";
}

function isCalled(instructions: readonly Instruction[], target: number): boolean {
  return instructions.some(
    (one, slot) =>
      (one.kind === "call_local" || one.kind === "load_function") &&
      slot + 1 + one.offset === target,
  );
}

/** `run(slot)`: what the interpreter's `begin` and `finish` do, around the program. Gives r0. */
function emitRun(module: ModuleBuilder, unit: Unit): FunctionReference {
  const { program, context } = unit;
  const reference = module.declare([I32], [I32]);
  module.export("run", reference);
  const code = module.define(reference);
  const slot = 0;
  const result = code.local(I64);
  const store = (at: number, value: number | undefined): void => {
    code.i32(0);
    if (value === undefined) code.get(slot);
    else code.i32(value);
    code.access(i32.store, unit.scratch + at);
  };
  store(scratch.slot, undefined);
  store(scratch.entered, 0);
  for (const at of [SLOT_REDIRECT_IFINDEX, SLOT_REDIRECT_FLAGS]) {
    code.get(slot);
    code.i32(0);
    code.access(i32.store, at);
  }
  if (unit.imports.tailCalls !== undefined || unit.callbacks !== undefined) {
    store(scratch.tailCalls, 0);
    store(scratch.callbacksLeft, maxCallbacks);
    store(scratch.calledBack, 0);
  }
  // Another program that a tail call leads to may have checks where this one has none.
  if (needsCheck(program) || unit.imports.tailCalls !== undefined) store(scratch.clean, 0);
  if (needsCheck(program) || unit.imports.tailCalls !== undefined || countsProvenSteps(program))
    store(scratch.fuel, stepLimit(program));
  if (needsCheck(program)) {
    forgetBounds({ code, unit });
    if (program.type !== "socket") showPacket(code, unit);
  }
  if (hasSocketContext(program.type) && program.instructions.some(mayUseContext)) {
    code.get(slot);
    code.call(unit.imports.begin);
  }
  code.i32(context.stack + framesBytes - frameBytes);
  const entry = unit.functions.get(0)!;
  for (const register of entry.needs) {
    if (register === 1 && program.type === "raw") {
      code.get(slot);
      code.access(i64.load32_u, SLOT_DATA);
    } else if (register === 1) {
      code.get(slot);
      if (program.type !== "xdp") {
        code.i32(SLOT_SKB);
        code.emit(i32.add);
      }
      code.emit(i64.extend_u);
    } else if (register === 2 && program.type === "raw") {
      code.get(slot);
      code.access(i64.load32_u, SLOT_DATA_END);
      code.get(slot);
      code.access(i64.load32_u, SLOT_DATA);
      code.emit(i64.sub);
    } else code.i64(0);
  }
  code.call(entry.reference);
  // r0 is the first result; others are there for functions that call the program itself.
  for (let i = 1; i < entry.gives.length; i++) code.drop();
  code.set(result);
  code.get(slot);
  code.get(result);
  code.access(i64.store, SLOT_RETURN_LOW);
  code.get(result);
  code.emit(i32.wrap);
  return reference;
}

/**
 * Whether an instruction may get at the `__sk_buff`. Translated expressions mostly do not: LD_ABS
 * finds the packet without it, and to fill it takes longer than all else they do.
 */
function mayUseContext(instruction: Instruction): boolean {
  switch (instruction.kind) {
    case "load":
    case "store":
    case "atomic":
      return instruction.base !== framePointer;
    case "call_helper":
    case "call_local":
    case "call_register":
      return true;
    default:
      return false;
  }
}

const framePointer = 10;

/**
 * `enter(frame)`: the program in place of a function that has made a tail call. Gives r0, 64 bits.
 * What belongs to the run as a whole goes on.
 */
function emitEnter(module: ModuleBuilder, unit: Unit): void {
  const reference = module.declare([I32], [I64]);
  module.export("enter", reference);
  const code = module.define(reference);
  const frame = 0;
  code.i32(0);
  code.i32(0);
  code.access(i32.store, unit.scratch + scratch.entered);
  if (needsCheck(unit.program)) forgetBounds({ code, unit });
  code.get(frame);
  const entry = unit.functions.get(0)!;
  for (const register of entry.needs) {
    if (register === 1) {
      code.i32(0);
      code.access(i64.load32_u, unit.scratch + scratch.slot);
      if (unit.program.type !== "xdp") {
        code.i64(SLOT_SKB);
        code.emit(i64.add);
      }
    } else code.i64(0);
  }
  if (entry.gives.length === 1) {
    code.returnCall(entry.reference);
    return;
  }
  code.call(entry.reference);
  for (let i = 1; i < entry.gives.length; i++) code.drop();
}

/** Most programs read the packet first: its bounds are there as if it had been hit already. */
function showPacket(code: FunctionBuilder, unit: Unit): void {
  const slot = 0;
  const length = code.local(I32);
  code.i32(0);
  pushPacket(code, unit, slot);
  code.access(i32.store, unit.scratch + scratch.readLow);
  code.get(slot);
  code.access(i32.load, SLOT_DATA_END);
  pushPacket(code, unit, slot);
  code.emit(i32.sub);
  code.set(length);
  for (const size of [1, 2, 4, 8]) {
    code.i32(0);
    code.get(length);
    code.i32(size - 1);
    code.emit(i32.sub);
    code.i32(0);
    code.get(length);
    code.i32(size);
    code.emit(i32.ge_s);
    code.select(I32);
    code.access(i32.store, unit.scratch + scratch.readLimits + 4 * sizeIndex(size));
  }
}

/** The address of the packet's first byte, as this type of program has it. */
function pushPacket(code: FunctionBuilder, { program }: Unit, slot: number): void {
  const hidden = hiddenBytes(program.type);
  code.get(slot);
  code.access(i32.load, SLOT_DATA);
  if (hidden === 0) return;
  code.i32(hidden);
  code.emit(i32.add);
}

/** `batch(first, stride, end)`: `run` on each slot before `end`. */
function emitBatch(module: ModuleBuilder, run: FunctionReference): void {
  const reference = module.declare([I32, I32, I32], []);
  module.export("batch", reference);
  const code = module.define(reference);
  const [slot, stride, end] = [0, 1, 2];
  const done = code.block();
  const again = code.loop();
  code.get(slot);
  code.get(end);
  code.emit(i32.ge_u);
  code.brIf(done);
  code.get(slot);
  code.call(run);
  code.drop();
  code.get(slot);
  code.get(stride);
  code.emit(i32.add);
  code.set(slot);
  code.br(again);
  code.end();
  code.end();
}
