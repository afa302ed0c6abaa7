import type { Analysis, Widened } from "./analysis.ts";
import { forgetPacket } from "./branch.ts";
import { type CallArguments, checkArguments, finishCall } from "./call-helper.ts";
import { contextNames, type GlobalFunction } from "./global-function.ts";
import { wrong as wrongArgument } from "./helper-refusal.ts";
import type { HelperSignature } from "./helper-signature.ts";
import { checkRegion } from "./memory-access.ts";
import { newFrame, type PathState } from "./path-state.ts";
import {
  constantOf,
  isPointer,
  pointer,
  type RegisterState,
  uninitialised,
  unknownScalar,
  withFields,
} from "./register-state.ts";
import { isNumber, sameRange } from "./scalar-range.ts";
import { clobberStack, stackSpan, useStack } from "./stack-access.ts";
import { checkChain, mostNested, whyTooLong } from "./stack-depth.ts";
import { registerPlace, slotPlace } from "./trace.ts";

/** Follows a call into a function, with the caller's r1 to r5. Returns where it begins. */
export function enterFunction(a: Analysis, entry: number): number {
  checkDepth(a, entry);
  const { state } = a;
  const caller = state.frame.registers;
  const frame = newFrame(state.frames.length, entry, a.slot);
  for (let r = 1; r <= 5; r++) {
    frame.registers[r] = caller[r] as RegisterState;
    caller[r] = uninitialised;
  }
  caller[0] = uninitialised;
  state.enter(frame);
  checkChain(a);
  return entry;
}

function checkDepth(a: Analysis, called: number): void {
  const { frames } = a.state;
  if (frames.length < mostNested) return;
  const { cause, fix } = whyTooLong(a.program, [...frames.map(({ entry }) => entry), called]);
  a.refuse("CALL_DEPTH", cause, fix);
}

/** A call of a function that is verified on its own: its arguments are checked, r0 is any number. */
export function callGlobal(a: Analysis, target: GlobalFunction): void {
  a.calledGlobals.add(target);
  for (const [i, parameter] of target.parameters.entries()) {
    const register = i + 1;
    if (register > 5) break;
    const held = a.read(register);
    switch (parameter.kind) {
      case "number":
        if (held.kind !== "scalar") wrong(a, target, register, "a number");
        break;
      case "context":
        if (held.kind !== "context" || held.offset !== 0 || !isNumber(held.range, 0n))
          wrong(a, target, register, "the context, as the program got it");
        break;
      case "memory":
        if (!parameter.nullable && mayBeNull(held))
          wrong(a, target, register, "a pointer that is never null (arg:nonnull)");
        refuseMovedMemory(a, target, register, held);
        if (parameter.contextOfOthers !== undefined && held.kind === "context")
          refuseOthersContext(a, target, register, parameter.contextOfOthers);
        checkMemoryArgument(a, target, register, held, parameter.bytes);
        break;
      default:
        wrong(a, target, register, `a ${parameter.type}, which a global function cannot`);
    }
  }
  if (target.movesPacket) forgetPacket(a.state);
  for (let r = 1; r <= 5; r++) a.write(r, uninitialised);
  a.write(0, unknownScalar);
}

/** Also the constant 0, which the kernel takes for a pointer tagged arg:nonnull, too. */
function mayBeNull(held: RegisterState): boolean {
  return held.nullable || (held.kind === "scalar" && isNumber(held.range, 0n));
}

/**
 * To the function it is memory, which stays where it is: it would go on using what is no packet any more.
 * The kernel lets it.
 */
function refuseMovedMemory(
  a: Analysis,
  target: GlobalFunction,
  register: number,
  { kind }: RegisterState,
): void {
  if (!target.movesPacket || (kind !== "packet" && kind !== "packet_meta")) return;
  a.refuse(
    "FUNCTION_ARGUMENT",
    `global function ${target.name}, which may move the packet, takes in r${register} memory, and r${register} points into the packet`,
    "copy the bytes to the stack and pass those, or make the function static",
    [register],
  );
}

