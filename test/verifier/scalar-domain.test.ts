import { expect, test } from "vitest";
import type { AluOp, BranchOp } from "../../src/isa/instruction.ts";
import {
  alu,
  byteOrdered,
  negated,
  signExtended,
  truncated,
  workOut,
  zeroExtended,
} from "../../src/verifier/scalar-alu.ts";
import {
  compare,
  decide,
  refine,
  workOut as workOutCompare,
} from "../../src/verifier/scalar-compare.ts";
import {
  constantRange,
  draftOf,
  RangeDraft,
  type ScalarRange,
  sameRange,
} from "../../src/verifier/scalar-range.ts";
import { settle, unsignedRange } from "../../src/verifier/settle.ts";
import { Random } from "../packet/random.ts";

/**
 * The domain against arithmetic itself: ranges made around numbers must still hold them after every
 * operation and every compare.
 */

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

function holds(range: ScalarRange, value: bigint): boolean {
  const number = u64(value);
  const signed = BigInt.asIntN(64, number);
  const low = Number(BigInt.asUintN(32, number));
  return (
    (number & ~range.mask) === range.value &&
    range.umin <= number &&
    number <= range.umax &&
    range.smin <= signed &&
    signed <= range.smax &&
    range.u32min <= low &&
    low <= range.u32max &&
    range.s32min <= (low | 0) &&
    (low | 0) <= range.s32max
  );
}

const edges = [
  0n,
  1n,
  2n,
  0x7fn,
  0xffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
];

function number(random: Random): bigint {
  const edge = edges[random.below(edges.length)] as bigint;
  if (random.below(2) === 0) return u64(edge + BigInt(random.below(9) - 4));
  const bits = BigInt(random.below(65));
  const any = (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));
  return BigInt.asUintN(Number(bits), any);
}

/** A range that holds the number, known in one or several ways. */
function rangeAround(random: Random, value: bigint): ScalarRange {
  if (random.below(8) === 0) return constantRange(value);
  const draft = new RangeDraft();
  const other = number(random);
  const signed = (x: bigint): bigint => BigInt.asIntN(64, x);
  const low = (x: bigint): number => Number(BigInt.asUintN(32, x));
  if (random.below(2) === 0) {
    draft.umin = other < value ? other : value;
    draft.umax = other < value ? value : other;
  }
  if (random.below(3) === 0) {
    draft.smin = signed(other) < signed(value) ? signed(other) : signed(value);
    draft.smax = signed(other) < signed(value) ? signed(value) : signed(other);
  }
  if (random.below(3) === 0) {
    draft.u32min = Math.min(low(other), low(value));
    draft.u32max = Math.max(low(other), low(value));
  }
  if (random.below(3) === 0) {
    draft.s32min = Math.min(low(other) | 0, low(value) | 0);
    draft.s32max = Math.max(low(other) | 0, low(value) | 0);
  }
  if (random.below(2) === 0) {
    const mask = number(random);
    draft.setBits({ value: value & ~mask, mask });
  }
  const before = draftOf(draft);
  const range = settle(draft);
  if (range === undefined || !holds(range, value))
    throw new Error(`settle loses ${value} of ${describe(before)}`);
  return range;
}

function describe(range: ScalarRange): string {
  return JSON.stringify({ ...range, plain: undefined }, (_, value) =>
    typeof value === "bigint" ? `0x${u64(value).toString(16)}` : value,
  );
}

function computed(op: AluOp, width: 32 | 64, x: bigint, y: bigint): bigint {
  const a = BigInt.asUintN(width, x);
  const b = BigInt.asUintN(width, y);
  const by = b & BigInt(width - 1);
  const result = (): bigint => {
    switch (op) {
      case "add":
        return a + b;
      case "sub":
        return a - b;
      case "mul":
        return a * b;
      case "and":
        return a & b;
      case "or":
        return a | b;
      case "xor":
        return a ^ b;
      case "lsh":
        return a << by;
      case "rsh":
        return a >> by;
      default:
        return BigInt.asIntN(width, a) >> by;
    }
  };
  return BigInt.asUintN(width, result());
}

const aluOps = ["add", "sub", "mul", "and", "or", "xor", "lsh", "rsh", "arsh"] as const;

test("every result of an operation on two numbers lies in the range given for their ranges", () => {
  const random = new Random(64);
  for (let i = 0; i < 60_000; i++) {
    const op = aluOps[i % aluOps.length]!;
    const width = i % 2 === 0 ? 64 : 32;
    const shift = op === "lsh" || op === "rsh" || op === "arsh";
    const x = number(random);
    const y = shift && random.below(4) > 0 ? BigInt(random.below(width)) : number(random);
    const a = rangeAround(random, x);
    const b = shift && random.below(4) > 0 ? constantRange(y) : rangeAround(random, y);
    const result = computed(op, width, x, y);
    if (!holds(alu(op, width, a, b), result))
      expect.fail(`${op}${width} ${x} ${y} = ${result}: ${describe(a)} ${describe(b)}`);
  }
});

test("extensions, truncations, negation and byte orders keep the number", () => {
  const random = new Random(65);
  for (let i = 0; i < 20_000; i++) {
    const x = number(random);
    const a = rangeAround(random, x);
    const size = [1, 2, 4, 8][i % 4]!;
    const bits = size * 8;
    const swapBits = ([16, 32, 64] as const)[i % 3]!;
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(x);
    const swapped = bytes.subarray(0, swapBits / 8);
    const checks: [string, ScalarRange, bigint][] = [
      ["truncated", truncated(a, size), BigInt.asUintN(bits, x)],
      ["sign-extended", signExtended(a, size), u64(BigInt.asIntN(bits, x))],
      ["zero-extended", zeroExtended(a), BigInt.asUintN(32, x)],
      ["negated", negated(64, a), u64(-x)],
      ["negated32", negated(32, a), BigInt.asUintN(32, -x)],
      ["swapped", byteOrdered("swap", swapBits, a), BigInt(`0x${swapped.toString("hex")}`)],
      ["le", byteOrdered("le", swapBits, a), BigInt.asUintN(swapBits, x)],
    ];
    for (const [name, range, value] of checks)
      if (!holds(range, value)) expect.fail(`${name} ${x} (${size}) of ${describe(a)}`);
  }
});

