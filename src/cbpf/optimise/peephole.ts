import type { Block, Statement } from "../block.ts";
import {
  aluOp,
  classOf,
  code,
  jumpOp,
  mode,
  modeOf,
  opClass,
  operationOf,
  source,
  usesX,
} from "../opcode.ts";
import { atomA, atomX, bitA, bitX } from "./atoms.ts";
import { compact, type Pass } from "./pass.ts";
import { removed } from "./values.ts";

const add = opClass.alu | aluOp.add | source.x;
const subX = opClass.alu | aluOp.sub | source.x;
const subK = opClass.alu | aluOp.sub | source.k;
const andK = opClass.alu | aluOp.and | source.k;

/**
 * Shortens typical sequences of generated code: of arithmetic that goes through scratch memory, and
 * of comparisons by subtraction. `values` are those at the end of the block.
 */
export function simplifyBlock(pass: Pass, block: Block, values: Int32Array): void {
  if (block.statements.length === 0) return;
  const isXLive = (pass.graph.liveOut[block.index]! & bitX) !== 0;
  for (let i = 0; i + 1 < block.statements.length; i++) simplifyAt(pass, block, i, isXLive);
  const isALive = (pass.graph.liveOut[block.index]! & bitA) !== 0;
  if (block.code === code.jumpEqual && !isALive) simplifyTest(pass, block, values);
  block.statements = compact(block.statements);
  decideTest(pass, block, values);
}

/** The first statement from `i` on that has not been removed. */
function at(statements: readonly Statement[], i: number): Statement | undefined {
  let position = i;
  while (statements[position]?.code === removed) position++;
  return statements[position];
}

function simplifyAt({ changed }: Pass, block: Block, i: number, isXLive: boolean): void {
  const { statements } = block;
  const each = statements[i]!;
  const next = at(statements, i + 1);
  if (each.code === removed || next === undefined) return;
  if (each.code === code.store && next.code === code.loadXMemory && each.k === next.k) {
    // The operand of tax means nothing; libpcap leaves it as it was, and listings show it.
    next.code = code.tax;
    changed();
  }
  if (each.code !== code.loadImmediate) return;
  if (next.code === code.tax) {
    each.code = code.loadXImmediate;
    next.code = code.txa;
    changed();
    return;
  }
  if (isXLive) return;
  if (foldIndex(block, i, each)) changed();
}

/** `ld #k; [ldxb …;] add x; tax; ld [x + n]` is `[ldxb …;] ld [x + n + k]`. */
function foldIndex({ statements }: Block, i: number, constant: Statement): boolean {
  const indexOfNext = (from: number): number => {
    let position = from + 1;
    while (statements[position]?.code === removed) position++;
    return position;
  };
  let position = indexOfNext(i);
  if (statements[position]?.code === code.loadXHeaderLength) position = indexOfNext(position);
  const sum = statements[position];
  if (sum?.code !== add) return false;
  position = indexOfNext(position);
  const transfer = statements[position];
  if (transfer?.code !== code.tax) return false;
  const load = statements[indexOfNext(position)];
  if (load === undefined || classOf(load.code) !== opClass.load) return false;
  if (modeOf(load.code) !== mode.indirect) return false;
  load.k = (load.k + constant.k) >>> 0;
  for (const each of [constant, sum, transfer]) each.code = removed;
  return true;
}

/** Comparisons of a difference or of masked bits with a constant. */
function simplifyTest({ table, changed }: Pass, block: Block, values: Int32Array): void {
  const last = block.statements.findLast((each) => each.code !== removed);
  if (last === undefined) return;
  if (last.code === subX) {
    const x = table.constantOf(values[atomX]!);
    if (x !== undefined) block.k = (block.k + x) >>> 0;
    else if (block.k === 0) block.code = code.jumpEqual | source.x;
    else return;
  } else if (last.code === subK) block.k = (block.k + last.k) >>> 0;
  else if (last.code === andK && block.k === 0) {
    block.k = last.k;
    block.code = code.jumpSet;
    [block.jt, block.jf] = [block.jf, block.jt];
  } else return;
  last.code = removed;
  changed();
}

/** Where the outcome of the test is known, both ways become one. */
function decideTest({ table, changed }: Pass, block: Block, values: Int32Array): void {
  if (classOf(block.code) !== opClass.jump) return;
  if (block.code === code.jumpSet && block.k === 0) block.jt = block.jf;
  const x = table.constantOf(values[atomX]!);
  if (usesX(block.code) && x !== undefined) {
    block.code &= ~source.x;
    block.k = x;
  }
  const a = table.constantOf(values[atomA]!);
  if (usesX(block.code) || a === undefined) return;
  if (block.jt !== block.jf) changed();
  if (holds(operationOf(block.code), a, block.k)) block.jf = block.jt;
  else block.jt = block.jf;
}

function holds(operation: number, a: number, k: number): boolean {
  switch (operation) {
    case jumpOp.eq:
      return a === k;
    case jumpOp.gt:
      return a > k;
    case jumpOp.ge:
      return a >= k;
    default:
      return (a & k) !== 0;
  }
}
