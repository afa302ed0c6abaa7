import { type Block, postorder } from "../block.ts";

/** Makes one of blocks that do the same and go on to the same. */
export function shareBlocks(root: Block): void {
  const numbers = new Map<Block, number>();
  const known = new Map<string, Block>();
  const shared = new Map<Block, Block>();
  // Successors come first, so that blocks are compared by what is left of theirs.
  for (const block of postorder(root)) {
    for (const side of ["jt", "jf"] as const) {
      const successor = block[side];
      if (successor !== undefined) block[side] = shared.get(successor) ?? successor;
    }
    const key = [
      block.code,
      block.k,
      block.jt === undefined ? "" : numbers.get(block.jt),
      block.jf === undefined ? "" : numbers.get(block.jf),
      ...block.statements.map(({ code, k }) => `${code} ${k}`),
    ].join(",");
    const twin = known.get(key);
    if (twin === undefined) {
      known.set(key, block);
      numbers.set(block, numbers.size);
    } else shared.set(block, twin);
  }
}
