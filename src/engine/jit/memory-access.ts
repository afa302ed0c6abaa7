import {
  type AtomicOp,
  type Instruction,
  immediateOf,
  registerOf,
  type Size,
} from "../../isa/instruction.ts";
import { SLOT_DATA, SLOT_DATA_END, SLOT_FLAGS, SLOT_WROTE } from "../../runtime/wasm/layout.ts";
import { contextAccessOf, mayWritePacket } from "../../verifier/context-rules.ts";
import type { HelperArgument } from "../../verifier/helper-signature.ts";
import { regions } from "../../verifier/verified.ts";
import { frameBytes } from "../engine.ts";
import type { Helper } from "../helpers/helper.ts";
import { helpers } from "../helpers/helper-table.ts";
import { type Access, ATOMIC, READ, READ_SIGNED, WRITE } from "../program-memory.ts";
import type { FunctionEmitter } from "./function-emitter.ts";
import { CONTEXT, detailOf, FRAME, kindOf } from "./known-values.ts";
import { scratch, sizeIndex } from "./scratch.ts";
import { proofOf } from "./unit.ts";
import { I32, i32, i64, type MemoryOperation } from "./wasm-operation.ts";

const loads: Record<Size, MemoryOperation> = {
  1: i64.load8_u,
  2: i64.load16_u,
  4: i64.load32_u,
  8: i64.load,
};
const shortLoads: Record<Size, MemoryOperation> = {
  1: i32.load8_u,
  2: i32.load16_u,
  4: i32.load,
  // Of an address, whose high word is 0.
  8: i32.load,
};
const signedLoads: Record<Size, MemoryOperation> = {
  1: i64.load8_s,
  2: i64.load16_s,
  4: i64.load32_s,
  8: i64.load,
};
const stores: Record<Size, MemoryOperation> = {
  1: i64.store8,
  2: i64.store16,
  4: i64.store32,
  8: i64.store,
};

const shortStores: Record<Exclude<Size, 8>, MemoryOperation> = {
  1: i32.store8,
  2: i32.store16,
  4: i32.store,
};

/** RFC 9669 §5.1, §5.2. */
export function emitLoad(
  to: FunctionEmitter,
  { size, signed, dst, base, offset }: Extract<Instruction, { kind: "load" }>,
  slot: number,
): void {
  const at = pushAddress(to, base, offset, size, signed ? READ_SIGNED : READ, slot);
  if ((to.shortAfter & (1 << dst)) !== 0) {
    to.code.access(shortLoads[size], at);
    to.setLow(dst);
  } else {
    to.code.access((signed ? signedLoads : loads)[size], at);
    to.set(dst);
  }
}

export function emitStore(
  to: FunctionEmitter,
  { size, base, offset, src }: Extract<Instruction, { kind: "store" }>,
  slot: number,
): void {
  noteWrite(to, base, offset, slot);
  const at = pushAddress(to, base, offset, size, WRITE, slot);
  const register = registerOf(src);
  if (size !== 8 && (register === undefined || to.isShort(register))) {
    if (register === undefined) to.code.i32(immediateOf(src)!);
    else to.getLow(register);
    to.code.access(shortStores[size], at);
  } else {
    if (register === undefined) to.code.i64(immediateOf(src)!);
    else to.get(register);
    to.code.access(stores[size], at);
  }
}

/** RFC 9669 §5.3. An unaligned one is a fault: WebAssembly would trap. */
export function emitAtomic(
  to: FunctionEmitter,
  instruction: Extract<Instruction, { kind: "atomic" }>,
  slot: number,
): void {
  const { op, fetch, size, base, offset, src } = instruction;
  const { code } = to;
  noteWrite(to, base, offset, slot);
  let at = pushAddress(to, base, offset, size, ATOMIC, slot);
  if (mayBeMisaligned(to, slot) && !alignedInFrame(to.known[base]!, offset, size))
    at = checkAlignment(to, at, size, slot);
  const push = (register: number): void => (size === 8 ? to.get(register) : to.getLow(register));
  if (op === "cmpxchg") push(0);
  push(src);
  code.access(atomicOperation(op, size), at);
  if (!fetch) code.drop();
  else if (size === 8) to.set(op === "cmpxchg" ? 0 : src);
  else to.setLow(op === "cmpxchg" ? 0 : src);
}

function atomicOperation(op: AtomicOp, size: 4 | 8): MemoryOperation {
  return (size === 8 ? i64 : i32).rmw[op];
}

/**
 * The verifier proves alignment but of what a global function is given as memory: as in the kernel,
 * that is of a size, and anywhere.
 */
function mayBeMisaligned(to: FunctionEmitter, slot: number): boolean {
  const reached = proofOf(to.unit.program)?.regionsOf[slot] ?? anywhere;
  return (reached & regions.memory) !== 0;
}

/** Frames are aligned: their offsets tell. */
function alignedInFrame(known: number, offset: number, size: number): boolean {
  return staysInFrame(known, offset, size) && (detailOf(known) + offset) % size === 0;
}

/** Of the address on the stack plus `at`, which has been checked; leaves it there, for offset 0. */
function checkAlignment(to: FunctionEmitter, at: number, size: 4 | 8, slot: number): number {
  const { code } = to;
  const address = to.temporary(I32);
  code.i32(at);
  code.emit(i32.add);
  code.tee(address);
  code.i32(size - 1);
  code.emit(i32.and);
  code.if();
  code.get(address);
  code.i32(size);
  code.i32(slot);
  code.call(to.unit.imports.misaligned);
  code.unreachable();
  code.end();
  code.get(address);
  return 0;
}

