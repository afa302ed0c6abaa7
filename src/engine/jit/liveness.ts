import type { Instruction } from "../../isa/instruction.ts";
import type { Blocks, FunctionRange } from "./blocks.ts";
import {
  allRegisters,
  allWritable,
  callerSaved,
  dependsOnFunction,
  type RegisterSet,
  type RegisterUse,
} from "./register-use.ts";

/** What crosses the borders of a function and of its blocks in registers. */
export interface Signature {
  /** Registers whose value at entry may be read: its parameters, in order. */
  readonly needs: RegisterSet;
  /** Of r0 to r5, those that a caller may read afterwards: its results, in order. */
  readonly gives: RegisterSet;
  /** By block: registers whose value at its start may be read. */
  readonly live: Int32Array;
}

/** In place of a set: a block that has not been walked. */
const never = -1;

interface Body {
  readonly range: FunctionRange;
  readonly blocks: Blocks;
}

/**
 * Which registers each function takes and gives back, by their position in `bodies`. `callbacks`:
 * first slots of those that helpers call.
 *
 * A verified program reads nothing but r1 to r5 in a function and r0 behind a call. Others may read
 * whatever was left in a register, and must find there what the interpreter leaves.
 */
export function signatures(
  instructions: readonly Instruction[],
  { reads, writes }: RegisterUse,
  bodies: readonly Body[],
  callbacks: ReadonlySet<number>,
): Signature[] {
  const functionAt = new Map(bodies.map(({ range }, i) => [range.start, i]));
  const needs = new Int32Array(bodies.length);
  const gives = new Int32Array(bodies.length);
  for (const [i, { range }] of bodies.entries())
    if (i === 0 || callbacks.has(range.start)) gives[i] = 1;
  const liveIn = bodies.map(({ blocks }) => new Int32Array(blocks.count));
  // What was live behind a block as it was walked last: no other is walked again.
  const walkedFor = bodies.map(({ blocks }) => new Int32Array(blocks.count).fill(never));
  const callers = bodies.map(() => new Set<number>());
  // Sets only grow, and there are few bits: this ends after a few rounds.
  for (let changed = true; changed; ) {
    changed = false;
    for (const [i, { blocks }] of bodies.entries()) {
      const live = liveIn[i]!;
      const walk = (block: number, out: RegisterSet): RegisterSet => {
        let set = out;
        for (let slot = blocks.ends[block]! - 1; slot >= blocks.starts[block]!; slot--) {
          const read = reads[slot]!;
          if ((read & dependsOnFunction) === 0) {
            set = (set & ~writes[slot]!) | read;
            continue;
          }
          const instruction = instructions[slot]!;
          if (instruction.kind === "exit") set = gives[i]!;
          else if (instruction.kind === "call_local") {
            const callee = functionAt.get(slot + 1 + instruction.offset)!;
            callers[callee]!.add(i);
            const wanted = gives[callee]! | (set & callerSaved);
            if (wanted !== gives[callee]) {
              gives[callee] = wanted;
              walkedFor[callee]!.fill(never);
              changed = true;
            }
            set = (set & ~callerSaved) | needs[callee]!;
          } else {
            // A packet load that fails, and a tail call, leave the function with the rest as it is.
            set = ((set | (gives[i]! & ~1)) & ~writes[slot]!) | (read & allRegisters);
          }
        }
        return set & allWritable;
      };
      while (updateAll(blocks, live, walkedFor[i]!, walk)) changed = true;
      if (needs[i] !== live[0]) {
        needs[i] = live[0]!;
        for (const caller of callers[i]!) walkedFor[caller]!.fill(never);
        changed = true;
      }
    }
  }
  return bodies.map((_, i) => ({ needs: needs[i]!, gives: gives[i]!, live: liveIn[i]! }));
}

function liveOut(blocks: Blocks, live: Int32Array, block: number): RegisterSet {
  const next = blocks.next[block]!;
  const taken = blocks.taken[block]!;
  return (next < 0 ? 0 : live[next]!) | (taken < 0 ? 0 : live[taken]!);
}

/** One round, last block first; whether anything was added. */
function updateAll(
  blocks: Blocks,
  live: Int32Array,
  walkedFor: Int32Array,
  walk: (block: number, out: RegisterSet) => RegisterSet,
): boolean {
  let changed = false;
  for (let block = blocks.count - 1; block >= 0; block--) {
    const out = liveOut(blocks, live, block);
    if (out === walkedFor[block]) continue;
    walkedFor[block] = out;
    const set = walk(block, out);
    if (set === live[block]) continue;
    live[block] = set;
    changed = true;
  }
  return changed;
}

/** The registers of a set, lowest first. */
export function registersOf(set: RegisterSet): number[] {
  const registers: number[] = [];
  for (let register = 0; register < 11; register++)
    if ((set & (1 << register)) !== 0) registers.push(register);
  return registers;
}
