import { beforeAll, describe, expect, test } from "vitest";
import { ancillary, ancillaryBase } from "../../src/cbpf/ancillary.ts";
import { compileExpression } from "../../src/cbpf/compile-expression.ts";
import type { ClassicInstruction, ClassicProgram } from "../../src/cbpf/instruction.ts";
import { runClassic } from "../../src/cbpf/interpreter.ts";
import { translateClassic } from "../../src/cbpf/translate.ts";
import { Workbench } from "../../src/filter/workbench.ts";
import { encodeProgram } from "../../src/isa/codec.ts";
import { ExpressionGenerator, seeded } from "./expression-generator.ts";
import { capture, captures } from "./pcapfilter-corpus.ts";

let workbench: Workbench;

beforeAll(async () => {
  const created = await Workbench.create({ memoryBytes: 16 * 1024 * 1024 });
  if (!created.ok) throw created.error;
  workbench = created.value;
});

/** The program as eBPF, ready to run on frames; r0 by frame. */
function engine(program: ClassicProgram): (data: Uint8Array) => number {
  const translated = translateClassic(program, "test");
  if (!translated.ok) throw translated.error;
  const bytecode = encodeProgram(translated.value);
  const functions = [{ name: "test", slot: 0 }];
  const spec = { name: "test", section: "", type: undefined, bytecode, functions, lines: [] };
  const executable = workbench.prepare(spec, [], "socket");
  if (!executable.ok) throw executable.error;
  return (data) => {
    const outcome = workbench.run(executable.value, data);
    if (!outcome.ok) throw outcome.error;
    if (outcome.value.fault !== undefined) throw new Error(outcome.value.fault.message);
    return Number(outcome.value.returned);
  };
}

function instruction(code: number, k = 0, jt = 0, jf = 0): ClassicInstruction {
  return { code, jt, jf, k: k >>> 0 };
}

/** A frame of 64 bytes with these in front. */
function frame(hex: string): Uint8Array {
  const bytes = new Uint8Array(64).map((_, i) => i);
  bytes.set(Buffer.from(hex, "hex"));
  return bytes;
}

const load = (k: number): ClassicInstruction => instruction(0x00, k);
const loadX = (k: number): ClassicInstruction => instruction(0x01, k);
const returnA = instruction(0x16);

