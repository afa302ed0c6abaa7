import type { Instruction, Operand } from "../../isa/instruction.ts";
import { writtenRegister } from "../../isa/written-register.ts";
import type { ProgramType } from "../../object/object-spec.ts";
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

const r0: RegisterSet = 1;
const r6: RegisterSet = 1 << 6;
const r1ToR5: RegisterSet = 0b11_1110;

function of(operand: Operand): RegisterSet {
  return "register" in operand ? 1 << operand.register : 0;
}

/** Registers an instruction reads. Calls of functions depend on the function: see liveness.ts. */
export function registersRead(instruction: Instruction, type: ProgramType): RegisterSet {
  switch (instruction.kind) {
    case "alu":
      return of(instruction.src) | (instruction.op === "mov" ? 0 : 1 << instruction.dst);
    case "move_signed":
      return 1 << instruction.src;
    case "negate":
    case "byte_order":
      return 1 << instruction.dst;
    case "load":
      return 1 << instruction.base;
    case "store":
      return (1 << instruction.base) | of(instruction.src);
    case "atomic":
      return (
        (1 << instruction.base) | (1 << instruction.src) | (instruction.op === "cmpxchg" ? r0 : 0)
      );
    case "load_packet":
      return r6 | (instruction.index === undefined ? 0 : 1 << instruction.index);
    case "branch":
      return (1 << instruction.dst) | of(instruction.src);
    case "call_helper":
      return helperArguments(instruction.id, type);
    case "call_register":
      return r1ToR5 | (1 << instruction.target);
    default:
      return 0;
  }
}

/** r1 up to the last that the helper takes. */
function helperArguments(id: number, type: ProgramType): RegisterSet {
  // The linker has checked that this type may call it.
  const count = registersReadBy(helperFor(id, type)!);
  return ((1 << count) - 1) << 1;
}

/** Registers whose old value an instruction replaces. */
export function registersWritten(instruction: Instruction): RegisterSet {
  switch (instruction.kind) {
    case "call_helper":
      // A tail call that finds nothing leaves all as it was.
      return instruction.id === tailCall.id ? 0 : r0;
    case "call_register":
      return r0;
    case "call_local":
      return callerSaved;
    default: {
      const register = writtenRegister(instruction);
      return register === undefined ? 0 : 1 << register;
    }
  }
}
