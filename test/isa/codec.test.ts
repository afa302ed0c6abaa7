import fc from "fast-check";
import { expect, test } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import { decodeProgram, encodeProgram, maxSlots } from "../../src/isa/codec.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import { register } from "../../src/isa/instruction.ts";
import { opcodeTable, sampleInstructions } from "../../src/isa/opcodes.ts";

const exit = "9500000000000000";

function decode(hex: string): readonly Instruction[] {
  const result = decodeProgram(parseHex(hex) as Uint8Array);
  if (!result.ok) throw result.error;
  return result.value;
}

test("an offset in exit is ignored, as in the kernel", () => {
  expect(decodeProgram(Uint8Array.of(0x95, 0, 7, 0, 0, 0, 0, 0))).toEqual({
    ok: true,
    value: [{ kind: "exit" }],
  });
});

test("instructions that repeat are one object, in a program and in the next", () => {
  const [first, second, third, other] = decode(
    "b700000001000000 b700000001000000 b700000001000000 b700000002000000".replaceAll(" ", ""),
  );
  expect(second).toBe(first);
  expect(third).toBe(first);
  expect(other).toEqual({ ...first, src: { immediate: 2 } });
  expect(decode("b700000001000000")[0]).toBe(first);
});

test("what was decoded before does not stand in for what shares its place (60,000 instructions)", () => {
  const words = Array.from({ length: 60_000 }, (_, i) => i ^ (i << 13));
  const bytes = new Uint8Array(8 * words.length);
  for (const [i, word] of words.entries()) {
    bytes[8 * i] = 0xb7;
    new DataView(bytes.buffer).setInt32(8 * i + 4, word, true);
  }
  const decoded = decodeProgram(bytes);
  if (!decoded.ok) throw decoded.error;
  expect(decoded.value.map((one) => (one as { src: { immediate: number } }).src.immediate)).toEqual(
    words,
  );
});

test("every sample of the table survives encoding and decoding", () => {
  for (const { row, instruction } of sampleInstructions()) {
    const program: Instruction[] = [instruction];
    if (row.slots === 2) program.push({ kind: "second_slot" });
    const decoded = decodeProgram(encodeProgram(program));
    expect(decoded).toEqual({ ok: true, value: program });
  }
});

// Bytes are written out, so that encoder and decoder cannot agree on a wrong encoding.
const r = register;
const encodings: readonly { hex: string; instruction: Instruction }[] = [
  {
    hex: "0702000005000000",
    instruction: { kind: "alu", op: "add", width: 64, dst: r(2), src: { immediate: 5 } },
  },
  {
    hex: "bca1000000000000",
    instruction: { kind: "alu", op: "mov", width: 32, dst: r(1), src: { register: r(10) } },
  },
  {
    hex: "37030100ffffffff",
    instruction: { kind: "alu", op: "sdiv", width: 64, dst: r(3), src: { immediate: -1 } },
  },
  {
    hex: "9c43010000000000",
    instruction: { kind: "alu", op: "smod", width: 32, dst: r(3), src: { register: r(4) } },
  },
  {
    hex: "bf43200000000000",
    instruction: { kind: "move_signed", width: 64, bits: 32, dst: r(3), src: r(4) },
  },
  { hex: "8409000000000000", instruction: { kind: "negate", width: 32, dst: r(9) } },
  {
    hex: "d701000010000000",
    instruction: { kind: "byte_order", to: "swap", bits: 16, dst: r(1) },
  },
  { hex: "dc01000040000000", instruction: { kind: "byte_order", to: "be", bits: 64, dst: r(1) } },
  { hex: "0500ffff00000000", instruction: { kind: "jump", offset: -1, long: false } },
  { hex: "0600000000000100", instruction: { kind: "jump", offset: 65536, long: true } },
  {
    hex: "7e21fe7f00000000",
    instruction: {
      kind: "branch",
      op: "sge",
      width: 32,
      dst: r(1),
      src: { register: r(2) },
      offset: 32766,
    },
  },
  {
    hex: "4501008000000080",
    instruction: {
      kind: "branch",
      op: "set",
      width: 64,
      dst: r(1),
      src: { immediate: -2147483648 },
      offset: -32768,
    },
  },
  { hex: "8500000001000000", instruction: { kind: "call_helper", id: 1 } },
  { hex: "85100000fdffffff", instruction: { kind: "call_local", offset: -3 } },
  { hex: "85200000ffffffff", instruction: { kind: "call_btf", id: 0xffff_ffff } },
  { hex: "8d02000000000000", instruction: { kind: "call_register", target: r(2) } },
  { hex: exit, instruction: { kind: "exit" } },
  {
    hex: "69a1f8ff00000000",
    instruction: { kind: "load", size: 2, signed: false, dst: r(1), base: r(10), offset: -8 },
  },
  {
    hex: "8121040000000000",
    instruction: { kind: "load", size: 4, signed: true, dst: r(1), base: r(2), offset: 4 },
  },
  {
    hex: "7a01080007000000",
    instruction: { kind: "store", size: 8, base: r(1), offset: 8, src: { immediate: 7 } },
  },
  {
    hex: "732affff00000000",
    instruction: { kind: "store", size: 1, base: r(10), offset: -1, src: { register: r(2) } },
  },
  {
    hex: "db21000001000000",
    instruction: {
      kind: "atomic",
      op: "add",
      fetch: true,
      size: 8,
      base: r(1),
      offset: 0,
      src: r(2),
    },
  },
  {
    hex: "c3210000f1000000",
    instruction: {
      kind: "atomic",
      op: "cmpxchg",
      fetch: true,
      size: 4,
      base: r(1),
      offset: 0,
      src: r(2),
    },
  },
  {
    hex: "280000000c000000",
    instruction: { kind: "load_packet", size: 2, index: undefined, offset: 12 },
  },
  {
    hex: "50700000feffffff",
    instruction: { kind: "load_packet", size: 1, index: r(7), offset: -2 },
  },
];