const alu: readonly (readonly [string, number])[] = [
  ["add", 0x04],
  ["sub", 0x14],
  ["mul", 0x24],
  ["div", 0x34],
  ["or", 0x44],
  ["and", 0x54],
  ["lsh", 0x64],
  ["rsh", 0x74],
  ["mod", 0x94],
  ["xor", 0xa4],
];
const operands = [0, 1, 2, 7, 31, 32, 33, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

for (const [name, code] of alu)
  test(`${name} gives what the reference gives, by constant and by X`, () => {
    for (const a of operands)
      for (const b of operands) {
        const programs = [[load(a), loadX(b), instruction(code | 0x08), returnA]];
        const isRefused = b === 0 && (name === "div" || name === "mod");
        if (!isRefused && !(b > 31 && /sh$/.test(name)))
          programs.push([load(a), instruction(code, b), returnA]);
        for (const program of programs) {
          const expected = runClassic(program, { data: frame(""), length: 64 });
          expect(engine(program)(frame("")), `${a} ${name} ${b}`).toBe(expected);
        }
      }
  });

test("negation, transfers, scratch memory, the length and header lengths work as in the reference", () => {
  const programs: readonly ClassicProgram[] = [
    [load(5), instruction(0x84), returnA],
    [load(9), instruction(0x07), load(1), instruction(0x87), returnA],
    [load(3), instruction(0x02, 15), load(1), instruction(0x60, 15), returnA],
    [loadX(3), instruction(0x03, 0), loadX(1), instruction(0x61, 0), instruction(0x87), returnA],
    [instruction(0x80), returnA],
    [instruction(0x81), instruction(0x87), returnA],
    [load(77), instruction(0xb1, 14), instruction(0x87), returnA],
    [load(77), instruction(0xb1, 14), returnA],
    [load(77), instruction(0xb1, 99), instruction(0x06, 1)],
    [instruction(0x20, 60), returnA],
    [instruction(0x20, 61), instruction(0x06, 1)],
    [loadX(50), instruction(0x48, 12), returnA],
    [loadX(50), instruction(0x50, 14), instruction(0x06, 1)],
    [load(0xffff_fff0), instruction(0x07), instruction(0x50, 0x20), instruction(0x06, 1)],
    [instruction(0x06, 0xffff_ffff)],
  ];
  for (const program of programs) {
    const data = frame("");
    data[14] = 0x4f;
    const expected = runClassic(program, { data, length: data.length });
    expect(engine(program)(data), JSON.stringify(program)).toBe(expected);
  }
});

test("jumps go where the reference goes, whichever way falls through", () => {
  for (const code of [0x15, 0x25, 0x35, 0x45])
    for (const source of [0x00, 0x08])
      for (const [jt, jf] of [
        [0, 1],
        [1, 0],
        [1, 2],
        [0, 0],
        [2, 1],
      ] as const)
        for (const a of operands)
          for (const b of [0, 5, 0x8000_0000]) {
            const test = instruction(code | source, b, jt, jf);
            const ends = [1, 2, 3].map((k) => instruction(0x06, k));
            const program = [load(a), loadX(b), test, ...ends];
            const expected = runClassic(program, { data: frame(""), length: 64 });
            expect(engine(program)(frame(""))).toBe(expected);
          }
});

test("a long way is jumped over", () => {
  const filler = Array.from({ length: 40_000 }, () => load(1));
  const program = [instruction(0x05, filler.length), ...filler, instruction(0x06, 5)];
  expect(engine(program)(frame(""))).toBe(5);
});

describe("ancillary data", () => {
  const loadAncillary = (offset: number): ClassicProgram => [
    instruction(0x20, ancillaryBase + offset),
    returnA,
  ];

  test("comes from the context where that has it", () => {
    const data = frame("ffffffffffff0200000000010806");
    expect(engine(loadAncillary(ancillary.protocol))(data)).toBe(0x0806);
    expect(engine(loadAncillary(ancillary.packetType))(data)).toBe(1);
    expect(engine(loadAncillary(ancillary.vlanTagPresent))(data)).toBe(0);
    expect(engine(loadAncillary(ancillary.cpu))(data)).toBe(0);
    expect(engine(loadAncillary(ancillary.hardwareType))(data)).toBe(1);
    const xor = [load(6), loadX(3), ...loadAncillary(ancillary.xorX)];
    expect(engine(xor)(data)).toBe(5);
    expect(engine(loadAncillary(ancillary.ifindex))(data)).toBe(1);
    for (const offset of ["mark", "queue", "rxHash", "vlanTag", "vlanProtocol"] as const)
      expect(engine(loadAncillary(ancillary[offset]))(data)).toBe(0);
    expect(engine(loadAncillary(ancillary.random))(data)).toBeLessThan(2 ** 32);
  });

  test("is refused by name where it has not", () => {
    for (const [offset, name] of [
      [ancillary.netlinkAttribute, "nla"],
      [ancillary.netlinkNested, "nlan"],
      [ancillary.payloadOffset, "poff"],
    ] as const) {
      const translated = translateClassic(loadAncillary(offset), "bytecode");
      expect(translated.ok || translated.error.message).toMatch(
        `bytecode, instruction 0: [${name}] is not known outside the kernel`,
      );
    }
  });
});

test("a loop, as protochain needs, is refused", () => {
  const compiled = compileExpression("ip protochain 6", { linkType: "EN10MB" });
  if (!compiled.ok) throw compiled.error;
  const translated = translateClassic(compiled.value, "expression");
  expect(translated.ok || translated.error.message).toMatch(
    /a jump backwards: programs have no loops/,
  );
});

test("random expressions give as eBPF what they give as classic BPF", () => {
  const generator = new ExpressionGenerator(31);
  const random = seeded(32);
  const frames: Uint8Array[] = Array.from({ length: 60 }, (_, i) => {
    const data = new Uint8Array(i + 14).map(() => Math.floor(random() * 256));
    if (data.length > 23) {
      data.set([0x08, 0x00, 0x45], 12);
      data.set([0, 0, 64, [1, 6, 17, 132][i % 4]!], 20);
    }
    return data;
  });
  for (const name of ["mix.pcap", "geneve.pcap", "802.1ad_QinQ.pcap"])
    if (captures !== undefined)
      frames.push(
        ...capture(name)!
          .packets.map(({ data }) => data)
          .filter(({ length }) => length >= 14),
      );
  let compared = 0;
  let matched = 0;
  for (let i = 0; i < 400; i++) {
    const text = generator.next();
    const compiled = compileExpression(text, { linkType: "EN10MB", maxChainedHeaders: 8 });
    if (!compiled.ok) continue;
    compared++;
    const run = engine(compiled.value);
    for (const data of frames) {
      const expected = runClassic(compiled.value, { data, length: data.length });
      if (expected !== 0) matched++;
      if (run(data) !== expected) expect.fail(`${text} on ${Buffer.from(data).toString("hex")}`);
    }
  }
  expect(compared).toBeGreaterThan(150);
  expect(matched).toBeGreaterThan(200);
});
