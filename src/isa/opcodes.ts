import type { Form, Source } from "./form.ts";
import { formKey, withFields } from "./form.ts";
import type { AluOp, AtomicOp, BranchOp, Instruction, Width } from "./instruction.ts";

/**
 * How a row uses a field: it carries an operand, or it must hold this number, or (as in the kernel)
 * it may hold anything, and nobody looks.
 */
export type FieldUse = "operand" | "ignored" | number;

/**
 * One encodable instruction. Rows may share an opcode byte; then a fixed field tells them apart
 * (`sdiv` is `div` with offset 1). Every field that a row does not use is fixed at 0.
 */
export interface OpcodeRow {
  readonly code: number;
  /** Mnemonic of the conformance suite's syntax. Forms that differ only in operands share one. */
  readonly name: string;
  /** A second mnemonic that the suite uses for the same. */
  readonly alias?: string;
  readonly form: Form;
  readonly dst: FieldUse;
  readonly src: FieldUse;
  readonly offset: FieldUse;
  readonly imm: FieldUse;
  /** Immediate of the second half; fixed at 0 for 8-byte instructions. */
  readonly next: FieldUse;
  /** 2 for the 16-byte instructions. */
  readonly slots: 1 | 2;
  readonly spec: string;
}

/** RFC 9669 §3.3: the three low bits of an opcode. */
const classes = { ld: 0, ldx: 1, st: 2, stx: 3, alu: 4, jmp: 5, jmp32: 6, alu64: 7 } as const;
/** RFC 9669 §4: the source bit of arithmetic and jumps. */
const sourceBits = { immediate: 0x00, register: 0x08 } as const;
/** RFC 9669 §5: mode bits of loads and stores. */
const modes = { imm: 0x00, abs: 0x20, ind: 0x40, mem: 0x60, memsx: 0x80, atomic: 0xc0 } as const;

const sizes = [
  { size: 1, bits: 0x10, letter: "b" },
  { size: 2, bits: 0x08, letter: "h" },
  { size: 4, bits: 0x00, letter: "w" },
  { size: 8, bits: 0x18, letter: "dw" },
] as const;

const widths: readonly { width: Width; suffix: string; alu: number; jmp: number }[] = [
  { width: 32, suffix: "32", alu: classes.alu, jmp: classes.jmp32 },
  { width: 64, suffix: "", alu: classes.alu64, jmp: classes.jmp },
];

const sources: readonly Source[] = ["immediate", "register"];

/** RFC 9669 §4.1. `sign` is the operator of clang's syntax; `offset` tells signed ones. */
export const aluOps: readonly { op: AluOp; bits: number; offset: 0 | 1; sign: string }[] = [
  { op: "add", bits: 0x00, offset: 0, sign: "+=" },
  { op: "sub", bits: 0x10, offset: 0, sign: "-=" },
  { op: "mul", bits: 0x20, offset: 0, sign: "*=" },
  { op: "div", bits: 0x30, offset: 0, sign: "/=" },
  { op: "sdiv", bits: 0x30, offset: 1, sign: "s/=" },
  { op: "or", bits: 0x40, offset: 0, sign: "|=" },
  { op: "and", bits: 0x50, offset: 0, sign: "&=" },
  { op: "lsh", bits: 0x60, offset: 0, sign: "<<=" },
  { op: "rsh", bits: 0x70, offset: 0, sign: ">>=" },
  { op: "mod", bits: 0x90, offset: 0, sign: "%=" },
  { op: "smod", bits: 0x90, offset: 1, sign: "s%=" },
  { op: "xor", bits: 0xa0, offset: 0, sign: "^=" },
  { op: "mov", bits: 0xb0, offset: 0, sign: "=" },
  { op: "arsh", bits: 0xc0, offset: 0, sign: "s>>=" },
];

/** RFC 9669 §4.3. `sign` is the comparison of clang's syntax. */
export const branchOps: readonly { op: BranchOp; bits: number; sign: string }[] = [
  { op: "eq", bits: 0x10, sign: "==" },
  { op: "gt", bits: 0x20, sign: ">" },
  { op: "ge", bits: 0x30, sign: ">=" },
  { op: "set", bits: 0x40, sign: "&" },
  { op: "ne", bits: 0x50, sign: "!=" },
  { op: "sgt", bits: 0x60, sign: "s>" },
  { op: "sge", bits: 0x70, sign: "s>=" },
  { op: "lt", bits: 0xa0, sign: "<" },
  { op: "le", bits: 0xb0, sign: "<=" },
  { op: "slt", bits: 0xc0, sign: "s<" },
  { op: "sle", bits: 0xd0, sign: "s<=" },
];

