import { classOf, code, mode, modeOf, opClass, usesX } from "../opcode.ts";

/**
 * What statements read and write: the words of scratch memory, A and X. Sets of them are the bits
 * of a number.
 */
export const atomA = 16;
export const atomX = 17;
export const atomCount = 18;

export const bitA = 1 << atomA;
export const bitX = 1 << atomX;
/** All of scratch memory. */
export const bitsMemory = 0xffff;

interface Instruction {
  readonly code: number;
  readonly k: number;
}

/** The set of atoms an instruction reads. */
export function reads({ code: operation, k }: Instruction): number {
  switch (classOf(operation)) {
    case opClass.load:
    case opClass.loadX:
      if (modeOf(operation) === mode.indirect) return bitX;
      return modeOf(operation) === mode.memory ? 1 << k : 0;
    case opClass.store:
      return bitA;
    case opClass.storeX:
      return bitX;
    case opClass.jump:
    case opClass.alu:
      return usesX(operation) ? bitA | bitX : bitA;
    case opClass.return:
      return operation === code.returnA ? bitA : 0;
    default:
      return operation === code.txa ? bitX : bitA;
  }
}

/** The atom an instruction writes, if it writes one. */
export function written({ code: operation, k }: Instruction): number | undefined {
  switch (classOf(operation)) {
    case opClass.load:
    case opClass.alu:
      return atomA;
    case opClass.loadX:
      return atomX;
    case opClass.store:
    case opClass.storeX:
      return k;
    case opClass.misc:
      return operation === code.tax ? atomX : atomA;
    default:
      return undefined;
  }
}
