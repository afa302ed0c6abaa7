import type { Instruction } from "../../isa/instruction.ts";
import { helperFor, registersReadBy } from "../helpers/helper-table.ts";
import { tailCall } from "../helpers/tail-call.ts";
import { emitCallback } from "./callbacks.ts";
import type { FunctionEmitter } from "./function-emitter.ts";
import { emitInlineHelper } from "./inline-helpers.ts";
import { noteHelperWrites } from "./memory-access.ts";
import { registerAt, spillArguments } from "./spill.ts";
import { emitTailCall } from "./tail-calls.ts";
import { i64 } from "./wasm-operation.ts";

const r0 = 0;
/** Instructions of callx: any of r1 to r5 may be an argument. */
const mostArguments = 5;

export function emitHelperCall(
  to: FunctionEmitter,
  { id }: Extract<Instruction, { kind: "call_helper" }>,
  slot: number,
): void {
  const helper = helperFor(id, to.unit.program.type)!;
  if (helper === tailCall) {
    emitTailCall(to, slot);
    return;
  }
  if (helper.callback !== undefined) {
    emitCallback(to, helper, slot);
    return;
  }
  const general = (): void => {
    noteHelperWrites(to, helper, slot);
    spillArguments(to, registersReadBy(helper));
    to.code.i32(id);
    to.code.i32(slot);
    to.code.call(to.unit.imports.helper);
    takeResult(to, slot);
  };
  emitInlineHelper(to, id, slot, general);
}

/** `callx`: the helper whose number is in a register. */
export function emitRegisterCall(
  to: FunctionEmitter,
  { target }: Extract<Instruction, { kind: "call_register" }>,
  slot: number,
): void {
  spillArguments(to, mostArguments);
  to.getLow(target);
  to.getHigh(target);
  to.code.i32(slot);
  to.code.call(to.unit.imports.numberedHelper);
  takeResult(to, slot);
}

/** Behind a helper: its work comes off the budget, and r0 is where helpers leave it. */
function takeResult(to: FunctionEmitter, slot: number): void {
  if (to.checks) to.chargePushed(slot);
  else to.code.drop();
  to.code.i32(0);
  to.code.access(i64.load, registerAt(to, r0));
  to.set(r0);
}
