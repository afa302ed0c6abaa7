import { type Instruction, registerOf } from "../isa/instruction.ts";
import type { Analysis } from "./analysis.ts";
import { takeBranch } from "./branch.ts";
import { callGlobal, callWithCallback, enterFunction } from "./call-function.ts";
import { checkArguments, constantTarget, finishCall } from "./call-helper.ts";
import {
  mayLeaveByPacketLoad,
  mayLeaveByTailCall,
  refuseTailCallInCallback,
} from "./early-return.ts";
import { type GlobalFunction, returnsNumber } from "./global-function.ts";
import type { HelperSignature } from "./helper-signature.ts";
import { load, modify, store } from "./memory-access.ts";
import { heldText } from "./path-state.ts";
import { isAddress, pointerAlu } from "./pointer-arithmetic.ts";
import {
  constantScalar,
  numberScalar,
  pointer,
  type RegisterState,
  scalar,
  uninitialised,
  unknownScalar,
} from "./register-state.ts";
import { alu, byteOrdered, negated, signExtended, zeroExtended } from "./scalar-alu.ts";
import { fitsBytes, isConstant } from "./scalar-range.ts";
import { unsignedRange } from "./settle.ts";
import { refuseUnderLock } from "./spin-lock.ts";
import { linked } from "./stack-access.ts";

type Alu = Extract<Instruction, { kind: "alu" }>;
/** What does not end a function. */
export type StepInstruction = Exclude<Instruction, { kind: "exit" }>;
type Atomic = Extract<Instruction, { kind: "atomic" }>;

/**
 * Does one instruction, other than `exit`, to the path that `a` follows, and returns the slot that
 * comes next. `step` is the instruction's place in the trace.
 */
export function doInstruction(
  a: Analysis,
  instruction: StepInstruction,
  step: number,
  globals: ReadonlyMap<number, GlobalFunction>,
): number {
  const next = a.slot + 1;
  // The most frequent come first: strings are compared one by one.
  switch (instruction.kind) {
    case "alu":
      doAlu(a, instruction);
      return next;
    case "load": {
      const { dst, base, offset, size, signed } = instruction;
      const value = load(a, base, offset, size, signed, step);
      if (size === 8) a.facts.gives(a.slot, isAddress(value));
      a.write(dst, value);
      return next;
    }
    case "store": {
      const { base, offset, size, src } = instruction;
      const source = registerOf(src);
      const value =
        source === undefined
          ? numberScalar((src as { immediate: number }).immediate)
          : a.read(source);
      store(a, base, offset, size, value, source, step);
      return next;
    }
    case "branch":
      return takeBranch(a, instruction, step);
    case "move_signed":
      moveSigned(a, instruction);
      return next;
    case "negate": {
      const { kind, range } = a.read(instruction.dst);
      const isNumber = kind === "scalar";
      a.write(
        instruction.dst,
        isNumber ? scalar(negated(instruction.width, range)) : unknownScalar,
      );
      return next;
    }
    case "byte_order":
      byteOrder(a, instruction);
      return next;
    case "load_immediate":
      a.write(instruction.dst, constantScalar(instruction.value));
      return next + 1;
    case "load_map":
      a.write(instruction.dst, pointer("map", { target: instruction.map }));
      return next + 1;
    case "load_map_value": {
      const { dst, map, offset } = instruction;
      a.write(dst, pointer("map_value", { target: map, offset }));
      return next + 1;
    }
    case "load_function":
      a.write(instruction.dst, pointer("function", { target: next + instruction.offset }));
      return next + 1;
    case "atomic":
      doAtomic(a, instruction);
      return next;
    case "load_packet":
      loadPacket(a, instruction.index, step);
      return next;
    case "jump":
      return next + instruction.offset;
    case "call_helper":
      return callHelper(a, a.helpers.get(instruction.id), step);
    case "call_register":
      return callHelper(a, a.helpers.get(constantTarget(a, instruction.target)), step);
    case "call_local": {
      const target = next + instruction.offset;
      const global = globals.get(target);
      if (global === undefined) return enterFunction(a, target);
      refuseUnderLock(a, `global function ${global.name}`);
      if (global.tailCalls)
        refuseTailCallInCallback(
          a,
          `global function ${global.name}, which makes a tail call, is called`,
        );
      a.facts.bounded = false;
      callGlobal(a, global);
      return next;
    }
    case "call_btf":
    case "load_variable":
    case "second_slot":
      throw new Error(`${instruction.kind} at ${a.slot} is not refused before it is done`);
    default: {
      const never: never = instruction;
      return never;
    }
  }
}

