import type { Blocks } from "./blocks.ts";

/**
 * Nodes and edges for structuring: the blocks of a function by their numbers and, behind them,
 * dispatchers. A dispatcher stands before several blocks: jumps to one of them go to it and say which
 * is meant, so that a region with several entries gets one.
 */
export interface FlowGraph {
  readonly successors: readonly (readonly number[])[];
  /** The dispatcher that stands before a block, or -1. */
  readonly dispatcherOf: Int32Array;
  /** Numbers from here on are dispatchers. */
  readonly blockCount: number;
}

/** The graph of the blocks as they are. */
export function graphOf(blocks: Blocks): FlowGraph {
  const successors: number[][] = [];
  for (let block = 0; block < blocks.count; block++) {
    const out: number[] = [];
    if (blocks.next[block]! >= 0) out.push(blocks.next[block]!);
    if (blocks.taken[block]! >= 0) out.push(blocks.taken[block]!);
    successors.push(out);
  }
  return {
    successors,
    dispatcherOf: new Int32Array(blocks.count).fill(-1),
    blockCount: blocks.count,
  };
}

/** Nodes in reverse postorder from node 0, and each node's place in it (-1: not reachable). */
export interface Order {
  readonly nodes: Int32Array;
  readonly places: Int32Array;
}

/** A walk of the graph from node 0, depth first. */
export interface DepthFirst {
  readonly order: Order;
  /** Nodes in preorder, and each node's number in it (-1: not reachable). */
  readonly vertices: Int32Array;
  readonly numbers: Int32Array;
  /** By preorder number: that of the parent in the tree. */
  readonly parents: Int32Array;
}

export function depthFirst({ successors }: FlowGraph): DepthFirst {
  const count = successors.length;
  const vertices = new Int32Array(count);
  const numbers = new Int32Array(count).fill(-1);
  const parents = new Int32Array(count);
  const postorder = new Int32Array(count);
  const nextEdge = new Int32Array(count);
  const path = new Int32Array(count);
  let depth = 1;
  let found = 1;
  let left = 0;
  numbers[0] = 0;
  while (depth > 0) {
    const node = path[depth - 1]!;
    const successor = successors[node]![nextEdge[node]!++];
    if (successor === undefined) {
      postorder[left++] = node;
      depth--;
    } else if (numbers[successor]! < 0) {
      numbers[successor] = found;
      parents[found] = numbers[node]!;
      vertices[found++] = successor;
      path[depth++] = successor;
    }
  }
  const nodes = postorder.subarray(0, found).reverse();
  const places = new Int32Array(count).fill(-1);
  for (let place = 0; place < found; place++) places[nodes[place]!] = place;
  return { order: { nodes, places }, vertices: vertices.subarray(0, found), numbers, parents };
}

/**
 * Immediate dominators by place in the order: `result[p]` is the place of the immediate dominator of
 * the node at place p; the entry's is itself.
 *
 * Lengauer and Tarjan, "A fast algorithm for finding dominators in a flowgraph" (1979), the simple
 * version: O(m log n) whatever the graph looks like. It works on preorder numbers.
 */
export function dominators(graph: FlowGraph, walk: DepthFirst): Int32Array {
  const { order, vertices, parents } = walk;
  const count = vertices.length;
  const { first, predecessors } = predecessorsOf(graph, walk);
  const semi = Int32Array.from({ length: count }, (_, i) => i);
  const label = semi.slice();
  const ancestor = new Int32Array(count).fill(-1);
  const idom = new Int32Array(count);
  const buckets: number[][] = [];
  const path: number[] = [];
  /** The vertex with the least semidominator on the way up to the root of v's tree. */
  const evaluate = (v: number): number => {
    if (ancestor[v]! < 0) return v;
    path.length = 0;
    for (let at = v; ancestor[ancestor[at]!]! >= 0; at = ancestor[at]!) path.push(at);
    for (let i = path.length - 1; i >= 0; i--) {
      const at = path[i]!;
      const up = ancestor[at]!;
      if (semi[label[up]!]! < semi[label[at]!]!) label[at] = label[up]!;
      ancestor[at] = ancestor[up]!;
    }
    return label[v]!;
  };
  for (let w = count - 1; w > 0; w--) {
    for (let i = first[w]!; i < first[w + 1]!; i++)
      semi[w] = Math.min(semi[w]!, semi[evaluate(predecessors[i]!)]!);
    const bucket = buckets[semi[w]!];
    if (bucket === undefined) buckets[semi[w]!] = [w];
    else bucket.push(w);
    const parent = parents[w]!;
    ancestor[w] = parent;
    for (const v of buckets[parent] ?? []) {
      const u = evaluate(v);
      idom[v] = semi[u]! < semi[v]! ? u : parent;
    }
    buckets[parent] = [];
  }
  for (let w = 1; w < count; w++) if (idom[w] !== semi[w]) idom[w] = idom[idom[w]!]!;
  const result = new Int32Array(count);
  for (let w = 1; w < count; w++)
    result[order.places[vertices[w]!]!] = order.places[vertices[idom[w]!]!]!;
  return result;
}

/** By preorder number w: the numbers in `predecessors` from `first[w]` up to `first[w + 1]`. */
function predecessorsOf(
  { successors }: FlowGraph,
  { vertices, numbers }: DepthFirst,
): { first: Int32Array; predecessors: Int32Array } {
  const count = vertices.length;
  const first = new Int32Array(count + 1);
  for (const node of vertices)
    for (const successor of successors[node]!) first[numbers[successor]!]!++;
  for (let w = 0, sum = 0; w <= count; w++) {
    sum += first[w]!;
    first[w] = sum;
  }
  // Each is filled from its end, which so becomes its first.
  const predecessors = new Int32Array(first[count]!);
  for (let w = 0; w < count; w++)
    for (const successor of successors[vertices[w]!]!)
      predecessors[--first[numbers[successor]!]!] = w;
  return { first, predecessors };
}
