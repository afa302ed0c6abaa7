import { helpers } from "../engine/helpers/helper-table.ts";
import type { TraceStep } from "../engine/interpreter/trace-recorder.ts";
import type { Instruction } from "../isa/instruction.ts";

/** Why a run returned what it did: places in its list of steps. */
export interface TraceDecision {
  /** The instruction that decided: it made the returned value, or chose the way that keeps it. */
  readonly decidedAt: number;
  /** The last branch that led there, if another way could have returned something else. */
  readonly because: number | undefined;
}

/**
 * When the instructions of functions were done last, as a run is followed back: of each depth's one
 * that is being followed.
 */
class TakenWays {
  /** By depth, then by slot: places in the list of steps. */
  readonly #functions: Map<number, number>[] = [];

  /** A function is followed from there: what was known of another at its depth is over. */
  begin(depth: number): void {
    this.#functions[depth] = new Map();
  }

  /** Steps come last first. */
  add({ slot, depth }: TraceStep, at: number): void {
    const known = this.#functions[depth]!;
    if (!known.has(slot)) known.set(slot, at);
  }

  lastOf(slot: number, depth: number): number | undefined {
    return this.#functions[depth]?.get(slot);
  }
}

/** Where the value to be returned is, as it is followed back. */
type Holder = { readonly register: number } | { readonly stack: bigint };

/**
 * Follows a run back from its exit: through moves, spills and functions that returned the value to
 * the instruction that made it, and to the branches whose other way could have made another one. A
 * branch counts only if that is so: the one that asks whether a counter is there decides nothing.
 */
export function decisionOf(steps: readonly TraceStep[]): TraceDecision | undefined {
  const last = steps.length - 1;
  if (last < 0) return undefined;
  // A packet load beyond the packet's end returns 0.
  if (instructionAt(steps[last]!).kind === "load_packet")
    return { decidedAt: last, because: undefined };
  if (instructionAt(steps[last]!).kind !== "exit") return undefined;
  let holder: Holder = { register: 0 };
  let decidedAt: number | undefined;
  const { program } = steps[last]!;
  let { depth } = steps[last]!;
  const taken = new TakenWays();
  taken.begin(depth);
  taken.add(steps[last]!, last);
  for (let i = last - 1; i >= 0; i--) {
    const step = steps[i]!;
    if (step.program !== program) break;
    const instruction = instructionAt(step);
    if (step.depth > depth) {
      if (decidedAt !== undefined) continue;
      if (returnsHolder(steps, i, depth, holder)) {
        taken.begin(++depth);
        taken.add(step, i);
        if (instruction.kind === "load_packet") decidedAt = i;
        continue;
      }
      // Functions get places of their caller's frame to write to.
      if (!("stack" in holder) || !writes(instruction, step, holder)) continue;
      while (depth < step.depth) taken.begin(++depth);
    }
    if (step.depth < depth) {
      // The call of the function: what it was given is in the same registers.
      depth = step.depth;
      taken.add(step, i);
      continue;
    }
    if (instruction.kind === "exit") {
      // The turn before of a function that a helper calls: the function around goes on further up.
      depth--;
      continue;
    }
    if (instruction.kind === "branch") {
      const isDeciding = decides(step, steps[i + 1]!, taken, holder, decidedAt);
      taken.add(step, i);
      if (!isDeciding) continue;
      if (decidedAt !== undefined) return { decidedAt, because: i };
      return { decidedAt: i, because: undefined };
    }
    taken.add(step, i);
    if (decidedAt !== undefined || !writes(instruction, step, holder)) continue;
    const from = movedFrom(instruction, step);
    if (from === undefined) decidedAt = i;
    else holder = from;
  }
  return decidedAt === undefined ? undefined : { decidedAt, because: undefined };
}

/** Whether step `at` ends a function that left the value in r0 for the one at `depth` that called it. */
function returnsHolder(
  steps: readonly TraceStep[],
  at: number,
  depth: number,
  holder: Holder,
): boolean {
  const after = steps[at + 1];
  if (
    after?.depth !== depth ||
    steps[at]!.depth !== depth + 1 ||
    !("register" in holder) ||
    holder.register !== 0
  )
    return false;
  // Not one that a helper called: r0 is the helper's.
  return after.program.instructions[after.slot - 1]?.kind === "call_local";
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
  if ("stack" in holder) {
    if (step.call !== undefined) return fills(step, holder.stack);
    return (
      instruction.kind === "store" &&
      step.registers[instruction.base]! + BigInt(instruction.offset) === holder.stack
    );
  }
  return registerWritten(instruction, holder.register);
}

/** Whether a helper was given memory to write to that begins at or before `address` and holds it. */
function fills({ call, registers }: TraceStep, address: bigint): boolean {
  return call!.helper.arguments.some((argument, i) => {
    const start = registers[i + 1]!;
    if (address < start || !/^(writable|updated)_/.test(argument)) return false;
    const isSized = argument.includes("memory");
    const size = isSized ? registers[i + 2]! : BigInt(call!.map?.valueSize ?? 8);
    return address < start + size;
  });
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

function mayWrite(instruction: Instruction, holder: Holder): boolean {
  if ("register" in holder) return registerWritten(instruction, holder.register);
  return instruction.kind === "store" && instruction.base === 10;
}

function isTailCall(instruction: Instruction): boolean {
  return instruction.kind === "call_helper" && helpers.get(instruction.id)?.tailCall === true;
}

/**
 * Whether the way that branch `at` did not take leads to an instruction that writes the holder, or
 * to an exit of its own, before it joins the way that was taken; or joins that only behind the
 * instruction at `made`, which made the value.
 */
function decides(
  step: TraceStep,
  after: TraceStep,
  taken: TakenWays,
  holder: Holder,
  made: number | undefined,
): boolean {
  const { instructions } = step.program;
  const branch = instructionAt(step);
  if (branch.kind !== "branch") return false;
  const ways = [step.slot + 1, step.slot + 1 + branch.offset];
  const pending = ways.filter((slot) => slot !== after.slot);
  const seen = new Set<number>();
  for (let slot = pending.pop(); slot !== undefined; slot = pending.pop()) {
    const instruction = instructions[slot];
    if (instruction === undefined || seen.has(slot)) continue;
    seen.add(slot);
    const joined = taken.lastOf(slot, step.depth);
    if (joined !== undefined) {
      if (made !== undefined && joined > made) return true;
      continue;
    }
    if (instruction.kind === "exit" || isTailCall(instruction)) return true;
    // Before the value was made whatever its holder held was lost.
    if (made === undefined && mayWrite(instruction, holder)) return true;
    if (instruction.kind === "jump") pending.push(slot + 1 + instruction.offset);
    else {
      pending.push(slot + 1);
      if (instruction.kind === "branch") pending.push(slot + 1 + instruction.offset);
    }
  }
  return false;
}
