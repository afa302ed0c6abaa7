import { depthFirst, dominators, type FlowGraph, type Order } from "./flow-graph.ts";

/** A graph that structured control flow can express, with what structuring asks of it. */
export interface ReducibleFlow {
  readonly graph: FlowGraph;
  readonly order: Order;
  /** By place in the order: see `dominators`. */
  readonly idom: Int32Array;
}

/**
 * Makes every cycle have one entry that dominates it. Clang's programs are so already; a graph with
 * jumps into the middle of loops gets a dispatcher for each strongly connected part that has such
 * jumps. It stands before the part's entries and before every target of a jump back in it: then
 * every cycle there passes through it.
 */
export function makeReducible(graph: FlowGraph): ReducibleFlow {
  const flow = analyse(graph);
  const irreducible = badEdges(flow);
  if (irreducible.length === 0) return flow;
  const dispatched = analyse(addDispatchers(graph, flow.order, irreducible));
  if (badEdges(dispatched).length > 0) throw new Error("a dispatcher left a loop with two entries");
  return dispatched;
}

function analyse(graph: FlowGraph): ReducibleFlow {
  const walk = depthFirst(graph);
  return { graph, order: walk.order, idom: dominators(graph, walk) };
}

interface Edge {
  readonly from: number;
  readonly to: number;
}

/** Edges back in the order whose target does not dominate their source. */
function badEdges({ graph, order, idom }: ReducibleFlow): Edge[] {
  const back: Edge[] = [];
  for (const from of order.nodes)
    for (const to of graph.successors[from]!)
      if (order.places[to]! <= order.places[from]!) back.push({ from, to });
  if (back.length === 0) return back;
  const { first, last } = treeIntervals(idom);
  return back.filter(({ from, to }) => {
    const [u, v] = [order.places[from]!, order.places[to]!];
    return !(first[v]! <= first[u]! && last[u]! <= last[v]!);
  });
}

/** Preorder intervals of the dominator tree: u dominates v where v's lies within u's. */
function treeIntervals(idom: Int32Array): { first: Int32Array; last: Int32Array } {
  const count = idom.length;
  const sizes = new Int32Array(count).fill(1);
  // An immediate dominator comes before its children in the order.
  for (let place = count - 1; place > 0; place--) sizes[idom[place]!]! += sizes[place]!;
  const first = new Int32Array(count);
  const last = new Int32Array(count);
  const next = new Int32Array(count);
  next[0] = 1;
  last[0] = count - 1;
  for (let place = 1; place < count; place++) {
    const parent = idom[place]!;
    first[place] = next[parent]!;
    next[parent]! += sizes[place]!;
    next[place] = first[place]! + 1;
    last[place] = first[place]! + sizes[place]! - 1;
  }
  return { first, last };
}

function addDispatchers(graph: FlowGraph, order: Order, bad: readonly Edge[]): FlowGraph {
  const component = components(graph, order);
  const affected = new Set(bad.map(({ from }) => component[from]!));
  const dispatcherOf = graph.dispatcherOf.slice();
  const dispatchers = new Map<number, number>();
  const targets: number[][] = [];
  for (const from of order.nodes)
    for (const to of graph.successors[from]!) {
      const part = component[to]!;
      if (!affected.has(part) || dispatcherOf[to]! >= 0) continue;
      const enters = component[from] !== part;
      if (!enters && order.places[to]! > order.places[from]!) continue;
      let dispatcher = dispatchers.get(part);
      if (dispatcher === undefined) {
        dispatcher = graph.blockCount + targets.length;
        dispatchers.set(part, dispatcher);
        targets.push([]);
      }
      dispatcherOf[to] = dispatcher;
      targets[dispatcher - graph.blockCount]!.push(to);
    }
  const redirected = graph.successors.map((out) =>
    out.map((to) => (dispatcherOf[to]! >= 0 ? dispatcherOf[to]! : to)),
  );
  return { successors: [...redirected, ...targets], dispatcherOf, blockCount: graph.blockCount };
}

/** Number of each node's strongly connected component: Tarjan's algorithm without recursion. */
function components(graph: FlowGraph, order: Order): Int32Array {
  const { successors } = graph;
  const count = successors.length;
  const index = new Int32Array(count).fill(-1);
  const low = new Int32Array(count);
  const onStack = new Uint8Array(count);
  const nextEdge = new Int32Array(count);
  const component = new Int32Array(count).fill(-1);
  const stack: number[] = [];
  let found = 0;
  let numbered = 0;
  const path = [order.nodes[0]!];
  while (path.length > 0) {
    const node = path.at(-1)!;
    if (index[node]! < 0) {
      index[node] = low[node] = numbered++;
      stack.push(node);
      onStack[node] = 1;
    }
    const successor = successors[node]![nextEdge[node]!++];
    if (successor !== undefined) {
      if (index[successor]! < 0) path.push(successor);
      else if (onStack[successor] === 1) low[node] = Math.min(low[node]!, index[successor]!);
      continue;
    }
    path.pop();
    const parent = path.at(-1);
    if (parent !== undefined) low[parent] = Math.min(low[parent]!, low[node]!);
    if (low[node] !== index[node]) continue;
    for (;;) {
      const member = stack.pop()!;
      onStack[member] = 0;
      component[member] = found;
      if (member === node) break;
    }
    found++;
  }
  return component;
}
