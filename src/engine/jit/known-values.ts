import { type Instruction, immediateOf, registerOf } from "../../isa/instruction.ts";
import { callsBack } from "../callbacks.ts";
import { frameBytes } from "../engine.ts";
import type { Blocks } from "./blocks.ts";
import { allRegisters, mayBeKnown, type RegisterUse } from "./register-use.ts";

/**
 * What is known of a register's value where an instruction begins, one number a register: the kind
 * in the low bits, an offset or index above them.
 */
export type Known = number;

const kindBits = 3;
const kindMask = (1 << kindBits) - 1;
export const UNKNOWN = 0;
/** This function's r10 plus an offset. */
export const FRAME = 1;
/** The program's context plus an offset. */
export const CONTEXT = 2;
/** The address of a map; above the kind its index. */
export const MAP = 3;
/** The address of a function; above the kind its first slot. */
export const FUNCTION = 4;

/** Offsets beyond this are not followed: there is nothing. */
const farthest = 1 << 20;

export function kindOf(known: Known): number {
  return known & kindMask;
}

/** Offset or index. */
export function detailOf(known: Known): number {
  return known >> kindBits;
}

function know(kind: number, detail: number): Known {
  return Math.abs(detail) > farthest ? UNKNOWN : (detail << kindBits) | kind;
}

/** What is known of r0 to r10. */
export type KnownValues = Int32Array;

/** At a function's entry; only the program itself has its context in r1 for sure. */
export function atEntry(hasContext: boolean): KnownValues {
  const known = new Int32Array(11);
  if (hasContext) known[1] = know(CONTEXT, 0);
  known[10] = know(FRAME, 0);
  return known;
}

/** How far down a function reaches into its frame. */
export interface FrameUse {
  /** 0: not at all; else down to this offset from r10, at least -frameBytes. */
  readonly lowest: number;
  /** Some access goes straight through r10 or a copy of it. */
  readonly direct: boolean;
}

/** Takes over what is known elsewhere: for so few, `set` takes longer than what it copies. */
export function takeOver(known: KnownValues, from: KnownValues): void {
  for (let register = 0; register < 11; register++) known[register] = from[register]!;
}

/** Changes `known` from before the instruction at `slot` to after it. */
export function step(
  known: KnownValues,
  instructions: readonly Instruction[],
  slot: number,
  { writes }: RegisterUse,
): void {
  const written = writes[slot]!;
  if ((written & mayBeKnown) !== 0) follow(known, instructions[slot]!, slot);
  // One register: those that write several are followed.
  else if (written !== 0) known[31 - Math.clz32(written & allRegisters)] = UNKNOWN;
}

function follow(known: KnownValues, instruction: Instruction, slot: number): void {
  switch (instruction.kind) {
    case "alu":
      known[instruction.dst] = afterArithmetic(known, instruction);
      return;
    case "load_map":
      known[instruction.dst] = know(MAP, instruction.map);
      return;
    case "load_function":
      known[instruction.dst] = know(FUNCTION, slot + 1 + instruction.offset);
      return;
    // Helpers leave r1 to r5 as they are, but no verified program looks at them again: following
    // them would only make dead pointers look alive.
    case "call_helper":
    case "call_register":
    case "call_local":
      for (let register = 0; register <= 5; register++) known[register] = UNKNOWN;
      return;
    default:
      throw new Error(`what ${instruction.kind} writes is unknown`);
  }
}

function afterArithmetic(
  known: KnownValues,
  { op, width, dst, src }: Extract<Instruction, { kind: "alu" }>,
): Known {
  if (width === 32) return UNKNOWN;
  const source = registerOf(src);
  if (op === "mov") return source === undefined ? UNKNOWN : known[source]!;
  const before = known[dst]!;
  const kind = kindOf(before);
  if ((op !== "add" && op !== "sub") || (kind !== FRAME && kind !== CONTEXT)) return UNKNOWN;
  if (source !== undefined) return UNKNOWN;
  const amount = immediateOf(src)!;
  return know(kind, detailOf(before) + (op === "add" ? amount : -amount));
}

