import type { Block, Statement } from "../block.ts";
import { atomCount, reads, written } from "./atoms.ts";
import { compact, type Pass } from "./pass.ts";
import { removed, unknown } from "./values.ts";

/**
 * Removes statements whose result is overwritten before it is read, or not read at all. `values`
 * are those at the end of the block; what is removed last leaves nothing known.
 */
export function removeDeadStores({ graph, changed }: Pass, block: Block, values: Int32Array): void {
  /** The last statement that wrote each atom, if nothing has read it since. */
  const unread = new Array<Statement | undefined>(atomCount).fill(undefined);
  const markRead = (atoms: number): void => {
    for (let atom = 0; atom < atomCount; atom++)
      if ((atoms & (1 << atom)) !== 0) unread[atom] = undefined;
  };
  for (const each of block.statements) {
    markRead(reads(each));
    const atom = written(each);
    if (atom === undefined) continue;
    const earlier = unread[atom];
    if (earlier !== undefined) {
      earlier.code = removed;
      changed();
    }
    unread[atom] = each;
  }
  markRead(reads(block) | graph.liveOut[block.index]!);
  for (const [atom, each] of unread.entries())
    if (each !== undefined) {
      each.code = removed;
      values[atom] = unknown;
      changed();
    }
  block.statements = compact(block.statements);
}
