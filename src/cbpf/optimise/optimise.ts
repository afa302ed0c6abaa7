import type { Block } from "../block.ts";
import { code } from "../opcode.ts";
import { Dominators } from "./dominators.ts";
import { Graph, type Side } from "./graph.ts";
import { type GroupedChains, groupTests } from "./group-tests.ts";
import { numberBlock } from "./number-block.ts";
import type { Pass, StepBudget } from "./pass.ts";
import { pullUp } from "./pull-up.ts";
import { shareBlocks } from "./share-blocks.ts";
import { threadJumps } from "./thread-jumps.ts";
import { ValueTable } from "./values.ts";

/** What the passes of a phase may do in all: blocks to visit, steps along chains of tests. */
const maxVisits = 1_000_000;
const maxSteps = 8_000_000;

/** Passes in a row that change nothing but the order of tests: they may turn in a circle. */
const maxIdlePasses = 100;

/**
 * Makes the program of a block graph shorter, in place, and returns its root. Follows the design of
 * libpcap's optimiser (Jacobson; bpf_optimize), so that lengths and matches are those of libpcap:
 *
 * 1. Edges: lead jumps past tests whose outcome is known, and order tests by what they load.
 *    Blocks stay self-contained meanwhile.
 * 2. Statements: number values, fold constants, drop loads of what is there already.
 * 3. Share equal blocks.
 *
 * Each phase repeats until nothing changes, or its budget is used up: what has been done by then is
 * a whole program. Throws a `Refusal` for a division by a constant that turns out to be zero.
 */
export function optimise(root: Block): Block {
  runPhase(root, false);
  runPhase(root, true);
  shareBlocks(root);
  return skipDecided(root);
}

function runPhase(root: Block, alter: boolean): void {
  const budget: StepBudget = { steps: maxSteps };
  let visits = 0;
  let idle = 0;
  while (visits < maxVisits && idle < maxIdlePasses && budget.steps > 0) {
    const progress = { any: false };
    const graph = new Graph(root);
    const changed = (): void => {
      progress.any = true;
    };
    const pass: Pass = { graph, table: new ValueTable(), alter, changed };
    const inEdges = graph.inEdges();
    for (const block of graph.blocks) numberBlock(pass, block, inEdges[block.index]!);
    if (!alter) {
      const dominators = new Dominators(graph, inEdges);
      threadJumps(pass, dominators, budget);
      const isMoved = pullAll(pass, dominators, budget);
      idle = isMoved && !progress.any ? idle + 1 : 0;
      if (isMoved) progress.any = true;
    }
    if (!progress.any) return;
    visits += graph.blocks.length;
  }
}

/** Pulls tests up wherever that is possible; true if it was. */
function pullAll(pass: Pass, dominators: Dominators, budget: StepBudget): boolean {
  let isMoved = false;
  const own: Pass = {
    ...pass,
    changed: () => {
      isMoved = true;
    },
  };
  let inEdges = pass.graph.inEdges();
  const grouped = (side: Side): GroupedChains => {
    const { chains, isMoved: isChanged } = groupTests(pass.graph, inEdges, side);
    if (isChanged) {
      isMoved = true;
      inEdges = pass.graph.inEdges();
    }
    return chains;
  };
  const chains = { jt: grouped("jt"), jf: grouped("jf") };
  for (let i = pass.graph.blocks.length - 1; i >= 0; i--) {
    const block = pass.graph.blocks[i]!;
    for (const side of ["jf", "jt"] as const)
      pullUp(own, dominators, inEdges[i]!, block, side, chains[side], budget);
  }
  return isMoved;
}

/** A test at the front whose two ways lead to one place is left out; what it loads is kept. */
function skipDecided(root: Block): Block {
  const { statements } = root;
  let block = root;
  while (block.jt !== undefined && block.jt === block.jf) block = block.jt;
  if (block === root) return root;
  if (block.code === code.returnK) block.statements = [];
  else block.statements = [...statements, ...block.statements];
  return block;
}