function callHelper(a: Analysis, helper: HelperSignature | undefined, step: number): number {
  if (helper === undefined || !helper.types.includes(a.program.type))
    a.refuse(
      "CALL_REGISTER",
      "the helper called is none that this program type may call",
      "call one of those that weir feature lists for the type",
    );
  checkHeld(a, helper);
  if (helper.callback !== undefined) {
    a.facts.bounded = false;
    return callWithCallback(a, helper);
  }
  finishCall(a, helper, checkArguments(a, helper));
  if (helper.tailCall) mayLeaveByTailCall(a, step);
  return a.slot + 1;
}

/** What may not be called while something is held: another program would never give it back. */
function checkHeld(a: Analysis, helper: HelperSignature): void {
  if (helper.spinLock !== "unlock") refuseUnderLock(a, `bpf_${helper.name}`);
  const held = a.state.references[0];
  if (held !== undefined && helper.tailCall)
    a.refuse(
      "REFERENCE_LEAK",
      `a tail call may end the program, and ${heldText(a.program, held)}`,
      held.lock === undefined ? "submit or discard it first" : "call bpf_spin_unlock first",
    );
}

function doAlu(a: Analysis, { op, width, dst, src }: Alu): void {
  const register = registerOf(src);
  const immediate = register === undefined ? (src as { immediate: number }).immediate : 0;
  if (op === "mov") {
    if (register !== undefined) {
      move(a, width, dst, register);
      return;
    }
    a.write(dst, numberScalar(width === 64 ? immediate : immediate >>> 0));
    return;
  }
  if (register === undefined) checkImmediate(a, op, width, immediate);
  const right = register === undefined ? numberScalar(immediate) : a.read(register);
  const left = a.read(dst);
  if (left.kind === "scalar" && right.kind === "scalar") {
    if (width === 64) a.facts.gives(a.slot, false);
    const range = alu(op, width, left.range, right.range);
    if (left.id === 0) {
      a.write(dst, scalar(range));
      return;
    }
    const distance = linkedDistance(op, width, left, right);
    a.write(
      dst,
      distance === undefined || isConstant(range)
        ? scalar(range)
        : scalar(range, left.id, distance),
    );
    return;
  }
  if (width === 64) {
    const moved = pointerAlu(a, op, left, right, dst, register);
    a.facts.gives(a.slot, isAddress(moved));
    a.write(dst, moved);
    return;
  }
  if (op === "sub") {
    a.write(dst, unknownScalar);
    return;
  }
  const pointerRegister = left.kind === "scalar" ? (register as number) : dst;
  a.refuse(
    "POINTER_ARITHMETIC",
    `r${pointerRegister} is a pointer, and 32-bit arithmetic would cut it in half`,
    "use the 64-bit form",
    [pointerRegister],
  );
}

/** A number to or from which a constant was added or taken once stays linked to where it came from. */
function linkedDistance(
  op: Alu["op"],
  width: 32 | 64,
  left: RegisterState,
  right: RegisterState,
): number | undefined {
  if (op !== "add" && op !== "sub") return undefined;
  if (left.id === 0 || left.offset !== 0 || !isConstant(right.range)) return undefined;
  const amount = BigInt.asIntN(width, right.range.smin);
  if (width === 32 && !staysWithin32(left, op === "add" ? amount : -amount)) return undefined;
  // The distance 0 would look like no distance, which lets copies link again.
  if (amount === 0n) return undefined;
  if (amount < -0x7fff_ffffn || amount > 0x7fff_ffffn) return undefined;
  return op === "add" ? Number(amount) : -Number(amount);
}

