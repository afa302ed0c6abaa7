import { disassemble } from "../isa/disassembler.ts";
import type { Instruction } from "../isa/instruction.ts";
import type { Analysis } from "./analysis.ts";
import { contextAccessOf, fieldAt } from "./context-rules.ts";
import { whereText } from "./describe-place.ts";
import type { HelperSignature } from "./helper-signature.ts";
import { exit } from "./precision.ts";
import { isNumber } from "./scalar-range.ts";
import { type Place, placeFrame, placeRegister, placeSlot, registerPlace } from "./trace.ts";

/** Why a register that is used as a pointer holds a number, and what to do about it. */
export interface LostPointer {
  /** The end of a sentence that begins with the register's name. */
  readonly cause: string;
  readonly fix: string;
}

/** Where a value was made, and what the path met on the way back to there. */
interface Origin {
  readonly step: number;
  readonly instruction: Instruction;
  /** Steps of calls behind it, of helpers and functions, and of leaving without an exit; the last first. */
  readonly calls: readonly number[];
}

/**
 * Follows the number in a register back along the path to what made it, to tell of a pointer that was
 * one once: into a packet that has moved since, to a record that was given back, null, cut in half.
 * Undefined where it was nothing of the kind.
 */
export function lostPointer(a: Analysis, register: number): LostPointer | undefined {
  const origin = originOf(a, a.state.step, registerPlace(a.state.depth, register));
  if (origin === undefined) return undefined;
  const { instruction, step } = origin;
  const at = whereText(a.program, a.trace.slot(step));
  switch (instruction.kind) {
    case "load":
      return movedPacket(a, origin) ?? contextNumber(a, origin, at);
    case "call_helper": {
      const helper = a.helpers.get(instruction.id);
      if (helper === undefined) return undefined;
      const { range } = a.registers[register]!;
      if (helper.returns?.endsWith("_or_null") && isNumber(range, 0n))
        return {
          cause: `is null here: what bpf_${helper.name} returned at ${at} was compared with 0`,
          fix: "use it only where it is not 0: leave on the other branch",
        };
      return helper.returns === "reserved_memory_or_null" ? givenBack(a, origin) : undefined;
    }
    case "alu":
    case "negate":
    case "byte_order":
    case "move_signed":
      return {
        cause: `holds a number since ${at} (${disassemble(instruction)})`,
        fix: "keep the pointer as it is, in a 64-bit register or 8 bytes of the stack; only numbers may be added to it and subtracted",
      };
    default:
      return undefined;
  }
}

/** A pointer that was loaded from the context, and a call that made it none. */
function movedPacket(a: Analysis, { step, instruction, calls }: Origin): LostPointer | undefined {
  if (instruction.kind !== "load" || a.context?.pointers.get(instruction.offset) === undefined)
    return undefined;
  const base = originOf(
    a,
    a.trace.previous(step),
    registerPlace(a.trace.depth(step), instruction.base),
  );
  // The context is made by nothing on the path.
  if (base !== undefined) return undefined;
  const call = calls.find((one) => moverAt(a, one) !== undefined);
  if (call === undefined) return undefined;
  const at = whereText(a.program, a.trace.slot(call));
  return {
    cause: `pointed into the packet until ${moverAt(a, call)} at ${at}`,
    fix: a.trace.leaves(call)
      ? "load data and data_end again behind the call of the function that makes the tail call, and compare again"
      : "load data and data_end again behind that call, and compare again",
  };
}

/** What a step does to the packet, if it moves it: the middle of a sentence. */
function moverAt(a: Analysis, step: number): string | undefined {
  const helper = helperAt(a, step);
  if (a.trace.leaves(step))
    return helper?.tailCall ? "the tail call, whose target may move that," : undefined;
  if (helper?.movesPacket) return `bpf_${helper.name} moved that,`;
  const global = globalAt(a, step);
  return global?.movesPacket
    ? `the call of global function ${global.name}, which may move that,`
    : undefined;
}

/** A number of the context where the other kind of context has a pointer. */
function contextNumber(
  a: Analysis,
  { step, instruction }: Origin,
  at: string,
): LostPointer | undefined {
  const other = contextAccessOf("xdp")!;
  if (instruction.kind !== "load" || a.context === undefined || a.context.name === other.name)
    return undefined;
  const { base, offset } = instruction;
  const from = originOf(a, a.trace.previous(step), registerPlace(a.trace.depth(step), base));
  if (from !== undefined || !other.pointers.has(offset)) return undefined;
  return {
    cause: `holds the number ${fieldAt(a.context, offset)} since ${at}`,
    fix: `in struct ${other.name} a pointer lies there: put the program into a section for that, SEC("xdp"), or load ${a.context.name}.data`,
  };
}

