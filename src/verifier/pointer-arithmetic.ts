import type { AluOp } from "../isa/instruction.ts";
import { maxArenaBytes, reservedBytes } from "../runtime/arena.ts";
import type { Analysis } from "./analysis.ts";
import { rangeText } from "./describe-register.ts";
import { maxVariableOffset } from "./memory-access.ts";
import {
  type RegisterKind,
  type RegisterState,
  unknownScalar,
  withExtent,
  withFields,
  withOffset,
} from "./register-state.ts";
import { alu } from "./scalar-alu.ts";
import { isConstant, type ScalarRange, s64min } from "./scalar-range.ts";

/** Kinds whose address may not be changed. */
const fixedKinds = new Set<RegisterKind>([
  "packet_end",
  "map",
  "sock_common",
  "sock",
  "tcp_sock",
  "function",
]);

/** Kinds of what lies in the arena, from `reservedBytes` up to `maxArenaBytes`. */
const inArena = new Set<RegisterKind>([
  "context",
  "stack",
  "packet",
  "packet_meta",
  "packet_end",
  "map_value",
  "map_key",
  "memory",
]);

/**
 * Whether a register holds null or an address in the arena, or one so near to it that its high word
 * is 0 as well.
 */
export function isAddress({ kind, offset, range }: RegisterState): boolean {
  if (!inArena.has(kind)) return false;
  const { small } = range;
  const lowest = offset + (small ? range.u32min : Number(range.smin));
  const highest = offset + (small ? range.u32max : Number(range.smax));
  return lowest >= -reservedBytes && highest <= maxArenaBytes;
}

/**
 * A 64-bit operation of which at least one side is a pointer. `dst` and `src` are what they hold,
 * `dstRegister` and `srcRegister` their numbers (undefined: an immediate).
 */
export function pointerAlu(
  a: Analysis,
  op: Exclude<AluOp, "mov">,
  dst: RegisterState,
  src: RegisterState,
  dstRegister: number,
  srcRegister: number | undefined,
): RegisterState {
  const both = dst.kind !== "scalar" && src.kind !== "scalar";
  if (both) {
    if (op === "sub") return unknownScalar;
    a.refuse(
      "POINTER_ARITHMETIC",
      `r${dstRegister} and r${srcRegister} are both pointers, and only their difference has a meaning`,
      "add a number to one of them",
      [dstRegister, srcRegister as number],
    );
  }
  const pointerFirst = dst.kind !== "scalar";
  const base = pointerFirst ? dst : src;
  const baseRegister = pointerFirst ? dstRegister : (srcRegister as number);
  const amount = pointerFirst ? src.range : dst.range;
  const amountRegister = pointerFirst ? srcRegister : dstRegister;
  if (amountRegister !== undefined) a.markPrecise(amountRegister);
  checkOperation(a, op, base, baseRegister, pointerFirst);
  checkAmount(a, base, baseRegister, amount, amountRegister);
  const moved = move(a, op, base, amount);
  checkReach(a, moved, baseRegister);
  return moved;
}

function checkOperation(
  a: Analysis,
  op: Exclude<AluOp, "mov">,
  base: RegisterState,
  register: number,
  pointerFirst: boolean,
): void {
  if (base.nullable)
    a.refuse(
      "MAYBE_NULL",
      `r${register} may be null, and arithmetic is done on it`,
      `compare r${register} with 0 before this, and leave where it is 0`,
      [register],
    );
  if (fixedKinds.has(base.kind))
    a.refuse(
      "POINTER_ARITHMETIC",
      `r${register} is a pointer that arithmetic may not change`,
      base.kind === "packet_end"
        ? "add to the pointer that is compared with it instead"
        : "use it as it is",
      [register],
    );
  if (op !== "add" && op !== "sub")
    a.refuse(
      "POINTER_ARITHMETIC",
      `r${register} is a pointer, and "${op}" is done on it`,
      op === "or"
        ? 'only numbers may be added to pointers; compilers make array[x & 7] into this where the array is aligned: bound the index by a compare instead, or hide it behind asm volatile("" : "+r"(x))'
        : "only numbers may be added to pointers and subtracted from them",
      [register],
    );
  if (op === "sub" && !pointerFirst)
    a.refuse(
      "POINTER_ARITHMETIC",
      `pointer r${register} is subtracted from a number`,
      "subtract the number from the pointer",
      [register],
    );
  if (op === "sub" && base.kind === "stack")
    a.refuse(
      "POINTER_ARITHMETIC",
      `something is subtracted from stack pointer r${register}`,
      "add a negative number instead",
      [register],
    );
}

function checkAmount(
  a: Analysis,
  base: RegisterState,
  register: number,
  amount: ScalarRange,
  amountRegister: number | undefined,
): void {
  checkReach(a, base, register);
  if (amount.small && amount.u32max < farAway) return;
  const tooFar = isConstant(amount)
    ? Math.abs(Number(amount.smin)) >= farAway
    : amount.smin === s64min ||
      amount.smin >= maxVariableOffset ||
      amount.smin <= -maxVariableOffset;
  if (!tooFar) return;
  a.refuse(
    "POINTER_OFFSET",
    `r${register} is moved by ${rangeText(amount)}, which may be anywhere`,
    "bound the number before it is added: compare it, or mask it with &=",
    amountRegister === undefined ? [register] : [register, amountRegister],
  );
}

const farAway = Number(maxVariableOffset);

/** A pointer far from its object could come round to another. Kernel: check_reg_sane_offset. */
function checkReach(a: Analysis, held: RegisterState, register: number): void {
  const near = held.offset < farAway && held.offset > -farAway;
  if (near && held.range.small && held.range.u32min < farAway) return;
  const { smin } = held.range;
  if (!near || smin === s64min || smin >= maxVariableOffset || smin <= -maxVariableOffset)
    a.refuse(
      "POINTER_OFFSET",
      `r${register} would point outside of all bounds: its object + ${held.offset} + (${rangeText(held.range)})`,
      "bound what is added to the pointer first: compare it, or mask it with &=",
      [register],
    );
}

function move(
  a: Analysis,
  op: Exclude<AluOp, "mov">,
  base: RegisterState,
  amount: ScalarRange,
): RegisterState {
  if (isConstant(amount)) {
    const distance = op === "add" ? Number(amount.smin) : -Number(amount.smin);
    const moved = withOffset(base, base.offset + distance);
    // Further down it may lie before data_end again. The kernel takes it for beyond all the same.
    return distance < 0 && base.extent < 0 ? withExtent(moved, 0) : moved;
  }
  const range = alu(op === "add" ? "add" : "sub", 64, base.range, amount);
  const isPacket = base.kind === "packet" || base.kind === "packet_meta";
  if (!isPacket) return withFields(base, { range });
  // Nothing is known of the packet behind a new unknown offset, unless that lies further down.
  const extent = op === "sub" && amount.smin >= 0n ? Math.max(0, base.extent) : 0;
  return withFields(base, { range, id: a.newId(), extent });
}
