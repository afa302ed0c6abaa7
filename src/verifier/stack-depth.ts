import type { Analysis } from "./analysis.ts";
import { functionText } from "./describe-place.ts";
import type { VerifiableProgram } from "./program.ts";
import type { FunctionReference, ProgramShape } from "./program-shape.ts";
import { Refusal } from "./refusal.ts";
import { frameBytes } from "./stack-state.ts";

/** Bytes of stack that may be in use where a tail call keeps them: kernel, check_max_stack_depth. */
const tailCallBytes = 256;

/** A chain of calls that is too long or takes too much stack. */
export interface DeepChain {
  readonly code: "CALL_DEPTH" | "STACK_DEPTH";
  /** The call that is one too many, or the function's first slot. */
  readonly slot: number;
  readonly cause: string;
  readonly fix: string;
}

/** A function on a chain of calls that is followed. */
interface Link {
  readonly entry: number;
  /** Bytes of stack that its callers use. */
  readonly below: number;
  readonly depth: number;
  /** The call that comes here. */
  readonly slot: number;
  readonly caller: Link | undefined;
}

/** A function's calls, and whether it makes tail calls. */
interface CalledFunction {
  readonly calls: readonly FunctionReference[];
  readonly tailCall: boolean;
}

const useLess = "use less stack in these functions, or keep the data in a per-CPU array map";

/**
 * Adds up the stack of nested functions, as the kernel with its JIT does: each function's use, rounded up
 * to 16 bytes (0 where it uses none), at most 512 together; 256 below a function that makes tail calls. Undefined: none is too
 * deep.
 */
export function tooDeep(
  program: Pick<VerifiableProgram, "functions">,
  shape: Pick<ProgramShape, "references" | "tailCalls">,
  used: ReadonlyMap<number, number>,
): DeepChain | undefined {
  const functions = callGraph(shape);
  const deepest = new Map<number, number>();
  const pending: Link[] = [{ entry: 0, below: 0, depth: 1, slot: 0, caller: undefined }];
  while (pending.length > 0) {
    const link = pending.pop()!;
    const { entry, below, depth, slot } = link;
    // Deeper nesting and more bytes both count: seen with as much of both, nothing new comes of it.
    const key = entry * 16 + depth;
    if ((deepest.get(key) ?? -1) >= below) continue;
    deepest.set(key, below);
    const called = functions.get(entry)!;
    if (called.tailCall && below >= tailCallBytes)
      return {
        code: "STACK_DEPTH",
        slot,
        cause: `the function called here makes tail calls, and runs with ${below} bytes of its callers' stack in use: ${tailCallBytes - 1} are the most`,
        fix: useLess,
      };
    const bytes = below + frameSize(used.get(entry) ?? 0);
    if (bytes > frameBytes)
      return {
        code: "STACK_DEPTH",
        slot,
        cause: `${depth} nested functions use ${bytes} bytes of stack together, ${bytes - below} of them ${functionText(program, entry)}, and ${frameBytes} are the most`,
        fix: useLess,
      };
    for (const call of called.calls) {
      const long = tooLong(link, call, program);
      if (long !== undefined) return long;
      const next = { entry: call.target, below: bytes, depth: depth + 1, slot: call.slot };
      pending.push({ ...next, caller: link });
    }
  }
  return undefined;
}

/** Functions that may nest, the program among them. Kernel: MAX_CALL_FRAMES. */
export const mostNested = 8;

/** A call back to a function of the chain that it ends, or one more than may nest. */
function tooLong(
  link: Link,
  { slot, target }: FunctionReference,
  program: Pick<VerifiableProgram, "functions">,
): DeepChain | undefined {
  const entries = [target];
  for (let one: Link | undefined = link; one !== undefined; one = one.caller)
    entries.unshift(one.entry);
  const isRing = entries.indexOf(target) < entries.length - 1;
  return isRing || link.depth >= mostNested
    ? { code: "CALL_DEPTH", slot, ...whyTooLong(program, entries) }
    : undefined;
}

/**
 * What is wrong about a chain of functions that is too long, given by their first slots, each called by
 * the one before: one of them calls itself, or they are too many.
 */
export function whyTooLong(
  program: Pick<VerifiableProgram, "functions">,
  entries: readonly number[],
): Pick<DeepChain, "cause" | "fix"> {
  const again = entries.findIndex((entry, i) => entries.indexOf(entry) < i);
  if (again < 0)
    return {
      cause: `more than ${mostNested} functions are nested here`,
      fix: "nest fewer functions, or make some of them static __always_inline",
    };
  const [caller, called] = [entries[again - 1]!, entries[again]!];
  const through = caller === called ? "" : ` through ${functionText(program, caller)}`;
  return {
    cause: `${functionText(program, called)} calls itself${through}: BPF has no recursion`,
    fix: "make it a loop, with what is still to be done in an array of a bounded size",
  };
}

/**
 * Refuses at once what `tooDeep` would find at the end, where the functions of the path that is followed
 * take too much: states with many full frames would take much memory.
 */
export function checkChain({ state, facts, program, shape }: Analysis): void {
  let bytes = 0;
  for (const { entry } of state.frames) bytes += frameSize(facts.stackBytes.get(entry) ?? 0);
  if (bytes <= frameBytes) return;
  const deep = tooDeep(program, shape, facts.stackBytes);
  if (deep !== undefined) throw new Refusal(deep.code, deep.slot, deep.cause, deep.fix, []);
}

function frameSize(used: number): number {
  return Math.ceil(used / 16) * 16;
}

/** In one pass over what calls, which is in order: there may be many functions, and many calls. */
function callGraph({
  references,
  tailCalls,
}: Pick<ProgramShape, "references" | "tailCalls">): Map<number, CalledFunction> {
  const starts = [...new Set([0, ...references.map(({ target }) => target)])].sort((a, b) => a - b);
  const functions = starts.map((start) => ({
    start,
    calls: [] as FunctionReference[],
    tailCall: false,
  }));
  for (let at = 0, i = 0; i < references.length; i++) {
    while (starts[at + 1]! <= references[i]!.slot) at++;
    functions[at]!.calls.push(references[i]!);
  }
  for (let at = 0, i = 0; i < tailCalls.length; i++) {
    while (starts[at + 1]! <= tailCalls[i]!) at++;
    functions[at]!.tailCall = true;
  }
  return new Map(functions.map((one) => [one.start, one]));
}
