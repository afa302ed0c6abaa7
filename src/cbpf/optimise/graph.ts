import type { Block } from "../block.ts";
import { atomCount, reads, written } from "./atoms.ts";

/** The two ways out of a block. */
export type Side = "jt" | "jf";
export const sides = ["jt", "jf"] as const;

/** A way into a block. */
export interface InEdge {
  readonly from: Block;
  readonly side: Side;
}

/**
 * A block graph in the order in which one pass goes over it, with what was found out about it when
 * the pass began. Arrays go by `Block.index`. Passes change edges and statements in place; they only
 * ever make less live, so what is here errs on the safe side until the next pass.
 */
export class Graph {
  /** The root first, each block before its successors, those of one height together. */
  readonly blocks: readonly Block[];
  /** Atoms a block reads before it writes them. */
  readonly uses: Int32Array;
  /** Atoms a block writes. */
  readonly defines: Int32Array;
  /** Atoms whose values matter at the start of a block, and after it. */
  readonly liveIn: Int32Array;
  readonly liveOut: Int32Array;
  /** Number of the value each atom has at the end of a block, 0 if not known; see values.ts. */
  readonly values: Int32Array;
  /** Number of the value that a block's test compares A with, 0 if not known. */
  readonly operands: Int32Array;

  constructor(root: Block) {
    this.blocks = byHeight(root);
    const count = this.blocks.length;
    this.uses = new Int32Array(count);
    this.defines = new Int32Array(count);
    this.liveIn = new Int32Array(count);
    this.liveOut = new Int32Array(count);
    this.values = new Int32Array(count * atomCount);
    this.operands = new Int32Array(count);
    for (const [i, block] of this.blocks.entries()) block.index = i;
    for (const block of this.blocks) this.#findUses(block);
    this.#findLiveness();
  }

  #findUses(block: Block): void {
    let uses = 0;
    let defines = 0;
    for (const each of block.statements) {
      uses |= reads(each) & ~defines;
      const atom = written(each);
      if (atom !== undefined) defines |= 1 << atom;
    }
    this.uses[block.index] = uses | (reads(block) & ~defines);
    this.defines[block.index] = defines;
  }

  #findLiveness(): void {
    for (let i = this.blocks.length - 1; i >= 0; i--) {
      const { jt, jf } = this.blocks[i]!;
      if (jt !== undefined && jf !== undefined)
        this.liveOut[i] = this.liveIn[jt.index]! | this.liveIn[jf.index]!;
      this.liveIn[i] = this.uses[i]! | (this.liveOut[i]! & ~this.defines[i]!);
    }
  }

  /** The ways into each block, as the edges are now. */
  inEdges(): readonly (readonly InEdge[])[] {
    const edges: InEdge[][] = this.blocks.map(() => []);
    for (const from of this.blocks)
      for (const side of sides) {
        const to = from[side];
        if (to !== undefined) edges[to.index]!.push({ from, side });
      }
    return edges;
  }

  /** Number of an atom's value at the end of a block, 0 if not known. */
  value(block: Block, atom: number): number {
    return this.values[block.index * atomCount + atom]!;
  }

  /** The number that all these ways into a block bring, if it is one. */
  commonValue(inEdges: readonly InEdge[], atom: number): number | undefined {
    const first = inEdges[0];
    if (first === undefined) return undefined;
    const value = this.value(first.from, atom);
    return inEdges.every(({ from }) => this.value(from, atom) === value) ? value : undefined;
  }
}

/**
 * All blocks from the root down by height, which is 0 for returns. Not recursive: see postorder in
 * block.ts. Among blocks of one height, those found last by a walk that goes `jt` first come first.
 */
function byHeight(root: Block): Block[] {
  const levels: Block[][] = [];
  const entered = new Set<Block>([root]);
  // Two stacks: the way from the root to where the walk is, and how many sides of each it has taken.
  const path = [root];
  const taken = [0];
  for (let block = path.at(-1); block !== undefined; block = path.at(-1)) {
    const top = path.length - 1;
    const side = sides[taken[top]!++];
    if (side !== undefined) {
      const next = block[side];
      if (next === undefined || entered.has(next)) continue;
      entered.add(next);
      path.push(next);
      taken.push(0);
      continue;
    }
    const { jt, jf } = block;
    // Until all have their places, `index` is the height.
    block.index = jt === undefined || jf === undefined ? 0 : Math.max(jt.index, jf.index) + 1;
    const level = levels[block.index];
    if (level === undefined) levels[block.index] = [block];
    else level.push(block);
    path.pop();
    taken.pop();
  }
  const blocks: Block[] = [];
  for (const level of levels.reverse())
    for (let i = level.length - 1; i >= 0; i--) blocks.push(level[i]!);
  return blocks;
}
