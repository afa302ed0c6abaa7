import type { Instruction, Operand } from "../../isa/instruction.ts";
import { MAP_VALUES } from "../../runtime/wasm/layout.ts";
import { callsBack } from "../callbacks.ts";
import type { LinkedProgram } from "../engine.ts";
import { tailCall } from "../helpers/tail-call.ts";
import { atomicNumber } from "./atomic.ts";
import { type Operation, operationNumber } from "./operation.ts";

/**
 * A program as the interpreter's loop reads it. It is the same for all workers, and what is long of
 * it lies in shared memory: to hand it to a worker takes no longer for a long program.
 *
 * `code` has two words a slot: bits 0 to 7 of the first are the operation, 8 to 11 the destination
 * register (of `call_back` whether it is an inlined loop), 12 to 31 the source register, which may be one of the constant pool; the second is an
 * offset, or a jump's target (an index into `code`).
 */
export interface Translation {
  readonly code: Int32Array;
  /** Word pairs that follow r0 to r10 in the register file: immediates and addresses. */
  readonly constants: Int32Array;
  /** Ids of the helpers that `call_helper` operations name by their second word. */
  readonly helperIds: readonly number[];
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
  const code = sharedWords((instructions.length + 1) * slotWords);
  const pool = new ConstantPool();
  const helperIds: number[] = [];
  const addHelper = (id: number): number => {
    const known = helperIds.indexOf(id);
    return known >= 0 ? known : helperIds.push(id) - 1;
  };
  for (let slot = 0; slot < instructions.length; slot++) {
    const fields = translateOne(instructions[slot]!, slot, program, arena, pool, addHelper);
    const { operation, dst = 0, src = 0, extra = 0 } = fields;
    code[slot * slotWords] = operationNumber(operation) | (dst << 8) | (src << 12);
    code[slot * slotWords + 1] = extra;
  }
  const lastExit = instructions.length * slotWords;
  code[lastExit] = operationNumber("exit");
  return { code, constants: pool.words(), helperIds, lastExit };
}

/** Whether the `call_back` before `pc` is a loop that the kernel would put in the call's place. */
export function isInlinedLoop({ code }: Translation, pc: number): boolean {
  return ((code[pc - slotWords]! >> 8) & 15) === 1;
}

function sharedWords(count: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT));
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
    operation: "mov64_wide",
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
        dst: program.proof?.inlinedLoops[slot] ?? 0,
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
    const words = sharedWords(this.#words.length);
    words.set(this.#words);
    return words;
  }
}
