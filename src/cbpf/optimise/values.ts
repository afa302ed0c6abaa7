import type { Statement } from "../block.ts";
import { Refusal } from "../expression/refusal.ts";
import {
  aluOp,
  classOf,
  code,
  mode,
  modeOf,
  opClass,
  operationOf,
  sizeOf,
  source,
  usesX,
} from "../opcode.ts";
import { atomA, atomX } from "./atoms.ts";

/** No value number: nothing is known. */
export const unknown = 0;

/** The code of a statement that has been optimised away; `compact` takes it out. */
export const removed = -1;

/**
 * Numbers for values: equal numbers mean equal values, for one packet, wherever they are computed.
 * Loads from the packet always give the same, so they are values by their code and offset.
 */
export class ValueTable {
  /** By code and constant, then by operand. */
  readonly #numbers = new Map<number, Map<number, number>>();
  readonly #constants = new Map<number, number>();
  #last = unknown;

  /** The value of an operation on a constant and another value. */
  of(operation: number, k: number, operand = 0): number {
    const key = operation * 0x1_0000_0000 + k;
    let byOperand = this.#numbers.get(key);
    if (byOperand === undefined) {
      byOperand = new Map();
      this.#numbers.set(key, byOperand);
    }
    let number = byOperand.get(operand);
    if (number === undefined) {
      number = ++this.#last;
      byOperand.set(operand, number);
    }
    return number;
  }

  /** The value of an operation on two values; a new one where one of them is not known. */
  ofOperation(operation: number, first: number, second: number): number {
    if (first === unknown || second === unknown) return ++this.#last;
    return this.of(operation, first, second);
  }

  constant(k: number): number {
    const number = this.of(code.loadImmediate, k);
    this.#constants.set(number, k);
    return number;
  }

  /** The constant that has this number, or undefined. */
  constantOf(number: number): number | undefined {
    return this.#constants.get(number);
  }
}

/** What numbering one statement may do to it. */
export interface Numbering {
  readonly table: ValueTable;
  /** Value of each atom before the statement; changed to those after it. */
  readonly values: Int32Array;
  /** Whether statements may be simplified and removed. */
  readonly alter: boolean;
  /** Told when a change may open the way for others. */
  readonly changed: () => void;
}

/** Follows the values through one statement, and simplifies it where they allow. */
export function numberStatement(numbering: Numbering, each: Statement): void {
  const { values } = numbering;
  switch (classOf(each.code)) {
    case opClass.load:
      numberLoad(numbering, each);
      return;
    case opClass.loadX:
      numberLoadX(numbering, each);
      return;
    case opClass.store:
      assign(numbering, each, each.k, values[atomA]!);
      return;
    case opClass.storeX:
      assign(numbering, each, each.k, values[atomX]!);
      return;
    case opClass.alu:
      numberArithmetic(numbering, each);
      return;
    default:
      if (each.code === code.tax) assign(numbering, each, atomX, values[atomA]!);
      else assign(numbering, each, atomA, values[atomX]!);
  }
}

/** An atom gets a value; the statement is not needed if it has it already. */
function assign({ values, alter }: Numbering, each: Statement, atom: number, value: number): void {
  if (alter && value !== unknown && values[atom] === value) each.code = removed;
  else values[atom] = value;
}

function numberLoad(numbering: Numbering, each: Statement): void {
  const { table, values, alter, changed } = numbering;
  let value: number;
  switch (modeOf(each.code)) {
    case mode.immediate:
      value = table.constant(each.k);
      break;
    case mode.memory: {
      value = values[each.k]!;
      const constant = table.constantOf(value);
      if (alter && constant !== undefined) {
        each.code = code.loadImmediate;
        each.k = constant;
        changed();
      }
      break;
    }
    case mode.indirect: {
      const offset = table.constantOf(values[atomX]!);
      if (alter && offset !== undefined) {
        each.code = code.loadAbsolute | sizeOf(each.code);
        each.k = (each.k + offset) >>> 0;
        changed();
        value = table.of(each.code, each.k);
      } else if (values[atomX] === unknown) value = table.ofOperation(each.code, 0, 0);
      else value = table.of(each.code, each.k, values[atomX]!);
      break;
    }
    default:
      value = table.of(each.code, each.k);
  }
  assign(numbering, each, atomA, value);
}