for (const { hex, instruction } of encodings)
  test(`${hex} decodes to ${instruction.kind} and back`, () => {
    expect(decode(hex)).toEqual([instruction]);
    expect(toHex(encodeProgram([instruction]))).toBe(hex);
  });

const wideEncodings: readonly { hex: string; instruction: Instruction }[] = [
  {
    hex: "18010000887766550000000044332211",
    instruction: { kind: "load_immediate", dst: r(1), value: 0x1122334455667788n },
  },
  {
    hex: "18010000ffffffff00000000ffffffff",
    instruction: { kind: "load_immediate", dst: r(1), value: 0xffff_ffff_ffff_ffffn },
  },
  {
    hex: "18110000030000000000000000000000",
    instruction: { kind: "load_map", dst: r(1), map: 3, by: "fd" },
  },
  {
    hex: "18210000030000000000000010000080",
    instruction: { kind: "load_map_value", dst: r(1), map: 3, offset: 0x8000_0010, by: "fd" },
  },
  {
    hex: "18310000070000000000000000000000",
    instruction: { kind: "load_variable", dst: r(1), id: 7 },
  },
  {
    hex: "18410000f9ffffff0000000000000000",
    instruction: { kind: "load_function", dst: r(1), offset: -7 },
  },
  {
    hex: "18510000030000000000000000000000",
    instruction: { kind: "load_map", dst: r(1), map: 3, by: "index" },
  },
  {
    hex: "18610000030000000000000008000000",
    instruction: { kind: "load_map_value", dst: r(1), map: 3, offset: 8, by: "index" },
  },
];

for (const { hex, instruction } of wideEncodings)
  test(`${hex} decodes to ${instruction.kind} and its second slot, and back`, () => {
    const program: Instruction[] = [instruction, { kind: "second_slot" }];
    expect(decode(hex)).toEqual(program);
    expect(toHex(encodeProgram(program))).toBe(hex);
  });

