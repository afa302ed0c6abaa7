import { type Analysis, simplerLoops } from "./analysis.ts";
import { leaveFunction } from "./call-function.ts";
import { leftToCallback } from "./callback-release.ts";
import { flows } from "./control-flow.ts";
import { rangeText } from "./describe-register.ts";
import { Equivalence } from "./equivalence.ts";
import type { GlobalFunction } from "./global-function.ts";
import type { VerifierLog } from "./log.ts";
import {
  type Checkpoint,
  type Frame,
  heldText,
  type PathState,
  type Reference,
} from "./path-state.ts";
import type { ProgramShape } from "./program-shape.ts";
import { hidesUnwritten, type StackSlot } from "./stack-state.ts";
import { doInstruction, type StepInstruction } from "./step.ts";

/** The function that is explored: the program, or a global function. */
export interface ExploredFunction {
  readonly entry: number;
  readonly global: GlobalFunction | undefined;
}

/**
 * Follows every path through a function and what it calls, one after the other. Where a path comes
 * to an instruction in a state that an earlier one covers, it ends: nothing new can happen.
 */
export class Explorer {
  readonly #analysis: Analysis;
  readonly #shape: ProgramShape;
  readonly #maxVisited: number;
  readonly #log: VerifierLog | undefined;
  readonly #equivalence: Equivalence;
  /** By slot. */
  #checkpoints: (Checkpoint[] | undefined)[] = [];
  #function: ExploredFunction = { entry: 0, global: undefined };
  #jumps = 0;
  /** Instructions and jumps when the last checkpoint was made. */
  #visitedThen = 0;
  #jumpsThen = 0;

  constructor(analysis: Analysis, maxVisited: number, log: VerifierLog | undefined) {
    this.#analysis = analysis;
    this.#shape = analysis.shape;
    this.#maxVisited = maxVisited;
    this.#log = log;
    this.#equivalence = new Equivalence(analysis.shape.live);
  }

  /** Explores from the state that `analysis` holds. A `Refusal` is thrown where a rule is broken. */
  explore(what: ExploredFunction): void {
    const a = this.#analysis;
    this.#function = what;
    this.#checkpoints = new Array(a.instructions.length).fill(undefined);
    this.#log?.state(a, what.entry);
    let slot: number | undefined = what.entry;
    while (slot !== undefined) {
      slot = this.#visit(slot);
      if (slot !== undefined) continue;
      this.#endPath();
      const path = a.pending.pop();
      if (path === undefined) return;
      a.state = path.state;
      slot = path.slot;
      this.#log?.resume(a, slot);
    }
  }

  /** One instruction. Undefined: the path has ended. */
  #visit(slot: number): number | undefined {
    const a = this.#analysis;
    const { facts, state } = a;
    a.slot = slot;
    if (this.#shape.meeting[slot] === 1 && this.#covered(slot)) {
      this.#log?.covered(slot);
      return undefined;
    }
    if (++facts.visited > this.#maxVisited)
      a.refuse(
        "TOO_COMPLEX",
        `${this.#maxVisited} instructions were followed over all paths, and there are more`,
        simplerLoops,
      );
    state.sinceCheckpoint++;
    const step = a.trace.add(state.step, slot, state.depth);
    const instruction = a.instructions[slot]!;
    if (facts.reached[slot] === 0) {
      if (this.#shape.restricted[slot] === 1) a.checkAllowed(instruction);
      facts.reached[slot] = 1;
    }
    this.#log?.before(a);
    let next: number | undefined;
    const flow = this.#shape.flow[slot];
    if (flow === flows.branch || flow === flows.jump || flow === flows.exit) this.#jumps++;
    if (flow === flows.exit) next = this.#exit(step);
    else next = doInstruction(a, instruction as StepInstruction, step, this.#shape.globals);
    a.state.step = step;
    this.#log?.after(a);
    return next;
  }

  #exit(step: number): number | undefined {
    const a = this.#analysis;
    if (a.state.depth > 0) return leaveFunction(a, step);
    const held = a.state.references[0];
    if (held !== undefined) this.#refuseHeld(held);
    this.#checkReturn();
    return undefined;
  }

  #refuseHeld(held: Reference): never {
    const a = this.#analysis;
    const what = `the program ends, and ${heldText(a.program, held)}`;
    const left = held.lock === undefined ? leftToCallback(a, held) : undefined;
    if (left !== undefined)
      a.refuse(
        "REFERENCE_LEAK",
        `${what}: ${left}`,
        "submit or discard it behind that call, in the function that reserved it",
      );
    return a.refuse(
      "REFERENCE_LEAK",
      what,
      held.lock === undefined
        ? held.taker.callback
          ? "submit or discard it in the callback, before it returns"
          : "submit or discard it on every path"
        : "call bpf_spin_unlock on every path",
    );
  }

