import { err, ok, type Result } from "../common/result.ts";
import { disassemble } from "../isa/disassembler.ts";
import { Analysis, type Widened } from "./analysis.ts";
import { globalArguments, patientRounds } from "./call-function.ts";
import { tellContextMismatch } from "./context-mismatch.ts";
import { lineAt, whereText } from "./describe-place.ts";
import { describeRegister } from "./describe-register.ts";
import { Explorer } from "./explore.ts";
import { type HelperSignature, helperName } from "./helper-signature.ts";
import { VerifierLog } from "./log.ts";
import { newFrame, PathState } from "./path-state.ts";
import type { VerifiableProgram } from "./program.ts";
import { firstUnreachable, type ProgramShape, shapeOf } from "./program-shape.ts";
import { Refusal } from "./refusal.ts";
import { pointer, type RegisterState, scalar } from "./register-state.ts";
import { type Rejection, rejection } from "./rejection.ts";
import { constantRange } from "./scalar-range.ts";
import { tooDeep } from "./stack-depth.ts";
import { findStructureProblem } from "./structure.ts";
import {
  noStep,
  type Place,
  placeFrame,
  placeRegister,
  placeSlot,
  registerPlace,
} from "./trace.ts";
import { Facts, type Verified } from "./verified.ts";

/** Instructions visited over all paths before a program counts as too complex. Kernel: the same. */
export const maxVisitedInstructions = 1_000_000;

export interface VerifyOptions {
  /** Takes the trace, a line at a time. It is long: up to some lines an instruction visited. */
  readonly log?: ((line: string) => void) | undefined;
  /** Less than `maxVisitedInstructions`, to bound the time. */
  readonly maxVisited?: number;
}

/**
 * Proves that a program, whatever it is given, reads and writes only inside of its objects, gives
 * helpers only what they may have, and ends; or says where that cannot be shown. `helpers` is all
 * there are, by id. Never throws for what a program is.
 *
 * The model is the kernel's verifier (Documentation/bpf/verifier.rst) for privileged loading: it
 * follows every path, keeping for each register what kind of thing it holds and in which range.
 */
export function verify(
  program: VerifiableProgram,
  helpers: ReadonlyMap<number, HelperSignature>,
  options: VerifyOptions = {},
): Result<Verified, Rejection> {
  const { instructions } = program;
  if (instructions.length === 0)
    return err(
      reject(
        program,
        helpers,
        0,
        "PROGRAM_EMPTY",
        "there are no instructions",
        "end every program with exit",
        [],
      ),
    );
  const fault = findStructureProblem(program, undefined);
  if (fault !== undefined)
    return err(reject(program, helpers, fault.slot, fault.code, fault.what, fault.fix, []));
  const shape = shapeOf(program, helpers);
  const unreachable = firstUnreachable(shape);
  if (unreachable !== undefined)
    return err(
      reject(
        program,
        helpers,
        unreachable,
        "UNREACHABLE_CODE",
        "no jump, call or fall-through comes here",
        "remove it; compilers do, unless told not to",
        [],
      ),
    );
  const log = options.log === undefined ? undefined : new VerifierLog(options.log, program.lines);
  const budget = Math.min(options.maxVisited ?? maxVisitedInstructions, maxVisitedInstructions);
  const found = explorePatiently(program, helpers, shape, budget, log);
  if (!found.ok) return found;
  const deep = tooDeep(program, shape, found.value.stackBytes);
  if (deep !== undefined)
    return err(reject(program, helpers, deep.slot, deep.code, deep.cause, deep.fix, []));
  return found;
}

/**
 * Explores the program, and where it is refused after a number in a callback's loop was taken as any
 * number, once more with as much patience as the budget allows. The first way alone ends for callbacks
 * within callbacks that count on and on. Where the budget ends it, a last one has no patience: in loops
 * of fewer rounds, one in or after another, numbers that nothing relies on would multiply the paths.
 */
function explorePatiently(
  program: VerifiableProgram,
  helpers: ReadonlyMap<number, HelperSignature>,
  shape: ProgramShape,
  budget: number,
  log: VerifierLog | undefined,
): Result<Facts, Rejection> {
  const first = attempt(program, helpers, shape, budget, patientRounds, log);
  if (first.facts !== undefined) return ok(first.facts);
  const { refusal, analysis } = first;
  if (refusal.code === "TOO_COMPLEX" && callsBack(shape)) {
    log?.again("with what a callback changes taken as any number at once");
    const last = attempt(program, helpers, shape, budget, 0, log);
    if (last.facts !== undefined) return ok(last.facts);
  }
  const { widened } = analysis;
  if (widened === undefined) return err(rejected(besideLoop(refusal, analysis), analysis));
  log?.again("with callbacks followed for as many iterations as there are");
  const second = attempt(program, helpers, shape, budget, Number.POSITIVE_INFINITY, log);
  if (second.facts !== undefined) return ok(second.facts);
  // Where only the budget ended it, the first tells more.
  const told = second.refusal.code === "TOO_COMPLEX" ? first : second;
  return err(rejected(inLoop(told.refusal, widened, program), told.analysis));
}

/** Whether patience makes a difference. */
function callsBack({ callbackCalls }: ProgramShape): boolean {
  return callbackCalls.includes(1);
}

