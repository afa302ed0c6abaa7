import { type Instruction, registerOf } from "../isa/instruction.ts";
import { flows } from "./control-flow.ts";
import { type GlobalFunction, globalFunctions } from "./global-function.ts";
import type { HelperSignature } from "./helper-signature.ts";
import { liveRegisters } from "./live-registers.ts";
import type { VerifiableProgram } from "./program.ts";
import { mattersAlways } from "./trace.ts";

/** An instruction that names a function of the program. */
export interface FunctionReference {
  readonly slot: number;
  /** The function's first slot. */
  readonly target: number;
}

/**
 * What is known of a program before it is followed, by slot, worked out in one pass: an instruction's
 * kind is a string, and asking for it again and again took a fifth of the time.
 */
export interface ProgramShape {
  /** One of `flows`. */
  readonly flow: Uint8Array;
  /** The slot that a jump, a branch or a reference names. */
  readonly target: Int32Array;
  /**
   * 1 where paths meet, and states are worth keeping to compare with: targets of jumps, branches,
   * calls and where they return to. Not the slot behind a branch, to which one way alone leads: what
   * comes there was compared at the branch. Kernel: mark_prune_point.
   */
  readonly meeting: Uint8Array;
  /** 1 at calls of helpers that call back: states are always kept there. */
  readonly callbackCalls: Uint8Array;
  /** 1 at what a program may not hold where it is reached, or perhaps not: `forbiddenInstruction`. */
  readonly restricted: Uint8Array;
  /** Registers that something from here on may read before it is overwritten, one bit each. */
  readonly live: Uint16Array;
  /**
   * Registers of its frame which, if precision is wanted of one, make the instruction matter, one bit
   * each, or `mattersAlways`. Stores are seen by the place of the stack that they write.
   */
  readonly touches: Uint16Array;
  readonly references: readonly FunctionReference[];
  /** Calls of helpers that make tail calls. */
  readonly tailCalls: readonly number[];
  readonly globals: ReadonlyMap<number, GlobalFunction>;
}

const callerSaved = 0x3f;
const argumentMask = 0x3e;
const framePointer = 1 << 10;

