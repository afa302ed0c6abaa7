import { putU32le, toHex, u16le, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { type Fields, fieldsOf, formOf, withFields } from "./form.ts";
import type { Instruction } from "./instruction.ts";
import { type FieldUse, type OpcodeRow, rowOfForm, rowsOfCode } from "./opcodes.ts";

/** Bytes of an instruction slot. RFC 9669 §3. */
export const slotBytes = 8;

/** The kernel's BPF_COMPLEXITY_LIMIT_INSNS: the longest program it loads. */
export const maxSlots = 1_000_000;

const secondSlot: Instruction = { kind: "second_slot" };

/** Order in which a wrong field is looked for: those that select the instruction come first. */
const checkedFields = ["src", "offset", "imm", "dst", "next"] as const;

const fieldNames: Record<keyof Fields, string> = {
  dst: "destination register",
  src: "source register",
  offset: "offset",
  imm: "immediate",
  next: "second immediate",
};

/**
 * Instructions of little-endian bytecode, by slot; the second half of a `lddw` is `second_slot`.
 *
 * Checks each instruction by itself as the kernel's verifier does: known opcode, registers up to
 * r10, unused fields zero. Jump targets and the end of the program are the verifier's. The first
 * fault is returned, as `INSTRUCTION_*` or `PROGRAM_*` with its slot and bytes.
 */
export function decodeProgram(bytes: Uint8Array): Result<Instruction[], UserError> {
  const fault = checkLength(bytes.length);
  if (fault !== undefined) return err(fault);
  const slots = bytes.length / slotBytes;
  const program: Instruction[] = new Array<Instruction>(slots);
  for (let slot = 0; slot < slots; slot++) {
    const at = slot * slotBytes;
    const low = u32le(bytes, at) | 0;
    const high = u32le(bytes, at + 4) | 0;
    const place = placeOf(low, high);
    const known = knownInstructions[place];
    if (known !== undefined && lowWords[place] === low && highWords[place] === high) {
      program[slot] = known;
      continue;
    }
    const code = bytes[at] as number;
    const rows = rowsOfCode(code);
    const first = rows[0];
    if (first === undefined)
      return err(unsupportedInstruction(bytes, slot) ?? unknownOpcode(bytes, slot));
    const wide = first.slots === 2;
    if (wide) {
      const broken = checkSecondHalf(bytes, slot);
      if (broken !== undefined) return err(broken);
    }
    const fields = readFields(bytes, at, wide);
    const row = accepts(first, fields)
      ? first
      : rows.find((candidate) => accepts(candidate, fields));
    if (row === undefined)
      return err(unsupportedInstruction(bytes, slot) ?? wrongField(rows, fields, bytes, slot));
    const badRegister =
      fields.dst > 10 || fields.src > 10 ? checkRegisters(row, fields, bytes, slot) : undefined;
    if (badRegister !== undefined) return err(badRegister);
    const instruction = withFields(row.form, fields);
    program[slot] = instruction;
    if (wide) {
      program[++slot] = secondSlot;
      continue;
    }
    knownInstructions[place] = instruction;
    lowWords[place] = low;
    highWords[place] = high;
  }
  return ok(program);
}

/**
 * Instructions of 8 bytes that were decoded before, and those bytes, the last that fell to each place:
 * programs repeat theirs, and a long one would take ten times its bytecode with an object for each. A
 * power of two.
 */
const places = 1024;
const knownInstructions: (Instruction | undefined)[] = new Array(places).fill(undefined);
const lowWords = new Int32Array(places);
const highWords = new Int32Array(places);

function placeOf(low: number, high: number): number {
  const mixed = Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b);
  return (mixed ^ (mixed >>> 15)) & (places - 1);
}

/**
 * Bytecode of instructions: the inverse of `decodeProgram`.
 *
 * Throws RangeError for what has no encoding (an operand beyond its field, a `lddw` whose second
 * slot is missing): such an array is not a decoded or assembled program.
 */
