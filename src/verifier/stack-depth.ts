import type { Instruction } from "../isa/instruction.ts";
import type { Analysis } from "./analysis.ts";
import type { HelperSignature } from "./helper-signature.ts";
import type { VerifiableProgram } from "./program.ts";
import { Refusal } from "./refusal.ts";
import { frameBytes } from "./stack-state.ts";
import { functionStarts } from "./structure.ts";

/** Bytes of stack that may be in use where a tail call keeps them: kernel, check_max_stack_depth. */
const tailCallBytes = 256;

/** A chain of calls that takes too much stack. */
export interface DeepChain {
  /** The call that is one too many, or the function's first slot. */
  readonly slot: number;
  readonly cause: string;
}

interface Call {
  readonly slot: number;
  readonly target: number;
}

/** A function's calls, and whether it makes tail calls. */
interface CalledFunction {
  readonly calls: readonly Call[];
  readonly tailCall: boolean;
}

/**
 * Adds up the stack of nested functions, as the kernel with its JIT does: each function's use, rounded up
 * to 16 bytes (0 where it uses none), at most 512 together; 256 below a function that makes tail calls. Undefined: none is too
 * deep.
 */
export function tooDeep(
  { instructions, functions: named }: Pick<VerifiableProgram, "instructions" | "functions">,
  helpers: ReadonlyMap<number, HelperSignature>,
  used: ReadonlyMap<number, number>,
): DeepChain | undefined {
  const functions = callGraph(instructions, helpers);
  const deepest = new Map<number, number>();
  const pending: { entry: number; below: number; depth: number; slot: number }[] = [
    { entry: 0, below: 0, depth: 1, slot: 0 },
  ];
  while (pending.length > 0) {
    const { entry, below, depth, slot } = pending.pop()!;
    // Deeper nesting and more bytes both count: seen with as much of both, nothing new comes of it.
    const key = entry * 16 + depth;
    if ((deepest.get(key) ?? -1) >= below) continue;
    deepest.set(key, below);
    const called = functions.get(entry)!;
    if (called.tailCall && below >= tailCallBytes)
      return {
        slot,
        cause: `the function called here makes tail calls, and runs with ${below} bytes of its callers' stack in use: ${tailCallBytes - 1} are the most`,
      };
    const bytes = below + frameSize(used.get(entry) ?? 0);
    if (bytes > frameBytes)
      return {
        slot,
        cause: `${depth} nested functions use ${bytes} bytes of stack together, ${bytes - below} of them ${nameAt(named, entry)}, and ${frameBytes} are the most`,
      };
    if (depth === 8 && called.calls.length > 0)
      return { slot: called.calls[0]!.slot, cause: "more than 8 functions are nested" };
    for (const call of called.calls)
      pending.push({ entry: call.target, below: bytes, depth: depth + 1, slot: call.slot });
  }
  return undefined;
}

export const stackDepthFix =
  "use less stack in these functions, or keep the data in a per-CPU array map";

/**
 * Refuses at once what `tooDeep` would find at the end, where the functions of the path that is followed
 * take too much: states with many full frames would take much memory.
 */
export function checkChain({ state, facts, program, helpers }: Analysis): void {
  let bytes = 0;
  for (const { entry } of state.frames) bytes += frameSize(facts.stackBytes.get(entry) ?? 0);
  if (bytes <= frameBytes) return;
  const deep = tooDeep(program, helpers, facts.stackBytes);
  if (deep !== undefined)
    throw new Refusal("STACK_DEPTH", deep.slot, deep.cause, stackDepthFix, []);
}

function nameAt(named: VerifiableProgram["functions"], entry: number): string {
  return named.find(({ slot }) => slot === entry)?.name ?? `the function at instruction ${entry}`;
}

function frameSize(used: number): number {
  return Math.ceil(used / 16) * 16;
}

function callGraph(
  instructions: readonly Instruction[],
  helpers: ReadonlyMap<number, HelperSignature>,
): Map<number, CalledFunction> {
  const starts = functionStarts(instructions);
  return new Map(
    starts.map((start, i) => {
      const end = starts[i + 1] ?? instructions.length;
      const calls: Call[] = [];
      let tailCall = false;
      for (let slot = start; slot < end; slot++) {
        const instruction = instructions[slot]!;
        if (instruction.kind === "call_local" || instruction.kind === "load_function")
          calls.push({ slot, target: slot + 1 + instruction.offset });
        else if (instruction.kind === "call_helper")
          tailCall ||= helpers.get(instruction.id)?.tailCall === true;
      }
      return [start, { calls, tailCall }];
    }),
  );
}
