/**
 * Classic BPF operation codes: class, size, mode or operation, and source, added together.
 * linux/filter.h and linux/bpf_common.h; McCanne and Jacobson, "The BSD Packet Filter", 1993, §3.3.
 */

/** Bits 0 to 2. */
export const opClass = {
  load: 0x00,
  loadX: 0x01,
  store: 0x02,
  storeX: 0x03,
  alu: 0x04,
  jump: 0x05,
  return: 0x06,
  misc: 0x07,
} as const;

/** Bits 3 and 4 of a load. */
export const size = { word: 0x00, half: 0x08, byte: 0x10 } as const;

/** Bits 5 to 7 of a load. */
export const mode = {
  immediate: 0x00,
  absolute: 0x20,
  indirect: 0x40,
  memory: 0x60,
  length: 0x80,
  /** `4 * (byte & 0xf)`: the length of an IPv4 header. */
  headerLength: 0xa0,
} as const;

/** Bits 4 to 7 of an arithmetic operation. */
export const aluOp = {
  add: 0x00,
  sub: 0x10,
  mul: 0x20,
  div: 0x30,
  or: 0x40,
  and: 0x50,
  lsh: 0x60,
  rsh: 0x70,
  neg: 0x80,
  mod: 0x90,
  xor: 0xa0,
} as const;

/** Bits 4 to 7 of a jump. */
export const jumpOp = { always: 0x00, eq: 0x10, gt: 0x20, ge: 0x30, set: 0x40 } as const;

/** Bit 3 of arithmetic and jumps: the operand is `k` or X. A return's is `k` or A. */
export const source = { k: 0x00, x: 0x08, a: 0x10 } as const;

/** Whole codes that are named often. */
export const code = {
  loadImmediate: opClass.load | mode.immediate,
  loadMemory: opClass.load | mode.memory,
  loadLength: opClass.load | mode.length,
  loadAbsolute: opClass.load | mode.absolute,
  loadIndirect: opClass.load | mode.indirect,
  loadXImmediate: opClass.loadX | mode.immediate,
  loadXMemory: opClass.loadX | mode.memory,
  loadXLength: opClass.loadX | mode.length,
  loadXHeaderLength: opClass.loadX | size.byte | mode.headerLength,
  store: opClass.store,
  storeX: opClass.storeX,
  jumpAlways: opClass.jump | jumpOp.always,
  jumpEqual: opClass.jump | jumpOp.eq,
  jumpGreater: opClass.jump | jumpOp.gt,
  jumpGreaterOrEqual: opClass.jump | jumpOp.ge,
  jumpSet: opClass.jump | jumpOp.set,
  negate: opClass.alu | aluOp.neg,
  returnK: opClass.return | source.k,
  returnA: opClass.return | source.a,
  tax: opClass.misc | 0x00,
  txa: opClass.misc | 0x80,
} as const;

export function classOf(operation: number): number {
  return operation & 0x07;
}

export function sizeOf(operation: number): number {
  return operation & 0x18;
}

export function modeOf(operation: number): number {
  return operation & 0xe0;
}

/** The operation of an arithmetic instruction or a jump. */
export function operationOf(operation: number): number {
  return operation & 0xf0;
}

/** Whether arithmetic or a jump takes X for its operand. */
export function usesX(operation: number): boolean {
  return (operation & source.x) !== 0;
}

/** Words of scratch memory, M[0] to M[15]. */
export const memoryWords = 16;
