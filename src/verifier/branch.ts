import { type BranchOp, type Instruction, registerOf } from "../isa/instruction.ts";
import type { Analysis } from "./analysis.ts";
import type { Frame, PathState } from "./path-state.ts";
import { mapOf } from "./program.ts";
import {
  atEnd,
  beyondEnd,
  isNeverNull,
  isPointer,
  numberScalar,
  type RegisterState,
  scalar,
  unknownScalar,
  withExtent,
  withFields,
} from "./register-state.ts";
import { alu } from "./scalar-alu.ts";
import { decide, mirrored, type Refined, refine } from "./scalar-compare.ts";
import {
  constantRange,
  isConstant,
  isNumber,
  type ScalarRange,
  zeroRange,
} from "./scalar-range.ts";
import { type Place, registerPlace, slotPlace } from "./trace.ts";

type Branch = Extract<Instruction, { kind: "branch" }>;

/**
 * Follows a branch: the way that is left of it, or both, each with what its outcome tells. Returns
 * the slot this path goes on at; the other way, if it is open, is put aside.
 */
export function takeBranch(a: Analysis, branch: Branch, step: number): number {
  const { op, width, dst } = branch;
  const next = a.slot + 1;
  const target = next + branch.offset;
  const left = a.read(dst);
  const sourceRegister = registerOf(branch.src);
  const right =
    sourceRegister === undefined
      ? numberScalar((branch.src as { immediate: number }).immediate)
      : a.read(sourceRegister);
  const numbers = left.kind === "scalar" && right.kind === "scalar";
  const ofItself = numbers && sourceRegister === dst ? comparedWithItself[op] : undefined;
  if (ofItself !== undefined) return ofItself ? target : next;
  const known = outcome(op, width, left, right);
  const open = numbers && known === undefined;
  const ifTaken = open ? refine(op, width, left.range, right.range, true) : undefined;
  const ifNot = open ? refine(op, width, left.range, right.range, false) : undefined;
  if (known !== undefined) {
    let relied = left.kind === "scalar" ? 1 << dst : 0;
    if (sourceRegister !== undefined && right.kind === "scalar") relied |= 1 << sourceRegister;
    if (relied !== 0) a.precision.markRegisters(a.state, relied);
    return known ? target : next;
  }
  noteLinked(a, step, left, right);
  const taken = a.state.copy();
  taken.step = step;
  applyOutcome(a, taken, branch, left, right, true, ifTaken);
  applyOutcome(a, a.state, branch, left, right, false, ifNot);
  a.later(target, taken);
  return next;
}

/**
 * How a compare of a number with itself comes out, whatever it is: nothing is relied on, nor learnt. A
 * bound that each such compare moved by one would make every round of a loop another. Kernel:
 * is_scalar_branch_taken, from Linux 6.19 on; before, it follows both ways.
 */
const comparedWithItself: Readonly<Record<BranchOp, boolean | undefined>> = {
  eq: true,
  ne: false,
  gt: false,
  ge: true,
  lt: false,
  le: true,
  sgt: false,
  sge: true,
  slt: false,
  sle: true,
  set: undefined,
};

function outcome(
  op: BranchOp,
  width: 32 | 64,
  left: RegisterState,
  right: RegisterState,
): boolean | undefined {
  if (left.kind === "scalar" && right.kind === "scalar")
    return decide(op, width, left.range, right.range);
  if (width === 32) return undefined;
  const zeroOther = (one: RegisterState): boolean =>
    one.kind === "scalar" && isNumber(one.range, 0n);
  if ((isNeverNull(left) && zeroOther(right)) || (isNeverNull(right) && zeroOther(left))) {
    if (op === "eq") return false;
    if (op === "ne") return true;
  }
  return packetOutcome(op, left, right);
}

/** A pointer that was found at or beyond data_end before stays there. */
function packetOutcome(
  op: BranchOp,
  left: RegisterState,
  right: RegisterState,
): boolean | undefined {
  if (left.kind === "packet_end" && right.kind === "packet")
    return packetOutcome(mirrored[op], right, left);
  if (left.kind !== "packet" || right.kind !== "packet_end" || left.extent >= 0) return undefined;
  const beyond = left.extent === beyondEnd;
  switch (op) {
    case "gt":
      return beyond ? true : undefined;
    case "le":
      return beyond ? false : undefined;
    case "ge":
      return true;
    case "lt":
      return false;
    default:
      return undefined;
  }
}

/** Notes which linked registers this branch changes together. */
function noteLinked(a: Analysis, step: number, left: RegisterState, right: RegisterState): void {
  noteLinkedTo(a, step, left);
  if (right.id !== left.id || left.kind !== "scalar") noteLinkedTo(a, step, right);
}

function noteLinkedTo(a: Analysis, step: number, { kind, id }: RegisterState): void {
  if (kind !== "scalar" || id === 0) return;
  const places = linkedPlaces(a.state, id);
  if (places.length > 1) a.trace.addLinked(step, places);
}

function linkedPlaces(state: PathState, id: number): Place[] {
  const places: Place[] = [];
  for (let number = 0; number < state.frames.length; number++) {
    const { registers, stack } = state.frames[number] as Frame;
    for (let r = 0; r < 10; r++) {
      const held = registers[r] as RegisterState;
      if (held.kind === "scalar" && held.id === id) places.push(registerPlace(number, r));
    }
    for (let slot = 0; slot < stack.length; slot++) {
      const held = stack[slot]?.register;
      if (held?.kind === "scalar" && held.id === id) places.push(slotPlace(number, slot));
    }
  }
  return places;
}

