import { maxFrames } from "../engine.ts";
import { callHelper } from "../helpers/call-helper.ts";
import { ATOMIC, READ, WRITE } from "../program-memory.ts";
import { atomic32, atomic64 } from "./atomic.ts";
import { callBack } from "./call-back.ts";
import type { Machine } from "./machine.ts";
import { loadPacket } from "./packet-load.ts";
import { executeRare } from "./rare-operation.ts";
import { slotWords } from "./translate.ts";
import { multiply64, shiftLeft64, shiftRight64, shiftRightSigned64, swap32 } from "./wide.ts";

/**
 * Runs a machine from where it stands to its exit, its fault, or its tail call of another program,
 * which `machine.target` then holds; r0's low word.
 *
 * One loop over `code` of translate.ts, long because it must be one function. Per operation: `d`
 * and `s` index the destination's and the source's low word in the registers, `x` is the
 * operation's second word, `pc` already that of the next. The numbers of the cases are those of
 * operation.ts; those that are missing here are in rare-operation.ts. Loads and stores have their
 * checks in place: V8 does not inline as much into a function of this size, and calls for them
 * made programs 12 to 20% slower.
 */
export function execute(machine: Machine): number {
  const { memory, registers: r, registers64: r64, arena64, observer } = machine;
  const { view, bytes, words } = machine.context.arena;
  const { helpers } = machine;
  const { code, lastExit } = machine.translation;
  // Where each step is observed the count is kept at 0, so that without one it costs nothing.
  let steps = observer === undefined ? machine.steps : 0;
  let observedSteps = machine.steps;
  let { pc, depth } = machine;
  const { floor } = machine;
  for (;;) {
    if (--steps < 0) {
      observedSteps += steps;
      if (observer === undefined || observedSteps < 0) return machine.stopAtBudget(pc);
      steps = 0;
      observer(pc / slotWords, r);
    }
    const operation = code[pc]!;
    const x = code[pc + 1]!;
    const d = (operation >> 7) & 30;
    const s = (operation >>> 11) & ~1;
    pc += slotWords;
    switch (operation & 0xff) {
      case 0: // add32
        r[d] = (r[d]! + r[s]!) | 0;
        r[d + 1] = 0;
        break;
      case 1: // sub32
        r[d] = (r[d]! - r[s]!) | 0;
        r[d + 1] = 0;
        break;
      case 2: // mul32
        r[d] = Math.imul(r[d]!, r[s]!);
        r[d + 1] = 0;
        break;
      case 3: // div32
        r[d] = r[s] === 0 ? 0 : ((r[d]! >>> 0) / (r[s]! >>> 0)) | 0;
        r[d + 1] = 0;
        break;
      case 5: // mod32
        if (r[s] !== 0) r[d] = ((r[d]! >>> 0) % (r[s]! >>> 0)) | 0;
        r[d + 1] = 0;
        break;
      case 7: // or32
        r[d] = r[d]! | r[s]!;
        r[d + 1] = 0;
        break;
      case 8: // and32
        r[d] = r[d]! & r[s]!;
        r[d + 1] = 0;
        break;
      case 9: // xor32
        r[d] = r[d]! ^ r[s]!;
        r[d + 1] = 0;
        break;
      case 10: // lsh32
        r[d] = r[d]! << r[s]!;
        r[d + 1] = 0;
        break;
      case 11: // rsh32
        r[d] = r[d]! >>> r[s]!;
        r[d + 1] = 0;
        break;
      case 12: // arsh32
        r[d] = r[d]! >> r[s]!;
        r[d + 1] = 0;
        break;
      case 13: // mov32
        r[d] = r[s]!;
        r[d + 1] = 0;
        break;
      case 14: {
        // add64
        const a = r[d]!;
        const sum = (a + r[s]!) | 0;
        r[d + 1] = (r[d + 1]! + r[s + 1]! + (sum >>> 0 < a >>> 0 ? 1 : 0)) | 0;
        r[d] = sum;
        break;
      }
      case 15: {
        // sub64
        const a = r[d]!;
        const b = r[s]!;
        r[d + 1] = (r[d + 1]! - r[s + 1]! - (a >>> 0 < b >>> 0 ? 1 : 0)) | 0;
        r[d] = (a - b) | 0;
        break;
      }
      case 16: // mul64
        multiply64(r, d, s);
        break;
      case 21: // or64
        r[d]! |= r[s]!;
        r[d + 1]! |= r[s + 1]!;
        break;
      case 22: // and64
        r[d]! &= r[s]!;
        r[d + 1]! &= r[s + 1]!;
        break;
      case 23: // xor64
        r[d]! ^= r[s]!;
        r[d + 1]! ^= r[s + 1]!;
        break;
      case 24: // lsh64
        shiftLeft64(r, d, r[s]! & 63);
        break;
      case 25: // rsh64
        shiftRight64(r, d, r[s]! & 63);
        break;
      case 26: // arsh64
        shiftRightSigned64(r, d, r[s]! & 63);
        break;
      case 27: // mov64
        r[d] = r[s]!;
        r[d + 1] = r[s + 1]!;
        break;
      case 38: // swap16
        r[d] = ((r[d]! & 0xff) << 8) | ((r[d]! >> 8) & 0xff);
        r[d + 1] = 0;
        break;
      case 39: // swap32
        r[d] = swap32(r[d]!);
        r[d + 1] = 0;
        break;
      case 41: {
        // load8
        const a = (r[s]! + x) | 0;
        if (
          (r[s + 1] !== 0 || a < memory.readLow || a >= memory.readHigh) &&
          !memory.locate(a, r[s + 1]!, 1, READ)
        )
          return machine.stopAtMemory(pc);
        r[d] = bytes[a]!;
        r[d + 1] = 0;
        break;
      }
      case 42: {
        // load16
        const a = (r[s]! + x) | 0;
        if (
          (r[s + 1] !== 0 || a < memory.readLow || a > memory.readHigh - 2) &&
          !memory.locate(a, r[s + 1]!, 2, READ)
        )
          return machine.stopAtMemory(pc);
        r[d] = view.getUint16(a, true);
        r[d + 1] = 0;
        break;
      }
      case 43: {
        // load32
        const a = (r[s]! + x) | 0;
        if (
          (r[s + 1] !== 0 || a < memory.readLow || a > memory.readHigh - 4) &&
          !memory.locate(a, r[s + 1]!, 4, READ)
        )
          return machine.stopAtMemory(pc);
        r[d] = view.getInt32(a, true);
        r[d + 1] = 0;
        break;
      }
      case 44: {
        // load64
        const a = (r[s]! + x) | 0;
        if (
          (r[s + 1] !== 0 || a < memory.readLow || a > memory.readHigh - 8) &&
          !memory.locate(a, r[s + 1]!, 8, READ)
        )
          return machine.stopAtMemory(pc);
        if ((a & 7) === 0) r64[d >> 1] = arena64[a >> 3]!;
        else {
          r[d] = view.getInt32(a, true);
          r[d + 1] = view.getInt32(a + 4, true);
        }
        break;
      }
      case 48: {
        // store8
        const a = (r[d]! + x) | 0;
        if (
          (r[d + 1] !== 0 || a < memory.writeLow || a >= memory.writeHigh) &&
          !memory.locate(a, r[d + 1]!, 1, WRITE)
        )
          return machine.stopAtMemory(pc);
        bytes[a] = r[s]!;
        break;
      }
      case 49: {
        // store16
        const a = (r[d]! + x) | 0;
        if (
          (r[d + 1] !== 0 || a < memory.writeLow || a > memory.writeHigh - 2) &&
          !memory.locate(a, r[d + 1]!, 2, WRITE)
        )
          return machine.stopAtMemory(pc);
        view.setInt16(a, r[s]!, true);
        break;
      }
      case 50: {
        // store32
        const a = (r[d]! + x) | 0;
        if (
          (r[d + 1] !== 0 || a < memory.writeLow || a > memory.writeHigh - 4) &&
          !memory.locate(a, r[d + 1]!, 4, WRITE)
        )
          return machine.stopAtMemory(pc);
        view.setInt32(a, r[s]!, true);
        break;
      }
      case 51: {
        // store64
        const a = (r[d]! + x) | 0;
        if (
          (r[d + 1] !== 0 || a < memory.writeLow || a > memory.writeHigh - 8) &&
          !memory.locate(a, r[d + 1]!, 8, WRITE)
        )
          return machine.stopAtMemory(pc);
        if ((a & 7) === 0) arena64[a >> 3] = r64[s >> 1]!;
        else {
          view.setInt32(a, r[s]!, true);
          view.setInt32(a + 4, r[s + 1]!, true);
        }
        break;
      }
      case 52: {
        // atomic32
        const a = (r[d]! + (x >> 8)) | 0;
        if (!memory.locate(a, r[d + 1]!, 4, ATOMIC)) return machine.stopAtMemory(pc);
        if ((a & 3) !== 0) return machine.stopAtMisaligned(pc, a, 4);
        atomic32(x & 0xff, words, a >> 2, r, s);
        break;
      }
      case 53: {
        // atomic64
        const a = (r[d]! + (x >> 8)) | 0;
        if (!memory.locate(a, r[d + 1]!, 8, ATOMIC)) return machine.stopAtMemory(pc);
        if ((a & 7) !== 0) return machine.stopAtMisaligned(pc, a, 8);
        atomic64(x & 0xff, arena64, a >> 3, r64, s >> 1);
        break;
      }
      case 54: // jump
        pc = x;
        break;
      case 55: // eq32
        if (r[d] === r[s]) pc = x;
        break;
      case 56: // ne32
        if (r[d] !== r[s]) pc = x;
        break;
      case 57: // gt32
        if (r[d]! >>> 0 > r[s]! >>> 0) pc = x;
        break;
      case 58: // ge32
        if (r[d]! >>> 0 >= r[s]! >>> 0) pc = x;
        break;
      case 59: // lt32
        if (r[d]! >>> 0 < r[s]! >>> 0) pc = x;
        break;
      case 60: // le32
        if (r[d]! >>> 0 <= r[s]! >>> 0) pc = x;
        break;
      case 61: // sgt32
        if (r[d]! > r[s]!) pc = x;
        break;
      case 62: // sge32
        if (r[d]! >= r[s]!) pc = x;
        break;
      case 63: // slt32
        if (r[d]! < r[s]!) pc = x;
        break;
      case 64: // sle32
        if (r[d]! <= r[s]!) pc = x;
        break;
      case 65: // set32
        if ((r[d]! & r[s]!) !== 0) pc = x;
        break;
      case 66: // eq64
        if (r[d] === r[s] && r[d + 1] === r[s + 1]) pc = x;
        break;
      case 67: // ne64
        if (r[d] !== r[s] || r[d + 1] !== r[s + 1]) pc = x;
        break;
      case 68: // gt64
        if (r[d + 1] === r[s + 1] ? r[d]! >>> 0 > r[s]! >>> 0 : r[d + 1]! >>> 0 > r[s + 1]! >>> 0)
          pc = x;
        break;
      case 69: // ge64
        if (r[d + 1] === r[s + 1] ? r[d]! >>> 0 >= r[s]! >>> 0 : r[d + 1]! >>> 0 > r[s + 1]! >>> 0)
          pc = x;
        break;
      case 70: // lt64
        if (r[d + 1] === r[s + 1] ? r[d]! >>> 0 < r[s]! >>> 0 : r[d + 1]! >>> 0 < r[s + 1]! >>> 0)
          pc = x;
        break;
      case 71: // le64
        if (r[d + 1] === r[s + 1] ? r[d]! >>> 0 <= r[s]! >>> 0 : r[d + 1]! >>> 0 < r[s + 1]! >>> 0)
          pc = x;
        break;
      case 72: // sgt64
        if (r[d + 1] === r[s + 1] ? r[d]! >>> 0 > r[s]! >>> 0 : r[d + 1]! > r[s + 1]!) pc = x;
        break;
      case 73: // sge64
        if (r[d + 1] === r[s + 1] ? r[d]! >>> 0 >= r[s]! >>> 0 : r[d + 1]! > r[s + 1]!) pc = x;
        break;
      case 74: // slt64
        if (r[d + 1] === r[s + 1] ? r[d]! >>> 0 < r[s]! >>> 0 : r[d + 1]! < r[s + 1]!) pc = x;
        break;
      case 75: // sle64
        if (r[d + 1] === r[s + 1] ? r[d]! >>> 0 <= r[s]! >>> 0 : r[d + 1]! < r[s + 1]!) pc = x;
        break;
      case 76: // set64
        if (((r[d]! & r[s]!) | (r[d + 1]! & r[s + 1]!)) !== 0) pc = x;
        break;
      case 77: // call_local
        if (depth === maxFrames - 1) return machine.stopAtDepth(pc);
        machine.save(depth++, pc);
        pc = x;
        break;
      case 78: // exit
        if (depth === floor)
          return machine.finish(observer === undefined ? steps : observedSteps + steps);
        pc = machine.restore(--depth);
        break;
      case 79: {
        // call_helper
        const problem = callHelper(helpers[x]!, machine);
        if (problem !== undefined) return machine.stop(pc, "bad_argument", problem);
        steps -= machine.takeWork();
        break;
      }
      case 80: {
        // call_register
        const problem = machine.callNumbered(r[s]!, r[s + 1]!);
        if (problem !== undefined) return machine.stop(pc, "bad_argument", problem);
        steps -= machine.takeWork();
        break;
      }
      case 81: {
        // load_packet
        const found = loadPacket(machine, d >> 1, x);
        if (found < 0) return machine.stopAtPacketLoad(pc);
        if (found === 0) pc = lastExit;
        break;
      }
      case 82: {
        // load_packet_indexed
        const found = loadPacket(machine, d >> 1, (r[s]! + x) | 0);
        if (found < 0) return machine.stopAtPacketLoad(pc);
        if (found === 0) pc = lastExit;
        break;
      }
      case 83: {
        // tail_call
        const problem = machine.tailCall(depth);
        if (problem !== undefined) return machine.stop(pc, "bad_argument", problem);
        if (machine.target !== undefined)
          return machine.leave(observer === undefined ? steps : observedSteps + steps);
        break;
      }
      case 84: {
        // call_back
        machine.steps = observer === undefined ? steps : observedSteps + steps;
        callBack(machine, helpers[x]!, depth, pc, execute);
        if (machine.fault !== undefined) return 0;
        if (observer === undefined) steps = machine.steps;
        else {
          observedSteps = machine.steps;
          steps = 0;
        }
        break;
      }
      case 85: // mov64_wide
        r[d] = r[s]!;
        r[d + 1] = r[s + 1]!;
        // Its second slot is a step as well.
        pc += slotWords;
        steps--;
        break;
      default:
        if (!executeRare(machine, operation & 0xff, d, s, x)) return machine.stopAtMemory(pc);
    }
  }
}
