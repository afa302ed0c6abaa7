import type { Instruction } from "../../isa/instruction.ts";
import type { ProgramSurvey } from "../program-survey.ts";
import { endsBlock, type RegisterUse } from "./register-use.ts";

/** Slots of one function: from `start` up to, not including, `end`. */
export interface FunctionRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The functions of a linked program: slot 0 and whatever is called, by instructions or, where some
 * helper calls back, by that.
 */
export function functionRanges(
  { called, addressed, callsBack }: ProgramSurvey,
  length: number,
): FunctionRange[] {
  const sorted = [...new Set([0, ...called, ...addressed])].sort((a, b) => a - b);
  return sorted
    .map((start, i) => ({ start, end: sorted[i + 1] ?? length }))
    .filter(({ start }) => start === 0 || called.has(start) || (callsBack && addressed.has(start)));
}

/**
 * Basic blocks of a function. Block b holds the slots from `starts[b]` up to `ends[b]`; it goes on
 * to `next[b]` (falling through or jumping) and, where it ends with a branch that is taken, to
 * `taken[b]`; -1 is none. Block 0 is the function's entry, to which no jump goes: where one goes to
 * the first slot, block 0 is empty.
 */
export interface Blocks {
  readonly count: number;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly next: Int32Array;
  readonly taken: Int32Array;
}

export function findBlocks(
  instructions: readonly Instruction[],
  range: FunctionRange,
  { reads }: RegisterUse,
): Blocks {
  const { start, end } = range;
  const leaders = new Uint8Array(end - start + 1);
  for (let slot = start; slot < end; slot++) {
    if ((reads[slot]! & endsBlock) === 0) continue;
    const instruction = instructions[slot]!;
    if (instruction.kind === "jump" || instruction.kind === "branch")
      leaders[slot + 1 + instruction.offset - start] = 1;
    leaders[slot + 1 - start] = 1;
  }
  const entryBlocks = leaders[0]!;
  leaders[0] = 1;
  // What begins behind the last slot is no block of this function.
  leaders[end - start] = 0;
  let count = entryBlocks;
  for (const leader of leaders) count += leader;
  const starts = new Int32Array(count).fill(start);
  const ends = new Int32Array(count).fill(start);
  /** By slot of the function, where a block begins. */
  const blockOf = new Int32Array(end - start);
  for (let at = 0, block = entryBlocks; at < end - start; at++) {
    if (leaders[at] === 0) continue;
    blockOf[at] = block;
    starts[block] = start + at;
    if (at > 0) ends[block - 1] = start + at;
    block++;
  }
  ends[count - 1] = end;
  const next = new Int32Array(count).fill(-1);
  const taken = new Int32Array(count).fill(-1);
  if (entryBlocks === 1) next[0] = 1;
  for (let block = entryBlocks; block < count; block++) {
    const last = ends[block]! - 1;
    const instruction = instructions[last]!;
    if (instruction.kind === "exit") continue;
    if (instruction.kind === "jump") {
      next[block] = blockOf[last + 1 + instruction.offset - start]!;
      continue;
    }
    next[block] = block + 1;
    // A branch to the next instruction goes there either way.
    if (instruction.kind === "branch" && instruction.offset !== 0)
      taken[block] = blockOf[last + 1 + instruction.offset - start]!;
  }
  return { count, starts, ends, next, taken };
}
