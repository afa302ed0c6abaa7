import type { Block } from "../block.ts";
import { type Graph, type InEdge, type Side, sides } from "./graph.ts";

/**
 * Which blocks and edges all paths to a block or edge go through. The dominator tree of a graph
 * without cycles, with edges as nodes of their own; found in one pass from the root, as the nearest
 * common ancestor of all ways into a block. Jump pointers (Myers, "An applicative random-access
 * stack", 1983) find it in logarithmic time, so that long lists do not take quadratic time.
 */
export class Dominators {
  readonly #count: number;
  readonly #parent: Int32Array;
  readonly #jump: Int32Array;
  readonly #depth: Int32Array;
  /** Places in a walk over the tree: a node dominates those entered before it was left. */
  readonly #entered: Int32Array;
  readonly #left: Int32Array;

  constructor(graph: Graph, inEdges: readonly (readonly InEdge[])[]) {
    this.#count = graph.blocks.length;
    const nodes = this.#count * 3;
    this.#parent = new Int32Array(nodes).fill(-1);
    this.#jump = new Int32Array(nodes);
    this.#depth = new Int32Array(nodes);
    this.#entered = new Int32Array(nodes);
    this.#left = new Int32Array(nodes);
    for (const block of graph.blocks) {
      this.#attach(block.index, this.#commonAncestor(inEdges[block.index]!));
      for (const side of sides) this.#attach(this.edge(block, side), block.index);
    }
    this.#walk();
  }

  /** The node of an edge; a block's is its index. */
  edge(from: Block, side: Side): number {
    return this.#count + from.index * 2 + sides.indexOf(side);
  }

  /** Whether all paths to `lower` go through `upper`; a node dominates itself. */
  dominates(upper: number, lower: number): boolean {
    return (
      this.#entered[upper]! <= this.#entered[lower]! && this.#left[lower]! <= this.#left[upper]!
    );
  }

  /** Place of a node in a walk from the root: a dominator's is smaller. */
  place(node: number): number {
    return this.#entered[node]!;
  }

  #attach(node: number, parent: number): void {
    this.#parent[node] = parent;
    if (parent < 0) {
      this.#jump[node] = node;
      return;
    }
    this.#depth[node] = this.#depth[parent]! + 1;
    const far = this.#jump[parent]!;
    const isEven =
      this.#depth[parent]! - this.#depth[far]! ===
      this.#depth[far]! - this.#depth[this.#jump[far]!]!;
    this.#jump[node] = isEven ? this.#jump[far]! : parent;
  }

  #commonAncestor(inEdges: readonly InEdge[]): number {
    let common = -1;
    for (const { from, side } of inEdges) {
      const node = this.edge(from, side);
      common = common < 0 ? node : this.#meet(common, node);
    }
    return common;
  }

  #meet(first: number, second: number): number {
    let [a, b] = this.#depth[first]! < this.#depth[second]! ? [second, first] : [first, second];
    const depth = this.#depth[b]!;
    while (this.#depth[a]! > depth)
      a = this.#depth[this.#jump[a]!]! >= depth ? this.#jump[a]! : this.#parent[a]!;
    while (a !== b) {
      const isSame = this.#jump[a] === this.#jump[b];
      a = isSame ? this.#parent[a]! : this.#jump[a]!;
      b = isSame ? this.#parent[b]! : this.#jump[b]!;
    }
    return a;
  }

  #walk(): void {
    const nodes = this.#parent.length;
    const firstChild = new Int32Array(nodes).fill(-1);
    const sibling = new Int32Array(nodes).fill(-1);
    for (let node = 0; node < nodes; node++) {
      const parent = this.#parent[node]!;
      if (parent < 0) continue;
      sibling[node] = firstChild[parent]!;
      firstChild[parent] = node;
    }
    let clock = 0;
    let node = 0;
    this.#entered[node] = clock++;
    for (;;) {
      if (firstChild[node]! >= 0) {
        node = firstChild[node]!;
        this.#entered[node] = clock++;
        continue;
      }
      this.#left[node] = clock;
      while (sibling[node]! < 0) {
        node = this.#parent[node]!;
        if (node < 0) return;
        this.#left[node] = clock;
      }
      node = sibling[node]!;
      this.#entered[node] = clock++;
    }
  }
}
