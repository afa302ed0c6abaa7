import { expect, test } from "vitest";
import type { ClassicInstruction } from "../../src/cbpf/instruction.ts";
import { runClassic } from "../../src/cbpf/interpreter.ts";
import { validateClassic } from "../../src/cbpf/validate.ts";

type Row = readonly [code: number, k?: number, jt?: number, jf?: number];

function program(rows: readonly Row[]): ClassicInstruction[] {
  return rows.map(([code, k = 0, jt = 0, jf = 0]) => ({ code, jt, jf, k }));
}

const ret: Row = [0x06, 1];

const refusals: readonly (readonly [string, readonly Row[], RegExp])[] = [
  ["no instructions", [], /0 instructions; a program has 1 to 4096/],
  ["too many", Array.from({ length: 4097 }, () => ret), /4097 instructions/],
  ["an unknown code", [[0xff], ret], /instruction 0: code 0xff is no instruction/],
  ["a load of no size", [[0x38, 0], ret], /code 0x38 is no instruction/],
  ["a store with a mode", [[0x62, 0], ret], /code 0x62/],
  ["no return at the end", [[0x00, 1]], /the last instruction does not return/],
  ["ret x", [[0x0e]], /code 0xe is no instruction/],
  ["division by the constant zero", [[0x34, 0], ret], /division by the constant zero/],
  ["a modulus of zero", [[0x94, 0], ret], /division by the constant zero/],
  ["a shift too far", [[0x64, 32], ret], /shift by 32 bits: at most 31/],
  ["memory that is not there", [[0x02, 16], ret], /M\[16\]: scratch memory is M\[0\] to M\[15\]/],
  ["a jump out", [[0x05, 1], ret], /instruction 0: jump by 1 leaves the program/],
  ["a jump back", [[0x00, 1], [0x05, 0xffff_ffff], ret], /instruction 1: a jump backwards/],
  ["a branch out when true", [[0x15, 0, 1, 0], ret], /jump by 1 leaves/],
  ["a branch out when false", [[0x15, 0, 0, 1], ret], /jump by 1 leaves/],
  ["unknown ancillary data", [[0x20, 0xffff_f001], ret], /offset 0xfffff001 is no ancillary data/],
  ["data beyond the ancillary", [[0x20, 0xffff_f040], ret], /is no ancillary data/],
  ["memory read first", [[0x60, 3], ret], /instruction 0: M\[3\] is read before it is written/],
  [
    "memory written on one way only",
    [[0x15, 0, 0, 1], [0x02, 3], [0x61, 3], ret],
    /instruction 2: M\[3\] is read before/,
  ],
  [
    "memory written on the way that is jumped over",
    [[0x05, 1], [0x02, 3], [0x60, 3], ret],
    /instruction 2: M\[3\]/,
  ],
];

for (const [name, rows, message] of refusals)
  test(`${name} is refused`, () => {
    const valid = validateClassic(program(rows), "filter");
    expect(valid.ok || valid.error.message).toMatch(message);
  });

test("what the kernel takes is accepted", () => {
  for (const rows of [
    [ret],
    [[0x16]],
    [[0x05, 0], ret],
    [[0x15, 5, 1, 0], ret, ret],
    [[0x20, 0xffff_f03c], ret],
    [[0x20, 0xfff0_0009], ret],
    [[0x15, 0, 0, 1], [0x02, 3], [0x00, 1], ret],
    [[0x15, 0, 1, 0], [0x03, 3], [0x02, 3], [0x60, 3], ret],
    [[0x02, 3], [0x15, 0, 0, 1], [0x02, 3], [0x60, 3], [0x16]],
  ] as const)
    expect(validateClassic(program(rows), "filter").ok, JSON.stringify(rows)).toBe(true);
});

const data = Uint8Array.from({ length: 20 }, (_, i) => i + 0x81);

for (const [name, rows, result] of [
  ["a word is read in network order", [[0x20, 1], [0x16]], 0x82838485],
  ["the last word is there", [[0x20, 16], [0x16]], 0x91929394],
  ["a word beyond the end gives 0", [[0x20, 17], ret], 0],
  ["a half word is read", [[0x28, 18], [0x16]], 0x9394],
  ["a half word beyond the end gives 0", [[0x28, 19], ret], 0],
  ["a byte is read", [[0x30, 19], [0x16]], 0x94],
  ["a byte beyond the end gives 0", [[0x30, 20], ret], 0],
  ["X and k add up", [[0x01, 4], [0x50, 5], [0x16]], 0x8a],
  ["X and k do not wrap around", [[0x01, 0xffff_ffff], [0x50, 5], ret], 0],
  ["the length is that on the wire", [[0x80], [0x16]], 1500],
  ["a header's length is four times the low half byte", [[0xb1, 4], [0x87], [0x16]], 20],
  ["a header beyond the end gives 0", [[0xb1, 20], ret], 0],
  ["memory begins with zeros", [[0x60, 5], [0x16]], 0],
  ["division by X of zero gives 0", [[0x00, 5], [0x3c], ret], 0],
  ["a modulus by X of zero gives 0", [[0x00, 5], [0x9c], ret], 0],
  ["a product has 32 bits", [[0x00, 0xffff_ffff], [0x24, 0xffff_ffff], [0x16]], 1],
  ["negation has 32 bits", [[0x00, 1], [0x84], [0x16]], 0xffff_ffff],
  ["shifts by 32 give 0", [[0x00, 1], [0x01, 32], [0x6c], [0x16]], 0],
  [
    "comparison is unsigned",
    [
      [0x00, 0xffff_ffff],
      [0x25, 1, 1, 0],
      [0x06, 7],
      [0x06, 8],
    ],
    8,
  ],
  ["unknown ancillary data give 0", [[0x20, 0xffff_f004], ret], 0],
  ["a jump out gives 0", [[0x05, 5]], 0],
  ["an endless loop gives 0", [[0x05, 0xffff_ffff]], 0],
] as const)
  test(`as in libpcap, ${name}`, () => {
    expect(runClassic(program(rows), { data, length: 1500 })).toBe(result);
  });

test("ancillary data are what the packet brings", () => {
  const rows = program([[0x28, 0xffff_f004], [0x16]]);
  expect(runClassic(rows, { data, length: 20, ancillary: new Map([[4, 3]]) })).toBe(3);
});
