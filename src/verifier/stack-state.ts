import type { RegisterState } from "./register-state.ts";

/** What one byte of the stack holds: nothing yet, something, zero, or a part of a spilled register. */
export const unwritten = 0;
export const misc = 1;
export const zero = 2;
export const spilled = 3;
export type ByteKind = typeof unwritten | typeof misc | typeof zero | typeof spilled;

/**
 * Eight bytes of a stack frame, aligned. Immutable. `bytes` holds two bits a byte, the lowest
 * address in the lowest bits; `register` is what was spilled into the low bytes of kind `spilled`.
 */
export interface StackSlot {
  readonly bytes: number;
  readonly register: RegisterState | undefined;
}

/** Bytes of a frame. Kernel documentation, bpf/verifier.rst. */
export const frameBytes = 512;

/** Slot 0 is the one below the frame pointer: offsets -8 to -1. */
export function slotOf(offset: number): number {
  return (-offset - 1) >> 3;
}

/** The byte within its slot, counted from the lowest address. */
export function byteOf(offset: number): number {
  return offset & 7;
}

export function byteKind(slot: StackSlot | undefined, byte: number): ByteKind {
  return slot === undefined ? unwritten : (((slot.bytes >> (2 * byte)) & 3) as ByteKind);
}

/** Whether a byte was never written in `now`, and was in `old`. */
export function hidesUnwritten(old: StackSlot | undefined, now: StackSlot | undefined): boolean {
  for (let byte = 0; byte < 8; byte++)
    if (byteKind(now, byte) === unwritten && byteKind(old, byte) !== unwritten) return true;
  return false;
}

/** All eight bytes of one kind. */
export function filledSlot(kind: ByteKind): StackSlot {
  return filled[kind] as StackSlot;
}

const filled: readonly StackSlot[] = [unwritten, misc, zero, spilled].map((kind) => ({
  bytes: kind * 0x5555,
  register: undefined,
}));

/** A register spilled into the `size` low bytes of a slot; what was above is something. */
export function spill(
  register: RegisterState,
  size: number,
  before: StackSlot | undefined,
): StackSlot {
  if (size === 8) return { bytes: spilled * 0x5555, register };
  let bytes = 0;
  for (let byte = 0; byte < 8; byte++) {
    const was = byteKind(before, byte);
    const kind = byte < size ? spilled : was === spilled ? misc : was;
    bytes |= kind << (2 * byte);
  }
  return { bytes, register };
}

/** Bytes of a spilled register in a slot, or 0. */
export function spillSize(slot: StackSlot | undefined): number {
  if (slot?.register === undefined) return 0;
  if (slot.bytes === spilled * 0x5555) return 8;
  let size = 0;
  while (size < 8 && byteKind(slot, size) === spilled) size++;
  return size;
}

/** The slot after `size` bytes from `byte` on were overwritten: a register spilled there is gone. */
export function overwrite(
  before: StackSlot | undefined,
  byte: number,
  size: number,
  kind: typeof misc | typeof zero,
): StackSlot {
  if (size === 8) return filledSlot(kind);
  let bytes = 0;
  for (let i = 0; i < 8; i++) {
    const was = byteKind(before, i);
    const now = i >= byte && i < byte + size ? kind : was === spilled ? misc : was;
    bytes |= now << (2 * i);
  }
  return { bytes, register: undefined };
}
