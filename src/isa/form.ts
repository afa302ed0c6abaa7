import type {
  AluOp,
  AtomicOp,
  BranchOp,
  Instruction,
  Operand,
  Size,
  Width,
} from "./instruction.ts";
import { register } from "./instruction.ts";

/** Where the second operand comes from. */
export type Source = "register" | "immediate";

/**
 * An instruction without its operands: what one row of the opcode table encodes. Members keep the
 * order given here, since `formKey` joins them.
 */
export type Form =
  | { readonly kind: "alu"; readonly op: AluOp; readonly width: Width; readonly src: Source }
  | { readonly kind: "move_signed"; readonly width: Width; readonly bits: 8 | 16 | 32 }
  | { readonly kind: "negate"; readonly width: Width }
  | {
      readonly kind: "byte_order";
      readonly to: "le" | "be" | "swap";
      readonly bits: 16 | 32 | 64;
    }
  | { readonly kind: "load_immediate" }
  | { readonly kind: "load_map"; readonly by: "fd" | "index" }
  | { readonly kind: "load_map_value"; readonly by: "fd" | "index" }
  | { readonly kind: "load_variable" }
  | { readonly kind: "load_function" }
  | { readonly kind: "load"; readonly size: Size; readonly signed: boolean }
  | { readonly kind: "store"; readonly size: Size; readonly src: Source }
  | {
      readonly kind: "atomic";
      readonly op: AtomicOp;
      readonly fetch: boolean;
      readonly size: 4 | 8;
    }
  | { readonly kind: "load_packet"; readonly size: 1 | 2 | 4; readonly indexed: boolean }
  | { readonly kind: "jump"; readonly long: boolean }
  | { readonly kind: "branch"; readonly op: BranchOp; readonly width: Width; readonly src: Source }
  | { readonly kind: "call_helper" }
  | { readonly kind: "call_btf" }
  | { readonly kind: "call_local" }
  | { readonly kind: "call_register" }
  | { readonly kind: "exit" };

/**
 * The fields of one encoded instruction as numbers. `offset` and `imm` are signed; `next` is the
 * immediate of a 16-byte instruction's second half, signed, and 0 for all others. RFC 9669 §3.
 */
export interface Fields {
  readonly dst: number;
  readonly src: number;
  readonly offset: number;
  readonly imm: number;
  readonly next: number;
}

/** A form as text: equal for equal forms, and the key under which the table finds its row. */
export function formKey(form: Form): string {
  return Object.values(form).join(" ");
}

/** An instruction's form; undefined for `second_slot`, which has no opcode of its own. */
export function formOf(instruction: Instruction): Form | undefined {
  switch (instruction.kind) {
    case "alu": {
      const { kind, op, width, src } = instruction;
      return { kind, op, width, src: sourceOf(src) };
    }
    case "move_signed":
      return { kind: "move_signed", width: instruction.width, bits: instruction.bits };
    case "negate":
      return { kind: "negate", width: instruction.width };
    case "byte_order":
      return { kind: "byte_order", to: instruction.to, bits: instruction.bits };
    case "load_map":
    case "load_map_value":
      return { kind: instruction.kind, by: instruction.by };
    case "load":
      return { kind: "load", size: instruction.size, signed: instruction.signed };
    case "store":
      return { kind: "store", size: instruction.size, src: sourceOf(instruction.src) };
    case "atomic": {
      const { kind, op, fetch, size } = instruction;
      return { kind, op, fetch, size };
    }
    case "load_packet": {
      const { kind, size, index } = instruction;
      return { kind, size, indexed: index !== undefined };
    }
    case "jump":
      return { kind: "jump", long: instruction.long };
    case "branch": {
      const { kind, op, width, src } = instruction;
      return { kind, op, width, src: sourceOf(src) };
    }
    case "second_slot":
      return undefined;
    default:
      return { kind: instruction.kind };
  }
}

function sourceOf(operand: Operand): Source {
  return "register" in operand ? "register" : "immediate";
}

/**
 * The instruction of a form with operands from these fields. Registers must be 0 to 10 where the
 * form uses them. The inverse of `fieldsOf`.
 */