/** To a program of this type that struct is no context, but memory like any other. */
function refuseOthersContext(
  a: Analysis,
  target: GlobalFunction,
  register: number,
  taken: string,
): never {
  const given = contextNames[a.program.type];
  a.refuse(
    "FUNCTION_ARGUMENT",
    `global function ${target.name} takes in r${register} a struct ${taken}, which is not the context of programs of type ${a.program.type}`,
    given === undefined
      ? "make the function static"
      : `let it take a struct ${given}, or make it static`,
    [register],
  );
}

function checkMemoryArgument(
  a: Analysis,
  target: GlobalFunction,
  register: number,
  held: RegisterState,
  bytes: number,
): void {
  if (held.kind === "scalar" && isNumber(held.range, 0n)) {
    // As null: another number is none.
    a.markPrecise(register);
    return;
  }
  const there = held.nullable ? withFields(held, { nullable: false }) : held;
  if (there.kind === "stack") {
    const span = stackSpan(a, register, there, 0, bytes);
    useStack(a, span, bytes);
    clobberStack(span, bytes, false);
    return;
  }
  if (!isPointer(there) || there.kind === "context")
    wrong(a, target, register, `a pointer to ${bytes} bytes of memory`);
  checkRegion(a, register, there, 0, bytes, "read");
  checkRegion(a, register, there, 0, bytes, "write");
}

function wrong(a: Analysis, target: GlobalFunction, register: number, expected: string): never {
  a.refuse(
    "FUNCTION_ARGUMENT",
    `global function ${target.name} takes in r${register} ${expected}`,
    "pass that, or make the function static, so that it is verified with what each call passes",
    [register],
  );
}

/** The registers a global function begins with, for all arguments its type allows. */
export function globalArguments(a: Analysis, target: GlobalFunction): void {
  for (const [i, parameter] of target.parameters.slice(0, 5).entries())
    a.write(i + 1, argumentOf(a, target, parameter));
}

function argumentOf(
  a: Analysis,
  target: GlobalFunction,
  parameter: GlobalFunction["parameters"][number],
): RegisterState {
  switch (parameter.kind) {
    case "number":
      return unknownScalar;
    case "context":
      return pointer("context");
    case "memory":
      return parameter.nullable
        ? pointer("memory", { extent: parameter.bytes, nullable: true, id: a.newId() })
        : pointer("memory", { extent: parameter.bytes });
    default:
      return a.refuse(
        "FUNCTION_ARGUMENT",
        `global function ${target.name} takes a ${parameter.type}, of which nothing is known`,
        "make it static, or give its parameter a type with a size",
      );
  }
}

/**
 * A helper that calls a function of the program. The path with one more iteration is put aside, and
 * this one goes on behind the call, as if there were none left.
 */
export function callWithCallback(a: Analysis, helper: HelperSignature): number {
  const call = checkArguments(a, helper);
  const frame = a.state.frame;
  let more = true;
  if (helper.callback === "loop") {
    const flags = constantOf(a.read(4));
    if (flags === 0n) a.markPrecise(4);
    a.facts.loopsWith(a.slot, call.callback, flags !== 0n);
    const count = a.read(1);
    if (count.kind !== "scalar")
      wrongArgument(a, helper, 1, count, "how many rounds there are", "pass a number");
    a.markPrecise(1);
    more = BigInt(frame.callbackDepth) < count.range.umax;
  }
  if (more) a.later(call.callback, iteration(a, helper, call));
  frame.callbackDepth = 0;
  finishCall(a, helper, call);
  return a.slot + 1;
}

