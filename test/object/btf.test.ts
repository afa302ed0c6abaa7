import { describe, expect, test } from "vitest";
import { putU32le } from "../../src/common/bytes.ts";
import { decodeBtf } from "../../src/object/btf-decode.ts";
import { flattenMembers, nameOfType, sizeOfType } from "../../src/object/btf-types.ts";
import { type BtfRow, btfSection } from "./btf-builder.ts";

function decode(rows: readonly BtfRow[]) {
  const decoded = decodeBtf(btfSection(rows), "x.o");
  if (!decoded.ok) throw decoded.error;
  return decoded.value;
}

function refusal(bytes: Uint8Array): string {
  const decoded = decodeBtf(bytes, "x.o");
  return decoded.ok ? "decoded" : decoded.error.what;
}

const u32: BtfRow = { name: "u32", kind: 1, type: 4, tail: [32] };
const s8: BtfRow = { name: "s8", kind: 1, type: 1, tail: [0x0100_0008] };

test("decodeBtf reads every kind of type", () => {
  const { types } = decode([
    u32, // 1
    { kind: 2, type: 1 }, // 2
    { kind: 3, tail: [1, 1, 5] }, // 3
    { name: "s", kind: 4, count: 2, type: 8, tail: ["a", 1, 0, "b", 1, 32] }, // 4
    { name: "u", kind: 5, count: 1, type: 4, tail: ["a", 1, 0] }, // 5
    { name: "e", kind: 6, count: 2, flag: true, type: 4, tail: ["no", 0xffff_ffff, "yes", 1] }, // 6
    { name: "f", kind: 7, flag: true }, // 7
    { name: "t", kind: 8, type: 1 }, // 8
    { kind: 9, type: 1 }, // 9
    { kind: 10, type: 1 }, // 10
    { kind: 11, type: 2 }, // 11
    { name: "main", kind: 12, count: 1, type: 13 }, // 12
    { kind: 13, count: 1, type: 1, tail: ["x", 1] }, // 13
    { name: "v", kind: 14, type: 1, tail: [1] }, // 14
    { name: ".data", kind: 15, count: 1, type: 4, tail: [14, 0, 4] }, // 15
    { name: "double", kind: 16, type: 8 }, // 16
    { name: "tag", kind: 17, type: 4, tail: [0xffff_ffff] }, // 17
    { name: "user", kind: 18, type: 1 }, // 18
    { name: "wide", kind: 19, count: 1, type: 8, tail: ["big", 5, 1] }, // 19
    { name: "bits", kind: 4, count: 1, flag: true, type: 4, tail: ["x", 1, (3 << 24) | 5] }, // 20
  ]);
  expect(types).toEqual([
    { kind: "void" },
    { kind: "int", name: "u32", size: 4, signed: false, char: false, bool: false, bits: 32 },
    { kind: "pointer", type: 1 },
    { kind: "array", type: 1, index: 1, length: 5 },
    {
      kind: "struct",
      name: "s",
      size: 8,
      members: [
        { name: "a", type: 1, bitOffset: 0, bitSize: 0 },
        { name: "b", type: 1, bitOffset: 32, bitSize: 0 },
      ],
    },
    {
      kind: "union",
      name: "u",
      size: 4,
      members: [{ name: "a", type: 1, bitOffset: 0, bitSize: 0 }],
    },
    {
      kind: "enum",
      name: "e",
      size: 4,
      signed: true,
      values: [
        { name: "no", value: -1n },
        { name: "yes", value: 1n },
      ],
    },
    { kind: "forward", name: "f", union: true },
    { kind: "typedef", name: "t", type: 1 },
    { kind: "volatile", type: 1 },
    { kind: "const", type: 1 },
    { kind: "restrict", type: 2 },
    { kind: "function", name: "main", type: 13, linkage: "global" },
    { kind: "prototype", returns: 1, parameters: [{ name: "x", type: 1 }] },
    { kind: "variable", name: "v", type: 1, linkage: "global" },
    { kind: "section", name: ".data", size: 4, variables: [{ type: 14, offset: 0, size: 4 }] },
    { kind: "float", name: "double", size: 8 },
    { kind: "decl_tag", name: "tag", type: 4, component: -1 },
    { kind: "type_tag", name: "user", type: 1 },
    {
      kind: "enum",
      name: "wide",
      size: 8,
      signed: false,
      values: [{ name: "big", value: 0x1_0000_0005n }],
    },
    {
      kind: "struct",
      name: "bits",
      size: 4,
      members: [{ name: "x", type: 1, bitOffset: 5, bitSize: 3 }],
    },
  ]);
});

