import fc from "fast-check";
import { expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { assemble } from "../../src/isa/assembler.ts";
import { encodeProgram } from "../../src/isa/codec.ts";
import { disassemble, disassembleProgram } from "../../src/isa/disassembler.ts";
import { opcodeTable, sampleInstructions } from "../../src/isa/opcodes.ts";

function hexOf(text: string): string {
  const program = assemble(text);
  if (!program.ok) throw new AggregateError(program.error, program.error[0]?.message);
  return toHex(encodeProgram(program.value));
}

function errorsOf(text: string): string[] {
  const program = assemble(text, { file: "f.asm" });
  if (program.ok) throw new Error(`${text} assembles`);
  return program.error.map(({ code, message }) => `${code} ${message}`);
}

const spellings: readonly { hex: string; texts: readonly string[] }[] = [
  { hex: "bf10000000000000", texts: ["mov %r0, %r1", "mov r0, r1", "r0 = r1", "r0=r1"] },
  { hex: "b7000000ffffffff", texts: ["mov %r0, -1", "mov %r0, 0xffffffff", "r0 = -1", "r0=-0x1"] },
  { hex: "0400000005000000", texts: ["add32 %r0, 5", "w0 += 5", "w0 += +0x5"] },
  { hex: "3f21010000000000", texts: ["sdiv %r1, %r2", "r1 s/= r2"] },
  { hex: "9401010003000000", texts: ["smod32 %r1, 3", "w1 s%= 3"] },
  { hex: "c701000003000000", texts: ["arsh %r1, 3", "r1 s>>= 3"] },
  { hex: "8701000000000000", texts: ["neg %r1", "r1 = -r1", "r1 =-r1"] },
  { hex: "bf21080000000000", texts: ["movsx864 %r1, %r2", "r1 = (s8)r2", "r1 = (s8) r2"] },
  { hex: "d701000020000000", texts: ["bswap32 %r1", "swap32 %r1", "r1 = bswap32 r1"] },
  { hex: "6110040000000000", texts: ["ldxw %r0, [%r1+4]", "ldxw r0, [r1 + 4]"] },
  {
    hex: "6110040000000000",
    texts: ["r0 = *(u32 *)(r1 + 4)", "r0 = *(u32*)(r1+0x4)", "w0 = *(u32 *)(r1 +4)"],
  },
  { hex: "911af8ff00000000", texts: ["ldxsb %r10, [%r1-8]", "r10 = *(s8 *)(r1 - 8)"] },
  { hex: "7a0a000007000000", texts: ["stdw [%r10], 7", "*(u64 *)(r10) = 7"] },
  {
    hex: "632a000000000000",
    texts: ["stxw [%r10], %r2", "*(u32 *)(r10 + 0) = r2", "*(u32 *)(r10 + 0) = w2"],
  },
  {
    hex: "c321000040000000",
    texts: ["lock or32 [%r1], %r2", "lock *(u32 *)(r1 + 0) |= r2", "lock *(u32 *)(r1 + 0) |= w2"],
  },
  {
    hex: "db21000001000000",
    texts: [
      "lock fetch add [%r1], %r2",
      "r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)",
      "r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)",
    ],
  },
  {
    hex: "c3210000e1000000",
    texts: [
      "lock xchg32 [%r1], %r2",
      "w2 = xchg32_32(r1 + 0, w2)",
      "r2 = atomic_xchg((u32 *)(r1 +0), r2)",
    ],
  },
  {
    hex: "db210000f1000000",
    texts: [
      "lock cmpxchg [%r1], %r2",
      "r0 = cmpxchg_64(r1 + 0, r0, r2)",
      "r0 = atomic64_cmpxchg((u64 *)(r1 +0), r0, r2)",
    ],
  },
  { hex: "4010000000000000", texts: ["ldindw %r1, 0", "r0 = *(u32 *)skb[r1]"] },
  { hex: "4010000004000000", texts: ["ldindw %r1, 4", "r0 = *(u32 *)skb[r1 + 4]"] },
  { hex: "40100000fcffffff", texts: ["r0 = *(u32 *)skb[r1 - 4]", "r0 = *(u32 *)skb[r1 + -4]"] },
  { hex: "0500020000000000", texts: ["ja +2", "goto +2", "goto pc+2", "goto pc +2"] },
  { hex: "0500feff00000000", texts: ["goto -2", "goto pc-2", "goto -0x2 <LBB0_1>"] },
  { hex: "0600000002000000", texts: ["ja32 +2", "gotol +2", "gotol pc+2"] },
  {
    hex: "6501030005000000",
    texts: ["jsgt %r1, 5, +3", "if r1 s> 5 goto +3", "if r1 s>0x5 goto pc+3"],
  },
  { hex: "4e21ffff00000000", texts: ["jset32 %r1, %r2, -1", "if w1 & w2 goto -1"] },
  { hex: "8500000001000000", texts: ["call 1", "call helper 1", "call bpf_map_lookup_elem#1"] },
  { hex: "8510000005000000", texts: ["call local +5", "call pc+5"] },
  { hex: "8520000005000000", texts: ["call runtime 5", "call btf_id(5)"] },
  { hex: "8d02000000000000", texts: ["call %r2", "callx %r2", "callx r2", "call helper %r2"] },
  {
    hex: "18010000887766550000000044332211",
    texts: ["lddw %r1, 0x1122334455667788", "r1 = 0x1122334455667788 ll"],
  },
  { hex: "18010000ffffffff00000000ffffffff", texts: ["lddw %r1, -1", "r1 = -1 ll"] },
  {
    hex: "18110000030000000000000000000000",
    texts: ["lddw %r1, map_by_fd(3)", "r1 = map_by_fd(3) ll", "r1 = map[3] ll"],
  },
  {
    hex: "18210000030000000000000010000000",
    texts: ["r1 = map_val(map_by_fd(3)) + 16 ll", "r1 = map[3][0]+16 ll"],
  },
  { hex: "18510000030000000000000000000000", texts: ["r1 = map_by_idx(3) ll"] },
  { hex: "18610000030000000000000000000000", texts: ["r1 = map_val(map_by_idx(3)) ll"] },
  { hex: "18410000feffffff0000000000000000", texts: ["r1 = code_addr(-2) ll"] },
  {
    hex: "9500000000000000",
    texts: [
      "exit",
      "  exit // done",
      "exit # done",
      "exit ; done",
      "/* one */ exit /* two */",
      "/* one\nr0 = 1\n*/ exit",
      "12: (95) exit",
      "  12: exit",
      "label: other:exit",
      "exit\r\n",
    ],
  },
];

for (const { hex, texts } of spellings)
  for (const text of texts)
    test(`${JSON.stringify(text)} assembles to ${hex}`, () => expect(hexOf(text)).toBe(hex));

test("labels are found before and after their use, in every instruction that has a target", () => {
  const program = assemble(`
LBB0_1:                       # clang's labels
  if r1 > 5 goto LBB0_1
  jeq %r1, 1, .Lend
  goto LBB0_1
  gotol .Lend
  ja32 LBB0_1
  call .Lend
  call local LBB0_1
  r2 = .Lend ll
  lddw %r2, code_addr(LBB0_1)
.Lend:
  exit`);
  if (!program.ok) throw new AggregateError(program.error);
  const offsets = program.value.map((one) => ("offset" in one ? one.offset : undefined));
  expect(offsets).toEqual([-1, 9, -3, 7, -5, 5, -7, 3, undefined, -10, undefined, undefined]);
});

test("the first exit is the label exit, unless the program declares one", () => {
  expect(hexOf("ja exit\nexit\nexit")).toBe(hexOf("ja +0\nexit\nexit"));
  expect(hexOf("ja exit\nexit\nexit: exit")).toBe(hexOf("ja +1\nexit\nexit"));
});

test("both syntaxes mix within a program", () => {
  expect(hexOf("mov %r0, 1\nr0 += 1\nlock add [%r10-8], %r0\nexit")).toBe(
    hexOf("r0 = 1\nadd %r0, 1\nlock *(u64 *)(r10 - 8) += r0\nexit"),
  );
});

const errors: readonly { text: string; error: string }[] = [
  {
    text: "",
    error: "PROGRAM_EMPTY f.asm: no instructions; the shortest program is `exit`",
  },
  {
    text: "r0 = ",
    error:
      "ASSEMBLY_SYNTAX f.asm:1:6: unexpected the end of the line; expected a register or a number",
  },
  {
    text: "\n  frobnicate r1\n",
    error:
      "ASSEMBLY_SYNTAX f.asm:2:3: unexpected `frobnicate`; expected an instruction such as `r0 = r1`, `mov %r0, %r1` or `exit`, or a label",
  },
  {
    text: "mov %r0 1",
    error: "ASSEMBLY_SYNTAX f.asm:1:9: unexpected `1`; expected `,`",
  },
  {
    text: "exit now",
    error: "ASSEMBLY_SYNTAX f.asm:1:6: unexpected `now`; expected the end of the line",
  },
  {
    text: "mov %r11, 1",
    error: "ASSEMBLY_REGISTER f.asm:1:5: no register `%r11`; registers are r0 to r10",
  },
  {
    text: "w1 = r2",
    error: "ASSEMBLY_REGISTER f.asm:1:6: `r2` and `w1` differ in width; write w2",
  },
  {
    text: "r1 = *(u32 *)(w2 + 0)",
    error:
      "ASSEMBLY_REGISTER f.asm:1:15: `w2` is half a register; an address is held in a whole one: r2",
  },
  {
    text: "*(u64 *)(r1 + 0) = w2",
    error: "ASSEMBLY_REGISTER f.asm:1:20: `w2` is half a register; u64 takes a whole one: r2",
  },
  {
    text: "lock *(u64 *)(r1 + 0) += w2",
    error: "ASSEMBLY_REGISTER f.asm:1:26: `w2` is half a register",
  },
  {
    text: "w1 = *(s8 *)(r2 + 0)",
    error: "ASSEMBLY_REGISTER f.asm:1:1: `w1` is half a register; this load writes a whole one: r1",
  },
  {
    text: "r1 = be16 r2",
    error:
      "ASSEMBLY_REGISTER f.asm:1:11: `r2` is not the register on the left; this instruction has one register for both: write r1",
  },
  {
    text: "r1 = *(u8 *)skb[3]",
    error: "ASSEMBLY_REGISTER f.asm:1:1: a packet load writes only r0; write r0 on the left",
  },
  {
    text: "r1 = cmpxchg_64(r2 + 0, r1, r3)",
    error:
      "ASSEMBLY_REGISTER f.asm:1:1: cmpxchg compares with r0 and writes it; write r0 on the left",
  },
  {
    text: "r1 = 0x100000000",
    error:
      "ASSEMBLY_RANGE f.asm:1:6: immediate 4294967296 does not fit; expected -2147483648 to 4294967295; lddw (r1 = NUMBER ll) takes 64 bits",
  },
  {
    text: "r1 = -2147483649",
    error: "ASSEMBLY_RANGE f.asm:1:6: immediate -2147483649 does not fit",
  },
  {
    text: "lddw %r1, 0x10000000000000000",
    error: "ASSEMBLY_RANGE f.asm:1:11: 64-bit immediate 18446744073709551616 does not fit",
  },
  {
    text: "ldxb %r1, [%r2+32768]",
    error: "ASSEMBLY_RANGE f.asm:1:15: offset 32768 does not fit; expected -32768 to 32767",
  },
  {
    text: "goto +32768",
    error:
      "ASSEMBLY_RANGE f.asm:1:6: the target is 32768 instructions away; this jump reaches -32768 to 32767; gotol (ja32) reaches further",
  },
  {
    text: "goto nowhere",
    error: "ASSEMBLY_LABEL f.asm:1:6: label `nowhere` is nowhere; declare it with `nowhere:`",
  },
  {
    text: "a: exit\na: exit",
    error: "ASSEMBLY_LABEL f.asm:2:1: label `a` is already on line 1; choose another name",
  },
  {
    text: "r1: exit",
    error: "ASSEMBLY_LABEL f.asm:1:1: label `r1` is a register's name; choose another name",
  },
  {
    text: "goto r1",
    error:
      "ASSEMBLY_SYNTAX f.asm:1:6: unexpected `r1`; expected a label, or a distance as +3 or -3",
  },
  {
    text: "w1 = (s32)w2",
    error:
      "ASSEMBLY_NO_ENCODING f.asm:1:1: no instruction does this: move_signed 32 32; RFC 9669 has this operation only for other sizes or widths",
  },
  {
    text: "r1 = *(s64 *)(r2 + 0)",
    error: "ASSEMBLY_NO_ENCODING f.asm:1:1: no instruction does this: load 8 true",
  },
  {
    text: "r0 = *(u64 *)skb[0]",
    error: "ASSEMBLY_NO_ENCODING f.asm:1:1: no instruction does this: load_packet 8 false",
  },
  {
    text: "lock *(u8 *)(r1 + 0) += r2",
    error: "ASSEMBLY_NO_ENCODING f.asm:1:1: no instruction does this: atomic add false 1",
  },
  {
    text: "lock fetch xchg [%r1], %r2",
    error: "ASSEMBLY_SYNTAX f.asm:1:1: no such atomic operation; expected lock, fetch or not",
  },
  {
    text: "r1 = atomic_add((u64 *)(r2 + 0), r1)",
    error: "ASSEMBLY_SYNTAX f.asm:1:6: no atomic operation `add` gives a value",
  },
  {
    text: "r1 = atomic64_fetch_or((u32 *)(r2 + 0), r1)",
    error: "ASSEMBLY_SYNTAX f.asm:1:25: atomic64 works on 64 bits; write u64",
  },
  {
    text: ".text",
    error: "ASSEMBLY_SYNTAX f.asm:1:1: directives are not supported; give instructions",
  },
  {
    text: "if r1 = 5 goto +1",
    error: "ASSEMBLY_SYNTAX f.asm:1:7: unexpected `=`; expected a comparison such as ==, > or s<=",
  },
  {
    text: "r1 =< 5",
    error: "ASSEMBLY_SYNTAX f.asm:1:5: unexpected `<`; expected a register or a number",
  },
  {
    text: "r1 = 12ab",
    error: "ASSEMBLY_SYNTAX f.asm:1:6: `12ab` is no number; numbers are decimal, or 0x",
  },
  {
    text: `r1 = 1${"0".repeat(50)}`,
    error: "ASSEMBLY_SYNTAX f.asm:1:6: `1000000000000000000000000000000000000...` is no number",
  },
  {
    text: "r0 = 1 \u{1f41d}",
    error: 'ASSEMBLY_SYNTAX f.asm:1:8: unexpected character "\u{1f41d}"; comments begin with',
  },
  {
    text: "exit\n  /* no end\n\n",
    error: "ASSEMBLY_SYNTAX f.asm:2:3: comment without an end; close it with */",
  },
  {
    text: "r1 = map[0][1] ll",
    error:
      "ASSEMBLY_RANGE f.asm:1:13: element (the address of a value is known only for element 0) 1",
  },
  {
    text: "lddw %r1, map_val(3)",
    error: "ASSEMBLY_SYNTAX f.asm:1:19: unexpected `3`; expected map_by_fd or map_by_idx",
  },
  {
    text: "goto +1 <LBB0_1",
    error: "ASSEMBLY_SYNTAX f.asm:1:16: unexpected the end of the line; expected `>`",
  },
];

for (const { text, error } of errors)
  test(`${JSON.stringify(text)} is refused with place, cause and remedy`, () => {
    expect(errorsOf(text)).toEqual([expect.stringContaining(error)]);
  });

test("all errors come at once, in the order of the text", () => {
  const places = errorsOf("goto nowhere\nr99 = 1\n$\nmov %r0\nif r1 > 5 goto gone\n$$").map(
    (error) => /:(\d+:\d+):/.exec(error)?.[1],
  );
  expect(places).toEqual(["1:6", "2:1", "3:1", "4:8", "5:16", "6:1"]);
});

test("an instruction that does not parse is no target for the label exit", () => {
  expect(errorsOf("goto exit\nexit now")).toHaveLength(2);
});

test("a text that is no assembly has a bounded list of errors", () => {
  expect(errorsOf("nonsense here\n".repeat(5000))).toHaveLength(100);
  expect(errorsOf("goto nowhere\n".repeat(5000))).toHaveLength(100);
});

test("a program of more than 1,000,000 instructions is refused", () => {
  expect(errorsOf(`goto end\n${"exit\n".repeat(1_000_000)}end: exit`)).toEqual([
    "PROGRAM_TOO_LONG f.asm: more than 1000000 instructions; at most 1000000 are allowed",
  ]);
});

test("errors name the text assembly where no file is given", () => {
  const program = assemble("r0 = ?");
  expect(!program.ok && program.error[0]?.where).toBe("assembly:1:6");
});

const vocabulary = [
  ...new Set(opcodeTable.map(({ name }) => name)),
  ...[
    "r0",
    "%r1",
    "w2",
    "r10",
    "r11",
    "0",
    "-1",
    "0xffffffff",
    "5",
    "label",
    "label:",
    "pc+1",
    "+1",
  ],
  ...[
    "=",
    "+=",
    "s>>=",
    "==",
    "s<",
    "&",
    "(",
    ")",
    "[",
    "]",
    ",",
    "*",
    "+",
    "-",
    "<",
    ">",
    "#",
    ":",
  ],
  ...["if", "goto", "gotol", "lock", "call", "ll", "u32", "s8", "skb", "*(u64 *)", "(r1 + 4)"],
  ...[
    "atomic_fetch_add",
    "xchg_64",
    "cmpxchg32_32",
    "be16",
    "map_by_fd",
    "map_val",
    "map",
    "local",
  ],
  ...["/*", "*/", "//", "\n", "\n", "\n", "constructor", "__proto__", "\u2028", "\0"],
];

/** Lines that assemble, some with a word put over a part of them. */
const lines = [...sampleInstructions()].flatMap(({ instruction }) =>
  (["clang", "kernel"] as const).map((style) => disassemble(instruction, { style })),
);
const damagedLine = fc
  .record({
    line: fc.constantFrom(...lines),
    damage: fc.option(fc.constantFrom(...vocabulary), { freq: 1 }),
    at: fc.nat(30),
    over: fc.nat(5),
  })
  .map(({ line, damage, at, over }) =>
    damage === null ? line : line.slice(0, at) + damage + line.slice(at + over),
  );

test("any text is refused with places inside it, or assembles to something encodable", () => {
  let assembled = 0;
  let refused = 0;
  const sentence = fc
    .array(fc.constantFrom(...vocabulary), { maxLength: 12 })
    .map((words) => words.join(" "));
  const program = fc
    .array(damagedLine, { minLength: 1, maxLength: 3 })
    .map((all) => all.join("\n"));
  const noise = fc.string({ unit: "binary", maxLength: 60 });
  fc.assert(
    fc.property(fc.oneof(sentence, program, noise), (text) => {
      const result = assemble(text, { file: "f" });
      if (result.ok) {
        assembled++;
        const again = assemble(disassembleProgram(result.value));
        expect(encodeProgram(result.value)).toHaveLength(result.value.length * 8);
        expect(again).toEqual(result);
        return;
      }
      refused++;
      expect(result.error.length).toBeGreaterThan(0);
      const textLines = text.split(/\r\n|\n|\r/);
      for (const { where, fix } of result.error) {
        expect(fix).toBeTruthy();
        if (where === "f") continue;
        const [, line, column] = where.split(":").map(Number) as [number, number, number];
        expect(line).toBeLessThanOrEqual(textLines.length);
        expect(column).toBeLessThanOrEqual((textLines[line - 1] as string).length + 1);
      }
    }),
    { seed: 9669, numRuns: 20_000 },
  );
  // Both branches must have been exercised.
  expect(assembled).toBeGreaterThan(1000);
  expect(refused).toBeGreaterThan(1000);
});