/** RFC 9669 §5.3. `sign` is the operator of those that do not fetch. */
export const atomicOps: readonly {
  op: AtomicOp;
  name: string;
  imm: number;
  fetch: boolean;
  sign?: string;
}[] = [
  { op: "add", name: "add", imm: 0x00, fetch: false, sign: "+=" },
  { op: "add", name: "fetch add", imm: 0x01, fetch: true },
  { op: "or", name: "or", imm: 0x40, fetch: false, sign: "|=" },
  { op: "or", name: "fetch or", imm: 0x41, fetch: true },
  { op: "and", name: "and", imm: 0x50, fetch: false, sign: "&=" },
  { op: "and", name: "fetch and", imm: 0x51, fetch: true },
  { op: "xor", name: "xor", imm: 0xa0, fetch: false, sign: "^=" },
  { op: "xor", name: "fetch xor", imm: 0xa1, fetch: true },
  { op: "xchg", name: "xchg", imm: 0xe1, fetch: true },
  { op: "cmpxchg", name: "cmpxchg", imm: 0xf1, fetch: true },
];

const unused = { dst: 0, src: 0, offset: 0, imm: 0, next: 0, slots: 1 } as const;

/** The field that the second operand uses. */
function sourceField(source: Source): Partial<OpcodeRow> {
  return source === "register" ? { src: "operand" } : { imm: "operand" };
}

function* arithmeticRows(): Generator<OpcodeRow> {
  for (const { width, suffix, alu } of widths) {
    for (const { op, bits, offset } of aluOps)
      for (const src of sources)
        yield {
          ...unused,
          ...sourceField(src),
          code: alu | bits | sourceBits[src],
          name: op + suffix,
          form: { kind: "alu", op, width, src },
          dst: "operand",
          offset,
          spec: "RFC 9669 §4.1",
        };
    yield {
      ...unused,
      code: alu | 0x80,
      name: `neg${suffix}`,
      form: { kind: "negate", width },
      dst: "operand",
      spec: "RFC 9669 §4.1",
    };
    for (const bits of [8, 16, 32] as const)
      if (bits < width)
        yield {
          ...unused,
          code: alu | 0xb0 | sourceBits.register,
          name: `movsx${bits}${width}`,
          form: { kind: "move_signed", width, bits },
          dst: "operand",
          src: "operand",
          offset: bits,
          spec: "RFC 9669 §4.1",
        };
  }
  for (const { to, name, alias, code } of [
    { to: "le", name: "le", alias: undefined, code: classes.alu | 0xd0 },
    { to: "be", name: "be", alias: undefined, code: classes.alu | 0xd0 | sourceBits.register },
    { to: "swap", name: "bswap", alias: "swap", code: classes.alu64 | 0xd0 },
  ] as const)
    for (const bits of [16, 32, 64] as const)
      yield {
        ...unused,
        code,
        name: `${name}${bits}`,
        ...(alias === undefined ? {} : { alias: `${alias}${bits}` }),
        form: { kind: "byte_order", to, bits },
        dst: "operand",
        imm: bits,
        spec: "RFC 9669 §4.2",
      };
}

function* jumpRows(): Generator<OpcodeRow> {
  yield {
    ...unused,
    code: classes.jmp,
    name: "ja",
    form: { kind: "jump", long: false },
    offset: "operand",
    spec: "RFC 9669 §4.3",
  };
  yield {
    ...unused,
    code: classes.jmp32,
    name: "ja32",
    form: { kind: "jump", long: true },
    imm: "operand",
    spec: "RFC 9669 §4.3",
  };
  for (const { width, suffix, jmp } of widths)
    for (const { op, bits } of branchOps)
      for (const src of sources)
        yield {
          ...unused,
          ...sourceField(src),
          code: jmp | bits | sourceBits[src],
          name: `j${op}${suffix}`,
          form: { kind: "branch", op, width, src },
          dst: "operand",
          offset: "operand",
          spec: "RFC 9669 §4.3",
        };
  const call = classes.jmp | 0x80;
  for (const { src, kind, spec } of [
    { src: 0, kind: "call_helper", spec: "RFC 9669 §4.3.1" },
    { src: 1, kind: "call_local", spec: "RFC 9669 §4.3.2" },
    { src: 2, kind: "call_btf", spec: "RFC 9669 §4.3.1" },
  ] as const)
    yield { ...unused, code: call, name: "call", form: { kind }, src, imm: "operand", spec };
  yield {
    ...unused,
    code: call | sourceBits.register,
    name: "callx",
    form: { kind: "call_register" },
    dst: "operand",
    spec: "bpf_conformance callx; reserved by RFC 9669 and the kernel",
  };
  yield {
    ...unused,
    code: classes.jmp | 0x90,
    name: "exit",
    form: { kind: "exit" },
    offset: "ignored",
    spec: "RFC 9669 §4.3",
  };
}