/** Known values at the start of each block; undefined for blocks that nothing reaches. */
export function knownAtBlocks(
  instructions: readonly Instruction[],
  blocks: Blocks,
  order: Int32Array,
  use: RegisterUse,
  hasContext: boolean,
): (KnownValues | undefined)[] {
  const states: (KnownValues | undefined)[] = new Array(blocks.count);
  states[0] = atEntry(hasContext);
  const current = new Int32Array(11);
  const stale = new Uint8Array(blocks.count);
  stale[0] = 1;
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of order) {
      // Dispatchers hold no instructions; blocks behind them are reached by their jumps.
      if (block >= blocks.count || stale[block] === 0) continue;
      stale[block] = 0;
      takeOver(current, states[block]!);
      stepThrough(current, instructions, blocks, block, use);
      for (const successor of [blocks.next[block]!, blocks.taken[block]!])
        if (successor >= 0 && meet(states, successor, current)) {
          stale[successor] = 1;
          changed = true;
        }
    }
  }
  return states;
}

/** `step` for each of a block's instructions. */
function stepThrough(
  known: KnownValues,
  instructions: readonly Instruction[],
  blocks: Blocks,
  block: number,
  use: RegisterUse,
): void {
  const end = blocks.ends[block]!;
  for (let slot = blocks.starts[block]!; slot < end; slot++) step(known, instructions, slot, use);
}

/** Keeps what both say; whether that changed anything. */
function meet(states: (KnownValues | undefined)[], block: number, incoming: KnownValues): boolean {
  const state = states[block];
  if (state === undefined) {
    states[block] = incoming.slice();
    return true;
  }
  let changed = false;
  for (let register = 0; register < 11; register++) {
    if (state[register] === UNKNOWN || state[register] === incoming[register]) continue;
    state[register] = UNKNOWN;
    changed = true;
  }
  return changed;
}

/**
 * How a function uses its frame. Where a pointer into it goes somewhere it cannot be followed, the
 * whole frame counts.
 */
export function frameUse(
  instructions: readonly Instruction[],
  blocks: Blocks,
  use: RegisterUse,
  states: readonly (KnownValues | undefined)[],
): FrameUse {
  let lowest = 0;
  let direct = false;
  const reach = (offset: number): void => {
    lowest = Math.max(-frameBytes, Math.min(lowest, offset));
  };
  const escapes = (known: Known): void => {
    if (kindOf(known) === FRAME) lowest = -frameBytes;
  };
  const current = new Int32Array(11);
  for (let block = 0; block < blocks.count; block++) {
    const state = states[block];
    if (state === undefined) continue;
    takeOver(current, state);
    for (let slot = blocks.starts[block]!; slot < blocks.ends[block]!; slot++) {
      const instruction = instructions[slot]!;
      const { kind } = instruction;
      if (kind === "load" || kind === "store" || kind === "atomic") {
        const base = current[instruction.base]!;
        if (kindOf(base) === FRAME) {
          reach(detailOf(base) + instruction.offset);
          direct = true;
        }
        if (kind === "store" && "register" in instruction.src)
          escapes(current[instruction.src.register]!);
        if (kind === "atomic") escapes(current[instruction.src]!);
      } else if (callsBack(instruction)) {
        // What a callback makes of its context is unknown.
        for (let register = 1; register <= 5; register++) escapes(current[register]!);
      } else if (kind === "call_helper" || kind === "call_register") {
        // Helpers reach upwards from what they are given.
        for (let register = 1; register <= 5; register++)
          if (kindOf(current[register]!) === FRAME) reach(detailOf(current[register]!));
      } else if (kind === "call_local") {
        for (let register = 0; register <= 5; register++) escapes(current[register]!);
      } else if (kind === "alu" && lost(current, instruction)) lowest = -frameBytes;
      step(current, instructions, slot, use);
    }
    for (const successor of [blocks.next[block]!, blocks.taken[block]!])
      if (successor >= 0)
        for (let register = 0; register < 10; register++)
          if (states[successor]![register] !== current[register]) escapes(current[register]!);
  }
  return { lowest, direct };
}

/** Whether arithmetic makes an address in the frame that is not known. */
function lost(known: KnownValues, instruction: Extract<Instruction, { kind: "alu" }>): boolean {
  const { op, dst, src, width } = instruction;
  const fromFrame = "register" in src && kindOf(known[src.register]!) === FRAME;
  if (op === "mov") return fromFrame && width === 32;
  if (fromFrame) return true;
  return kindOf(known[dst]!) === FRAME && kindOf(afterArithmetic(known, instruction)) !== FRAME;
}
