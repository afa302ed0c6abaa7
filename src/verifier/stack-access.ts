import type { Analysis } from "./analysis.ts";
import { bytesText } from "./describe-place.ts";
import type { Frame } from "./path-state.ts";
import {
  constantOf,
  constantScalar,
  isPointer,
  type RegisterState,
  scalar,
  unknownScalar,
} from "./register-state.ts";
import { signExtended, truncated } from "./scalar-alu.ts";
import { fitsBytes, isConstant, isNumber, zeroRange } from "./scalar-range.ts";
import { signedRange, unsignedRange } from "./settle.ts";
import { checkChain } from "./stack-depth.ts";
import {
  byteKind,
  byteOf,
  frameBytes,
  misc,
  overwrite,
  type StackSlot,
  slotOf,
  spill,
  spilled,
  spillSize,
  unwritten,
  zero,
} from "./stack-state.ts";
import { slotPlace } from "./trace.ts";

/** Bytes: a pointer that may be as far off has no known distance. */
const farAway = 1n << 29n;

/** Where an access may lie, relative to the frame pointer: from `low` to before `high` + size. */
export interface StackSpan {
  readonly frame: Frame;
  readonly number: number;
  readonly low: number;
  readonly high: number;
}

/** Finds what an access can reach and refuses what is outside of the frame. `size` may be 0. */
export function stackSpan(
  a: Analysis,
  base: number,
  pointer: RegisterState,
  offset: number,
  size: number,
): StackSpan {
  const fixed = pointer.offset + offset;
  const { range } = pointer;
  const isFixed = range === zeroRange;
  if (!isFixed && (range.smin <= -farAway || range.smax >= farAway))
    a.refuse(
      "STACK_BOUNDS",
      `r${base} points into the stack at an unknown distance`,
      `bound what was added to r${base} on both sides first`,
      [base],
    );
  const low = isFixed ? fixed : fixed + Number(range.smin);
  const high = isFixed ? fixed : fixed + Number(range.smax);
  // Of no bytes, too, as in the kernel: check_stack_slot_within_bounds.
  if (low < -frameBytes || low >= 0 || high + size > 0)
    a.refuse(
      "STACK_BOUNDS",
      `${bytesText(size)} at stack offset ${low === high ? low : `${low} to ${high}`} ${size === 1 ? "is" : "are"} outside of the frame, which is -${frameBytes} to -1`,
      high + size > 0 || low >= 0
        ? beyondFix(base, pointer, fixed, size)
        : `use at most ${frameBytes} bytes of stack a function, or keep the data in a map`,
      [base],
    );
  const frame = a.state.frames[pointer.frame] as Frame;
  if (a.facts.usesStack(frame.entry, -low)) checkChain(a);
  return { frame, number: pointer.frame, low, high };
}

function beyondFix(base: number, { range }: RegisterState, fixed: number, size: number): string {
  const most = -size - fixed;
  if (!isConstant(range) && most >= 0)
    return `bound what was added to r${base}: compare it with ${most}, or mask it with &=`;
  const high = fixed + Number(range.smax);
  return high < 0
    ? `what r${base} points to has ${-high} bytes up to the frame's end: make it ${bytesText(size)}`
    : "use negative offsets from r10";
}

/** What a load of `size` bytes gives. */
export function readStack(
  a: Analysis,
  span: StackSpan,
  size: number,
  signed: boolean,
  step: number,
): RegisterState {
  if (span.low !== span.high) return readAnywhere(a, span, size);
  const slotNumber = slotOf(span.low);
  const slot = span.frame.stack[slotNumber];
  const byte = byteOf(span.low);
  a.state.markRead(span.number, slotNumber);
  const register = slot?.register;
  if (register !== undefined && byteKind(slot, byte) === spilled) {
    const held = spillSize(slot);
    if (isPointer(register)) {
      refusePartOfPointer(a, span, size);
      a.trace.setStackPlace(step, slotPlace(span.number, slotNumber));
      return register;
    }
    if (byte === 0 && size <= held) {
      a.trace.setStackPlace(step, slotPlace(span.number, slotNumber));
      return narrowed(register, size, signed);
    }
    if (byte + size <= held && isNumber(register.range, 0n)) {
      a.trace.setStackPlace(step, slotPlace(span.number, slotNumber));
      return constantScalar(0n);
    }
  }
  let zeros = 0;
  for (let i = byte; i < byte + size; i++) {
    const kind = byteKind(slot, i);
    if (kind === zero) zeros++;
    else if (kind === unwritten) a.facts.readsUnwritten[a.slot] = 1;
  }
  return zeros === size ? constantScalar(0n) : loaded(size, signed);
}

