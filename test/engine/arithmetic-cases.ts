import { expect, test } from "vitest";
import type {
  AluOp,
  BranchOp,
  Instruction,
  Operand,
  Register,
  Width,
} from "../../src/isa/instruction.ts";
import { register } from "../../src/isa/instruction.ts";
import { aluOps, branchOps } from "../../src/isa/opcodes.ts";
import type { EngineBench } from "./engine-bench.ts";

/** Operands at which arithmetic goes wrong if it does: ends of ranges, signs, carries, halves. */
const edges: readonly bigint[] = [
  0n,
  1n,
  2n,
  3n,
  7n,
  31n,
  32n,
  33n,
  63n,
  64n,
  65n,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x1_0000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0x8000_0001n,
  0xffff_fffen,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x1_0000_0001n,
  0x1f_ffff_ffff_ffffn,
  0x20_0000_0000_0001n,
  0x1234_5678_9abc_def0n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0x8000_0000_0000_0001n,
  0xffff_ffff_0000_0000n,
  0xffff_ffff_7fff_ffffn,
  0xffff_ffff_8000_0000n,
  0xffff_ffff_ffff_fff9n,
  0xffff_ffff_ffff_ffffn,
];

/** Those an instruction holds itself: 32 bits, sign-extended. */
const immediates: readonly number[] = edges
  .map((edge) => Number(BigInt.asIntN(32, edge)))
  .filter((edge, i, all) => all.indexOf(edge) === i);

const unsigned = (width: Width, n: bigint): bigint => BigInt.asUintN(width, n);
const signed = (width: Width, n: bigint): bigint => BigInt.asIntN(width, n);

/** RFC 9669 §4.1, in as few words as it takes; the result is cut to the width and zero-extended. */
const aluModel: Readonly<Record<AluOp, (a: bigint, b: bigint, width: Width) => bigint>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => (b === 0n ? 0n : a / b),
  sdiv: (a, b, w) => (b === 0n ? 0n : signed(w, a) / signed(w, b)),
  mod: (a, b) => (b === 0n ? a : a % b),
  smod: (a, b, w) => (b === 0n ? a : signed(w, a) % signed(w, b)),
  or: (a, b) => a | b,
  and: (a, b) => a & b,
  xor: (a, b) => a ^ b,
  lsh: (a, b, w) => a << (b % BigInt(w)),
  rsh: (a, b, w) => a >> (b % BigInt(w)),
  arsh: (a, b, w) => signed(w, a) >> (b % BigInt(w)),
  mov: (_, b) => b,
};

/** RFC 9669 §4.3. */
const branchModel: Readonly<Record<BranchOp, (a: bigint, b: bigint, width: Width) => boolean>> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  sgt: (a, b, w) => signed(w, a) > signed(w, b),
  sge: (a, b, w) => signed(w, a) >= signed(w, b),
  slt: (a, b, w) => signed(w, a) < signed(w, b),
  sle: (a, b, w) => signed(w, a) <= signed(w, b),
  set: (a, b) => (a & b) !== 0n,
};

const r0 = register(0);
const r1 = register(1);
const r2 = register(2);
const r3 = register(3);
const r6 = register(6);
const load = (dst: Register, offset: number): Instruction => ({
  kind: "load",
  size: 8,
  signed: false,
  dst,
  base: r6,
  offset,
});
/** r1 from the first 8 bytes of the data, r2 from the next. */
const loadOperands: readonly Instruction[] = [
  { kind: "alu", op: "mov", width: 64, dst: r6, src: { register: r1 } },
  load(r1, 0),
  load(r2, 8),
];
const giveR1: readonly Instruction[] = [
  { kind: "alu", op: "mov", width: 64, dst: r0, src: { register: r1 } },
  { kind: "exit" },
];

function operands(a: bigint, b: bigint): Uint8Array {
  const data = new Uint8Array(16);
  const view = new DataView(data.buffer);
  view.setBigUint64(0, a, true);
  view.setBigUint64(8, b, true);
  return data;
}

const hex = (n: bigint): string => `0x${n.toString(16)}`;

/** Every pair of operands through one instruction on r1; `expected` gives what r1 is then. */
function checkPairs(
  bench: EngineBench,
  instruction: Instruction,
  expected: (a: bigint, b: bigint) => bigint,
  rights: readonly bigint[] = edges,
): void {
  const executable = bench.prepare([...loadOperands, instruction, ...giveR1], "raw");
  for (const a of edges)
    for (const b of rights) {
      const { r0: got } = bench.run(executable, operands(a, b));
      const want = expected(a, b);
      if (got !== want)
        expect.fail(`r1 = ${hex(a)}, r2 = ${hex(b)}: got ${hex(got)}, want ${hex(want)}`);
    }
}

