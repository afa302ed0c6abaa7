import type { Instruction } from "../../isa/instruction.ts";
import {
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_REDIRECT_IFINDEX,
  SLOT_RETURN_LOW,
  SLOT_SKB,
} from "../../runtime/wasm/layout.ts";
import { frameBytes, framesBytes, maxCallbacks, stepLimit } from "../engine.ts";
import { hasSocketContext, hiddenBytes } from "../socket-context.ts";
import { forgetBounds } from "./calls.ts";
import type { FunctionBuilder, FunctionReference } from "./function-builder.ts";
import type { InPlace } from "./function-emitter.ts";
import type { ModuleBuilder } from "./module-builder.ts";
import { RUN_COUNTED, scratch, sizeIndex } from "./scratch.ts";
import { mayBeEntered, needsCheck, type Unit } from "./unit.ts";
import { I32, I64, i32, i64 } from "./wasm-operation.ts";

/** Compiles the program's own function once more, where this code has come to. */
export type CompileInPlace = (code: FunctionBuilder, place: InPlace) => void;

/**
 * What a compiled program exports: `run`, `batch` and, where other programs may tail-call it, `enter`.
 * `inPlace` where the program's function is to stand in `batch` instead of being called there: V8
 * does not inline what is much larger than its caller, and a call costs as much as a small program.
 */
export function emitEntries(
  module: ModuleBuilder,
  unit: Unit,
  inPlace: CompileInPlace | undefined,
): void {
  const run = module.declare([I32], [I32]);
  const batch = module.declare([I32, I32, I32], []);
  module.export("run", run);
  module.export("batch", batch);
  if (inPlace === undefined) {
    emitRun(module.define(run), unit);
    emitBatch(module.define(batch), (code) => {
      code.get(first);
      code.call(run);
      code.drop();
    });
  } else {
    emitBatch(module.define(batch), (code) => emitRunInPlace(code, unit, batch, inPlace));
    emitBatchOfOne(module.define(run), batch);
  }
  if (mayBeEntered(unit.program)) emitEnter(module, unit);
}

/** The first parameter of `run` and `batch`: a packet slot. */
const first = 0;

/** `run(slot)`: what the interpreter's `begin` and `finish` do, around the program. Gives r0. */
function emitRun(code: FunctionBuilder, unit: Unit): void {
  const result = code.local(I64);
  emitBegin(code, unit);
  pushTopFrame(code, unit);
  const { reference, needs, gives } = unit.functions.get(0)!;
  for (const register of needs) pushAtStart(code, unit, register);
  code.call(reference);
  // r0 is the first result; others are there for functions that call the program itself.
  for (let i = 1; i < gives.length; i++) code.drop();
  code.set(result);
  storeResult(code, result);
  code.get(result);
  code.emit(i32.wrap);
}

/** The same for a program that stands right here; gives nothing. */
function emitRunInPlace(
  code: FunctionBuilder,
  unit: Unit,
  within: FunctionReference,
  inPlace: CompileInPlace,
): void {
  const result = code.local(I64);
  const frame = code.local(I32);
  emitBegin(code, unit);
  pushTopFrame(code, unit);
  code.set(frame);
  const exit = code.block();
  inPlace(code, {
    within,
    frame,
    slot: first,
    result,
    exit,
    push: (register) => pushAtStart(code, unit, register),
  });
  code.end();
  storeResult(code, result);
}

function pushTopFrame(code: FunctionBuilder, { context }: Unit): void {
  code.i32(context.stack + framesBytes - frameBytes);
}

function storeResult(code: FunctionBuilder, result: number): void {
  code.get(first);
  code.get(result);
  code.access(i64.store, SLOT_RETURN_LOW);
}

/** Makes the scratch and the slot ready for a run. */
function emitBegin(code: FunctionBuilder, unit: Unit): void {
  const { program } = unit;
  const store = (at: number, value: number): void => {
    code.i32(0);
    code.i32(value);
    code.access(i32.store, unit.scratch + at);
  };
  // One store for two words: the slot, and 0 for `entered` behind it.
  code.i32(0);
  code.get(first);
  code.emit(i64.extend_u);
  code.access(i64.store, unit.scratch + scratch.slot);
  // Likewise the redirect's flags, behind its ifindex.
  code.get(first);
  code.i64(0);
  code.access(i64.store, SLOT_REDIRECT_IFINDEX);
  if (unit.imports.tailCalls !== undefined || unit.callbacks !== undefined) {
    store(scratch.tailCalls, 0);
    store(scratch.callbacksLeft, maxCallbacks);
    store(scratch.calledBack, 0);
  }
  // Another program that a tail call leads to may have checks where this one has none.
  if (needsCheck(program) || unit.imports.tailCalls !== undefined) store(scratch.clean, 0);
  if (unit.usesBudget) store(scratch.fuel, stepLimit(program));
  if (needsCheck(program)) {
    forgetBounds({ code, unit });
    if (program.type !== "socket") showPacket(code, unit);
  }
  if (hasSocketContext(program.type) && program.instructions.some(mayUseContext)) {
    code.get(first);
    code.call(unit.imports.begin);
  }
}

/** Pushes what a register holds as the program begins. */
function pushAtStart(code: FunctionBuilder, { program }: Unit, register: number): void {
  if (register === 1 && program.type === "raw") {
    code.get(first);
    code.access(i64.load32_u, SLOT_DATA);
  } else if (register === 1) {
    code.get(first);
    if (program.type !== "xdp") {
      code.i32(SLOT_SKB);
      code.emit(i32.add);
    }
    code.emit(i64.extend_u);
  } else if (register === 2 && program.type === "raw") {
    code.get(first);
    code.access(i64.load32_u, SLOT_DATA_END);
    code.get(first);
    code.access(i64.load32_u, SLOT_DATA);
    code.emit(i64.sub);
  } else code.i64(0);
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
  code.access(i32.load, unit.scratch + scratch.entered);
  code.i32(RUN_COUNTED);
  code.emit(i32.and);
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

/** `batch(first, stride, end)`: what `run` emits, on each slot from the first that is before `end`. */
function emitBatch(code: FunctionBuilder, run: (code: FunctionBuilder) => void): void {
  const [stride, end] = [1, 2];
  const done = code.block();
  const again = code.loop();
  code.get(first);
  code.get(end);
  code.emit(i32.ge_u);
  code.brIf(done);
  run(code);
  code.get(first);
  code.get(stride);
  code.emit(i32.add);
  code.set(first);
  code.br(again);
  code.end();
  code.end();
}

/** `run(slot)` by the one copy of the program that `batch` has. */
function emitBatchOfOne(code: FunctionBuilder, batch: FunctionReference): void {
  code.get(first);
  code.i32(1);
  code.get(first);
  code.i32(1);
  code.emit(i32.add);
  code.call(batch);
  code.get(first);
  code.access(i32.load, SLOT_RETURN_LOW);
}