/** Whether a sum is the same in 32 bits and in 64. */
function staysWithin32({ range }: RegisterState, amount: bigint): boolean {
  return range.umin + amount >= 0n && range.umax + amount <= 0xffff_ffffn;
}

function checkImmediate(a: Analysis, op: Alu["op"], width: 32 | 64, immediate: number): void {
  if (immediate === 0 && (op === "div" || op === "mod" || op === "sdiv" || op === "smod"))
    a.refuse(
      "DIVISION_BY_ZERO",
      "divides by the constant 0",
      "divide by a number that is not 0; a register that holds 0 gives 0",
    );
  const shift = op === "lsh" || op === "rsh" || op === "arsh";
  if (shift && (immediate < 0 || immediate >= width))
    a.refuse(
      "INVALID_SHIFT",
      `shifts a ${width}-bit number by ${immediate}`,
      `shift by 0 to ${width - 1}`,
    );
}

function byteOrder(
  a: Analysis,
  { to, bits, dst }: Extract<Instruction, { kind: "byte_order" }>,
): void {
  const held = a.read(dst);
  const isNumber = held.kind === "scalar";
  a.write(dst, isNumber ? scalar(byteOrdered(to, bits, held.range)) : unknownScalar);
}

/** A copy of a number that is not known is linked to it: a compare of one tells of both. */
function move(a: Analysis, width: 32 | 64, dst: number, src: number): void {
  const held = a.read(src);
  if (held.kind !== "scalar") {
    a.write(dst, width === 64 ? held : scalar(unsignedRange(4)));
    return;
  }
  if (width === 32 && !fitsBytes(held.range, 4)) {
    a.write(dst, scalar(zeroExtended(held.range)));
    return;
  }
  a.write(dst, linked(a, held, src));
}

function moveSigned(
  a: Analysis,
  { width, bits, dst, src }: Extract<Instruction, { kind: "move_signed" }>,
): void {
  const held = a.read(src);
  if (held.kind !== "scalar") {
    a.write(dst, width === 64 ? unknownScalar : scalar(unsignedRange(4)));
    return;
  }
  const range = signExtended(held.range, bits / 8);
  if (width === 64 && range === held.range) a.write(dst, linked(a, held, src));
  else a.write(dst, scalar(width === 64 ? range : zeroExtended(range)));
}

function doAtomic(a: Analysis, { op, fetch, size, base, offset, src }: Atomic): void {
  a.read(src);
  if (op === "cmpxchg") a.read(0);
  const before = modify(a, base, offset, size);
  if (fetch) a.write(op === "cmpxchg" ? 0 : src, before);
}

/** LD_ABS and LD_IND: the helper behind them ends the program where the packet is too short. */
function loadPacket(a: Analysis, index: number | undefined, step: number): void {
  const context = a.read(6);
  if (context.kind !== "context" || context.offset !== 0)
    a.refuse(
      "PACKET_LOAD",
      "a packet load takes the context in r6, and r6 holds something else",
      "copy r1 to r6 at the start",
      [6],
    );
  if (index !== undefined) a.read(index);
  // It ends the function it is in, with 0 as what that returns.
  if (a.state.depth > 0 && !returnsNumber(a.program, a.state.frame.entry))
    a.refuse(
      "PACKET_LOAD",
      "a packet load stands in a function that is not known to return a number",
      "use skb_load_bytes, or compile with -g so that the object tells the function's type",
    );
  const held = a.state.references[0];
  if (held !== undefined)
    a.refuse(
      "REFERENCE_LEAK",
      `a packet load may end the program, and ${heldText(a.program, held)}`,
      held.lock === undefined ? "submit or discard it first" : "call bpf_spin_unlock first",
    );
  for (let r = 1; r <= 5; r++) a.write(r, uninitialised);
  a.write(0, unknownScalar);
  mayLeaveByPacketLoad(a, step);
}
