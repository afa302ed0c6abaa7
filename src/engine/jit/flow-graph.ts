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

export function reversePostorder(graph: FlowGraph): Order {
  const { successors } = graph;
  const seen = new Uint8Array(successors.length);
  const nextEdge = new Int32Array(successors.length);
  const path = [0];
  const postorder: number[] = [];
  seen[0] = 1;
  while (path.length > 0) {
    const node = path.at(-1)!;
    const successor = successors[node]![nextEdge[node]!++];
    if (successor === undefined) {
      postorder.push(node);
      path.pop();
    } else if (seen[successor] === 0) {
      seen[successor] = 1;
      path.push(successor);
    }
  }
  const nodes = Int32Array.from(postorder.reverse());
  const places = new Int32Array(successors.length).fill(-1);
  for (const [place, node] of nodes.entries()) places[node] = place;
  return { nodes, places };
}

/**
 * Immediate dominators by place in the order: `result[p]` is the place of the immediate dominator of
 * the node at place p; the entry's is itself.
 *
 * Lengauer and Tarjan, "A fast algorithm for finding dominators in a flowgraph" (1979), the simple
 * version: O(m log n) whatever the graph looks like. A depth-first numbering of its own, since a
 * reverse postorder is none.
 */
export function dominators(graph: FlowGraph, order: Order): Int32Array {
  const count = order.nodes.length;
  const { vertices, parents, predecessors } = depthFirst(graph, order);
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
    for (const v of predecessors[w]!) semi[w] = Math.min(semi[w]!, semi[evaluate(v)]!);
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

/** Vertices in depth-first preorder; parents in the tree and predecessors by preorder number. */
function depthFirst(
  graph: FlowGraph,
  order: Order,
): { vertices: number[]; parents: Int32Array; predecessors: number[][] } {
  const { successors } = graph;
  const count = order.nodes.length;
  const numbers = new Int32Array(successors.length).fill(-1);
  const nextEdge = new Int32Array(successors.length);
  const parents = new Int32Array(count);
  const vertices = [0];
  const path = [0];
  numbers[0] = 0;
  while (path.length > 0) {
    const node = path.at(-1)!;
    const successor = successors[node]![nextEdge[node]!++];
    if (successor === undefined) path.pop();
    else if (numbers[successor]! < 0) {
      numbers[successor] = vertices.length;
      parents[vertices.length] = numbers[node]!;
      vertices.push(successor);
      path.push(successor);
    }
  }
  const predecessors: number[][] = Array.from({ length: count }, () => []);
  for (const node of vertices)
    for (const successor of successors[node]!)
      predecessors[numbers[successor]!]!.push(numbers[node]!);
  return { vertices, parents, predecessors };
}