export function encodeProgram(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * slotBytes);
  for (let slot = 0; slot < instructions.length; slot++) {
    const instruction = instructions[slot] as Instruction;
    const form = formOf(instruction);
    const row = form && rowOfForm(form);
    if (row === undefined)
      throw new RangeError(`slot ${slot}: ${describe(instruction)} has no encoding`);
    const operands = fieldsOf(instruction);
    const field = (name: keyof Fields, low: number, high: number): number => {
      const use = row[name];
      const value = use === "operand" ? operands[name] : use === "ignored" ? 0 : use;
      if (value === undefined || !Number.isInteger(value) || value < low || value > high)
        throw new RangeError(
          `slot ${slot}: ${describe(instruction)}: ${fieldNames[name]} ${value}: expected ${low} to ${high}`,
        );
      return value;
    };
    const at = slot * slotBytes;
    bytes[at] = row.code;
    bytes[at + 1] = field("dst", 0, 10) | (field("src", 0, 10) << 4);
    const offset = field("offset", -0x8000, 0x7fff);
    bytes[at + 2] = offset;
    bytes[at + 3] = offset >> 8;
    putU32le(bytes, at + 4, field("imm", -0x8000_0000, 0x7fff_ffff));
    if (row.slots === 2) {
      if (instructions[slot + 1]?.kind !== "second_slot")
        throw new RangeError(`slot ${slot}: ${describe(instruction)} without its second slot`);
      putU32le(bytes, at + 12, field("next", -0x8000_0000, 0x7fff_ffff));
      slot++;
    }
  }
  return bytes;
}

function describe(instruction: Instruction): string {
  return JSON.stringify(instruction, (_, value) =>
    typeof value === "bigint" ? `0x${value.toString(16)}` : value,
  );
}

function checkLength(length: number): UserError | undefined {
  if (length === 0)
    return new UserError(
      "PROGRAM_EMPTY",
      "program",
      "no instructions",
      "the shortest program is one `exit`",
    );
  if (length % slotBytes !== 0)
    return new UserError(
      "PROGRAM_LENGTH",
      "program",
      `${length} bytes are not a whole number of 8-byte instructions`,
      `${length % slotBytes} bytes too many, or ${slotBytes - (length % slotBytes)} missing`,
    );
  if (length / slotBytes > maxSlots)
    return new UserError(
      "PROGRAM_TOO_LONG",
      "program",
      `${length / slotBytes} instructions`,
      `at most ${maxSlots} are allowed`,
    );
  return undefined;
}

function readFields(bytes: Uint8Array, at: number, wide: boolean): Fields {
  const registers = bytes[at + 1] as number;
  return {
    dst: registers & 0xf,
    src: registers >> 4,
    offset: (u16le(bytes, at + 2) << 16) >> 16,
    imm: u32le(bytes, at + 4) | 0,
    next: wide ? u32le(bytes, at + 12) | 0 : 0,
  };
}

function accepts(row: OpcodeRow, fields: Fields): boolean {
  return (
    allows(row.src, fields.src) &&
    allows(row.offset, fields.offset) &&
    allows(row.imm, fields.imm) &&
    allows(row.dst, fields.dst) &&
    allows(row.next, fields.next)
  );
}

function allows(use: FieldUse, value: number): boolean {
  return use === "operand" || use === "ignored" || use === value;
}

/** Narrows the rows field by field: the field that leaves none is the wrong one. */
function wrongField(
  rows: readonly OpcodeRow[],
  fields: Fields,
  bytes: Uint8Array,
  slot: number,
): UserError {
  let candidates = rows;
  for (const name of checkedFields) {
    const left = candidates.filter((row) => allows(row[name], fields[name]));
    if (left.length > 0) {
      candidates = left;
      continue;
    }
    const expected = [...new Set(candidates.map((row) => row[name]))];
    const names = [...new Set(candidates.map((row) => row.name))];
    if (candidates.every(({ form }) => form.kind === "atomic") && name === "imm")
      return new UserError(
        "INSTRUCTION_UNKNOWN_VARIANT",
        at(slot),
        `an atomic operation (${raw(bytes, slot)}) has immediate ${hex(fields.imm)}, which names none`,
        `those are ${candidates.map((row) => `${hex(row.imm as number)} ${row.name}`).join(", ")}`,
      );
    const reserved = expected.length === 1 && expected[0] === 0;
    return new UserError(
      reserved ? "INSTRUCTION_RESERVED_FIELD" : "INSTRUCTION_UNKNOWN_VARIANT",
      at(slot),
      `${names.join("/")} (${raw(bytes, slot)}) has ${fieldNames[name]} ${fields[name]}`,
      reserved ? "this field is unused here and must be 0" : `expected ${expected.join(", ")}`,
    );
  }
  throw new Error(`slot ${slot}: no field of ${raw(bytes, slot)} is wrong`);
}

