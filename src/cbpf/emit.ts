import { type Block, postorder } from "./block.ts";
import type { ClassicInstruction, ClassicProgram } from "./instruction.ts";
import { code } from "./opcode.ts";
import { readsBeforeWrites } from "./validate.ts";

/** The furthest a conditional jump reaches: 8 bits. */
const maxSkip = 255;

/**
 * Lays blocks out in one row, each before its successors, and turns edges into jumps. Where a
 * successor is too far for a conditional jump, a `ja` right after it goes the way.
 */
export function emit(root: Block): ClassicProgram {
  const blocks = postorder(root).reverse();
  const layout = new Layout(blocks);
  while (layout.addLongJumps());
  const program: ClassicInstruction[] = [];
  for (const [i, block] of blocks.entries()) {
    for (const { code, k, jt = 0, jf = 0 } of block.statements) program.push({ code, jt, jf, k });
    program.push(...layout.ending(i));
  }
  return withScratchCleared(program);
}

/**
 * What some way through the program reads before it is written begins as zero. Libpcap makes such
 * programs of `geneve or …`, and the kernel refuses them.
 */
function withScratchCleared(program: ClassicProgram): ClassicProgram {
  const unwritten = [...readsBeforeWrites(program).keys()];
  if (unwritten.length === 0) return program;
  const store = (k: number): ClassicInstruction => ({ code: code.store, jt: 0, jf: 0, k });
  const zero: ClassicInstruction = { code: code.loadImmediate, jt: 0, jf: 0, k: 0 };
  return [zero, ...unwritten.map(store), ...program];
}

class Layout {
  readonly #blocks: readonly Block[];
  readonly #index: ReadonlyMap<Block, number>;
  readonly #longTrue: Uint8Array;
  readonly #longFalse: Uint8Array;
  #starts: Uint32Array;

  constructor(blocks: readonly Block[]) {
    this.#blocks = blocks;
    this.#index = new Map(blocks.map((block, i) => [block, i]));
    this.#longTrue = new Uint8Array(blocks.length);
    this.#longFalse = new Uint8Array(blocks.length);
    this.#starts = this.#place();
  }

  #place(): Uint32Array {
    const starts = new Uint32Array(this.#blocks.length);
    let at = 0;
    for (const [i, block] of this.#blocks.entries()) {
      starts[i] = at;
      at += block.statements.length + 1 + this.#longTrue[i]! + this.#longFalse[i]!;
    }
    return starts;
  }

  /** Instructions between the test of block `i` and a successor of it. */
  #distance(i: number, successor: Block): number {
    const test = this.#starts[i]! + this.#blocks[i]!.statements.length;
    return this.#starts[this.#index.get(successor)!]! - test - 1;
  }

  /** Makes jumps long that do not reach; true if that moved blocks, so that others may not either. */
  addLongJumps(): boolean {
    let changed = false;
    for (const [i, { jt, jf }] of this.#blocks.entries()) {
      if (jt === undefined || jf === undefined) continue;
      if (this.#longTrue[i] === 0 && this.#distance(i, jt) > maxSkip) {
        this.#longTrue[i] = 1;
        changed = true;
      }
      if (this.#longFalse[i] === 0 && this.#distance(i, jf) > maxSkip) {
        this.#longFalse[i] = 1;
        changed = true;
      }
    }
    if (changed) this.#starts = this.#place();
    return changed;
  }

  /** The test or return of block `i`, with the long jumps after it. */
  *ending(i: number): Generator<ClassicInstruction> {
    const { code: operation, k, jt, jf } = this.#blocks[i]!;
    if (jt === undefined || jf === undefined) {
      yield { code: operation, jt: 0, jf: 0, k };
      return;
    }
    const isLongTrue = this.#longTrue[i] === 1;
    const isLongFalse = this.#longFalse[i] === 1;
    const toTrue = this.#distance(i, jt);
    const toFalse = this.#distance(i, jf);
    yield {
      code: operation,
      jt: isLongTrue ? 0 : toTrue,
      jf: isLongFalse ? Number(isLongTrue) : toFalse,
      k,
    };
    if (isLongTrue) yield { code: code.jumpAlways, jt: 0, jf: 0, k: toTrue - 1 };
    if (isLongFalse)
      yield { code: code.jumpAlways, jt: 0, jf: 0, k: toFalse - 1 - Number(isLongTrue) };
  }
}