/** The same with the second operand in a register, then in the instruction. */
function checkSources(
  bench: EngineBench,
  make: (src: Operand) => Instruction,
  expected: (a: bigint, b: bigint) => bigint,
): void {
  checkPairs(bench, make({ register: r2 }), expected);
  for (const immediate of immediates)
    checkPairs(bench, make({ immediate }), expected, [BigInt.asUintN(64, BigInt(immediate))]);
}

/** Arithmetic, moves and byte orders against a model of the RFC's sentences. */
export function arithmeticCases(label: string, bench: EngineBench): void {
  for (const width of [32, 64] as const) {
    for (const { op } of aluOps)
      test(`${label}: ${op}${width} gives RFC 9669's result for every pair of edge operands`, () => {
        checkSources(
          bench,
          (src) => ({ kind: "alu", op, width, dst: r1, src }),
          (a, b) => unsigned(width, aluModel[op](unsigned(width, a), unsigned(width, b), width)),
        );
      });

    for (const { op } of branchOps)
      test(`${label}: jump if ${op}${width} is taken exactly where RFC 9669 says`, () => {
        for (const src of [
          { register: r2 } as Operand,
          ...immediates.map((immediate) => ({ immediate })),
        ])
          checkBranch(bench, op, width, src);
      });

    test(`${label}: neg${width} subtracts from zero`, () => {
      checkPairs(bench, { kind: "negate", width, dst: r1 }, (a) => unsigned(width, -a));
    });

    for (const bits of [8, 16, 32] as const)
      if (bits < width)
        test(`${label}: a ${width}-bit move extends the sign of ${bits} bits`, () => {
          checkPairs(bench, { kind: "move_signed", width, bits, dst: r1, src: r2 }, (_, b) =>
            unsigned(width, BigInt.asIntN(bits, b)),
          );
        });
  }

  for (const bits of [16, 32, 64] as const) {
    test(`${label}: le${bits} truncates to ${bits} bits`, () => {
      checkPairs(bench, { kind: "byte_order", to: "le", bits, dst: r1 }, (a) =>
        BigInt.asUintN(bits, a),
      );
    });
    for (const to of ["be", "swap"] as const)
      test(`${label}: ${to}${bits} reverses ${bits / 8} bytes and clears the rest`, () => {
        checkPairs(bench, { kind: "byte_order", to, bits, dst: r1 }, (a) => reversed(a, bits));
      });
  }

  test(`${label}: an operation of a register with itself sees the same value twice`, () => {
    const same = (op: AluOp): Instruction => ({
      kind: "alu",
      op,
      width: 64,
      dst: r1,
      src: { register: r1 },
    });
    for (const { op } of aluOps)
      checkPairs(bench, same(op), (a) => unsigned(64, aluModel[op](a, a, 64)));
  });

  test(`${label}: lddw loads all 64 bits`, () => {
    for (const value of edges) {
      const program: Instruction[] = [
        { kind: "load_immediate", dst: r3, value },
        { kind: "second_slot" },
        { kind: "alu", op: "mov", width: 64, dst: r0, src: { register: r3 } },
        { kind: "exit" },
      ];
      expect(bench.run(bench.prepare(program, "raw"), new Uint8Array()).r0).toBe(value);
    }
  });
}

function checkBranch(bench: EngineBench, op: BranchOp, width: Width, src: Operand): void {
  const program: Instruction[] = [
    ...loadOperands,
    { kind: "alu", op: "mov", width: 64, dst: r0, src: { immediate: 1 } },
    { kind: "branch", op, width, dst: r1, src, offset: 1 },
    { kind: "alu", op: "mov", width: 64, dst: r0, src: { immediate: 0 } },
    { kind: "exit" },
  ];
  const executable = bench.prepare(program, "raw");
  for (const a of edges)
    for (const b of edges) {
      const right = "register" in src ? b : BigInt(src.immediate);
      const want = branchModel[op](unsigned(width, a), unsigned(width, right), width);
      const { r0: taken } = bench.run(executable, operands(a, b));
      if (taken !== (want ? 1n : 0n)) expect.fail(`${hex(a)} ${op} ${hex(right)}: want ${want}`);
      if (!("register" in src)) break;
    }
}

function reversed(n: bigint, bits: number): bigint {
  let result = 0n;
  for (let i = 0n; i < BigInt(bits); i += 8n) result = (result << 8n) | ((n >> i) & 0xffn);
  return result;
}
