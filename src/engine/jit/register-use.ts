import { type Instruction, type Operand, registerOf } from "../../isa/instruction.ts";
import type { ProgramType } from "../../object/object-spec.ts";
import { given, type Verified } from "../../verifier/verified.ts";
import { helperFor, registersReadBy } from "../helpers/helper-table.ts";
import { tailCall } from "../helpers/tail-call.ts";

/** Sets of registers: bit n is rn. */
export type RegisterSet = number;

/** r0 to r5: what a call may change, and what a function may hand back. */
export const callerSaved: RegisterSet = 0b11_1111;
/** r0 to r9: all that a program may write. */
export const allWritable: RegisterSet = 0b11_1111_1111;

/** r0 to r10. */
export const allRegisters: RegisterSet = 0b111_1111_1111;

/**
 * What instructions do to registers, by slot: looked up once, since every pass asks, and to find an
 * instruction's members takes longer than what most passes do with them.
 */
export interface RegisterUse {
  /** The registers read, with `dependsOnFunction` and `endsBlock`. */
  readonly reads: Uint16Array;
  /** Those whose old value is replaced, with `mayBeKnown`, `isShort` and `mayBeShort`. */
  readonly writes: Uint16Array;
}

/** Not these alone are read: others too, by the function that is called or left. See liveness.ts. */
export const dependsOnFunction = 1 << 15;
/** A jump, a branch or an exit. */
export const endsBlock = 1 << 14;
/** Behind it more may be known of registers than that what it writes is unknown: known-values.ts. */
export const mayBeKnown = 1 << 15;
/** The result is short, or may be, by what it is made of: short-registers.ts. */
export const isShort = 1 << 14;
export const mayBeShort = 1 << 13;

/** bpf_map_lookup_elem. */
export const mapLookup = 1;

const r0: RegisterSet = 1;
const r6: RegisterSet = 1 << 6;
const r1ToR5: RegisterSet = 0b11_1110;

/** The use of each slot's instruction. What comes twice (`lddw`) does it in the first slot. */
export function registerUse(
  instructions: readonly Instruction[],
  type: ProgramType,
  proof: Verified | undefined,
): RegisterUse {
  const reads = new Uint16Array(instructions.length);
  const writes = new Uint16Array(instructions.length);
  for (let slot = 0; slot < instructions.length; slot++) {
    const instruction = instructions[slot]!;
    switch (instruction.kind) {
      case "alu": {
        const { op, width, dst, src } = instruction;
        reads[slot] = of(src) | (op === "mov" ? 0 : 1 << dst);
        const followed = op === "mov" || op === "add" || op === "sub" ? mayBeKnown : 0;
        writes[slot] = (1 << dst) | (width === 32 ? isShort : mayBeShort | followed);
        break;
      }
      case "load": {
        const { size, signed, dst, base } = instruction;
        reads[slot] = 1 << base;
        const short = size === 8 ? proof?.givenBy[slot] === given.address : !signed;
        writes[slot] = (1 << dst) | (short ? isShort : 0);
        break;
      }
      case "store":
        reads[slot] = (1 << instruction.base) | of(instruction.src);
        break;
      case "branch":
        reads[slot] = (1 << instruction.dst) | of(instruction.src) | endsBlock;
        break;
      case "jump":
        reads[slot] = endsBlock;
        break;
      case "exit":
        reads[slot] = dependsOnFunction | endsBlock;
        break;
      case "move_signed":
        reads[slot] = 1 << instruction.src;
        writes[slot] = (1 << instruction.dst) | (instruction.width === 32 ? isShort : 0);
        break;
      case "negate":
        reads[slot] = 1 << instruction.dst;
        writes[slot] = (1 << instruction.dst) | (instruction.width === 32 ? isShort : 0);
        break;
      case "byte_order": {
        const { dst, to, bits } = instruction;
        reads[slot] = 1 << dst;
        writes[slot] = (1 << dst) | (bits < 64 ? isShort : to === "le" ? mayBeShort : 0);
        break;
      }
      case "load_immediate": {
        const { dst, value } = instruction;
        writes[slot] = (1 << dst) | (value >= 0n && value <= 0xffff_ffffn ? isShort : 0);
        break;
      }
      case "load_map":
      case "load_function":
        writes[slot] = (1 << instruction.dst) | isShort | mayBeKnown;
        break;
      case "load_map_value":
        writes[slot] = (1 << instruction.dst) | isShort;
        break;
      case "load_variable":
        writes[slot] = 1 << instruction.dst;
        break;
      case "atomic": {
        const { op, fetch, size, base, src } = instruction;
        reads[slot] = (1 << base) | (1 << src) | (op === "cmpxchg" ? r0 : 0);
        if (fetch) writes[slot] = (op === "cmpxchg" ? r0 : 1 << src) | (size === 4 ? isShort : 0);
        break;
      }
      case "load_packet": {
        const { index } = instruction;
        reads[slot] = r6 | (index === undefined ? 0 : 1 << index) | dependsOnFunction;
        writes[slot] = r0 | isShort;
        break;
      }
      case "call_helper": {
        const { id } = instruction;
        reads[slot] = helperArguments(id, type);
        // A tail call that finds nothing leaves all as it was.
        if (id === tailCall.id) reads[slot]! |= dependsOnFunction;
        else writes[slot] = r0 | (id === mapLookup ? isShort : 0);
        writes[slot]! |= mayBeKnown;
        break;
      }
      case "call_register":
        reads[slot] = r1ToR5 | (1 << instruction.target);
        writes[slot] = r0 | mayBeKnown;
        break;
      case "call_local":
        reads[slot] = dependsOnFunction;
        writes[slot] = callerSaved | mayBeKnown;
        break;
      case "second_slot":
      case "call_btf":
        break;
      default:
        instruction satisfies never;
    }
  }
  return { reads, writes };
}

function of(operand: Operand): RegisterSet {
  const register = registerOf(operand);
  return register === undefined ? 0 : 1 << register;
}

/** r1 up to the last that the helper takes. */
function helperArguments(id: number, type: ProgramType): RegisterSet {
  // The linker has checked that this type may call it.
  const count = registersReadBy(helperFor(id, type)!);
  return ((1 << count) - 1) << 1;
}
