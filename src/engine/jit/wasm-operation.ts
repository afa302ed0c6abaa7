/** Types of WebAssembly values that generated code uses, by their binary codes. */
export const I32 = 0x7f;
export const I64 = 0x7e;
export const V128 = 0x7b;
/** A function of a table, or null. */
export const FUNCTION = 0x70;
export type ValueType = typeof I32 | typeof I64 | typeof V128 | typeof FUNCTION;

/**
 * One instruction without immediates: its encoding and what it does to the operand stack. All are made
 * alike (`operationOf`), so that V8 knows where their members are.
 */
export interface Operation {
  readonly code: readonly number[];
  readonly takes: readonly ValueType[];
  readonly gives: ValueType | undefined;
  readonly align: number | undefined;
}

/** An access to memory; `align` is the exponent that its encoding states. */
export interface MemoryOperation extends Operation {
  readonly align: number;
}

function operationOf<Align extends number | undefined>(
  code: readonly number[],
  takes: readonly ValueType[],
  gives: ValueType | undefined,
  align: Align,
): Operation & { readonly align: Align } {
  return { code, takes, gives, align };
}

function operation(code: number, takes: readonly ValueType[], gives: ValueType): Operation {
  return operationOf([code], takes, gives, undefined);
}

function binary(type: ValueType, code: number): Operation {
  return operation(code, [type, type], type);
}

function compare(type: ValueType, code: number): Operation {
  return operation(code, [type, type], I32);
}

function load(type: ValueType, code: number): MemoryOperation {
  return operationOf([code], [I32], type, 0);
}

function store(type: ValueType, code: number): MemoryOperation {
  return operationOf([code], [I32, type], undefined, 0);
}

/** Prefix of the threads proposal's instructions; they require natural alignment. */
const atomicPrefix = 0xfe;
const vectorPrefix = 0xfd;

function exchange(type: ValueType, code: number): MemoryOperation {
  return atomic(type, code, [I32, type]);
}

function compareExchange(type: ValueType, code: number): MemoryOperation {
  return atomic(type, code, [I32, type, type]);
}

function atomic(type: ValueType, code: number, takes: readonly ValueType[]): MemoryOperation {
  return operationOf([atomicPrefix, code], takes, type, type === I64 ? 3 : 2);
}

/** WebAssembly core specification, 5.4: instructions on 32-bit integers. */
export const i32 = {
  eqz: operation(0x45, [I32], I32),
  eq: compare(I32, 0x46),
  ne: compare(I32, 0x47),
  lt_s: compare(I32, 0x48),
  lt_u: compare(I32, 0x49),
  gt_s: compare(I32, 0x4a),
  gt_u: compare(I32, 0x4b),
  le_s: compare(I32, 0x4c),
  le_u: compare(I32, 0x4d),
  ge_s: compare(I32, 0x4e),
  ge_u: compare(I32, 0x4f),
  add: binary(I32, 0x6a),
  sub: binary(I32, 0x6b),
  mul: binary(I32, 0x6c),
  div_s: binary(I32, 0x6d),
  div_u: binary(I32, 0x6e),
  rem_s: binary(I32, 0x6f),
  rem_u: binary(I32, 0x70),
  and: binary(I32, 0x71),
  or: binary(I32, 0x72),
  xor: binary(I32, 0x73),
  shl: binary(I32, 0x74),
  shr_s: binary(I32, 0x75),
  shr_u: binary(I32, 0x76),
  rotl: binary(I32, 0x77),
  wrap: operation(0xa7, [I64], I32),
  extend8_s: operation(0xc0, [I32], I32),
  extend16_s: operation(0xc1, [I32], I32),
  load: load(I32, 0x28),
  load8_u: load(I32, 0x2d),
  load16_u: load(I32, 0x2f),
  store: store(I32, 0x36),
  store8: store(I32, 0x3a),
  store16: store(I32, 0x3b),
  rmw: {
    add: exchange(I32, 0x1e),
    and: exchange(I32, 0x2c),
    or: exchange(I32, 0x33),
    xor: exchange(I32, 0x3a),
    xchg: exchange(I32, 0x41),
    cmpxchg: compareExchange(I32, 0x48),
  },
} as const;

/** The same on 64-bit integers. */
export const i64 = {
  eqz: operation(0x50, [I64], I32),
  eq: compare(I64, 0x51),
  ne: compare(I64, 0x52),
  lt_s: compare(I64, 0x53),
  lt_u: compare(I64, 0x54),
  gt_s: compare(I64, 0x55),
  gt_u: compare(I64, 0x56),
  le_s: compare(I64, 0x57),
  le_u: compare(I64, 0x58),
  ge_s: compare(I64, 0x59),
  ge_u: compare(I64, 0x5a),
  add: binary(I64, 0x7c),
  sub: binary(I64, 0x7d),
  mul: binary(I64, 0x7e),
  div_s: binary(I64, 0x7f),
  div_u: binary(I64, 0x80),
  rem_s: binary(I64, 0x81),
  rem_u: binary(I64, 0x82),
  and: binary(I64, 0x83),
  or: binary(I64, 0x84),
  xor: binary(I64, 0x85),
  shl: binary(I64, 0x86),
  shr_s: binary(I64, 0x87),
  shr_u: binary(I64, 0x88),
  rotl: binary(I64, 0x89),
  extend_u: operation(0xad, [I32], I64),
  extend_s: operation(0xac, [I32], I64),
  extend8_s: operation(0xc2, [I64], I64),
  extend16_s: operation(0xc3, [I64], I64),
  extend32_s: operation(0xc4, [I64], I64),
  load: load(I64, 0x29),
  load8_s: load(I64, 0x30),
  load8_u: load(I64, 0x31),
  load16_s: load(I64, 0x32),
  load16_u: load(I64, 0x33),
  load32_s: load(I64, 0x34),
  load32_u: load(I64, 0x35),
  store: store(I64, 0x37),
  store8: store(I64, 0x3c),
  store16: store(I64, 0x3d),
  store32: store(I64, 0x3e),
  rmw: {
    add: exchange(I64, 0x1f),
    and: exchange(I64, 0x2d),
    or: exchange(I64, 0x34),
    xor: exchange(I64, 0x3b),
    xchg: exchange(I64, 0x42),
    cmpxchg: compareExchange(I64, 0x49),
  },
} as const;

/** On table 0, the only one. */
export const table = {
  size: operationOf([0xfc, 0x10, 0], [], I32, undefined),
  get: operationOf([0x25, 0], [I32], FUNCTION, undefined),
} as const;
export const isNull = operation(0xd1, [FUNCTION], I32);

export const v128 = {
  store: operationOf([vectorPrefix, 0x0b], [I32, V128], undefined, 0),
} as const satisfies Record<string, MemoryOperation>;