function* memoryRows(): Generator<OpcodeRow> {
  for (const { size, bits, letter } of sizes) {
    const load = { ...unused, dst: "operand", src: "operand", offset: "operand" } as const;
    yield {
      ...load,
      code: classes.ldx | modes.mem | bits,
      name: `ldx${letter}`,
      form: { kind: "load", size, signed: false },
      spec: "RFC 9669 §5.1",
    };
    if (size < 8)
      yield {
        ...load,
        code: classes.ldx | modes.memsx | bits,
        name: `ldxs${letter}`,
        form: { kind: "load", size, signed: true },
        spec: "RFC 9669 §5.2",
      };
    for (const src of sources)
      yield {
        ...unused,
        ...sourceField(src),
        code: (src === "register" ? classes.stx : classes.st) | modes.mem | bits,
        name: `${src === "register" ? "stx" : "st"}${letter}`,
        form: { kind: "store", size, src },
        dst: "operand",
        offset: "operand",
        spec: "RFC 9669 §5.1",
      };
    if (size >= 4)
      for (const { op, name, imm, fetch } of atomicOps)
        yield {
          ...unused,
          code: classes.stx | modes.atomic | bits,
          name: `lock ${name}${size === 4 ? "32" : ""}`,
          form: { kind: "atomic", op, fetch, size: size as 4 | 8 },
          dst: "operand",
          src: "operand",
          offset: "operand",
          imm,
          spec: "RFC 9669 §5.3",
        };
    if (size <= 4)
      for (const indexed of [false, true])
        yield {
          ...unused,
          code: classes.ld | (indexed ? modes.ind : modes.abs) | bits,
          name: `${indexed ? "ldind" : "ldabs"}${letter}`,
          form: { kind: "load_packet", size: size as 1 | 2 | 4, indexed },
          src: indexed ? "operand" : 0,
          imm: "operand",
          spec: "RFC 9669 §5.5",
        };
  }
}

function* wideRows(): Generator<OpcodeRow> {
  for (const { src, form, next } of [
    { src: 0, form: { kind: "load_immediate" }, next: "operand" },
    { src: 1, form: { kind: "load_map", by: "fd" }, next: 0 },
    { src: 2, form: { kind: "load_map_value", by: "fd" }, next: "operand" },
    { src: 3, form: { kind: "load_variable" }, next: 0 },
    { src: 4, form: { kind: "load_function" }, next: 0 },
    { src: 5, form: { kind: "load_map", by: "index" }, next: 0 },
    { src: 6, form: { kind: "load_map_value", by: "index" }, next: "operand" },
  ] as const)
    yield {
      ...unused,
      code: classes.ld | modes.imm | 0x18,
      name: "lddw",
      form,
      dst: "operand",
      src,
      imm: "operand",
      next,
      slots: 2,
      spec: "RFC 9669 §5.4",
    };
}

/**
 * The opcode table: every instruction of RFC 9669 and of its legacy packet group. Codec, assembler,
 * disassembler and the engines' completeness tests read this and keep no list of their own.
 */
export const opcodeTable: readonly OpcodeRow[] = [
  ...arithmeticRows(),
  ...jumpRows(),
  ...memoryRows(),
  ...wideRows(),
];

const byForm = new Map(opcodeTable.map((row) => [formKey(row.form), row]));
const byCode: readonly (readonly OpcodeRow[])[] = Array.from({ length: 256 }, (_, code) =>
  opcodeTable.filter((row) => row.code === code),
);
const byName = new Map<string, readonly OpcodeRow[]>();
for (const row of opcodeTable)
  for (const name of row.alias === undefined ? [row.name] : [row.name, row.alias])
    byName.set(name, [...(byName.get(name) ?? []), row]);
const none: readonly OpcodeRow[] = [];

/** The row that encodes a form; undefined for one that no encoding has (`xchg` without fetch). */
export function rowOfForm(form: Form): OpcodeRow | undefined {
  return byForm.get(formKey(form));
}

/** The rows that share an opcode byte; empty for an unknown opcode. */
export function rowsOfCode(code: number): readonly OpcodeRow[] {
  return byCode[code] ?? none;
}

/** The rows of a mnemonic, which differ in their operands; empty for an unknown one. */
export function rowsOfName(name: string): readonly OpcodeRow[] {
  return byName.get(name) ?? none;
}

/**
 * One instruction for each row, so that an engine or a test can prove that it handles all. Those
 * with `row.slots` 2 must be followed by `second_slot` in a program.
 */
export function* sampleInstructions(): Generator<{ row: OpcodeRow; instruction: Instruction }> {
  for (const row of opcodeTable) {
    const use = (field: FieldUse, sample: number): number =>
      field === "operand" ? sample : field === "ignored" ? 0 : field;
    const instruction = withFields(row.form, {
      dst: use(row.dst, 1),
      src: use(row.src, 2),
      offset: use(row.offset, 4),
      imm: use(row.imm, 5),
      next: use(row.next, 6),
    });
    yield { row, instruction };
  }
}
