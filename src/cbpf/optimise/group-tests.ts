import type { Block } from "../block.ts";
import { atomA, bitsMemory } from "./atoms.ts";
import { type Graph, type InEdge, type Side, sides } from "./graph.ts";
import { unknown } from "./values.ts";

/**
 * Tests in a row that share a way out, each reached from the one before only, ordered by what they
 * load: what `pullUp` need not look at one by one.
 */
export class GroupedChains {
  /** By block: the number of its chain, 0 where it is in none. */
  readonly #chains: Int32Array;
  /** By block: the last test of its group, and of its chain. */
  readonly #groupEnds: (Block | undefined)[] = [];
  readonly #chainEnds: (Block | undefined)[] = [];
  readonly #broken = new Set<number>();

  constructor(count: number, chains: readonly (readonly Group[])[]) {
    this.#chains = new Int32Array(count);
    for (const [i, groups] of chains.entries()) {
      const chainEnd = groups.at(-1)!.at(-1)!;
      for (const group of groups)
        for (const { index } of group) {
          this.#chains[index] = i + 1;
          this.#groupEnds[index] = group.at(-1)!;
          this.#chainEnds[index] = chainEnd;
        }
    }
  }

  /** The last test that follows `block` and loads the same. */
  groupEnd(block: Block): Block {
    return this.#holds(block) ? this.#groupEnds[block.index]! : block;
  }

  /** The last test of the chain of `block`, where `other` is of it as well; else that of its group. */
  endShared(block: Block, other: Block): Block {
    if (!this.#holds(block)) return block;
    const isOne = this.#chains[block.index] === this.#chains[other.index];
    return isOne ? this.#chainEnds[block.index]! : this.#groupEnds[block.index]!;
  }

  /** A test has been moved out of the chain of `block`, or into it. */
  breakUp(block: Block): void {
    this.#broken.add(this.#chains[block.index]!);
  }

  #holds({ index }: Block): boolean {
    const chain = this.#chains[index]!;
    return chain !== 0 && !this.#broken.has(chain);
  }
}

/** Tests of one value. */
type Group = readonly Block[];

/**
 * Orders whole chains of tests by what they load. Of long lists this does in one pass what `pullUp`
 * does a test at a time: `host a or host b or …` becomes all sources, then all destinations. Groups
 * keep the order of their first tests, and tests their order within a group, so that the result is
 * what `pullUp` comes to. `through` is the side by which the chains go on, `inEdges` are those of now.
 */
export function groupTests(
  graph: Graph,
  inEdges: readonly (readonly InEdge[])[],
  through: Side,
): { readonly chains: GroupedChains; readonly isMoved: boolean } {
  let isMoved = false;
  // The last first: what a chain goes on to, and where its tests lead, is settled before it is.
  const chains = chainsOf(graph, inEdges, through).reverse();
  const grouped = chains.map((chain) => {
    const into = inEdges[chain[0]!.index]!;
    const groups = groupsOf(graph, into, chain);
    if (reorder(into, chain, groups.flat(), through)) isMoved = true;
    return groups;
  });
  return { chains: new GroupedChains(graph.blocks.length, grouped), isMoved };
}

function chainsOf(graph: Graph, inEdges: readonly (readonly InEdge[])[], through: Side): Block[][] {
  const seen = new Uint8Array(graph.blocks.length);
  const chains: Block[][] = [];
  for (const block of graph.blocks) {
    if (seen[block.index] === 1 || block.jt === undefined) continue;
    const chain = chainFrom(graph, inEdges, block, through);
    for (const member of chain) seen[member.index] = 1;
    if (chain.length > 2) chains.push(chain);
  }
  return chains;
}

/** The tests in a row from `block` on, up to one that uses scratch memory. */
function chainFrom(
  { uses, defines }: Graph,
  inEdges: readonly (readonly InEdge[])[],
  block: Block,
  through: Side,
): Block[] {
  const [out] = sides.filter((side) => side !== through);
  const chain: Block[] = [];
  for (let next: Block | undefined = block; next !== undefined; next = next[through]) {
    const isMember: boolean =
      next === block || (next[out!] === block[out!] && inEdges[next.index]!.length === 1);
    if (!isMember || ((uses[next.index]! | defines[next.index]!) & bitsMemory) !== 0) break;
    chain.push(next);
  }
  return chain;
}

/** The tests of what A holds on the way in come first: they need no load. */
function groupsOf(graph: Graph, into: readonly InEdge[], chain: readonly Block[]): Group[] {
  const groups = new Map<number, Block[]>();
  const first = graph.commonValue(into, atomA);
  if (first !== undefined && first !== unknown) groups.set(first, []);
  for (const [i, member] of chain.entries()) {
    const value = graph.value(member, atomA);
    // What is not known is like nothing else.
    const key = value === unknown ? -1 - i : value;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [member]);
    else group.push(member);
  }
  return [...groups.values()].filter((group) => group.length > 0);
}

/** True if that was not the order already. */
function reorder(
  into: readonly InEdge[],
  chain: readonly Block[],
  order: readonly Block[],
  through: Side,
): boolean {
  if (order.every((member, i) => member === chain[i])) return false;
  const after = chain.at(-1)![through];
  for (const [i, member] of order.entries()) member[through] = order[i + 1] ?? after;
  for (const { from, side } of into) if (from[side] === chain[0]) from[side] = order[0];
  return true;
}
