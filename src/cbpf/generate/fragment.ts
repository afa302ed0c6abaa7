import { type Block, block, type Statement } from "../block.ts";
import { code } from "../opcode.ts";

/** A way out of a block that leads nowhere yet. */
interface Exit {
  readonly block: Block;
  readonly side: "jt" | "jf";
}

/** Part of a graph that decides something: where it begins, and its ways out by the answer. */
export interface Fragment {
  readonly entry: Block;
  readonly whenTrue: Exit[];
  readonly whenFalse: Exit[];
  /** Instructions in it, before any are optimised away. */
  readonly length: number;
}

/** One test, after statements that load what it tests. */
export function test(statements: Statement[], operation: number, k: number): Fragment {
  const entry = block(statements, operation, k);
  return {
    entry,
    whenTrue: [{ block: entry, side: "jt" }],
    whenFalse: [{ block: entry, side: "jf" }],
    length: statements.length + 1,
  };
}

/** Both hold. The parts must not be used again. */
export function and(first: Fragment, second: Fragment): Fragment {
  lead(first.whenTrue, second.entry);
  return {
    entry: first.entry,
    whenTrue: second.whenTrue,
    whenFalse: join(first.whenFalse, second.whenFalse),
    length: first.length + second.length,
  };
}

/** One of them holds. The parts must not be used again. */
export function or(first: Fragment, second: Fragment): Fragment {
  lead(first.whenFalse, second.entry);
  return {
    entry: first.entry,
    whenTrue: join(first.whenTrue, second.whenTrue),
    whenFalse: second.whenFalse,
    length: first.length + second.length,
  };
}

export function not({ entry, whenTrue, whenFalse, length }: Fragment): Fragment {
  return { entry, whenTrue: whenFalse, whenFalse: whenTrue, length };
}

/** `first` decides between the two others, as in `first ? second : third`. */
export function choose(first: Fragment, second: Fragment, third: Fragment): Fragment {
  lead(first.whenTrue, second.entry);
  lead(first.whenFalse, third.entry);
  return {
    entry: first.entry,
    whenTrue: join(second.whenTrue, third.whenTrue),
    whenFalse: join(second.whenFalse, third.whenFalse),
    length: first.length + second.length + third.length,
  };
}

/** The whole program: keeps `snapLength` bytes of what matches. */
export function finish(fragment: Fragment, snapLength: number): Block {
  lead(fragment.whenTrue, block([], code.returnK, snapLength));
  lead(fragment.whenFalse, block([], code.returnK, 0));
  return fragment.entry;
}

function lead(exits: readonly Exit[], target: Block): void {
  for (const exit of exits) exit.block[exit.side] = target;
}

/** Moves the shorter list into the longer one, so that a long `or` list is not copied each time. */
function join(first: Exit[], second: Exit[]): Exit[] {
  const [long, brief] = first.length < second.length ? [second, first] : [first, second];
  for (const exit of brief) long.push(exit);
  return long;
}
