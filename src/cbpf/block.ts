/**
 * The form between syntax tree and instructions: blocks of statements that end in a test with two
 * successors, or in a return. Code generation builds the graph, the optimiser changes it in place,
 * and emit.ts lays it out. Without `protochain`, whose loops stay inside one block, it is acyclic.
 */

/** A statement: an instruction that goes on to the next one. */
export interface Statement {
  code: number;
  k: number;
  /** Instructions to skip inside the block, for the few conditional jumps that stay in one. */
  jt?: number;
  jf?: number;
}

export interface Block {
  statements: Statement[];
  /** The instruction that ends the block: a conditional jump or a return. */
  code: number;
  k: number;
  /** Successors where the test holds and where it does not; undefined for returns. */
  jt: Block | undefined;
  jf: Block | undefined;
  /** Place in the order the optimiser works in; meaningless outside it. */
  index: number;
}

export function statement(code: number, k = 0): Statement {
  return { code, k: k >>> 0 };
}

export function block(statements: Statement[], code: number, k: number): Block {
  return { statements, code, k: k >>> 0, jt: undefined, jf: undefined, index: 0 };
}

/**
 * The blocks that `root` reaches, each before its predecessors, and the successor where the test
 * fails before the one where it holds. Not recursive: a list of 10,000 hosts is as deep as it is long.
 */
export function postorder(root: Block): Block[] {
  const order: Block[] = [];
  const seen = new Set<Block>([root]);
  const path: { readonly block: Block; visited: number }[] = [{ block: root, visited: 0 }];
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const successor =
      top.visited === 0 ? top.block.jf : top.visited === 1 ? top.block.jt : undefined;
    if (top.visited++ < 2) {
      if (successor === undefined || seen.has(successor)) continue;
      seen.add(successor);
      path.push({ block: successor, visited: 0 });
    } else {
      order.push(top.block);
      path.pop();
    }
  }
  return order;
}