/** The shape of a program whose structure is sound: all targets are within it. */
export function shapeOf(
  program: VerifiableProgram,
  helpers: ReadonlyMap<number, HelperSignature>,
): ProgramShape {
  const { instructions } = program;
  const count = instructions.length;
  const flow = new Uint8Array(count);
  const target = new Int32Array(count);
  const meeting = new Uint8Array(count + 1);
  const callbackCalls = new Uint8Array(count);
  const restricted = new Uint8Array(count);
  const touches = new Uint16Array(count);
  const reads = new Uint16Array(count);
  const writes = new Uint16Array(count);
  const references: FunctionReference[] = [];
  const tailCalls: number[] = [];
  for (let slot = 0; slot < count; slot++) {
    const instruction = instructions[slot] as Instruction;
    switch (instruction.kind) {
      case "alu": {
        const { op, dst, src } = instruction;
        const source = registerOf(src);
        reads[slot] = (source === undefined ? 0 : 1 << source) | (op === "mov" ? 0 : 1 << dst);
        writes[slot] = touches[slot] = 1 << dst;
        break;
      }
      case "load":
        reads[slot] = 1 << instruction.base;
        writes[slot] = touches[slot] = 1 << instruction.dst;
        break;
      case "store": {
        const source = registerOf(instruction.src);
        reads[slot] = (1 << instruction.base) | (source === undefined ? 0 : 1 << source);
        break;
      }
      case "branch": {
        const { dst, src } = instruction;
        const source = registerOf(src);
        reads[slot] = 1 << dst;
        if (source !== undefined) touches[slot] = reads[slot]! |= 1 << source;
        flow[slot] = flows.branch;
        target[slot] = slot + 1 + instruction.offset;
        meeting[slot] = meeting[target[slot]!] = 1;
        break;
      }
      case "jump":
        flow[slot] = flows.jump;
        target[slot] = slot + 1 + instruction.offset;
        meeting[target[slot]!] = 1;
        break;
      case "move_signed":
        reads[slot] = 1 << instruction.src;
        writes[slot] = touches[slot] = 1 << instruction.dst;
        break;
      case "negate":
      case "byte_order":
        reads[slot] = writes[slot] = 1 << instruction.dst;
        break;
      case "load_immediate":
      case "load_map":
      case "load_map_value":
      case "load_variable":
        writes[slot] = touches[slot] = 1 << instruction.dst;
        break;
      case "load_function":
        writes[slot] = touches[slot] = 1 << instruction.dst;
        flow[slot] = flows.refer;
        target[slot] = slot + 1 + instruction.offset;
        references.push({ slot, target: target[slot]! });
        break;
      case "atomic": {
        const { op, base, src, fetch } = instruction;
        reads[slot] = (1 << base) | (1 << src) | (op === "cmpxchg" ? 1 : 0);
        writes[slot] = fetch ? 1 << (op === "cmpxchg" ? 0 : src) : 0;
        touches[slot] = mattersAlways;
        break;
      }
      case "load_packet": {
        const { index } = instruction;
        reads[slot] = (1 << 6) | (index === undefined ? 0 : 1 << index);
        writes[slot] = callerSaved;
        touches[slot] = mattersAlways;
        restricted[slot] = 1;
        break;
      }
      case "call_helper": {
        const helper = helpers.get(instruction.id);
        reads[slot] = (1 << ((helper?.arguments.length ?? 5) + 1)) - 2;
        writes[slot] = callerSaved;
        touches[slot] = mattersAlways;
        restricted[slot] = 1;
        if (helper?.callback !== undefined) callbackCalls[slot] = meeting[slot] = 1;
        if (helper?.tailCall === true) tailCalls.push(slot);
        break;
      }
      case "call_register":
        reads[slot] = argumentMask | (1 << instruction.target);
        writes[slot] = callerSaved;
        touches[slot] = mattersAlways;
        restricted[slot] = 1;
        break;
      case "call_local":
        reads[slot] = argumentMask;
        writes[slot] = callerSaved;
        touches[slot] = mattersAlways;
        flow[slot] = flows.refer;
        target[slot] = slot + 1 + instruction.offset;
        meeting[slot] = meeting[slot + 1] = 1;
        references.push({ slot, target: target[slot]! });
        break;
      case "call_btf":
        reads[slot] = argumentMask;
        writes[slot] = callerSaved;
        break;
      case "exit":
        reads[slot] = 1;
        touches[slot] = mattersAlways;
        flow[slot] = flows.exit;
        break;
      case "second_slot":
        break;
      default: {
        const never: never = instruction;
        throw new Error(`${never} is not handled`);
      }
    }
    if ((writes[slot]! & framePointer) !== 0) restricted[slot] = 1;
  }
  for (const { slot } of program.unanswered ?? []) restricted[slot] = 1;
  return {
    flow,
    target,
    meeting,
    callbackCalls,
    restricted,
    live: liveRegisters({ flow, target, reads, writes }),
    touches,
    references,
    tailCalls,
    globals: globalFunctions(program, helpers),
  };
}

/** The first instruction that no jump, call or fall-through can reach, or undefined. */
export function firstUnreachable({ flow, target }: ProgramShape): number | undefined {
  const reached = new Uint8Array(flow.length);
  const pending = [0];
  for (let from = pending.pop(); from !== undefined; from = pending.pop()) {
    let slot = from;
    while (slot < flow.length && reached[slot] === 0) {
      reached[slot] = 1;
      const kind = flow[slot]!;
      if (kind === flows.exit) break;
      if (kind === flows.jump) {
        slot = target[slot]!;
        continue;
      }
      if (kind !== flows.on && reached[target[slot]!] === 0) pending.push(target[slot]!);
      slot++;
    }
  }
  const first = reached.indexOf(0);
  return first < 0 ? undefined : first;
}