/** A refusal that a number brought about which goes on changing in a callback's loop. */
function inLoop(
  refusal: Refusal,
  { place, callSite }: Widened,
  program: VerifiableProgram,
): Refusal {
  return ofLoop(
    refusal,
    `${numberText(place)} still changes after ${patientRounds} iterations of the loop at ${whereText(program, callSite)}`,
  );
}

/** A refusal over a number that is any number, since it changes in a callback's loop; or another. */
function besideLoop(refusal: Refusal, { state, precision, program, loosened }: Analysis): Refusal {
  const places = refusal.registers.map((register) => registerPlace(state.depth, register));
  const origin = precision.originAmong(state, places, loosened);
  if (origin === undefined) return refusal;
  return ofLoop(
    refusal,
    `${numberText(origin.place)} changes in the loop at ${whereText(program, origin.callSite)}, and is any number after the first iteration`,
  );
}

function ofLoop({ code, slot, cause, fix, registers }: Refusal, why: string): Refusal {
  return new Refusal(
    code,
    slot,
    `${cause}; ${why}`,
    `${fix}; or bound that number in the callback, which can leave the loop: if (s->off > 1500) return 1`,
    registers,
  );
}

function numberText(place: Place): string {
  const stackSlot = placeSlot(place);
  const frame = placeFrame(place);
  const whose = frame === 0 ? "the program" : `nested function ${frame}`;
  return stackSlot < 0
    ? `r${placeRegister(place)} of ${whose}`
    : `the number at stack offset ${-8 * (stackSlot + 1)} of ${whose}`;
}

/** What one exploration came to: the facts, or the refusal. */
type Attempt =
  | { readonly analysis: Analysis; readonly facts: Facts }
  | { readonly analysis: Analysis; readonly facts: undefined; readonly refusal: Refusal };

function attempt(
  program: VerifiableProgram,
  helpers: ReadonlyMap<number, HelperSignature>,
  shape: ProgramShape,
  budget: number,
  patience: number,
  log: VerifierLog | undefined,
): Attempt {
  const facts = new Facts(program.instructions.length);
  const analysis = new Analysis(program, helpers, shape, facts, patience);
  try {
    exploreAll(analysis, budget, log);
    return { analysis, facts };
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    log?.refused(analysis, thrown.cause);
    return { analysis, facts: undefined, refusal: thrown };
  } finally {
    log?.end(facts.visited, facts.checkpoints);
  }
}

function rejected(refusal: Refusal, analysis: Analysis): Rejection {
  const { slot, code, cause, fix, registers } = refusal;
  const { program, helpers } = analysis;
  return reject(program, helpers, slot, code, cause, fix, describe(analysis, registers));
}

/** The program, and then each of its global functions on its own. */
function exploreAll(analysis: Analysis, maxVisited: number, log: VerifierLog | undefined): void {
  const explorer = new Explorer(analysis, maxVisited, log);
  begin(analysis, 0);
  entryRegisters(analysis);
  explorer.explore({ entry: 0, global: undefined });
  // Of those that are not called on any path nothing is asked. One may be the first to call another.
  for (const global of analysis.calledGlobals) {
    begin(analysis, global.slot);
    if (!global.returnsNumber)
      analysis.refuse(
        "FUNCTION_RETURN",
        `global function ${global.name} returns no number, and the kernel takes only those that do`,
        "make it static, or let it return an int",
      );
    globalArguments(analysis, global);
    explorer.explore({ entry: global.slot, global });
  }
}

function begin(analysis: Analysis, entry: number): void {
  analysis.slot = entry;
  analysis.state = new PathState([newFrame(0, entry, -1)], [], undefined, noStep);
}

/** r1 the context; of a raw program, r1 its data and r2 their length. */
function entryRegisters(analysis: Analysis): void {
  const { program } = analysis;
  if (program.type !== "raw") {
    analysis.write(1, pointer("context"));
    return;
  }
  const bytes = program.dataBytes ?? 0;
  analysis.write(1, pointer("memory", { extent: bytes }));
  analysis.write(2, scalar(constantRange(BigInt(bytes))));
}

function describe(analysis: Analysis, registers: readonly number[]): string[] {
  const held = analysis.state.frame.registers;
  return [...new Set(registers)].map(
    (r) => `r${r}: ${describeRegister(held[r] as RegisterState, analysis.program)}`,
  );
}

function reject(
  program: VerifiableProgram,
  helpers: ReadonlyMap<number, HelperSignature>,
  at: number,
  code: string,
  cause: string,
  fix: string,
  registers: readonly string[],
): Rejection {
  const { instructions } = program;
  // The second half of a 16-byte instruction has no text of its own.
  const slot = instructions[at]?.kind === "second_slot" && at > 0 ? at - 1 : at;
  const instruction = instructions[slot];
  const helper = (id: number): string | undefined => helperName(helpers, id);
  const told = tellContextMismatch(program, { code, cause, fix });
  // In its place is a call of no helper, which nobody wrote.
  const unanswered = program.unanswered?.find((one) => one.slot === slot);
  const text = instruction === undefined ? "nothing" : disassemble(instruction, { helper });
  return rejection({
    code,
    object: program.object,
    program: program.name,
    section: program.section,
    slot,
    instruction: unanswered?.instruction ?? text,
    source: lineAt(program.lines, slot),
    registers,
    ...told,
  });
}