function narrowed(register: RegisterState, size: number, signed: boolean): RegisterState {
  const { range, id, offset } = register;
  if (size === 8) return register.precise ? scalar(range, id, offset) : register;
  const part = signed ? signExtended(range, size) : truncated(range, size);
  return part === range ? scalar(range, id, offset) : scalar(part);
}

/** Any number of this size. */
export function loaded(size: number, signed: boolean): RegisterState {
  if (size === 8) return unknownScalar;
  return scalar(signed ? signedRange(size) : unsignedRange(size));
}

function readAnywhere(a: Analysis, span: StackSpan, size: number): RegisterState {
  let zeros = true;
  for (let at = span.low; at < span.high + size; at++) {
    const slotNumber = slotOf(at);
    const kind = byteKind(span.frame.stack[slotNumber], byteOf(at));
    if (kind === unwritten) a.facts.readsUnwritten[a.slot] = 1;
    if (kind !== zero) zeros = false;
    a.state.markRead(span.number, slotNumber);
  }
  return zeros ? constantScalar(0n) : size === 8 ? unknownScalar : scalar(unsignedRange(size));
}

/** Stores `size` bytes of a register (its number) or of an immediate (undefined). */
export function writeStack(
  a: Analysis,
  span: StackSpan,
  size: number,
  value: RegisterState,
  source: number | undefined,
  step: number,
): void {
  const { frame, low } = span;
  if (value.kind === "stack" && frame !== a.state.frame)
    a.refuse(
      "STACK_POINTER_RETURNED",
      "a pointer to the stack is stored in a caller's frame, and would be left there when its own frame ends",
      "let the caller pass memory to write to",
      source === undefined ? [] : [source],
    );
  if (isPointer(value) && size !== 8 && low === span.high)
    a.refuse(
      "STACK_POINTER_SPILL",
      `only ${bytesText(size)} of a pointer would be stored on the stack`,
      "store all 8 bytes",
      source === undefined ? [] : [source],
    );
  const isZero = value.kind === "scalar" && isNumber(value.range, 0n);
  if (low !== span.high) {
    writeAnywhere(a, span, size, isZero, source);
    return;
  }
  const slotNumber = slotOf(low);
  const byte = byteOf(low);
  const before = frame.stack[slotNumber];
  const place = slotPlace(span.number, slotNumber);
  if (size === 8) frame.noteWritten(slotNumber);
  if (byte === 0 && value.kind === "scalar") {
    a.trace.setStackPlace(step, place);
    const kept = fitsBytes(value.range, size)
      ? linked(a, value, source)
      : scalar(truncated(value.range, size));
    frame.setSlot(slotNumber, spill(kept, size, before));
  } else if (size === 8 && isPointer(value)) {
    a.trace.setStackPlace(step, place);
    frame.setSlot(slotNumber, spill(value, 8, before));
  } else {
    // A zero byte is not followed back to its register: it counts as precise at once.
    if (isZero && source !== undefined) a.markPrecise(source);
    frame.setSlot(slotNumber, overwrite(before, byte, size, isZero ? zero : misc));
  }
}

/**
 * A number that is not known is linked to its copy: a compare of one tells of both. One that is
 * linked over a distance leaves those links, as in the kernel.
 */
export function linked(
  a: Analysis,
  held: RegisterState,
  register: number | undefined,
): RegisterState {
  if (register === undefined || isConstant(held.range)) return held;
  if (held.id !== 0 && held.offset === 0) return held;
  const marked = scalar(held.range, a.newId());
  a.write(register, marked);
  return marked;
}