function checkRegisters(
  row: OpcodeRow,
  fields: Fields,
  bytes: Uint8Array,
  slot: number,
): UserError | undefined {
  for (const name of ["dst", "src"] as const)
    if (row[name] === "operand" && fields[name] > 10)
      return new UserError(
        "INSTRUCTION_REGISTER",
        at(slot),
        `${row.name} (${raw(bytes, slot)}) has ${fieldNames[name]} r${fields[name]}`,
        "registers are r0 to r10",
      );
  return undefined;
}

function checkSecondHalf(bytes: Uint8Array, slot: number): UserError | undefined {
  const second = (slot + 1) * slotBytes;
  if (second === bytes.length)
    return new UserError(
      "INSTRUCTION_TRUNCATED",
      at(slot),
      `lddw (${raw(bytes, slot)}) is the last instruction, its second half is missing`,
      "lddw takes 16 bytes",
    );
  for (let i = second; i < second + 4; i++)
    if (bytes[i] !== 0)
      return new UserError(
        "INSTRUCTION_SECOND_SLOT",
        at(slot + 1),
        `second half of lddw (${raw(bytes, slot + 1)}) uses opcode, registers or offset`,
        "its first four bytes must be 0",
      );
  return undefined;
}

/** Instructions that Linux has and Weir has not, by opcode and what selects them. */
const unsupported: readonly {
  readonly name: string;
  readonly codes: readonly number[];
  readonly imm?: number;
  readonly offset?: number;
  readonly fix: string;
}[] = [
  {
    name: "load_acquire",
    codes: [0xc3, 0xcb, 0xd3, 0xdb],
    imm: 0x100,
    fix: "it comes from __atomic_load_n(…, __ATOMIC_ACQUIRE) with clang 21 or newer at -mcpu=v4: build with -mcpu=v3, or read with a plain load or __sync_fetch_and_add(…, 0)",
  },
  {
    name: "store_release",
    codes: [0xc3, 0xcb, 0xd3, 0xdb],
    imm: 0x110,
    fix: "it comes from __atomic_store_n(…, __ATOMIC_RELEASE) with clang 21 or newer at -mcpu=v4: build with -mcpu=v3, or write with __sync_lock_test_and_set",
  },
  {
    name: "may_goto",
    codes: [0xe5],
    fix: "it comes from can_loop and cond_break (clang 19 or newer): give the loop a constant bound, or use bpf_loop",
  },
  {
    name: "addr_space_cast",
    codes: [0xbf],
    offset: 1,
    fix: "it comes from __arena pointers (clang 19 or newer): keep the data in an array map",
  },
];

function unsupportedInstruction(bytes: Uint8Array, slot: number): UserError | undefined {
  const code = bytes[slot * slotBytes] as number;
  const { offset, imm } = readFields(bytes, slot * slotBytes, false);
  const found = unsupported.find(
    (one) =>
      one.codes.includes(code) &&
      (one.imm === undefined || one.imm === imm) &&
      (one.offset === undefined || one.offset === offset),
  );
  if (found === undefined) return undefined;
  return new UserError(
    "INSTRUCTION_UNSUPPORTED",
    at(slot),
    `${found.name} (${raw(bytes, slot)}) is not supported`,
    found.fix,
  );
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

function unknownOpcode(bytes: Uint8Array, slot: number): UserError {
  const code = (bytes[slot * slotBytes] as number).toString(16).padStart(2, "0");
  const fix =
    code === "00"
      ? "opcode 0x00 is only the second half of lddw (0x18)"
      : "the program is damaged, or newer than RFC 9669";
  return new UserError(
    "INSTRUCTION_UNKNOWN_OPCODE",
    at(slot),
    `0x${code} is no opcode (${raw(bytes, slot)})`,
    fix,
  );
}

function at(slot: number): string {
  return `instruction ${slot}`;
}

function raw(bytes: Uint8Array, slot: number): string {
  return toHex(bytes.subarray(slot * slotBytes, (slot + 1) * slotBytes));
}
