import { type Instruction, immediateOf, registerOf } from "../../isa/instruction.ts";
import { given, type Verified } from "../../verifier/verified.ts";
import type { Blocks } from "./blocks.ts";
import {
  allRegisters,
  isShort,
  mayBeShort,
  type RegisterSet,
  type RegisterUse,
} from "./register-use.ts";

/**
 * Registers that are *short*: their high word is 0 for sure, and code keeps them as an i32. So
 * addresses need no conversion, of which machine code has one for each access else, and 32-bit
 * results none either. What is short: results of 32-bit instructions, what is loaded of up to 4
 * bytes, and addresses that the verifier tells of.
 */

/** Where registers are short. */
export interface ShortRegisters {
  /** As each block begins. */
  readonly starts: Int32Array;
  /** Behind each slot's instruction, in blocks that something reaches. */
  readonly behind: Uint16Array;
}

/**
 * Of one function. `first`: those that are short at its entry; `behind`: what becomes `behind`, the
 * same for all functions.
 */
export function shortRegisters(
  instructions: readonly Instruction[],
  blocks: Blocks,
  order: Int32Array,
  { writes }: RegisterUse,
  first: RegisterSet,
  proof: Verified | undefined,
  behind: Uint16Array,
): ShortRegisters {
  // Sets only shrink, from all that may be: a loop's registers are short until something shows else.
  const starts = new Int32Array(blocks.count).fill(allRegisters);
  starts[0] = first;
  const stale = new Uint8Array(blocks.count).fill(1);
  const through = (block: number, first: RegisterSet): RegisterSet => {
    let short = first;
    for (let slot = blocks.starts[block]!; slot < blocks.ends[block]!; slot++) {
      const written = writes[slot]!;
      const becomesShort =
        (written & isShort) !== 0 ||
        ((written & mayBeShort) !== 0 && isShortResult(short, instructions[slot]!, slot, proof));
      short = becomesShort ? short | (written & allRegisters) : short & ~written;
      behind[slot] = short;
    }
    return short;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of order) {
      // Dispatchers hold no instructions; blocks behind them are reached by their jumps.
      if (block >= blocks.count || stale[block] === 0) continue;
      stale[block] = 0;
      const short = through(block, starts[block]!);
      for (const successor of [blocks.next[block]!, blocks.taken[block]!])
        if (successor >= 0 && (starts[successor]! & ~short) !== 0) {
          starts[successor]! &= short;
          stale[successor] = 1;
          changed = true;
        }
    }
  }
  return { starts, behind };
}

/** Whether what an instruction gives is short, of those that `mayBeShort`. */
function isShortResult(
  short: RegisterSet,
  instruction: Instruction,
  slot: number,
  proof: Verified | undefined,
): boolean {
  // In the order that it has already.
  if (instruction.kind === "byte_order") return (short & (1 << instruction.dst)) !== 0;
  if (instruction.kind !== "alu") throw new Error(`${instruction.kind} is short or not by itself`);
  const { op, dst, src } = instruction;
  const isLeftShort = (short & (1 << dst)) !== 0;
  const right = registerOf(src);
  const isRightShort = right === undefined ? immediateOf(src)! >= 0 : (short & (1 << right)) !== 0;
  switch (op) {
    case "mov":
      return isRightShort;
    case "and":
      return isLeftShort || isRightShort;
    case "or":
    case "xor":
    case "div":
    case "mod":
      return isLeftShort && isRightShort;
    case "rsh":
      return isLeftShort || (right === undefined && (immediateOf(src)! & 63) >= 32);
    case "add":
    case "sub":
      return proof?.givenBy[slot] === given.address;
    default:
      return false;
  }
}