/** A record that was reserved at the origin, and the call that took it. */
function givenBack(a: Analysis, { step, calls }: Origin): LostPointer | undefined {
  const call = calls.find((one) => {
    const index = helperAt(a, one)?.arguments.indexOf("reserved_memory") ?? -1;
    if (index < 0) return false;
    const given = registerPlace(a.trace.depth(one), index + 1);
    return originOf(a, a.trace.previous(one), given)?.step === step;
  });
  if (call === undefined) return undefined;
  return {
    cause: `pointed to a record that bpf_${helperAt(a, call)?.name} took at ${whereText(a.program, a.trace.slot(call))}`,
    fix: "do this before, and submit or discard a record only once",
  };
}

function helperAt({ instructions, trace, helpers }: Analysis, step: number) {
  const instruction = instructions[trace.slot(step)];
  return instruction?.kind === "call_helper" ? helpers.get(instruction.id) : undefined;
}

/** The global function that a step called. */
function globalAt({ instructions, trace, calledGlobals }: Analysis, step: number) {
  const slot = trace.slot(step);
  const instruction = instructions[slot];
  if (instruction?.kind !== "call_local") return undefined;
  const target = slot + 1 + instruction.offset;
  return [...calledGlobals].find((one) => one.slot === target);
}

/** The step that made what a place holds after `last`; copies and spills are followed. */
function originOf(a: Analysis, last: number, wanted: Place): Origin | undefined {
  const { trace } = a;
  let place = wanted;
  const calls: number[] = [];
  for (let step = last; step >= 0; step = trace.previous(step)) {
    const leaves = trace.leaves(step);
    const instruction = leaves ? exit : (a.instructions[trace.slot(step)] as Instruction);
    const depth = trace.depth(step);
    const isCall = instruction.kind === "call_helper" || instruction.kind === "call_local";
    const entersOrLeavesCallback = trace.callback(step);
    if ((isCall || leaves) && !entersOrLeavesCallback) calls.push(step);
    const before = entersOrLeavesCallback
      ? placeBeforeCallback(helperAt(a, step), depth, place)
      : placeBefore(instruction, depth, trace.stackPlace(step), place);
    if (before === undefined) return { step, instruction, calls };
    place = before;
  }
  return undefined;
}

/**
 * The same where a helper calls a callback, or where that ends and no helper is given: the caller keeps
 * all it has, and of what the callback begins with only its own argument comes from there.
 */
function placeBeforeCallback(
  helper: HelperSignature | undefined,
  depth: number,
  place: Place,
): Place | undefined {
  if (helper === undefined || placeFrame(place) <= depth) return place;
  const given = registerPlace(depth + 1, helper.callback === "loop" ? 2 : 4);
  return place === given ? registerPlace(depth, 3) : undefined;
}

/** Where the value was before a step; undefined: the step made it. */
function placeBefore(
  instruction: Instruction,
  depth: number,
  stackPlace: Place,
  place: Place,
): Place | undefined {
  const isRegister = placeSlot(place) < 0;
  const register = isRegister && placeFrame(place) === depth ? placeRegister(place) : -1;
  switch (instruction.kind) {
    case "alu": {
      const { op, width, dst, src } = instruction;
      if (register !== dst) return place;
      if (op === "mov" && width === 64 && "register" in src)
        return registerPlace(depth, src.register);
      // Of a sum the pointer is most often the side that stays.
      return width === 64 && (op === "add" || op === "sub") ? place : undefined;
    }
    case "load":
      if (register !== instruction.dst) return place;
      return stackPlace >= 0 ? stackPlace : undefined;
    case "store":
      if (stackPlace !== place) return place;
      return "register" in instruction.src
        ? registerPlace(depth, instruction.src.register)
        : undefined;
    case "move_signed":
    case "negate":
    case "byte_order":
    case "load_immediate":
    case "load_map":
    case "load_map_value":
    case "load_function":
      return register === instruction.dst ? undefined : place;
    case "atomic":
      return instruction.fetch && register === (instruction.op === "cmpxchg" ? 0 : instruction.src)
        ? undefined
        : place;
    case "call_helper":
    case "call_register":
    case "load_packet":
      return register === 0 ? undefined : place;
    case "call_local":
      if (register === 0) return undefined;
      // What a function was given.
      return isRegister && placeFrame(place) === depth + 1
        ? registerPlace(depth, placeRegister(place))
        : place;
    case "exit":
      return place === registerPlace(depth - 1, 0) ? registerPlace(depth, 0) : place;
    default:
      return place;
  }
}
