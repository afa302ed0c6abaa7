import type { Instruction } from "../../isa/instruction.ts";
import { given, type Verified } from "../../verifier/verified.ts";
import { tailCall } from "../helpers/tail-call.ts";
import type { Blocks } from "./blocks.ts";
import { mapLookup } from "./known-values.ts";
import { allRegisters, callerSaved, type RegisterSet } from "./register-use.ts";

/**
 * Registers that are *short*: their high word is 0 for sure, and code keeps them as an i32. So
 * addresses need no conversion, of which machine code has one for each access else, and 32-bit
 * results none either. What is short: results of 32-bit instructions, what is loaded of up to 4
 * bytes, and addresses that the verifier tells of.
 */

/** Which registers are short behind an instruction, of those that were before it. */
export function shortAfter(
  short: RegisterSet,
  instruction: Instruction,
  slot: number,
  proof: Verified | undefined,
): RegisterSet {
  switch (instruction.kind) {
    case "alu":
      return changed(short, instruction.dst, isShortResult(short, instruction, slot, proof));
    case "move_signed":
    case "negate":
      return changed(short, instruction.dst, instruction.width === 32);
    case "byte_order": {
      const { dst, to, bits } = instruction;
      if (bits === 64) return to === "le" ? short : changed(short, dst, false);
      return changed(short, dst, true);
    }
    case "load_immediate":
      return changed(
        short,
        instruction.dst,
        instruction.value >= 0n && instruction.value <= 0xffff_ffffn,
      );
    case "load_map":
    case "load_map_value":
    case "load_function":
      return changed(short, instruction.dst, true);
    case "load": {
      const { dst, size, signed } = instruction;
      return changed(short, dst, size === 8 ? givesAddress(proof, slot) : !signed);
    }
    case "atomic":
      if (!instruction.fetch) return short;
      return changed(
        short,
        instruction.op === "cmpxchg" ? 0 : instruction.src,
        instruction.size === 4,
      );
    case "load_packet":
      return changed(short, 0, true);
    case "call_helper":
      // Where one of these comes back, nothing has changed.
      if (instruction.id === tailCall.id) return short;
      return changed(short, 0, instruction.id === mapLookup);
    case "call_register":
      return changed(short, 0, false);
    case "call_local":
      return short & ~callerSaved;
    default:
      return short;
  }
}

function changed(short: RegisterSet, register: number, isShort: boolean): RegisterSet {
  return isShort ? short | (1 << register) : short & ~(1 << register);
}

function isShortResult(
  short: RegisterSet,
  { op, width, dst, src }: Extract<Instruction, { kind: "alu" }>,
  slot: number,
  proof: Verified | undefined,
): boolean {
  if (width === 32) return true;
  const isLeftShort = (short & (1 << dst)) !== 0;
  const isRightShort = "register" in src ? (short & (1 << src.register)) !== 0 : src.immediate >= 0;
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
      return isLeftShort || ("immediate" in src && (src.immediate & 63) >= 32);
    case "add":
    case "sub":
      return givesAddress(proof, slot);
    default:
      return false;
  }
}

function givesAddress(proof: Verified | undefined, slot: number): boolean {
  return proof?.givenBy[slot] === given.address;
}

/** Which registers are short where each block begins; `first` are those at the function's entry. */
export function shortAtBlocks(
  instructions: readonly Instruction[],
  blocks: Blocks,
  order: Int32Array,
  first: RegisterSet,
  proof: Verified | undefined,
): Int32Array {
  // Sets only shrink, from all that may be: a loop's registers are short until something shows else.
  const states = new Int32Array(blocks.count).fill(allRegisters);
  states[0] = first;
  const stale = new Uint8Array(blocks.count).fill(1);
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of order) {
      // Dispatchers hold no instructions; blocks behind them are reached by their jumps.
      if (block >= blocks.count || stale[block] === 0) continue;
      stale[block] = 0;
      let short = states[block]!;
      for (let slot = blocks.starts[block]!; slot < blocks.ends[block]!; slot++)
        short = shortAfter(short, instructions[slot]!, slot, proof);
      for (const successor of [blocks.next[block]!, blocks.taken[block]!])
        if (successor >= 0 && (states[successor]! & ~short) !== 0) {
          states[successor]! &= short;
          stale[successor] = 1;
          changed = true;
        }
    }
  }
  return states;
}
