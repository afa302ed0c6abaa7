import type { Instruction, Operand } from "../../isa/instruction.ts";
import { MAP_VALUES } from "../../runtime/wasm/layout.ts";
import { callsBack } from "../callbacks.ts";
import type { LinkedProgram } from "../engine.ts";
import type { Helper } from "../helpers/helper.ts";
import { helperFor } from "../helpers/helper-table.ts";
import { tailCall } from "../helpers/tail-call.ts";
import { atomicNumber } from "./atomic.ts";
import { type Operation, operationNumber } from "./operation.ts";

/**
 * A program as the interpreter's loop reads it.
 *
 * `code` has two words a slot: bits 0 to 7 of the first are the operation, 8 to 11 the destination
 * register, 12 to 31 the source register, which may be one of the constant pool; the second is an
 * offset, or a jump's target (an index into `code`).
 */
export interface Translation {
  readonly code: Int32Array;
  /** Word pairs that follow r0 to r10 in the register file: immediates and addresses. */
  readonly constants: Int32Array;
  /** What `call_helper` operations name, by their second word. */
  readonly helpers: readonly Helper[];
  /** Index of an `exit` behind the program, for a packet load that ends its function. */
  readonly lastExit: number;
}

/** r0 to r10, then the constants. */
export const firstConstant = 11;

/** Words of `code` a slot. */
export const slotWords = 2;

/** Operand fields of one operation; those it has none of are 0. */
interface Fields {
  readonly operation: Operation;
  readonly dst?: number;
  readonly src?: number;
  readonly extra?: number;
}

/** Translates a linked program; addresses of map values are read from the maps' descriptors. */
export function translate(program: LinkedProgram, arena: DataView): Translation {
  const { instructions } = program;
  const code = new Int32Array((instructions.length + 1) * slotWords);
  const pool = new ConstantPool();
  const helpers: Helper[] = [];
  const addHelper = (id: number): number => {
    // The linker has checked that this type may call it.
    const helper = helperFor(id, program.type)!;
    const known = helpers.indexOf(helper);
    return known >= 0 ? known : helpers.push(helper) - 1;
  };
  for (let slot = 0; slot < instructions.length; slot++) {
    const fields = translateOne(instructions[slot]!, slot, program, arena, pool, addHelper);
    const { operation, dst = 0, src = 0, extra = 0 } = fields;
    code[slot * slotWords] = operationNumber(operation) | (dst << 8) | (src << 12);
    code[slot * slotWords + 1] = extra;
  }
  const lastExit = instructions.length * slotWords;
  code[lastExit] = operationNumber("exit");
  return { code, constants: pool.words(), helpers, lastExit };
}

function translateOne(
  instruction: Instruction,
  slot: number,
  program: LinkedProgram,
  arena: DataView,
  pool: ConstantPool,
  addHelper: (id: number) => number,
): Fields {
  const target = (offset: number): number => (slot + 1 + offset) * slotWords;
  const source = (operand: Operand): number =>
    "register" in operand
      ? operand.register
      : pool.index(operand.immediate, operand.immediate >> 31);
  const constant = (dst: number, low: number, high: number): Fields => ({
    operation: "mov64",
    dst,
    src: pool.index(low, high),
  });
  switch (instruction.kind) {
    case "alu": {
      const { op, width, dst, src } = instruction;
      return { operation: `${op}${width}`, dst, src: source(src) };
    }
    case "move_signed": {
      const { width, bits, dst, src } = instruction;
      return { operation: `move_signed${width}_${bits}` as Operation, dst, src };
    }
    case "negate":
      return { operation: `negate${instruction.width}`, dst: instruction.dst };
    case "byte_order": {
      const { to, bits, dst } = instruction;
      if (to !== "le") return { operation: `swap${bits}`, dst };
      return { operation: bits === 64 ? "nothing" : `truncate${bits}`, dst };
    }
    case "load_immediate":
      return constant(
        instruction.dst,
        Number(BigInt.asIntN(32, instruction.value)),
        Number(BigInt.asIntN(32, instruction.value >> 32n)),
      );
    case "load_map":
      return constant(instruction.dst, program.maps[instruction.map]!.descriptor, 0);
    case "load_map_value": {
      const { descriptor } = program.maps[instruction.map]!;
      const values = arena.getUint32(descriptor + MAP_VALUES, true);
      return constant(instruction.dst, values + instruction.offset, 0);
    }
    case "load_function":
      // Only helpers that call back use it: they know the function by its slot.
      return constant(instruction.dst, slot + 1 + instruction.offset, 0);
    case "second_slot":
      return { operation: "nothing" };
    case "load": {
      const { size, signed, dst, base, offset } = instruction;
      const bits = size * 8;
      const operation = `${signed ? "load_signed" : "load"}${bits}` as Operation;
      return { operation, dst, src: base, extra: offset };
    }
    case "store": {
      const { size, base, offset, src } = instruction;
      const operation = `store${size * 8}` as Operation;
      return { operation, dst: base, src: source(src), extra: offset };
    }
    case "atomic": {
      const { op, fetch, size, base, offset, src } = instruction;
      const extra = (offset << 8) | atomicNumber(op, fetch);
      return { operation: size === 4 ? "atomic32" : "atomic64", dst: base, src, extra };
    }
    case "load_packet": {
      // The size goes where other operations have their destination: this one's is always r0.
      const { size, index, offset } = instruction;
      return index === undefined
        ? { operation: "load_packet", dst: size, extra: offset }
        : { operation: "load_packet_indexed", dst: size, src: index, extra: offset };
    }
    case "jump":
      return { operation: "jump", extra: target(instruction.offset) };
    case "branch": {
      const { op, width, dst, src, offset } = instruction;
      return { operation: `${op}${width}`, dst, src: source(src), extra: target(offset) };
    }
    case "call_helper":
      if (instruction.id === tailCall.id) return { operation: "tail_call" };
      return {
        operation: callsBack(instruction) ? "call_back" : "call_helper",
        extra: addHelper(instruction.id),
      };
    case "call_local":
      return { operation: "call_local", extra: target(instruction.offset) };
    case "call_register":
      return { operation: "call_register", src: instruction.target };
    case "exit":
      return { operation: "exit" };
    case "call_btf":
    case "load_variable":
      throw new Error(`${program.name}: ${instruction.kind} at ${slot} has not been refused`);
    default: {
      const never: never = instruction;
      return never;
    }
  }
}

/** 64-bit constants, each once. A program has at most 1,000,000: they fit 20 bits with r0 to r10. */
class ConstantPool {
  readonly #indexes = new Map<number, Map<number, number>>();
  readonly #words: number[] = [];

  /** The register that holds this constant. */
  index(low: number, high: number): number {
    let sameHigh = this.#indexes.get(high);
    if (sameHigh === undefined) {
      sameHigh = new Map();
      this.#indexes.set(high, sameHigh);
    }
    const known = sameHigh.get(low);
    if (known !== undefined) return known;
    const index = firstConstant + this.#words.length / 2;
    this.#words.push(low, high);
    sameHigh.set(low, index);
    return index;
  }

  words(): Int32Array {
    return Int32Array.from(this.#words);
  }
}
