import type { Analysis } from "./analysis.ts";
import { forgetPacket } from "./branch.ts";
import { leaveFunction } from "./call-function.ts";
import { constantScalar, type RegisterState, unknownScalar } from "./register-state.ts";

/**
 * What bpf_tail_call does where it finds a program: that one runs in place of the function, and returns
 * to the function's caller, with any number; it may have moved the packet. Nothing else of the caller
 * has changed. Where it finds none, the path goes on behind it.
 */
export function mayLeaveByTailCall(a: Analysis, step: number): void {
  refuseTailCallInCallback(a, "a tail call is made");
  mayLeave(a, step, unknownScalar, true);
}

/**
 * The engines abort a run that makes a tail call in a callback. The kernel refuses those that the
 * callback makes itself, and lets the functions that it calls make some.
 */
export function refuseTailCallInCallback(a: Analysis, what: string): void {
  if (!a.state.frames.some(({ callback }) => callback)) return;
  a.refuse(
    "CALLBACK",
    `${what} in a callback, where it would abort the run`,
    "note in the memory that the callback is given what is to be called, return 1, and make the tail call behind the helper",
  );
}

/** What LD_ABS and LD_IND do behind the packet's end: the function returns 0. */
export function mayLeaveByPacketLoad(a: Analysis, step: number): void {
  mayLeave(a, step, zero, false);
}

const zero = constantScalar(0n);

/**
 * Puts aside the path on which the instruction, done already, ends its function with this result. In
 * the program's own frame there is nothing to return to.
 */
function mayLeave(a: Analysis, step: number, result: RegisterState, movesPacket: boolean): void {
  const { state } = a;
  if (state.depth === 0) return;
  const left = state.copy();
  left.step = step;
  a.state = left;
  a.write(0, result);
  if (movesPacket) forgetPacket(left);
  // The step of the instruction itself is also the other path's, which does not leave.
  const leaving = a.trace.add(step, a.slot, left.depth);
  a.trace.setLeaves(leaving);
  const next = leaveFunction(a, leaving);
  left.step = leaving;
  a.later(next, left);
  a.state = state;
}
