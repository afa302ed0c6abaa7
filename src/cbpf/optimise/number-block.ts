import type { Block } from "../block.ts";
import { classOf, opClass, usesX } from "../opcode.ts";
import { atomA, atomCount, atomX } from "./atoms.ts";
import { removeDeadStores } from "./dead-stores.ts";
import type { Graph, InEdge } from "./graph.ts";
import { compact, type Pass } from "./pass.ts";
import { simplifyBlock } from "./peephole.ts";
import { numberStatement, unknown } from "./values.ts";

/**
 * Follows the values through a block from those that all its predecessors agree on, then shortens
 * it. Predecessors come before.
 */
export function numberBlock(pass: Pass, block: Block, inEdges: readonly InEdge[]): void {
  const { graph, table, alter, changed } = pass;
  const { index } = block;
  const values = graph.values.subarray(index * atomCount, (index + 1) * atomCount);
  meet(graph, inEdges, values);
  const before = values.slice();
  const numbering = { table, values, alter, changed };
  for (const each of block.statements) numberStatement(numbering, each);
  block.statements = compact(block.statements);
  if (alter && hasNoEffect(graph, block, before, values)) {
    if (block.statements.length > 0) changed();
    block.statements = [];
    values.set(before);
  } else {
    simplifyBlock(pass, block, values);
    removeDeadStores(pass, block, values);
  }
  graph.operands[index] = usesX(block.code) ? values[atomX]! : table.constant(block.k);
}

function meet(graph: Graph, inEdges: readonly InEdge[], values: Int32Array): void {
  const [first, ...others] = inEdges;
  if (first === undefined) {
    values.fill(unknown);
    return;
  }
  for (let atom = 0; atom < atomCount; atom++) values[atom] = graph.value(first.from, atom);
  for (const { from } of others)
    for (let atom = 0; atom < atomCount; atom++)
      if (values[atom] !== graph.value(from, atom)) values[atom] = unknown;
}

/** The block only computes what A and X hold already, or returns. */
function hasNoEffect(
  { liveOut }: Graph,
  block: Block,
  before: Int32Array,
  after: Int32Array,
): boolean {
  if (classOf(block.code) === opClass.return) return true;
  const kept = (atom: number): boolean => after[atom] !== unknown && after[atom] === before[atom];
  return liveOut[block.index] === 0 && kept(atomA) && kept(atomX);
}
