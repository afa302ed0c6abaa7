import type { Block } from "../block.ts";
import { atomA, bitsMemory } from "./atoms.ts";
import type { Dominators } from "./dominators.ts";
import type { Graph, InEdge, Side } from "./graph.ts";
import type { GroupedChains } from "./group-tests.ts";
import type { Pass, StepBudget } from "./pass.ts";

/** Where a block is referred to: one side of another. */
interface Place {
  readonly block: Block;
  readonly side: Side;
}

/**
 * In a chain of tests that all lead to one place when they hold (`or`), or when they fail (`and`),
 * the order does not matter. Moves a test of the value that A has on the way in up to the front,
 * past tests that load another: then it needs no load of its own.
 *
 * `through` is the side by which the chain goes on: `jf` for `or`, `jt` for `and`. `chains` are those
 * of that side that are in order already.
 */
export function pullUp(
  pass: Pass,
  dominators: Dominators,
  inEdges: readonly InEdge[],
  block: Block,
  through: Side,
  chains: GroupedChains,
  budget: StepBudget,
): void {
  const { graph } = pass;
  const value = graph.commonValue(inEdges, atomA);
  if (value === undefined || block.jt === undefined) return;
  const out: Side = through === "jf" ? "jt" : "jf";
  const exit = block[out];
  let touched = 0;
  /** The next test of the chain, if it is one of it. */
  const member = (candidate: Block | undefined): Block | undefined => {
    budget.steps--;
    if (candidate === undefined || candidate[out] !== exit || budget.steps < 0) return undefined;
    if (!dominators.dominates(block.index, candidate.index)) return undefined;
    touched |= graph.defines[candidate.index]! | graph.uses[candidate.index]!;
    return candidate;
  };

  let place: Place | undefined;
  let different = member(block);
  while (different !== undefined && graph.value(different, atomA) === value) {
    const end = chains.groupEnd(different);
    place = { block: end, side: through };
    different = member(end[through]);
  }
  if (different === undefined) return;
  let before = chains.endShared(different, block);
  let same = member(before[through]);
  while (same !== undefined && graph.value(same, atomA) !== value) {
    before = chains.endShared(same, block);
    same = member(before[through]);
  }
  if (same === undefined || usesMemory(graph, touched, [block, exit, same[through]])) return;

  for (const moved of [block, before, same]) chains.breakUp(moved);
  before[through] = same[through];
  same[through] = different;
  if (place !== undefined) place.block[place.side] = same;
  else for (const edge of inEdges) if (edge.from[edge.side] === block) edge.from[edge.side] = same;
  pass.changed();
}

/** Whether scratch memory connects the tests with each other or with what follows. */
function usesMemory(
  { liveIn }: Graph,
  touched: number,
  blocks: readonly (Block | undefined)[],
): boolean {
  return blocks.some(
    (block) => block !== undefined && (liveIn[block.index]! & touched & bitsMemory) !== 0,
  );
}
