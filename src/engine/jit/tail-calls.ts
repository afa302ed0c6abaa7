import { MAP_MAX_ENTRIES, MAP_VALUE_STRIDE, MAP_VALUES } from "../../runtime/wasm/layout.ts";
import { maxTailCalls } from "../engine.ts";
import type { FunctionReference } from "./function-builder.ts";
import type { FunctionEmitter } from "./function-emitter.ts";
import { mapOfCall } from "./inline-helpers.ts";
import { CONTEXT, detailOf, kindOf } from "./known-values.ts";
import type { ModuleBuilder } from "./module-builder.ts";
import { scratch } from "./scratch.ts";
import { spillArguments } from "./spill.ts";
import { STOP_TAIL_CALL, type TailCallImports } from "./unit.ts";
import { I32, I64, i32, isNull, table, type ValueType } from "./wasm-operation.ts";

const [r0, r1, r2, r3] = [0, 1, 2, 3];

/** What programs that make tail calls import beside the rest: program-table.ts. */
export function declareTailCalls(
  module: ModuleBuilder,
  host: (name: string, parameters: number, results: ValueType[]) => FunctionReference,
): TailCallImports {
  module.importTable("env", "programs");
  return {
    entry: module.functionType([I32], [I64]),
    number: host("tailCallNumber", 1, [I32]),
    isProgram: host("isProgram", 1, [I32]),
  };
}

/**
 * bpf_tail_call. Where the prog_array's slot names a program, the `enter` of that one goes on in
 * place of this function, in its frame; else the program goes on with all registers as they were.
 */
export function emitTailCall(to: FunctionEmitter, slot: number): void {
  const { code, unit } = to;
  const { tailCalls } = unit.imports;
  if (tailCalls === undefined) throw new Error("tail calls have not been declared");
  // The budget's own work takes the first temporary.
  const number = to.temporary(I32, 1);
  pushNumber(to, slot, tailCalls);
  code.set(number);
  if (unit.callbacks !== undefined) {
    to.loadWord(scratch.calledBack);
    code.if();
    to.stop(STOP_TAIL_CALL, slot);
    code.end();
  }
  const nothing = code.block();
  code.get(number);
  code.emit(i32.eqz);
  code.brIf(nothing);
  to.loadWord(scratch.tailCalls);
  code.i32(maxTailCalls);
  code.emit(i32.ge_u);
  code.brIf(nothing);
  pushIsKnown(to, number);
  code.emit(i32.eqz);
  code.if();
  code.get(number);
  code.call(tailCalls.isProgram);
  code.emit(i32.eqz);
  code.brIf(nothing);
  code.end();
  to.storeWord(scratch.tailCalls, () => {
    to.loadWord(scratch.tailCalls);
    code.i32(1);
    code.emit(i32.add);
  });
  if (to.checks) {
    to.charge(slot - to.start + 1, slot);
    to.storeFuel();
  }
  leave(to, number, tailCalls);
  code.end();
}

/** The program's number, from 1, or 0. */
function pushNumber(to: FunctionEmitter, slot: number, { number }: TailCallImports): void {
  const { code, unit } = to;
  const map = mapOfCall(to, r2, slot);
  const context = to.known[r1]!;
  const argumentsAreGood =
    map?.type === "prog_array" &&
    (!to.checks || (kindOf(context) === CONTEXT && detailOf(context) === 0));
  if (map === undefined || !argumentsAreGood) {
    spillArguments(to, r3);
    code.i32(slot);
    code.call(number);
    return;
  }
  const { view } = unit.context.arena;
  const word = (at: number): number => view.getUint32(map.descriptor + at, true);
  to.getLow(r3);
  code.i32(word(MAP_MAX_ENTRIES) | 0);
  code.emit(i32.lt_u);
  code.if(I32);
  to.getLow(r3);
  code.i32(word(MAP_VALUE_STRIDE));
  code.emit(i32.mul);
  code.access(i32.load, word(MAP_VALUES));
  code.else();
  code.i32(0);
  code.end();
}

/** Whether the table has this program. Others are asked for once. */
function pushIsKnown(to: FunctionEmitter, number: number): void {
  const { code } = to;
  code.get(number);
  code.emit(table.size);
  code.emit(i32.lt_u);
  code.if(I32);
  code.get(number);
  code.emit(table.get);
  code.emit(isNull);
  code.emit(i32.eqz);
  code.else();
  code.i32(0);
  code.end();
}

function leave(to: FunctionEmitter, number: number, { entry }: TailCallImports): void {
  const { code, self } = to;
  to.getFrame();
  code.get(number);
  if (self.gives.length === 1 && self.gives[0] === r0) {
    code.returnCallIndirect(entry);
    return;
  }
  // The function's caller looks at more than r0, and finds the rest as it was here.
  code.callIndirect(entry);
  const returned = to.temporary(I64);
  code.set(returned);
  for (const register of self.gives)
    if (register === r0) code.get(returned);
    else to.get(register);
  code.return();
}