const rejections: readonly { title: string; hex: string; code: string; message: string }[] = [
  { title: "an empty program", hex: "", code: "PROGRAM_EMPTY", message: "no instructions" },
  {
    title: "a length that is no multiple of 8",
    hex: `${exit}950000`,
    code: "PROGRAM_LENGTH",
    message:
      "program: 11 bytes are not a whole number of 8-byte instructions; 3 bytes too many, or 5 missing",
  },
  {
    title: "an unknown opcode",
    hex: `${exit}0802030004000000`,
    code: "INSTRUCTION_UNKNOWN_OPCODE",
    message: "instruction 1: 0x08 is no opcode (0802030004000000)",
  },
  {
    title: "a second half without its first",
    hex: `0000000000000000${exit}`,
    code: "INSTRUCTION_UNKNOWN_OPCODE",
    message: "opcode 0x00 is only the second half of lddw (0x18)",
  },
  {
    title: "a destination register above r10",
    hex: `b70b000000000000${exit}`,
    code: "INSTRUCTION_REGISTER",
    message:
      "instruction 0: mov (b70b000000000000) has destination register r11; registers are r0 to r10",
  },
  {
    title: "a source register above r10",
    hex: `bff0000000000000${exit}`,
    code: "INSTRUCTION_REGISTER",
    message: "instruction 0: mov (bff0000000000000) has source register r15",
  },
  {
    title: "an offset where none is used",
    hex: `0701010005000000${exit}`,
    code: "INSTRUCTION_RESERVED_FIELD",
    message:
      "instruction 0: add (0701010005000000) has offset 1; this field is unused here and must be 0",
  },
  {
    title: "an immediate beside a source register",
    hex: `0f21000005000000${exit}`,
    code: "INSTRUCTION_RESERVED_FIELD",
    message: "has immediate 5; this field is unused here",
  },
  {
    title: "a source register beside an immediate",
    hex: `0721000005000000${exit}`,
    code: "INSTRUCTION_RESERVED_FIELD",
    message: "has source register 2; this field is unused here",
  },
  {
    title: "a destination register in exit",
    hex: "9501000000000000",
    code: "INSTRUCTION_RESERVED_FIELD",
    message: "exit (9501000000000000) has destination register 1",
  },
  {
    title: "a division that is neither signed nor unsigned",
    hex: `3f21020000000000${exit}`,
    code: "INSTRUCTION_UNKNOWN_VARIANT",
    message: "instruction 0: div/sdiv (3f21020000000000) has offset 2; expected 0, 1",
  },
  {
    title: "a sign extension from 32 to 32 bits",
    hex: `bc21200000000000${exit}`,
    code: "INSTRUCTION_UNKNOWN_VARIANT",
    message: "mov32/movsx832/movsx1632 (bc21200000000000) has offset 32; expected 0, 8, 16",
  },
  {
    title: "a byte swap of 8 bits",
    hex: `d701000008000000${exit}`,
    code: "INSTRUCTION_UNKNOWN_VARIANT",
    message: "has immediate 8; expected 16, 32, 64",
  },
  {
    title: "an unknown atomic operation",
    hex: `db21000002000000${exit}`,
    code: "INSTRUCTION_UNKNOWN_VARIANT",
    message:
      "an atomic operation (db21000002000000) has immediate 0x2, which names none; those are 0x0 lock add, 0x1 lock fetch add",
  },
  {
    title: "load_acquire",
    hex: `dba2f8ff00010000${exit}`,
    code: "INSTRUCTION_UNSUPPORTED",
    message: "load_acquire (dba2f8ff00010000) is not supported; it comes from __atomic_load_n",
  },
  {
    title: "store_release of a byte",
    hex: `d31af8ff10010000${exit}`,
    code: "INSTRUCTION_UNSUPPORTED",
    message: "store_release (d31af8ff10010000) is not supported; it comes from __atomic_store_n",
  },
  {
    title: "may_goto",
    hex: `e500020000000000${exit}`,
    code: "INSTRUCTION_UNSUPPORTED",
    message: "may_goto (e500020000000000) is not supported; it comes from can_loop and cond_break",
  },
  {
    title: "addr_space_cast",
    hex: `bf12010001000000${exit}`,
    code: "INSTRUCTION_UNSUPPORTED",
    message: "addr_space_cast (bf12010001000000) is not supported; it comes from __arena pointers",
  },
  {
    title: "an unknown source of a call",
    hex: `8530000001000000${exit}`,
    code: "INSTRUCTION_UNKNOWN_VARIANT",
    message: "call (8530000001000000) has source register 3; expected 0, 1, 2",
  },
  {
    title: "an unknown source of lddw",
    hex: `18710000000000000000000000000000${exit}`,
    code: "INSTRUCTION_UNKNOWN_VARIANT",
    message: "has source register 7; expected 0, 1, 2, 3, 4, 5, 6",
  },
  {
    title: "a lddw without its second half",
    hex: `${exit}1801000000000000`,
    code: "INSTRUCTION_TRUNCATED",
    message: "instruction 1: lddw (1801000000000000) is the last instruction",
  },
  {
    title: "a second half with an opcode",
    hex: `18010000000000009500000000000000${exit}`,
    code: "INSTRUCTION_SECOND_SLOT",
    message: "instruction 1: second half of lddw (9500000000000000) uses opcode",
  },
  {
    title: "a second half with registers",
    hex: `18010000000000000010000000000000${exit}`,
    code: "INSTRUCTION_SECOND_SLOT",
    message: "its first four bytes must be 0",
  },
  {
    title: "a map reference with a second immediate",
    hex: `18110000000000000000000001000000${exit}`,
    code: "INSTRUCTION_RESERVED_FIELD",
    message: "lddw (1811000000000000) has second immediate 1",
  },
];

for (const { title, hex, code, message } of rejections)
  test(`decoding refuses ${title}`, () => {
    const result = decodeProgram(parseHex(hex) as Uint8Array);
    if (result.ok) throw new Error("decoded");
    expect(result.error.code).toBe(code);
    expect(result.error.message).toContain(message);
  });

