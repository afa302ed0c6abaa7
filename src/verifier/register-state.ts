import { reservedBytes } from "../runtime/arena.ts";
import {
  constantNumber,
  constantRange,
  isConstant,
  type ScalarRange,
  unknownRange,
  zeroRange,
} from "./scalar-range.ts";
import { isSocket, type SocketKind } from "./socket-rules.ts";

/** What a register (or a spilled one) holds. */
export type RegisterKind =
  | "uninitialised"
  | "scalar"
  | "context"
  | "stack"
  | "packet"
  | "packet_meta"
  | "packet_end"
  | "map"
  | "map_value"
  | "map_key"
  | "memory"
  | SocketKind
  | "function";

/**
 * One register on one path. Immutable and shared between paths: a change makes another. One shape
 * for all kinds keeps the explorer fast; fields that a kind does not use have `blank`'s values.
 */
export interface RegisterState {
  readonly kind: RegisterKind;
  /** A scalar: the number. A pointer: the unknown part of its offset. */
  readonly range: ScalarRange;
  /** A pointer: the known part of its offset, bytes. A linked scalar: its distance from the others. */
  readonly offset: number;
  /**
   * Scalars with the same id differ by a known distance (0: linked to none). Pointers that may be
   * null are the same pointer; packet pointers have the same unknown offset.
   */
  readonly id: number;
  readonly nullable: boolean;
  /**
   * `packet`, `packet_meta`: bytes from the start that are known to be there (or `beyondEnd`,
   * `atEnd`). `memory`, `map_key`: its size.
   */
  readonly extent: number;
  /** `map`, `map_value`: the map (program.ts, `mapOf`), else -1. `function`: the slot it begins at. */
  readonly target: number;
  /** `stack`: the number of the frame. */
  readonly frame: number;
  /** The acquired object this points into, or 0. */
  readonly reference: number;
  /** `memory`, `map_key`: the program may not write. */
  readonly readOnly: boolean;
  /**
   * A scalar in a checkpoint: something after it relied on the exact range, so that another path
   * is covered only if its own range is within this one.
   */
  readonly precise: boolean;
}

/** Extents of a packet pointer that was found not to lie before data_end. */
export const atEnd = -1;
export const beyondEnd = -2;

const blank: RegisterState = {
  kind: "uninitialised",
  range: zeroRange,
  offset: 0,
  id: 0,
  nullable: false,
  extent: 0,
  target: -1,
  frame: 0,
  reference: 0,
  readOnly: false,
  precise: false,
};

export const uninitialised: RegisterState = blank;

export const unknownScalar: RegisterState = scalar(unknownRange);

/** A copy with some fields changed. Spelled out: spreading costs several times as much. */
export function withFields(
  from: RegisterState,
  change: Partial<RegisterState> & { readonly range?: ScalarRange },
): RegisterState {
  return {
    kind: change.kind ?? from.kind,
    range: change.range ?? from.range,
    offset: change.offset ?? from.offset,
    id: change.id ?? from.id,
    nullable: change.nullable ?? from.nullable,
    extent: change.extent ?? from.extent,
    target: change.target ?? from.target,
    frame: change.frame ?? from.frame,
    reference: change.reference ?? from.reference,
    readOnly: change.readOnly ?? from.readOnly,
    precise: change.precise ?? from.precise,
  };
}

/** A pointer with another offset from where its object begins, or from its unknown part. */
export function withOffset(from: RegisterState, offset: number): RegisterState {
  const { kind, range, id, nullable, extent, target, frame, reference, readOnly, precise } = from;
  return {
    kind,
    range,
    offset,
    id,
    nullable,
    extent,
    target,
    frame,
    reference,
    readOnly,
    precise,
  };
}

/** A packet pointer of which another extent is known. */
export function withExtent(from: RegisterState, extent: number): RegisterState {
  const { kind, range, offset, id, nullable, target, frame, reference, readOnly, precise } = from;
  return {
    kind,
    range,
    offset,
    id,
    nullable,
    extent,
    target,
    frame,
    reference,
    readOnly,
    precise,
  };
}

/** A number in a checkpoint whose exact range matters. */
export function asPrecise({ range, offset, id }: RegisterState): RegisterState {
  return newScalar(range, id, offset, true);
}

/** A pointer to the start of something. */
export function pointer(
  kind: Exclude<RegisterKind, "uninitialised" | "scalar">,
  fields: Partial<RegisterState> = {},
): RegisterState {
  return withFields({ ...blank, kind }, fields);
}

export function scalar(range: ScalarRange, id = 0, offset = 0): RegisterState {
  if (id !== 0 || offset !== 0) return newScalar(range, id, offset);
  return plainScalar(range);
}

/** A number that is linked to no other: one object a range, which saves memory and compares. */
function plainScalar(range: ScalarRange): RegisterState {
  range.plain ??= newScalar(range, 0, 0);
  return range.plain as RegisterState;
}

function newScalar(range: ScalarRange, id: number, offset: number, precise = false): RegisterState {
  return {
    kind: "scalar",
    range,
    offset,
    id,
    nullable: false,
    extent: 0,
    target: -1,
    frame: 0,
    reference: 0,
    readOnly: false,
    precise,
  };
}

export function constantScalar(value: bigint): RegisterState {
  return scalar(constantRange(value));
}

/** The same of an immediate. */
export function numberScalar(value: number): RegisterState {
  return plainScalar(constantNumber(value));
}

export function isPointer({ kind }: RegisterState): boolean {
  return kind !== "scalar" && kind !== "uninitialised";
}

/** The number a register surely holds, unsigned 64-bit. */
export function constantOf({ kind, range }: RegisterState): bigint | undefined {
  return kind === "scalar" && isConstant(range) ? range.value : undefined;
}

/**
 * Pointers that cannot be null once they are known not to be: what a compare with 0 may rely on. Not those
 * that may have been moved down to it: unlike the kernel's, addresses in the arena are small numbers.
 */
export function isNeverNull({ kind, nullable, offset, range }: RegisterState): boolean {
  if (nullable || offset + Number(range.smin) <= -reservedBytes) return false;
  return (
    kind === "map_value" ||
    kind === "map_key" ||
    kind === "map" ||
    kind === "memory" ||
    isSocket(kind)
  );
}