/** Whether an access of these bytes certainly stays in this function's frame. */
export function staysInFrame(known: number, offset: number, size: number): boolean {
  const at = detailOf(known) + offset;
  return kindOf(known) === FRAME && at >= -frameBytes && at + size <= 0;
}

/**
 * Pushes the address of an access, after its check, and returns the offset that the instruction is
 * to add to it: WebAssembly adds only what is positive.
 */
function pushAddress(
  to: FunctionEmitter,
  base: number,
  offset: number,
  size: Size,
  access: Access,
  slot: number,
): number {
  const { code } = to;
  const known = to.known[base]!;
  if (staysInFrame(known, offset, size)) {
    to.getFrame();
    return frameBytes + detailOf(known) + offset;
  }
  if (to.checks && !contextAllows(to, known, offset, size, access))
    checkAccess(to, base, offset, size, access, slot);
  to.getLow(base);
  if (offset >= 0) return offset;
  code.i32(offset);
  code.emit(i32.add);
  return 0;
}

/** Whether it is a part of the context that this type of program may touch so. */
function contextAllows(
  to: FunctionEmitter,
  known: number,
  offset: number,
  size: Size,
  access: Access,
): boolean {
  if (kindOf(known) !== CONTEXT || access === ATOMIC) return false;
  const { type, onDevmap } = to.unit.program;
  const rules = contextAccessOf(type, onDevmap);
  if (rules === undefined) return false;
  const table = access === WRITE ? rules.writes : access === READ ? rules.reads : rules.signedReads;
  return ((table[detailOf(known) + offset] ?? 0) & size) !== 0;
}

/** Where the bounds of the object hit last are, by access. */
function boundsOf(access: Access): { low: number; limits: number } {
  if (access === WRITE) return { low: scratch.writeLow, limits: scratch.writeLimits };
  // Limits of atomic operations begin with those of size 4.
  if (access === ATOMIC) return { low: scratch.atomicLow, limits: scratch.atomicLimits - 8 };
  return { low: scratch.readLow, limits: scratch.readLimits };
}

/**
 * Compares with the object hit last; outside of it ProgramMemory decides. Done on 64 bits, so that a
 * pointer with a high word, and a negative distance, are far outside as well.
 */
function checkAccess(
  to: FunctionEmitter,
  base: number,
  offset: number,
  size: Size,
  access: Access,
  slot: number,
): void {
  const { code } = to;
  pushOutside(to, base, offset, size, access);
  code.if();
  to.getLow(base);
  code.i32(offset);
  code.emit(i32.add);
  to.getHigh(base);
  code.i32(packAccess(size, access, slot));
  code.call(to.unit.imports.locate);
  code.end();
}

/** Pushes whether an access is outside the object hit last. */
export function pushOutside(
  to: FunctionEmitter,
  base: number,
  offset: number,
  size: Size,
  access: Access,
): void {
  const { code, unit } = to;
  const { low, limits } = boundsOf(access);
  to.get(base);
  if (offset !== 0) {
    code.i64(offset);
    code.emit(i64.add);
  }
  code.i32(0);
  code.access(i64.load32_u, unit.scratch + low);
  code.emit(i64.sub);
  code.i32(0);
  code.access(i64.load32_u, unit.scratch + limits + 4 * sizeIndex(size));
  code.emit(i64.ge_u);
}

/** Size, access and slot in one number: slots have 20 bits. */
export function packAccess(size: Size, access: Access, slot: number): number {
  return (slot << 6) | (access << 4) | size;
}

export function unpackAccess(packed: number): { size: number; access: Access; slot: number } {
  return { size: packed & 15, access: ((packed >> 4) & 3) as Access, slot: packed >> 6 };
}

const anywhere = 255;

/**
 * Where nothing is checked nothing tells that the packet was written: a store that may hit it
 * compares, and notes it in the slot.
 */
function noteWrite(to: FunctionEmitter, base: number, offset: number, slot: number): void {
  const { program } = to.unit;
  if (to.checks || !mayWritePacket(program.type)) return;
  const reached = proofOf(program)?.regionsOf[slot] ?? anywhere;
  // What a function is given as memory may be the packet.
  if ((reached & (regions.packet | regions.memory)) === 0) return;
  const { code } = to;
  if (reached === regions.packet) {
    noteWritten(to);
    return;
  }
  to.getLow(base);
  code.i32(offset);
  code.emit(i32.add);
  to.getSlot();
  code.access(i32.load, SLOT_DATA);
  code.emit(i32.sub);
  to.getSlot();
  code.access(i32.load, SLOT_DATA_END);
  to.getSlot();
  code.access(i32.load, SLOT_DATA);
  code.emit(i32.sub);
  code.emit(i32.lt_u);
  code.if();
  noteWritten(to);
  code.end();
}

function noteWritten(to: FunctionEmitter): void {
  const { code } = to;
  to.getSlot();
  to.getSlot();
  code.access(i32.load, SLOT_FLAGS);
  code.i32(SLOT_WROTE);
  code.emit(i32.or);
  code.access(i32.store, SLOT_FLAGS);
}

/** The same of what a helper writes to: what a function was given as memory may be the packet there, too. */
export function noteHelperWrites(to: FunctionEmitter, helper: Helper, slot: number): void {
  for (const [index, kind] of helper.arguments.entries())
    if (isWritten(kind)) noteWrite(to, index + 1, 0, slot);
}

function isWritten(kind: HelperArgument): boolean {
  return kind.startsWith("writable") || kind.startsWith("updated");
}

/** Whether compiling this instruction asks for the packet slot's address. */
export function usesSlot(instruction: Instruction): boolean {
  const { kind } = instruction;
  if (kind === "call_helper")
    return helpers.get(instruction.id)?.arguments.some(isWritten) === true;
  return kind === "load_packet" || kind === "store" || kind === "atomic";
}