export function withFields(form: Form, fields: Fields): Instruction {
  const { offset, imm, next } = fields;
  switch (form.kind) {
    case "alu":
      return {
        kind: "alu",
        op: form.op,
        width: form.width,
        dst: register(fields.dst),
        src: operandOf(form.src, fields),
      };
    case "move_signed":
      return {
        kind: "move_signed",
        width: form.width,
        bits: form.bits,
        dst: register(fields.dst),
        src: register(fields.src),
      };
    case "negate":
      return { kind: "negate", width: form.width, dst: register(fields.dst) };
    case "byte_order":
      return { kind: "byte_order", to: form.to, bits: form.bits, dst: register(fields.dst) };
    case "load_immediate":
      return { kind: "load_immediate", dst: register(fields.dst), value: joinWords(imm, next) };
    case "load_map":
      return { kind: "load_map", dst: register(fields.dst), map: imm >>> 0, by: form.by };
    case "load_map_value":
      return {
        kind: "load_map_value",
        dst: register(fields.dst),
        map: imm >>> 0,
        offset: next >>> 0,
        by: form.by,
      };
    case "load_variable":
      return { kind: "load_variable", dst: register(fields.dst), id: imm >>> 0 };
    case "load_function":
      return { kind: "load_function", dst: register(fields.dst), offset: imm };
    case "load":
      return {
        kind: "load",
        size: form.size,
        signed: form.signed,
        dst: register(fields.dst),
        base: register(fields.src),
        offset,
      };
    case "store":
      return {
        kind: "store",
        size: form.size,
        base: register(fields.dst),
        offset,
        src: operandOf(form.src, fields),
      };
    case "atomic":
      return {
        kind: "atomic",
        op: form.op,
        fetch: form.fetch,
        size: form.size,
        base: register(fields.dst),
        offset,
        src: register(fields.src),
      };
    case "load_packet":
      return {
        kind: "load_packet",
        size: form.size,
        index: form.indexed ? register(fields.src) : undefined,
        offset: imm,
      };
    case "jump":
      return { kind: "jump", offset: form.long ? imm : offset, long: form.long };
    case "branch":
      return {
        kind: "branch",
        op: form.op,
        width: form.width,
        dst: register(fields.dst),
        src: operandOf(form.src, fields),
        offset,
      };
    case "call_helper":
      return { kind: "call_helper", id: imm };
    case "call_btf":
      return { kind: "call_btf", id: imm >>> 0 };
    case "call_local":
      return { kind: "call_local", offset: imm };
    case "call_register":
      return { kind: "call_register", target: register(fields.dst) };
    case "exit":
      return { kind: "exit" };
    default: {
      const never: never = form;
      return never;
    }
  }
}

/** One object for each register: programs hold many of them. */
const registerOperands: readonly Operand[] = Array.from({ length: 11 }, (_, n) => ({
  register: register(n),
}));

function operandOf(from: Source, fields: Fields): Operand {
  return from === "register" ? registerOperands[register(fields.src)]! : { immediate: fields.imm };
}

/** The fields that carry an instruction's operands; those its row fixes are absent. */
export function fieldsOf(instruction: Instruction): Partial<Fields> {
  switch (instruction.kind) {
    case "alu":
      return { dst: instruction.dst, ...operandFields(instruction.src) };
    case "move_signed":
      return { dst: instruction.dst, src: instruction.src };
    case "negate":
    case "byte_order":
      return { dst: instruction.dst };
    case "load_immediate":
      return { dst: instruction.dst, ...wordFields(instruction.value) };
    case "load_map":
      return { dst: instruction.dst, imm: signedWord(instruction.map) };
    case "load_map_value":
      return {
        dst: instruction.dst,
        imm: signedWord(instruction.map),
        next: signedWord(instruction.offset),
      };
    case "load_variable":
      return { dst: instruction.dst, imm: signedWord(instruction.id) };
    case "load_function":
      return { dst: instruction.dst, imm: instruction.offset };
    case "second_slot":
      return {};
    case "load":
      return { dst: instruction.dst, src: instruction.base, offset: instruction.offset };
    case "store":
      return {
        dst: instruction.base,
        offset: instruction.offset,
        ...operandFields(instruction.src),
      };
    case "atomic":
      return { dst: instruction.base, src: instruction.src, offset: instruction.offset };
    case "load_packet":
      return {
        imm: instruction.offset,
        ...(instruction.index === undefined ? {} : { src: instruction.index }),
      };
    case "jump":
      return instruction.long ? { imm: instruction.offset } : { offset: instruction.offset };
    case "branch":
      return {
        dst: instruction.dst,
        offset: instruction.offset,
        ...operandFields(instruction.src),
      };
    case "call_helper":
      return { imm: instruction.id };
    case "call_btf":
      return { imm: signedWord(instruction.id) };
    case "call_local":
      return { imm: instruction.offset };
    case "call_register":
      return { dst: instruction.target };
    case "exit":
      return {};
    default: {
      const never: never = instruction;
      return never;
    }
  }
}

function operandFields(operand: Operand): Partial<Fields> {
  return "register" in operand ? { src: operand.register } : { imm: operand.immediate };
}

function joinWords(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

function wordFields(value: bigint): Partial<Fields> {
  if (BigInt.asUintN(64, value) !== value)
    throw new RangeError(`lddw value ${value}: expected 0 to 2^64-1`);
  return {
    imm: Number(BigInt.asIntN(32, value)),
    next: Number(BigInt.asIntN(32, value >> 32n)),
  };
}

/** An unsigned word as the signed field holds it; anything else is left for the encoder to refuse. */
function signedWord(value: number): number {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff ? value | 0 : Number.NaN;
}
