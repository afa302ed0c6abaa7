import type { Block } from "../block.ts";
import { code } from "../opcode.ts";
import { atomA } from "./atoms.ts";
import type { Dominators } from "./dominators.ts";
import { type Graph, type Side, sides } from "./graph.ts";
import type { Pass, StepBudget } from "./pass.ts";
import { unknown } from "./values.ts";

/**
 * Leads edges past tests whose outcome is known on them: because a test of the same values lies on
 * every path before, or because both ways out of a test lead to the same place.
 */
export function threadJumps(pass: Pass, dominators: Dominators, budget: StepBudget): void {
  const facts = new Facts(pass.graph, dominators);
  const { blocks } = pass.graph;
  for (let i = blocks.length - 1; i >= 0; i--)
    for (const side of sides) threadEdge(pass, facts, blocks[i]!, side, budget);
}

function threadEdge(
  { graph, changed }: Pass,
  facts: Facts,
  from: Block,
  side: Side,
  budget: StepBudget,
): void {
  while (budget.steps-- > 0) {
    const test = from[side];
    if (test?.jt === undefined) return;
    let target: Block | undefined;
    if (test.jt === test.jf) target = test.jt;
    else {
      const outcome = facts.outcome(from, side, test);
      if (outcome !== undefined) target = test[outcome];
    }
    if (target === undefined || needs(graph, test, target)) return;
    from[side] = target;
    changed();
  }
}

/** Whether a block uses what a test before it computes, so that the test cannot be passed by. */
function needs({ defines, liveIn }: Graph, test: Block, target: Block): boolean {
  return (defines[test.index]! & liveIn[target.index]!) !== 0;
}

/**
 * What is known on edges: the outcomes of tests before. Tests are the same if their codes and the
 * values they compare are; of the edges where an outcome is known, the nearest that dominates decides.
 */
class Facts {
  readonly #dominators: Dominators;
  /** By block: where the outcome of its test is known. */
  readonly #same: (FactList | undefined)[] = [];
  /** By block: where A is known to equal some constant, and so equals no other. */
  readonly #equal: (FactList | undefined)[] = [];

  constructor(graph: Graph, dominators: Dominators) {
    this.#dominators = dominators;
    const same = new Map<string, FactList>();
    const equal = new Map<number, FactList>();
    for (const block of graph.blocks) {
      const value = graph.value(block, atomA);
      const operand = graph.operands[block.index]!;
      if (block.jt === undefined || value === unknown || operand === unknown) continue;
      const outcomes = listOf(same, `${block.code} ${value} ${operand}`);
      this.#same[block.index] = outcomes;
      for (const side of sides) outcomes.add(dominators.edge(block, side), side);
      if (block.code !== code.jumpEqual) continue;
      const constants = listOf(equal, value);
      this.#equal[block.index] = constants;
      constants.add(dominators.edge(block, "jt"), "jf");
    }
    for (const list of same.values()) list.prepare(dominators);
    for (const list of equal.values()) list.prepare(dominators);
  }

  /** The way that `test` will go where it is reached by this edge, if that is known. */
  outcome(from: Block, side: Side, test: Block): Side | undefined {
    const node = this.#dominators.edge(from, side);
    return (
      this.#same[test.index]?.nearest(this.#dominators, node) ??
      this.#equal[test.index]?.nearest(this.#dominators, node)
    );
  }
}

function listOf<Key>(lists: Map<Key, FactList>, key: Key): FactList {
  let list = lists.get(key);
  if (list === undefined) {
    list = new FactList();
    lists.set(key, list);
  }
  return list;
}

/** Edges on which one thing is known, and with which outcome. */
class FactList {
  readonly #facts: { readonly node: number; readonly outcome: Side; parent: number }[] = [];

  add(node: number, outcome: Side): void {
    this.#facts.push({ node, outcome, parent: -1 });
  }

  /** Sorts by place, and links each fact to the nearest one that dominates it. */
  prepare(dominators: Dominators): void {
    this.#facts.sort((a, b) => dominators.place(a.node) - dominators.place(b.node));
    let open = -1;
    for (const [i, fact] of this.#facts.entries()) {
      while (open >= 0 && !dominators.dominates(this.#facts[open]!.node, fact.node))
        open = this.#facts[open]!.parent;
      fact.parent = open;
      open = i;
    }
  }

  /** The outcome on the nearest edge that dominates `node`. */
  nearest(dominators: Dominators, node: number): Side | undefined {
    const place = dominators.place(node);
    let low = 0;
    let high = this.#facts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (dominators.place(this.#facts[middle]!.node) <= place) low = middle + 1;
      else high = middle;
    }
    let i = low - 1;
    while (i >= 0 && !dominators.dominates(this.#facts[i]!.node, node)) i = this.#facts[i]!.parent;
    return this.#facts[i]?.outcome;
  }
}