function numberLoadX(numbering: Numbering, each: Statement): void {
  const { table, values, alter, changed } = numbering;
  if (modeOf(each.code) === mode.immediate) {
    assign(numbering, each, atomX, table.constant(each.k));
    return;
  }
  if (modeOf(each.code) !== mode.memory) {
    assign(numbering, each, atomX, table.of(each.code, each.k));
    return;
  }
  const value = values[each.k]!;
  const constant = table.constantOf(value);
  if (alter && constant !== undefined) {
    each.code = code.loadXImmediate;
    each.k = constant;
    changed();
  }
  assign(numbering, each, atomX, value);
}

function numberArithmetic(numbering: Numbering, each: Statement): void {
  const { table, values, alter } = numbering;
  if (alter) {
    const x = table.constantOf(values[atomX]!);
    if (usesX(each.code) && x !== undefined) takeConstant(numbering, each, x);
    if (simplify(numbering, each)) return;
  }
  if (each.code === code.negate)
    values[atomA] = table.ofOperation(each.code, values[atomA]!, values[atomA]!);
  else
    values[atomA] = table.ofOperation(
      each.code,
      values[atomA]!,
      usesX(each.code) ? values[atomX]! : table.constant(each.k),
    );
}

/** The operand in X is known: it becomes part of the statement. */
function takeConstant({ table, values, changed }: Numbering, each: Statement, x: number): void {
  const operation = operationOf(each.code);
  const isShift = operation === aluOp.lsh || operation === aluOp.rsh;
  each.code = opClass.alu | operation | source.k;
  each.k = x;
  changed();
  if (isShift && x > 31 && table.constantOf(values[atomA]!) === undefined)
    throw new Refusal("EXPRESSION_VALUE", 0, `a shift by ${x} bits`, "at most 31 make sense");
}

/** Replaces arithmetic whose result is known; true if nothing is left to number. */
function simplify(numbering: Numbering, each: Statement): boolean {
  const { table, values, changed } = numbering;
  const operation = operationOf(each.code);
  const a = table.constantOf(values[atomA]!);
  const becomeConstant = (k: number): true => {
    each.code = code.loadImmediate;
    each.k = k;
    values[atomA] = table.constant(k);
    changed();
    return true;
  };
  if (each.code === code.negate) return a !== undefined && becomeConstant(-a >>> 0);
  if (usesX(each.code)) {
    if (a !== 0) return false;
    if (addsNothing.has(operation)) {
      each.code = code.txa;
      assign(numbering, each, atomA, values[atomX]!);
      return true;
    }
    return staysZero.has(operation) && becomeConstant(0);
  }
  if (each.k === 0) {
    if (operation === aluOp.div || operation === aluOp.mod)
      throw new Refusal("EXPRESSION_VALUE", 0, "division by zero");
    if (addsNothing.has(operation) || operation === aluOp.lsh || operation === aluOp.rsh) {
      each.code = removed;
      return true;
    }
    if (operation === aluOp.mul || operation === aluOp.and) return becomeConstant(0);
  }
  return a !== undefined && becomeConstant(fold(operation, a, each.k));
}

/** With 0 on one side, the result is the other side. */
const addsNothing: ReadonlySet<number> = new Set([aluOp.add, aluOp.or, aluOp.xor]);

/** With 0 on the left, the result is 0. */
const staysZero: ReadonlySet<number> = new Set([
  aluOp.mul,
  aluOp.div,
  aluOp.mod,
  aluOp.and,
  aluOp.lsh,
  aluOp.rsh,
]);

/** Both sides unsigned; the divisor is not 0. */
function fold(operation: number, a: number, b: number): number {
  switch (operation) {
    case aluOp.add:
      return (a + b) >>> 0;
    case aluOp.sub:
      return (a - b) >>> 0;
    case aluOp.mul:
      return Math.imul(a, b) >>> 0;
    case aluOp.div:
      return Math.floor(a / b);
    case aluOp.mod:
      return a % b;
    case aluOp.and:
      return (a & b) >>> 0;
    case aluOp.or:
      return (a | b) >>> 0;
    case aluOp.xor:
      return (a ^ b) >>> 0;
    case aluOp.lsh:
      return b > 31 ? 0 : (a << b) >>> 0;
    default:
      return b > 31 ? 0 : a >>> b;
  }
}