test("decoding takes 1,000,000 instructions and refuses one more", () => {
  const bytes = new Uint8Array((maxSlots + 1) * 8);
  for (let at = 0; at < bytes.length; at += 8) bytes[at] = 0x95;
  const most = decodeProgram(bytes.subarray(8));
  expect(most.ok && most.value.length).toBe(maxSlots);
  const more = decodeProgram(bytes);
  expect(!more.ok && more.error.message).toBe(
    "program: 1000001 instructions; at most 1000000 are allowed",
  );
});

test("decoding reads a view into a larger buffer", () => {
  const buffer = parseHex(`ffffffffffffffff${exit}ff`) as Uint8Array;
  expect(decodeProgram(buffer.subarray(8, 16))).toEqual({ ok: true, value: [{ kind: "exit" }] });
});

const unencodable: readonly { title: string; program: Instruction[]; message: string }[] = [
  {
    title: "an immediate beyond 32 bits",
    program: [{ kind: "alu", op: "mov", width: 64, dst: r(1), src: { immediate: 2 ** 31 } }],
    message: "immediate 2147483648: expected -2147483648 to 2147483647",
  },
  {
    title: "a jump beyond 16 bits",
    program: [{ kind: "jump", offset: 40000, long: false }],
    message: 'slot 0: {"kind":"jump","offset":40000,"long":false}: offset 40000',
  },
  {
    title: "an exchange that does not fetch",
    program: [
      { kind: "atomic", op: "xchg", fetch: false, size: 8, base: r(1), offset: 0, src: r(2) },
    ],
    message: "has no encoding",
  },
  {
    title: "a lddw without its second slot",
    program: [{ kind: "load_immediate", dst: r(1), value: 1n }, { kind: "exit" }],
    message: "without its second slot",
  },
  {
    title: "a second slot alone",
    program: [{ kind: "second_slot" }],
    message: "has no encoding",
  },
  {
    title: "a value beyond 64 bits",
    program: [{ kind: "load_immediate", dst: r(1), value: 1n << 64n }, { kind: "second_slot" }],
    message: "expected 0 to 2^64-1",
  },
  {
    title: "a negative map",
    program: [{ kind: "load_map", dst: r(1), map: -1, by: "fd" }, { kind: "second_slot" }],
    message: "immediate NaN",
  },
];

for (const { title, program, message } of unencodable)
  test(`encoding throws for ${title}`, () => {
    expect(() => encodeProgram(program)).toThrow(message);
  });

/** Slots that are often nearly right: a known opcode, small fields. */
const likelySlot = fc
  .record({
    row: fc.constantFrom(...opcodeTable),
    dst: fc.integer({ min: 0, max: 11 }),
    src: fc.integer({ min: 0, max: 11 }),
    offset: fc.oneof(fc.constantFrom(0, 1, 8, 16, 32), fc.integer({ min: -0x8000, max: 0x7fff })),
    imm: fc.oneof(fc.constantFrom(0, 1, 16, 32, 64, 0xe1), fc.integer()),
    fixed: fc.boolean(),
  })
  .map(({ row, fixed, ...values }) => {
    const use = (name: keyof typeof values): number =>
      fixed && row[name] !== "operand" ? (row[name] as number) : values[name];
    const bytes = Buffer.alloc(row.slots * 8);
    bytes[0] = row.code;
    bytes[1] = use("dst") | (use("src") << 4);
    bytes.writeInt16LE(use("offset"), 2);
    bytes.writeInt32LE(use("imm"), 4);
    return bytes;
  });

test("any bytes are refused with a code and a place, or encode to the same bytes again", () => {
  let accepted = 0;
  let refused = 0;
  const random = fc.uint8Array({ maxLength: 64 });
  const likely = fc.array(likelySlot, { maxLength: 4 }).map((slots) => Buffer.concat(slots));
  fc.assert(
    fc.property(fc.oneof(random, likely), (bytes) => {
      const result = decodeProgram(bytes);
      if (result.ok) {
        accepted++;
        expect(toHex(encodeProgram(result.value))).toBe(toHex(bytes));
      } else {
        refused++;
        expect(result.error.code).toMatch(/^(PROGRAM|INSTRUCTION)_[A-Z_]+$/);
        expect(result.error.where).toMatch(/^(program|instruction \d+)$/);
        expect(result.error.fix).toBeTruthy();
      }
    }),
    { seed: 9669, numRuns: 20_000 },
  );
  // Both branches must have been exercised.
  expect(accepted).toBeGreaterThan(1000);
  expect(refused).toBeGreaterThan(1000);
});
