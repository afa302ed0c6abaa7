import type { Instruction } from "../../isa/instruction.ts";
import { frameBytes, framesBytes } from "../engine.ts";
import type { FunctionEmitter } from "./function-emitter.ts";
import { limitsBytes, RUN_COUNTED, scratch } from "./scratch.ts";
import { mayBeEntered, STOP_DEPTH } from "./unit.ts";
import { i32, i64, V128, v128 } from "./wasm-operation.ts";

/** What a function does before its first instruction. */
export function emitEntry(to: FunctionEmitter): void {
  if (to.checks) {
    enterFrame(to);
    to.loadFuel();
    return;
  }
  if (to.counts) to.charge(to.slots, to.start);
  if (to.frame.lowest < 0 && to.unit.zeroFrames) zeroFrame(to, to.frame.lowest);
}

/**
 * Notes that this function's frame is in use. One that the function reaches by itself is zeroed at
 * once; else ProgramMemory does it where something points there.
 */
function enterFrame(to: FunctionEmitter): void {
  const { code } = to;
  to.storeWord(scratch.frame, () => to.getFrame());
  const pushBit = (): void => {
    code.i32(1);
    code.i32(to.unit.context.stack + framesBytes - frameBytes);
    to.getFrame();
    code.emit(i32.sub);
    code.i32(Math.log2(frameBytes));
    code.emit(i32.shr_u);
    code.emit(i32.shl);
  };
  to.storeWord(scratch.clean, () => {
    to.loadWord(scratch.clean);
    pushBit();
    if (to.frame.direct) code.emit(i32.or);
    else {
      code.i32(-1);
      code.emit(i32.xor);
      code.emit(i32.and);
    }
  });
  if (to.frame.direct) zeroFrame(to, -frameBytes);
}

/** The frame's bytes from this offset (from r10) up. */
function zeroFrame(to: FunctionEmitter, lowest: number): void {
  const { code } = to;
  const zero = code.local(V128);
  for (let at = frameBytes + Math.floor(lowest / 16) * 16; at < frameBytes; at += 16) {
    to.getFrame();
    code.get(zero);
    code.access(v128.store, at);
  }
}

/** Returns from the function at `slot`. */
export function emitExit(to: FunctionEmitter, slot: number): void {
  if (to.chargesExit) {
    to.charge(slot - to.start + 1, slot);
    to.storeFuel();
  }
  for (const register of to.self.gives) to.get(register);
  to.leave();
}

/** bpf-to-bpf. r6 to r9 are the callee's own locals, so the caller's stay. */
export function emitLocalCall(
  to: FunctionEmitter,
  instruction: Extract<Instruction, { kind: "call_local" }>,
  slot: number,
): void {
  const { code } = to;
  const callee = to.unit.functions.get(slot + 1 + instruction.offset)!;
  prepareCall(to, slot);
  to.getFrame();
  code.i32(frameBytes);
  code.emit(i32.sub);
  for (const register of callee.needs) to.get(register);
  code.call(callee.reference);
  for (const register of callee.gives.toReversed()) to.set(register);
  // Another program may have gone on in the callee's place.
  if (to.unit.imports.tailCalls !== undefined)
    to.storeWord(scratch.entered, () => {
      to.loadWord(scratch.entered);
      code.i32(RUN_COUNTED);
      code.emit(i32.and);
    });
  if (to.checks) goOnAfterCall(to);
}

/** Behind a call that checked code may have been run by. */
export function goOnAfterCall(to: FunctionEmitter): void {
  to.loadFuel();
  // The callee's frame is out of reach again.
  to.storeWord(scratch.frame, () => to.getFrame());
  forgetBounds(to);
}

/**
 * Before a call of a function: there must be a frame for it, and it takes the budget over. What is proven
 * of a program's nesting holds where it begins with all frames.
 */
export function prepareCall(to: FunctionEmitter, slot: number): void {
  const { code } = to;
  if (!to.checks && !mayBeEntered(to.unit.program)) return;
  to.getFrame();
  code.i32(to.unit.context.stack);
  code.emit(i32.eq);
  code.if();
  to.stop(STOP_DEPTH, slot);
  code.end();
  to.storeFuel();
}

/** No object was hit last. */
export function forgetBounds(to: Pick<FunctionEmitter, "code" | "unit">): void {
  const { code, unit } = to;
  for (let at = 0; at < limitsBytes; at += 8) {
    code.i32(0);
    code.i64(0);
    code.access(i64.store, unit.scratch + scratch.readLimits + at);
  }
}