/** Applies to a state that the branch comes out so. */
function applyOutcome(
  a: Analysis,
  state: PathState,
  branch: Branch,
  left: RegisterState,
  right: RegisterState,
  holds: boolean,
  refined: Refined | undefined,
): void {
  const { op, width, dst, src } = branch;
  if (left.kind === "scalar" && right.kind === "scalar") {
    if (refined === undefined) return;
    learn(state, dst, left, refined.a);
    if ("register" in src && src.register !== dst) learn(state, src.register, right, refined.b);
    return;
  }
  if (width === 32) return;
  if (left.nullable && !("register" in src) && src.immediate === 0) {
    if (op === "eq" || op === "ne") settleNull(a, state, left, holds === (op === "eq"));
    return;
  }
  if (!("register" in src)) return;
  if (holds === (op === "eq") && (op === "eq" || op === "ne")) {
    settleEqual(state, dst, left, right);
    settleEqual(state, src.register, right, left);
  }
  comparePacket(a, state, op, left, right, holds);
}

/** A pointer that may be null, and is the same as one that is not; its copies stay as they are. */
function settleEqual(
  state: PathState,
  register: number,
  held: RegisterState,
  other: RegisterState,
): void {
  if (held.nullable && isNeverNull(other))
    state.frame.registers[register] = withFields(held, { nullable: false });
}

/** A register's range is known better, and so are those of all that are linked to it. */
function learn(
  state: PathState,
  register: number,
  before: RegisterState,
  range: ScalarRange,
): void {
  if (range === before.range) return;
  const { id, offset } = before;
  if (id === 0) {
    state.frame.registers[register] = scalar(range);
    return;
  }
  state.changeAll((held) => {
    if (held.kind !== "scalar" || held.id !== id) return held;
    const shifted =
      held.offset === offset
        ? range
        : alu("add", 64, range, constantRange(BigInt(held.offset - offset)));
    return scalar(shifted, isConstant(shifted) ? 0 : id, isConstant(shifted) ? 0 : held.offset);
  });
}

/** The pointer compared with 0, and all its copies: it is 0, or it is not. */
function settleNull(a: Analysis, state: PathState, pointer: RegisterState, isNull: boolean): void {
  const { id, reference } = pointer;
  // The id goes on to tell whose spin lock it is.
  const isLockable =
    pointer.kind === "map_value" && mapOf(a.program, pointer.target).spinLock !== undefined;
  const settled = isNull ? scalar(constantRange(0n)) : undefined;
  state.changeAll((held) => {
    if (!held.nullable || held.id !== id) return held;
    return settled ?? withFields(held, { nullable: false, id: isLockable ? id : 0 });
  });
  if (isNull && reference !== 0)
    state.references = state.references.filter((one) => one.id !== reference);
}

type PacketKind = "packet" | "packet_meta";

/** A packet pointer against data_end, or one to metadata against data. */
function comparePacket(
  a: Analysis,
  state: PathState,
  op: BranchOp,
  left: RegisterState,
  right: RegisterState,
  holds: boolean,
): void {
  const kind = bounded(left, right);
  if (kind !== undefined) {
    learnExtent(a, state, kind, op, left, holds);
    return;
  }
  const swapped = bounded(right, left);
  if (swapped !== undefined) learnExtent(a, state, swapped, mirrored[op], right, holds);
}

/** What `pointer` is if `limit` bounds it. */
function bounded(pointer: RegisterState, limit: RegisterState): PacketKind | undefined {
  if (pointer.kind === "packet" && limit.kind === "packet_end") return "packet";
  const isStart =
    limit.kind === "packet" && limit.id === 0 && limit.offset === 0 && isNumber(limit.range, 0n);
  return pointer.kind === "packet_meta" && isStart ? "packet_meta" : undefined;
}

/** Kernel: MAX_PACKET_OFF; a packet pointer further out has wrapped for all that is known. */
export const maxPacketOffset = 0xffff;

function learnExtent(
  a: Analysis,
  state: PathState,
  kind: PacketKind,
  op: BranchOp,
  pointer: RegisterState,
  holds: boolean,
): void {
  const within = holds === (op === "le" || op === "lt");
  if (op !== "gt" && op !== "ge" && op !== "lt" && op !== "le") return;
  // Of `gt` not holding: at most the end. Of `ge` not holding: before it, so one byte more.
  const strictlyBefore = op === "ge" || op === "lt";
  if (!within) {
    const found = strictlyBefore ? atEnd : beyondEnd;
    if (kind === "packet") markBeyond(a, state, pointer, found);
    return;
  }
  const { offset, id, range } = pointer;
  if (offset < 0 || (offset === 0 && strictlyBefore)) return;
  if (offset > maxPacketOffset) return;
  if (range !== zeroRange && Number(range.umax) + offset > maxPacketOffset) return;
  const extent = offset + (strictlyBefore ? 1 : 0);
  state.changeAll((held) =>
    held.kind === kind && held.id === id && held.extent >= 0 && held.extent < extent
      ? withExtent(held, extent)
      : held,
  );
}

/** Only the register compared: its copies keep what they knew. */
function markBeyond(a: Analysis, state: PathState, pointer: RegisterState, found: number): void {
  const { registers } = state.frame;
  const branch = a.instructions[a.slot] as Branch;
  const candidates = [branch.dst, "register" in branch.src ? branch.src.register : branch.dst];
  for (const register of candidates)
    if (registers[register] === pointer) registers[register] = withExtent(pointer, found);
}

/** What is left of a packet pointer once the packet has moved: a number that nothing is known of. */
export function forgetPacket(state: PathState): void {
  state.changeAll((held) => {
    const lost =
      held.kind === "packet" || held.kind === "packet_meta" || held.kind === "packet_end";
    return isPointer(held) && lost ? unknownScalar : held;
  });
}