  #checkReturn(): void {
    const a = this.#analysis;
    const { global } = this.#function;
    const held = a.read(0);
    if (global !== undefined) {
      if (held.kind !== "scalar")
        a.refuse(
          "FUNCTION_RETURN",
          `global function ${global.name} returns a pointer, and must return a number`,
          "make it static",
          [0],
        );
      return;
    }
    if (a.program.type !== "cgroup_skb") return;
    if (held.kind === "scalar") {
      a.markPrecise(0);
      if (held.range.umax <= (a.program.egress ? 3n : 1n)) return;
    }
    const r0 = held.kind === "scalar" ? rangeText(held.range) : "a pointer";
    a.refuse(
      "RETURN_VALUE",
      a.program.egress
        ? `a cgroup_skb program for egress returns 0 (drop), 1 (pass), 2 or 3 (the same, and the network is congested), and r0 is ${r0}`
        : `a cgroup_skb program returns 0 (drop) or 1 (pass), and r0 is ${r0}`,
      "return 0 or 1",
      [0],
    );
  }

  /** The path has ended; checkpoints that it was the last of are complete. */
  #endPath(): void {
    for (let at = this.#analysis.state.parent; at !== undefined; at = at.state.parent)
      if (--at.open > 0) return;
  }

  /** Whether an earlier state covers this one. If none does, it may become a checkpoint itself. */
  #covered(slot: number): boolean {
    const { state, facts } = this.#analysis;
    const callback = this.#shape.callbackCalls[slot] === 1;
    const forced = callback || state.sinceCheckpoint > 64;
    const visited = facts.visited - this.#visitedThen;
    const jumps = this.#jumps - this.#jumpsThen;
    let add = forced || (jumps >= 1 && visited >= 4);
    let known = this.#checkpoints[slot];
    if (known === undefined) {
      known = [];
      this.#checkpoints[slot] = known;
    }
    let kept = 0;
    for (let i = 0; i < known.length; i++) {
      const checkpoint = known[i] as Checkpoint;
      if (checkpoint.open > 0) {
        // Before its first round the call was come to by a loop around it, which must end of itself.
        if (callback && state.frame.callbackDepth > 0) {
          if (this.#equivalence.coversCheckpoint(checkpoint, state, "within")) {
            this.#joinLoop(checkpoint.state);
            this.#keep(known, kept, i);
            return true;
          }
        } else {
          this.#checkProgress(checkpoint);
          if (!forced && jumps < 20 && visited < 100) add = false;
        }
      } else if (this.#equivalence.coversCheckpoint(checkpoint, state, "enough")) {
        checkpoint.hits++;
        this.#inherit(checkpoint.state);
        this.#keep(known, kept, i);
        return true;
      }
      if (add) checkpoint.misses++;
      const patience = callback && checkpoint.open > 0 ? 64 : 3;
      if (checkpoint.misses <= checkpoint.hits * patience + patience) known[kept++] = checkpoint;
    }
    facts.checkpoints -= known.length - kept;
    known.length = kept;
    if (add) this.#addCheckpoint(slot, known);
    return false;
  }

  /** Closes the gap between those kept and those not looked at. */
  #keep(known: Checkpoint[], kept: number, from: number): void {
    if (kept === from) return;
    this.#analysis.facts.checkpoints -= from - kept;
    known.splice(kept, from - kept);
  }

  #checkProgress(checkpoint: Checkpoint): void {
    const a = this.#analysis;
    if (!this.#equivalence.coversCheckpoint(checkpoint, a.state, "exact")) return;
    a.refuse(
      "INFINITE_LOOP",
      "a loop comes back here with nothing changed, and would never end",
      "change something in each round that the loop's condition looks at",
    );
  }

  /** What the earlier state's paths relied on, this path's history must provide. */
  #inherit(earlier: PathState): void {
    const a = this.#analysis;
    for (let number = 0; number < earlier.frames.length; number++) {
      const frame = earlier.frames[number] as Frame;
      if (!frame.isReadAnywhere) continue;
      for (let slot = 0; slot < frame.stack.length; slot++)
        if (frame.isRead(slot)) {
          a.state.markRead(number, slot);
          this.#noteUnwritten(number, slot, frame.stack[slot]);
        }
    }
    a.precision.markScalars(a.state, earlier, true);
  }

  /** Paths from the checkpoint read what lies in `old`; what was never written is there now is read too. */
  #noteUnwritten(number: number, slot: number, old: StackSlot | undefined): void {
    const a = this.#analysis;
    const now = (a.state.frames[number] as Frame).stack[slot];
    if (old !== now && hidesUnwritten(old, now)) a.facts.readsUnwritten[a.slot] = 1;
  }

  /**
   * A callback's loop has come round. Its first state is still being explored, so that nothing is
   * known of what it relies on: everything counts.
   */
  #joinLoop(first: PathState): void {
    const a = this.#analysis;
    for (const [number, frame] of a.state.frames.entries())
      for (let slot = 0; slot < frame.stack.length; slot++) {
        a.state.markRead(number, slot);
        this.#noteUnwritten(number, slot, first.frames[number]?.stack[slot]);
      }
    a.precision.markScalars(a.state, a.state, false);
  }

  #addCheckpoint(slot: number, known: Checkpoint[]): void {
    const { state, facts } = this.#analysis;
    this.#visitedThen = facts.visited;
    this.#jumpsThen = this.#jumps;
    state.sinceCheckpoint = 0;
    const kept = state.copy();
    const checkpoint: Checkpoint = { slot, state: kept, open: 1, hits: 0, misses: 0, mismatch: -1 };
    state.parent = checkpoint;
    for (const frame of state.frames) frame.forgetWritten();
    // Of a callback's loop the one of the most rounds is the first to be compared: it is that which
    // covers what leaves the callback early, and the others would be given up as never of use.
    if (this.#shape.callbackCalls[slot] === 1) known.unshift(checkpoint);
    else known.push(checkpoint);
    facts.checkpoints++;
  }
}
