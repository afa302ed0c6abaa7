import { u16be, u32be } from "../common/bytes.ts";
import { ancillaryOffset } from "./ancillary.ts";
import type { ClassicProgram } from "./instruction.ts";
import {
  aluOp,
  classOf,
  code,
  jumpOp,
  memoryWords,
  mode,
  modeOf,
  opClass,
  operationOf,
  size,
  sizeOf,
  usesX,
} from "./opcode.ts";

/** What a classic filter sees. */
export interface ClassicPacket {
  /** The bytes that were captured: loads beyond them end the program with 0. */
  readonly data: Uint8Array;
  /** Bytes on the wire: what `len` is. */
  readonly length: number;
  /** Linux's ancillary data by its offset (ancillary.ts); what is not in it ends the program with 0. */
  readonly ancillary?: ReadonlyMap<number, number>;
}

/** Steps after which a program with backward jumps (`protochain`) ends with 0. */
const maxSteps = 1_000_000;

/**
 * Runs a program as libpcap's bpf_filter does; the reference for the translation to eBPF.
 * Returns the number of bytes to keep (unsigned), 0 for no match. Memory starts as zeros, division
 * by zero and loads beyond the packet end with 0, shifts by 32 and more give 0. `ja` goes by a
 * signed offset, as in libpcap: the loop of `protochain` needs it.
 */
export function runClassic(program: ClassicProgram, packet: ClassicPacket): number {
  const memory = new Uint32Array(memoryWords);
  const { data } = packet;
  let a = 0;
  let x = 0;
  let at = 0;
  for (let step = 0; step < maxSteps; step++) {
    const instruction = program[at];
    if (instruction === undefined) return 0;
    at++;
    const { code: operation, k } = instruction;
    switch (classOf(operation)) {
      case opClass.load: {
        const value = load(operation, k, x, memory, packet);
        if (value === undefined) return 0;
        a = value;
        break;
      }
      case opClass.loadX:
        if (modeOf(operation) === mode.headerLength) {
          if (k >= data.length) return 0;
          x = (data[k]! & 0xf) << 2;
        } else if (modeOf(operation) === mode.length) x = packet.length;
        else if (modeOf(operation) === mode.memory) x = memory[k] ?? 0;
        else x = k;
        break;
      case opClass.store:
        memory[k] = a;
        break;
      case opClass.storeX:
        memory[k] = x;
        break;
      case opClass.alu: {
        const value = calculate(operationOf(operation), a, usesX(operation) ? x : k);
        if (value === undefined) return 0;
        a = value;
        break;
      }
      case opClass.jump:
        if (operation === code.jumpAlways) at += k | 0;
        else
          at += holds(operationOf(operation), a, usesX(operation) ? x : k)
            ? instruction.jt
            : instruction.jf;
        break;
      case opClass.return:
        return operation === code.returnA ? a : k;
      default:
        if (operation === code.txa) a = x;
        else x = a;
    }
  }
  return 0;
}

function load(
  operation: number,
  k: number,
  x: number,
  memory: Uint32Array,
  packet: ClassicPacket,
): number | undefined {
  switch (modeOf(operation)) {
    case mode.immediate:
      return k;
    case mode.memory:
      return memory[k] ?? 0;
    case mode.length:
      return packet.length;
    case mode.absolute: {
      const offset = ancillaryOffset(k);
      if (offset !== undefined) return packet.ancillary?.get(offset);
      return bytesAt(packet.data, sizeOf(operation), k);
    }
    default:
      // The sum does not wrap: as in libpcap, neither part may lie beyond the packet.
      return bytesAt(packet.data, sizeOf(operation), x + k);
  }
}

function bytesAt(data: Uint8Array, width: number, at: number): number | undefined {
  switch (width) {
    case size.word:
      return at + 4 <= data.length ? u32be(data, at) : undefined;
    case size.half:
      return at + 2 <= data.length ? u16be(data, at) : undefined;
    default:
      return data[at];
  }
}

/** Undefined for a division by zero. All values are unsigned 32 bits. */
function calculate(operation: number, a: number, b: number): number | undefined {
  switch (operation) {
    case aluOp.add:
      return (a + b) >>> 0;
    case aluOp.sub:
      return (a - b) >>> 0;
    case aluOp.mul:
      return Math.imul(a, b) >>> 0;
    case aluOp.div:
      return b === 0 ? undefined : Math.floor(a / b);
    case aluOp.mod:
      return b === 0 ? undefined : a % b;
    case aluOp.or:
      return (a | b) >>> 0;
    case aluOp.and:
      return (a & b) >>> 0;
    case aluOp.xor:
      return (a ^ b) >>> 0;
    case aluOp.lsh:
      return b > 31 ? 0 : (a << b) >>> 0;
    case aluOp.rsh:
      return b > 31 ? 0 : a >>> b;
    default:
      return -a >>> 0;
  }
}

function holds(operation: number, a: number, b: number): boolean {
  switch (operation) {
    case jumpOp.eq:
      return a === b;
    case jumpOp.gt:
      return a > b;
    case jumpOp.ge:
      return a >= b;
    default:
      return (a & b) !== 0;
  }
}
