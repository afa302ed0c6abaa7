import type { FunctionEmitter } from "./function-emitter.ts";
import { scratch } from "./scratch.ts";
import { i64 } from "./wasm-operation.ts";

/** Puts r1 up to this many where helpers find them. */
export function spillArguments(to: FunctionEmitter, count: number): void {
  for (let register = 1; register <= count; register++) {
    to.code.i32(0);
    to.get(register);
    to.code.access(i64.store, registerAt(to, register));
  }
}

/** Where helpers find this register. */
export function registerAt(to: FunctionEmitter, register: number): number {
  return to.unit.scratch + scratch.registers + 8 * register;
}