function writeAnywhere(
  a: Analysis,
  span: StackSpan,
  size: number,
  isZero: boolean,
  source: number | undefined,
): void {
  let keptZero = false;
  for (let at = span.low; at < span.high + size; at++) {
    const slotNumber = slotOf(at);
    const before = span.frame.stack[slotNumber];
    if (isZero && isZeroSpill(before, byteOf(at))) {
      keptZero = true;
      continue;
    }
    const kind = byteKind(before, byteOf(at));
    // All but one place stay as they were, which is not known here: what is on the stack from before.
    if (kind === unwritten) continue;
    const stays = isZero && kind === zero;
    keptZero ||= stays;
    span.frame.setSlot(slotNumber, overwrite(before, byteOf(at), 1, stays ? zero : misc));
  }
  if (keptZero && source !== undefined) a.markPrecise(source);
}

/** Whether the byte is of a spilled number, and that is 0. */
function isZeroSpill(slot: StackSlot | undefined, byte: number): boolean {
  const register = slot?.register;
  const number = register?.kind === "scalar" && isNumber(register.range, 0n);
  return number && byteKind(slot, byte) === spilled;
}

/** A pointer on the stack is read whole, or not at all. */
export function refusePartOfPointer(a: Analysis, span: StackSpan, size: number): void {
  if (span.low !== span.high || size === 8) return;
  const slot = span.frame.stack[slotOf(span.low)];
  if (byteKind(slot, byteOf(span.low)) !== spilled) return;
  if (slot?.register !== undefined && isPointer(slot.register))
    a.refuse(
      "STACK_POINTER_FILL",
      `only ${bytesText(size)} would be loaded of a pointer that was stored at stack offset ${span.low - byteOf(span.low)}`,
      "load all 8 bytes",
    );
}

/** A helper, or an atomic operation, reads these bytes. */
export function useStack(a: Analysis, span: StackSpan, size: number): void {
  for (let at = span.low; at < span.high + size; at++) {
    const slotNumber = slotOf(at);
    a.state.markRead(span.number, slotNumber);
    if (byteKind(span.frame.stack[slotNumber], byteOf(at)) === unwritten)
      a.facts.readsUnwritten[a.slot] = 1;
  }
}

/**
 * A helper, or an atomic operation, leaves something there that is not known. `whole`: it writes all
 * of these bytes; else those that were never written may still be what was on the stack before.
 */
export function clobberStack(span: StackSpan, size: number, whole: boolean): void {
  const { frame, low, high } = span;
  const isWritten = low === high && whole;
  for (let at = low; at < high + size; at++) {
    const slotNumber = slotOf(at);
    const before = frame.stack[slotNumber];
    if (isWritten || byteKind(before, byteOf(at)) !== unwritten)
      frame.setSlot(slotNumber, overwrite(before, byteOf(at), 1, misc));
  }
  if (!isWritten) return;
  for (let at = low; at + 8 <= low + size; at++)
    if (byteOf(at) === 0) frame.noteWritten(slotOf(at));
}

/** A number that lies at a known place of the stack as itself; it then counts as precise. */
export function constantOnStack(a: Analysis, span: StackSpan, size: number): bigint | undefined {
  if (span.low !== span.high) return undefined;
  const slotNumber = slotOf(span.low);
  const slot = span.frame.stack[slotNumber];
  const byte = byteOf(span.low);
  let zeros = 0;
  while (zeros < size && byte + zeros < 8 && byteKind(slot, byte + zeros) === zero) zeros++;
  if (zeros === size) return 0n;
  // As in the kernel, only what reaches the upper end of a spilled number.
  if (spillSize(slot) !== byte + size) return undefined;
  const register = slot?.register as RegisterState;
  const value = constantOf(register);
  if (value === undefined || !isConstant(register.range)) return undefined;
  a.markPlace(slotPlace(span.number, slotNumber));
  return BigInt.asUintN(8 * size, value >> BigInt(8 * byte));
}

/** A number that a load from a known place of the stack would give; it then counts as precise. */
export function lowConstantOnStack(a: Analysis, span: StackSpan, size: number): bigint | undefined {
  if (span.low !== span.high) return undefined;
  const slotNumber = slotOf(span.low);
  const slot = span.frame.stack[slotNumber];
  if (byteOf(span.low) !== 0 || spillSize(slot) < size) return undefined;
  const register = slot?.register as RegisterState;
  if (register.kind !== "scalar" || !isConstant(register.range)) return undefined;
  a.markPlace(slotPlace(span.number, slotNumber));
  return BigInt.asUintN(8 * size, register.range.value);
}