describe("decodeBtf refuses", () => {
  for (const { name, rows, what } of [
    { name: "an unknown kind", rows: [{ kind: 25 }], what: "type 1: unknown kind 25" },
    {
      name: "a type that is cut off",
      rows: [{ name: "s", kind: 4, count: 9, type: 8 }],
      what: "type 1: it is cut off",
    },
    {
      name: "an integer of 12 bytes",
      rows: [{ name: "odd", kind: 1, type: 12, tail: [32] }],
      what: 'type 1: integer "odd" has 32 bits in 12 bytes',
    },
    {
      name: "an integer wider than its bytes",
      rows: [{ name: "wide", kind: 1, type: 4, tail: [33] }],
      what: 'type 1: integer "wide" has 33 bits in 4 bytes',
    },
    {
      name: "an id that is not there",
      rows: [{ kind: 2, type: 7 }],
      what: "type 1: it refers to type 7, and there are 2",
    },
    {
      name: "a typedef of itself",
      rows: [{ name: "t", kind: 8, type: 1 }],
      what: "type 1: it contains itself",
    },
    {
      name: "a ring of qualifiers",
      rows: [
        { kind: 9, type: 2 },
        { kind: 10, type: 3 },
        { kind: 11, type: 1 },
      ],
      what: "type 1: it contains itself",
    },
    {
      name: "a struct within itself",
      rows: [{ name: "s", kind: 4, count: 1, type: 8, tail: ["s", 1, 0] }],
      what: "type 1: it contains itself",
    },
    {
      name: "an array of itself",
      rows: [{ kind: 3, tail: [1, 1, 4] }],
      what: "type 1: it contains itself",
    },
    {
      name: "an array of functions",
      rows: [{ kind: 13 }, { kind: 3, tail: [1, 1, 4] }],
      what: "type 2: an array of elements without a size",
    },
    {
      name: "a member beyond its struct",
      rows: [u32, { name: "s", kind: 4, count: 1, type: 4, tail: ["a", 1, 8] }],
      what: 'type 2: member "a" of "s" ends beyond its 4 bytes',
    },
    {
      name: "a member of type void",
      rows: [{ name: "s", kind: 4, count: 1, type: 4, tail: ["a", 0, 0] }],
      what: 'type 1: member "a" of "s" is of a type without a size',
    },
    {
      name: "a bit field wider than its type",
      rows: [s8, { name: "s", kind: 4, count: 1, flag: true, type: 4, tail: ["a", 1, 9 << 24] }],
      what: 'type 2: member "a" of "s" is no field of 9 bits at bit 0',
    },
    {
      name: "a variable of unknown linkage",
      rows: [u32, { name: "v", kind: 14, type: 1, tail: [9] }],
      what: 'type 2: variable "v" has linkage 9',
    },
  ] as readonly { name: string; rows: readonly BtfRow[]; what: string }[])
    test(name, () => {
      expect(refusal(btfSection(rows))).toBe(what);
    });

  test("types nested deeper than any source nests them, however long the chain", () => {
    const chain = Array.from({ length: 100_000 }, (_, i): BtfRow => ({ kind: 10, type: i + 2 }));
    expect(refusal(btfSection([...chain, u32]))).toMatch(/: more than 64 types within each other$/);
    const backwards = Array.from(
      { length: 100_000 },
      (_, i): BtfRow => ({ kind: 10, type: i + 1 }),
    );
    expect(refusal(btfSection([u32, ...backwards]))).toMatch(
      /: more than 64 types within each other$/,
    );
  });

  test("a name outside the strings", () => {
    const bytes = btfSection([u32]);
    putU32le(bytes, 24, 0x7fff_ffff);
    expect(refusal(bytes)).toBe("type 1: its name, string 2147483647, is outside the string table");
  });
});

test("questions about rings of pointers and doubling structs end", () => {
  const pointers = decode([
    { kind: 2, type: 2 },
    { kind: 3, tail: [1, 1, 1] },
  ]);
  expect(nameOfType(pointers, 1)).toMatch(/…/);
  expect(sizeOfType(pointers, 2)).toBe(8);
  const doubling = decode([
    { name: "s", kind: 4, type: 0 },
    ...Array.from(
      { length: 40 },
      (_, i): BtfRow => ({ kind: 4, count: 2, type: 0, tail: [0, i + 1, 0, 0, i + 1, 0] }),
    ),
  ]);
  expect(flattenMembers(doubling, doubling.types[41]!)).toEqual([]);
});

test("strings that overlap without end are not spelled out", () => {
  const bytes = btfSection(Array.from({ length: 2000 }, () => u32));
  // One string of 8 KiB, and each type's name another tail of it.
  const long = new Uint8Array(bytes.length + 8_000_000).fill(0x61);
  long.set(bytes);
  long[long.length - 1] = 0;
  putU32le(long, 20, 8_000_000 + (bytes.length - 24 - 2000 * 16));
  for (let i = 0; i < 2000; i++) putU32le(long, 24 + i * 16, bytes.length - 24 - 2000 * 16 + i);
  expect(refusal(long)).toMatch(/^type \d+: its name, string \d+, is outside the string table$/);
});
