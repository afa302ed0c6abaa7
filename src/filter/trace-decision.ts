import type { TraceStep } from "../engine/interpreter/trace-recorder.ts";
import type { Instruction } from "../isa/instruction.ts";

/** Why a run returned what it did: places in its list of steps. */
export interface TraceDecision {
  /** The instruction that decided: it made the returned value, or chose the way that keeps it. */
  readonly decidedAt: number;
  /** The last branch that led there, if another way could have returned something else. */
  readonly because: number | undefined;
}

/** Where the value to be returned is, as it is followed back. */
type Holder = { readonly register: number } | { readonly stack: bigint };

/**
 * Follows a run back from its exit: through moves and spills to the instruction that made the
 * returned value, and to the branches whose other way could have made another one. A branch counts
 * only if that is so: the one that asks whether a counter is there decides nothing.
 */
export function decisionOf(steps: readonly TraceStep[]): TraceDecision | undefined {
  const last = steps.length - 1;
  if (last < 0 || instructionAt(steps[last]!).kind !== "exit") return undefined;
  let holder: Holder = { register: 0 };
  let decidedAt: number | undefined;
  const frame = steps[last]!;
  for (let i = last - 1; i >= 0; i--) {
    const step = steps[i]!;
    if (step.program !== frame.program) break;
    const instruction = instructionAt(step);
    if (step.depth !== frame.depth) {
      // A function that returned: what it left in r0 is what its call made.
      continue;
    }
    if (instruction.kind === "branch") {
      if (!decides(steps, i, holder, decidedAt)) continue;
      if (decidedAt !== undefined) return { decidedAt, because: i };
      return { decidedAt: i, because: undefined };
    }
    if (decidedAt !== undefined || !writes(instruction, step, holder)) continue;
    const from = movedFrom(instruction, step);
    if (from === undefined) decidedAt = i;
    else holder = from;
  }
  return decidedAt === undefined ? undefined : { decidedAt, because: undefined };
}

function instructionAt({ program, slot }: TraceStep): Instruction {
  return program.instructions[slot]!;
}

/** Where a plain copy takes its value from; undefined for what makes a new one. */
function movedFrom(instruction: Instruction, step: TraceStep): Holder | undefined {
  if (instruction.kind === "alu" && instruction.op === "mov" && "register" in instruction.src)
    return { register: instruction.src.register };
  if (instruction.kind === "load" && instruction.base === 10)
    return { stack: step.registers[10]! + BigInt(instruction.offset) };
  if (instruction.kind === "store" && "register" in instruction.src)
    return { register: instruction.src.register };
  return undefined;
}

function writes(instruction: Instruction, step: TraceStep, holder: Holder): boolean {
  if ("stack" in holder)
    return (
      instruction.kind === "store" &&
      step.registers[instruction.base]! + BigInt(instruction.offset) === holder.stack
    );
  return registerWritten(instruction, holder.register);
}

function registerWritten(instruction: Instruction, register: number): boolean {
  switch (instruction.kind) {
    case "call_helper":
    case "call_local":
    case "call_register":
      return register <= 5;
    case "load_packet":
      return register === 0;
    case "atomic":
      return instruction.fetch && (instruction.op === "cmpxchg" ? 0 : instruction.src) === register;
    case "store":
    case "jump":
    case "branch":
    case "exit":
    case "second_slot":
    case "call_btf":
      return false;
    default:
      return instruction.dst === register;
  }
}

/**
 * Whether the way that branch `at` did not take leads to an instruction that writes the holder, or
 * to an exit of its own, before it joins the way that was taken; or joins that only behind the
 * instruction at `made`, which made the value.
 */
function decides(
  steps: readonly TraceStep[],
  at: number,
  holder: Holder,
  made: number | undefined,
): boolean {
  const step = steps[at]!;
  const { instructions } = step.program;
  const branch = instructionAt(step);
  if (branch.kind !== "branch") return false;
  const next = steps[at + 1]?.slot;
  const ways = [step.slot + 1, step.slot + 1 + branch.offset];
  /** When each instruction of the way that was taken was done last. */
  const taken = new Map<number, number>();
  for (let i = at + 1; i < steps.length; i++)
    if (steps[i]!.depth === step.depth && steps[i]!.program === step.program)
      taken.set(steps[i]!.slot, i);
  const pending = ways.filter((slot) => slot !== next);
  const seen = new Set<number>();
  for (let slot = pending.pop(); slot !== undefined; slot = pending.pop()) {
    const instruction = instructions[slot];
    if (instruction === undefined || seen.has(slot)) continue;
    seen.add(slot);
    const joined = taken.get(slot);
    if (joined !== undefined) {
      if (made !== undefined && joined > made) return true;
      continue;
    }
    if (instruction.kind === "exit") return true;
    if ("register" in holder && registerWritten(instruction, holder.register)) return true;
    if ("stack" in holder && instruction.kind === "store" && instruction.base === 10) return true;
    if (instruction.kind === "jump") pending.push(slot + 1 + instruction.offset);
    else {
      pending.push(slot + 1);
      if (instruction.kind === "branch") pending.push(slot + 1 + instruction.offset);
    }
  }
  return false;
}