const branchOps: readonly BranchOp[] = [
  "eq",
  "ne",
  "gt",
  "ge",
  "lt",
  "le",
  "sgt",
  "sge",
  "slt",
  "sle",
  "set",
];

function compared(op: BranchOp, width: 32 | 64, x: bigint, y: bigint): boolean {
  const [a, b] = [BigInt.asUintN(width, x), BigInt.asUintN(width, y)];
  const [s, t] = [BigInt.asIntN(width, x), BigInt.asIntN(width, y)];
  switch (op) {
    case "eq":
      return a === b;
    case "ne":
      return a !== b;
    case "gt":
      return a > b;
    case "ge":
      return a >= b;
    case "lt":
      return a < b;
    case "le":
      return a <= b;
    case "sgt":
      return s > t;
    case "sge":
      return s >= t;
    case "slt":
      return s < t;
    case "sle":
      return s <= t;
    default:
      return (a & b) !== 0n;
  }
}

test("a compare is only decided where it comes out so for all numbers, and only takes away others", () => {
  const random = new Random(66);
  let decided = 0;
  for (let i = 0; i < 60_000; i++) {
    const op = branchOps[i % branchOps.length]!;
    const width = random.below(2) === 0 ? 64 : 32;
    const x = number(random);
    const y = random.below(4) === 0 ? x : number(random);
    const a = rangeAround(random, x);
    const b = rangeAround(random, y);
    const outcome = compared(op, width, x, y);
    const known = decide(op, width, a, b);
    const about = (): string => `${x} ${op}${width} ${y}: ${describe(a)} ${describe(b)}`;
    if (known !== undefined) {
      decided++;
      if (known !== outcome) expect.fail(`decided wrongly: ${about()}`);
      continue;
    }
    const refined = refine(op, width, a, b, outcome);
    if (!holds(refined.a, x) || !holds(refined.b, y)) expect.fail(`refined away: ${about()}`);
  }
  expect(decided).toBeGreaterThan(1000);
});

/** A range of numbers below 2³¹, mostly well below. */
function smallRange(random: Random): ScalarRange {
  const most = 2 ** (1 + random.below(31)) - 1;
  const value = random.below(most + 1);
  if (random.below(4) === 0) return constantRange(BigInt(value));
  const draft = new RangeDraft();
  const other = random.below(most + 1);
  draft.umin = BigInt(Math.min(value, other));
  draft.umax = BigInt(Math.max(value, other));
  const mask = random.below(2) === 0 ? most : random.below(most + 1);
  draft.setBits({ value: BigInt(value & ~mask), mask: BigInt(mask) });
  return settle(draft)!;
}

test("numbers of which bits alone say that they are below 2^31 count as small", () => {
  const byte = unsignedRange(1);
  const word = unsignedRange(2);
  for (const op of ["or", "xor"] as const)
    for (const width of [32, 64] as const) {
      expect(alu(op, width, byte, word).small).toBe(true);
      expect(workOut(op, width, byte, word).small).toBe(true);
    }
});

test("what is worked out of small numbers by integers is what the general way works out", () => {
  const random = new Random(67);
  const seen = { alu: 0, decided: 0, refined: 0 };
  for (let i = 0; i < 60_000; i++) {
    const a = smallRange(random);
    const negative = constantRange(-1n - BigInt(random.below(2 ** (1 + random.below(31)))));
    const other = random.below(3) === 0 ? negative : rangeAround(random, number(random));
    const b = random.below(4) === 0 ? other : smallRange(random);
    const width = random.below(2) === 0 ? 64 : 32;
    const op = aluOps[i % aluOps.length]!;
    const by = random.below(3) > 0 ? constantRange(BigInt(random.below(width + 2))) : b;
    const right = op === "lsh" || op === "rsh" || op === "arsh" ? by : b;
    const about = (what: string): string =>
      `${what}${width}: ${describe(a)} ${describe(right)} ${describe(b)}`;
    const [result, expected] =
      random.below(4) === 0
        ? [alu(op, width, right, a), workOut(op, width, right, a)]
        : [alu(op, width, a, right), workOut(op, width, a, right)];
    if (!sameRange(result, expected))
      expect.fail(`${about(op)} gives ${describe(result)}, not ${describe(expected)}`);
    if (result.small) seen.alu++;
    const relation = branchOps[i % branchOps.length]!;
    const known = decide(relation, width, a, b);
    if (known !== compare(relation, width, a, b)) expect.fail(`${about(relation)} is ${known}`);
    if (known !== undefined) seen.decided++;
    for (const holds of known === undefined ? [true, false] : []) {
      const found = refine(relation, width, a, b, holds);
      const wanted = workOutCompare(relation, width, a, b, holds);
      if (!sameRange(found.a, wanted.a) || !sameRange(found.b, wanted.b))
        expect.fail(
          `${about(relation)} ${holds} gives ${describe(found.a)} ${describe(found.b)}, not ${describe(wanted.a)} ${describe(wanted.b)}`,
        );
      if (found.a !== a) seen.refined++;
    }
  }
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(2_000);
});
