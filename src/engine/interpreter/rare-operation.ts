import { READ_SIGNED } from "../program-memory.ts";
import type { Machine } from "./machine.ts";
import { divide64, divideSigned64, modulo64, moduloSigned64, swap32 } from "./wide.ts";

/**
 * Operations that programs hold few of: the loop of execute.ts calls this for them, which costs some
 * 4 ns each. With 64-bit division in the loop programs that load and store were 4% slower. `d` and `s` index low words as there, `x` is a load's offset. False: a load that the program
 * may not make; the memory's `problem` says why.
 */
export function executeRare(
  machine: Machine,
  operation: number,
  d: number,
  s: number,
  x: number,
): boolean {
  const r = machine.registers;
  switch (operation) {
    case 4: // sdiv32
      r[d] = r[s] === 0 ? 0 : (r[d]! / r[s]!) | 0;
      r[d + 1] = 0;
      break;
    case 6: // smod32
      if (r[s] !== 0) r[d] = (r[d]! % r[s]!) | 0;
      r[d + 1] = 0;
      break;
    case 17: // div64
      divide64(r, d, s);
      break;
    case 18: // sdiv64
      divideSigned64(r, d, s);
      break;
    case 19: // mod64
      modulo64(r, d, s);
      break;
    case 20: // smod64
      moduloSigned64(r, d, s);
      break;
    case 28: // negate32
      r[d] = -r[d]! | 0;
      r[d + 1] = 0;
      break;
    case 29: {
      // negate64
      const low = r[d]!;
      r[d] = -low | 0;
      r[d + 1] = low === 0 ? -r[d + 1]! | 0 : ~r[d + 1]!;
      break;
    }
    case 30: // move_signed32_8
      r[d] = (r[s]! << 24) >> 24;
      r[d + 1] = 0;
      break;
    case 31: // move_signed32_16
      r[d] = (r[s]! << 16) >> 16;
      r[d + 1] = 0;
      break;
    case 32: // move_signed64_8
      r[d] = (r[s]! << 24) >> 24;
      r[d + 1] = r[d]! >> 31;
      break;
    case 33: // move_signed64_16
      r[d] = (r[s]! << 16) >> 16;
      r[d + 1] = r[d]! >> 31;
      break;
    case 34: // move_signed64_32
      r[d] = r[s]!;
      r[d + 1] = r[d]! >> 31;
      break;
    case 35: // truncate16
      r[d]! &= 0xffff;
      r[d + 1] = 0;
      break;
    case 36: // truncate32
      r[d + 1] = 0;
      break;
    case 37: // nothing
      break;
    case 40: {
      // swap64
      const low = swap32(r[d + 1]!);
      r[d + 1] = swap32(r[d]!);
      r[d] = low;
      break;
    }
    case 45: // load_signed8
      return loadSigned(machine, 1, d, s, x);
    case 46: // load_signed16
      return loadSigned(machine, 2, d, s, x);
    case 47: // load_signed32
      return loadSigned(machine, 4, d, s, x);
    default:
      throw new Error(`operation ${operation} has no case`);
  }
  return true;
}

function loadSigned(
  { memory, registers: r, context }: Machine,
  size: 1 | 2 | 4,
  d: number,
  s: number,
  x: number,
): boolean {
  const { view } = context.arena;
  const a = (r[s]! + x) | 0;
  if (
    (r[s + 1] !== 0 || a < memory.readLow || a > memory.readHigh - size) &&
    !memory.locate(a, r[s + 1]!, size, READ_SIGNED)
  )
    return false;
  const value =
    size === 1 ? view.getInt8(a) : size === 2 ? view.getInt16(a, true) : view.getInt32(a, true);
  r[d] = value;
  r[d + 1] = value >> 31;
  return true;
}