/** The state in which the callback begins; the caller keeps its registers for the next time. */
function iteration(a: Analysis, helper: HelperSignature, call: CallArguments): PathState {
  checkDepth(a, call.callback);
  const state = a.state.copy();
  state.step = a.trace.add(a.state.step, a.slot, a.state.depth);
  a.trace.setCallback(state.step);
  const caller = state.frame;
  caller.callbackDepth++;
  const frame = newFrame(state.frames.length, call.callback, a.slot, true);
  const { registers } = frame;
  if (helper.callback === "loop") {
    registers[1] = unknownScalar;
    registers[2] = caller.registers[3] as RegisterState;
  } else {
    const { mapIndex, map } = call;
    registers[1] = pointer("map", { target: mapIndex });
    registers[2] = pointer("map_key", { extent: map!.keySize, readOnly: true });
    // Each time another value: the id tells whose spin lock it is. To the kernel all are the same one.
    const id = map!.spinLock === undefined ? 0 : a.newId();
    registers[3] = pointer("map_value", { target: mapIndex, id });
    registers[4] = caller.registers[3] as RegisterState;
  }
  state.enter(frame);
  return state;
}

/** The end of a function that was followed into. Returns where its caller goes on. */
export function leaveFunction(a: Analysis, step: number): number {
  const { state } = a;
  const callee = state.frame;
  const result = callee.registers[0] as RegisterState;
  if (result.kind === "stack")
    a.refuse(
      "STACK_POINTER_RETURNED",
      "a function returns a pointer to the stack, whose frame ends with it",
      "let the caller pass memory to write to",
      [0],
    );
  if (!callee.callback) {
    state.leave();
    state.frame.registers[0] = result;
    return callee.callSite + 1;
  }
  const { umax } = a.read(0).range;
  if (result.kind !== "scalar" || umax > 1n)
    a.refuse(
      "CALLBACK",
      "a callback must return 0 (go on) or 1 (stop)",
      "return a constant 0 or 1, or mask it with &= 1",
      [0],
    );
  a.markPrecise(0);
  a.trace.setCallback(step);
  state.leave();
  const earlier = earlierAt(state, callee.callSite);
  if (earlier !== undefined) widen(a, earlier, callee.callSite, step);
  return callee.callSite;
}

/** The last checkpoint of a path at a slot, with as many frames as now. */
function earlierAt(state: PathState, slot: number): PathState | undefined {
  for (let at = state.parent; at !== undefined; at = at.state.parent)
    if (at.slot === slot && at.state.depth === state.depth) return at.state;
  return undefined;
}

/**
 * Rounds of a loop in which a number may go on changing because its exact range was relied on, before
 * loops within loops would take too long.
 */
export const patientRounds = 16;

/**
 * Numbers that changed in an iteration, and whose exact range nothing has relied on, may change
 * again in each: they are taken as any number, so that the loop comes to an end. After `a.patience`
 * rounds all that change are: loops within loops would else multiply.
 */
function widen(a: Analysis, earlier: PathState, callSite: number, step: number): void {
  const { state, patience } = a;
  const patient = state.frames.every(({ callbackDepth }) => callbackDepth <= patience);
  for (const [number, before] of earlier.frames.entries()) {
    const frame = state.frames[number];
    if (frame === undefined) continue;
    for (let r = 0; r < 10; r++) {
      const was = before.registers[r] as RegisterState;
      if (!changed(was, frame.registers[r] as RegisterState) || (was.precise && patient)) continue;
      noteWidened(a, { place: registerPlace(number, r), callSite }, step, was.precise);
      frame.registers[r] = unknownScalar;
    }
    for (const [slot, held] of frame.stack.entries()) {
      const was = before.stack[slot]?.register;
      if (held?.register === undefined || was === undefined) continue;
      if (!changed(was, held.register) || (was.precise && patient)) continue;
      noteWidened(a, { place: slotPlace(number, slot), callSite }, step, was.precise);
      frame.setSlot(slot, { bytes: held.bytes, register: unknownScalar });
    }
  }
}

function noteWidened(a: Analysis, widened: Widened, step: number, reliedOn: boolean): void {
  if (reliedOn) a.widened ??= widened;
  const known = a.loosened.get(step);
  if (known === undefined) a.loosened.set(step, [widened]);
  else known.push(widened);
}

function changed(before: RegisterState, after: RegisterState): boolean {
  return (
    before.kind === "scalar" && after.kind === "scalar" && !sameRange(before.range, after.range)
  );
}
