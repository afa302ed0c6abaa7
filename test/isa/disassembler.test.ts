import { expect, test } from "vitest";
import { assemble } from "../../src/isa/assembler.ts";
import { disassemble, disassembleProgram } from "../../src/isa/disassembler.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import { sampleInstructions } from "../../src/isa/opcodes.ts";

function assembled(text: string): Instruction[] {
  const program = assemble(text);
  if (!program.ok) throw new AggregateError(program.error);
  return program.value;
}

// Written in the conformance syntax, so that the texts are not only their own mirror.
const texts: readonly { from: string; clang: string; kernel: string }[] = [
  { from: "mov %r0, %r1", clang: "r0 = r1", kernel: "r0 = r1" },
  { from: "add32 %r0, 5", clang: "w0 += 5", kernel: "w0 += 5" },
  { from: "mov %r0, -1", clang: "r0 = -1", kernel: "r0 = -1" },
  { from: "sdiv %r1, %r2", clang: "r1 s/= r2", kernel: "r1 s/= r2" },
  { from: "smod32 %r1, -3", clang: "w1 s%= -3", kernel: "w1 s%= -3" },
  { from: "arsh %r1, 63", clang: "r1 s>>= 63", kernel: "r1 s>>= 63" },
  { from: "neg32 %r1", clang: "w1 = -w1", kernel: "w1 = -w1" },
  { from: "movsx864 %r1, %r2", clang: "r1 = (s8)r2", kernel: "r1 = (s8)r2" },
  { from: "movsx1632 %r1, %r2", clang: "w1 = (s16)w2", kernel: "w1 = (s16)w2" },
  { from: "be16 %r0", clang: "r0 = be16 r0", kernel: "r0 = be16 r0" },
  { from: "bswap64 %r0", clang: "r0 = bswap64 r0", kernel: "r0 = bswap64 r0" },
  {
    from: "ldxw %r0, [%r1+4]",
    clang: "r0 = *(u32 *)(r1 + 4)",
    kernel: "r0 = *(u32 *)(r1 +4)",
  },
  {
    from: "ldxsw %r0, [%r1-4]",
    clang: "r0 = *(s32 *)(r1 - 4)",
    kernel: "r0 = *(s32 *)(r1 -4)",
  },
  {
    from: "stb [%r10-1], 7",
    clang: "*(u8 *)(r10 - 1) = 7",
    kernel: "*(u8 *)(r10 -1) = 7",
  },
  {
    from: "stxdw [%r10], %r3",
    clang: "*(u64 *)(r10 + 0) = r3",
    kernel: "*(u64 *)(r10 +0) = r3",
  },
  {
    from: "lock add [%r1], %r2",
    clang: "lock *(u64 *)(r1 + 0) += r2",
    kernel: "lock *(u64 *)(r1 +0) += r2",
  },
  {
    from: "lock or32 [%r1], %r2",
    clang: "lock *(u32 *)(r1 + 0) |= w2",
    kernel: "lock *(u32 *)(r1 +0) |= r2",
  },
  {
    from: "lock fetch xor32 [%r1+8], %r2",
    clang: "w2 = atomic_fetch_xor((u32 *)(r1 + 8), w2)",
    kernel: "r2 = atomic_fetch_xor((u32 *)(r1 +8), r2)",
  },
  {
    from: "lock fetch add [%r1+8], %r2",
    clang: "r2 = atomic_fetch_add((u64 *)(r1 + 8), r2)",
    kernel: "r2 = atomic64_fetch_add((u64 *)(r1 +8), r2)",
  },
  {
    from: "lock xchg [%r1-8], %r2",
    clang: "r2 = xchg_64(r1 - 8, r2)",
    kernel: "r2 = atomic64_xchg((u64 *)(r1 -8), r2)",
  },
  {
    from: "lock cmpxchg32 [%r1-8], %r2",
    clang: "w0 = cmpxchg32_32(r1 - 8, w0, w2)",
    kernel: "r0 = atomic_cmpxchg((u32 *)(r1 -8), r0, r2)",
  },
  { from: "ldabsh 12", clang: "r0 = *(u16 *)skb[12]", kernel: "r0 = *(u16 *)skb[12]" },
  { from: "ldindb %r1, 0", clang: "r0 = *(u8 *)skb[r1]", kernel: "r0 = *(u8 *)skb[r1 + 0]" },
  {
    from: "ldindw %r1, -4",
    clang: "r0 = *(u32 *)skb[r1 + -4]",
    kernel: "r0 = *(u32 *)skb[r1 + -4]",
  },
  { from: "ja +2", clang: "goto +2", kernel: "goto pc+2" },
  { from: "ja32 -2", clang: "gotol -2", kernel: "gotol pc-2" },
  {
    from: "jsgt %r1, 5, +3",
    clang: "if r1 s> 0x5 goto +3",
    kernel: "if r1 s> 0x5 goto pc+3",
  },
  {
    from: "jne32 %r1, -5, -3",
    clang: "if w1 != -0x5 goto -3",
    kernel: "if w1 != 0xfffffffb goto pc-3",
  },
  {
    from: "jset %r1, %r2, +0",
    clang: "if r1 & r2 goto +0",
    kernel: "if r1 & r2 goto pc+0",
  },
  { from: "call 1", clang: "call 1", kernel: "call 1" },
  { from: "call local +5", clang: "call pc+5", kernel: "call pc+5" },
  { from: "call runtime 7", clang: "call btf_id(7)", kernel: "call btf_id(7)" },
  { from: "call %r2", clang: "callx r2", kernel: "callx r2" },
  { from: "exit", clang: "exit", kernel: "exit" },
  { from: "lddw %r2, 0x1122", clang: "r2 = 0x1122 ll", kernel: "r2 = 0x1122" },
  { from: "lddw %r2, -1", clang: "r2 = 0xffffffffffffffff ll", kernel: "r2 = 0xffffffffffffffff" },
  { from: "lddw %r2, map[3]", clang: "r2 = map_by_fd(3) ll", kernel: "r2 = map_by_fd(3) ll" },
  {
    from: "lddw %r2, map[3][0]+16",
    clang: "r2 = map_val(map_by_fd(3)) + 16 ll",
    kernel: "r2 = map_val(map_by_fd(3)) + 16 ll",
  },
  {
    from: "lddw %r2, map_val(map_by_idx(3))",
    clang: "r2 = map_val(map_by_idx(3)) + 0 ll",
    kernel: "r2 = map_val(map_by_idx(3)) + 0 ll",
  },
  { from: "lddw %r2, var_addr(9)", clang: "r2 = var_addr(9) ll", kernel: "r2 = var_addr(9) ll" },
  {
    from: "lddw %r2, code_addr(-4)",
    clang: "r2 = code_addr(-4) ll",
    kernel: "r2 = code_addr(pc-4) ll",
  },
];

for (const { from, clang, kernel } of texts)
  test(`${from} is written ${clang}`, () => {
    const [instruction] = assembled(from);
    expect(disassemble(instruction as Instruction)).toBe(clang);
    expect(disassemble(instruction as Instruction, { style: "kernel" })).toBe(kernel);
  });

for (const style of ["clang", "kernel"] as const)
  test(`every sample in ${style} style assembles to itself`, () => {
    for (const { row, instruction } of sampleInstructions()) {
      // The kernel writes a 64-bit constant like a move.
      if (style === "kernel" && instruction.kind === "load_immediate") continue;
      const program: Instruction[] = [instruction];
      if (row.slots === 2) program.push({ kind: "second_slot" });
      const text = disassembleProgram(program, { style, targets: "distance" });
      expect(assembled(text), text).toEqual(program);
    }
  });

test("a second slot has no text", () => {
  expect(disassemble({ kind: "second_slot" })).toBe("");
});

test("a helper is named where its name is known", () => {
  const options = { helper: (id: number) => (id === 23 ? "bpf_redirect" : undefined) };
  expect(disassemble({ kind: "call_helper", id: 23 }, options)).toBe("call bpf_redirect#23");
  expect(disassemble({ kind: "call_helper", id: 24 }, options)).toBe("call 24");
  expect(assembled("call bpf_redirect#23 # redirects")).toEqual([{ kind: "call_helper", id: 23 }]);
});

test("a target is named by the caller, a call's too", () => {
  const options = { target: (offset: number) => `slot_${offset}` };
  expect(disassemble({ kind: "jump", offset: 3, long: false }, options)).toBe("goto slot_3");
  expect(disassemble({ kind: "call_local", offset: 3 }, options)).toBe("call slot_3");
});

const program = `
  r1 = 1
again:
  r1 += 1
  r2 = callback ll
  call function
  if r1 < 10 goto again
  exit
function:
  r0 = 0x1122334455667788 ll
  goto done
done:
callback:
  exit
`;

test("a program is written with labels at its targets", () => {
  expect(disassembleProgram(assembled(program))).toBe(`r1 = 1
L1:
r1 += 1
r2 = code_addr(L10) ll
call L7
if r1 < 0xa goto L1
exit
L7:
r0 = 0x1122334455667788 ll
goto L10
L10:
exit
`);
});

test("a program is written with distances where that is asked for", () => {
  expect(
    disassembleProgram(assembled(program), { targets: "distance", style: "kernel" }),
  ).toBe(`r1 = 1
r1 += 1
r2 = code_addr(pc+7) ll
call pc+2
if r1 < 0xa goto pc-5
exit
r0 = 0x1122334455667788
goto pc+0
exit
`);
});

test("targets outside the program or inside a 16-byte instruction stay distances", () => {
  const text = "goto +1\nr1 = 0x1 ll\ngoto -100\ngoto +7\ncall pc+9\nexit\n";
  expect(disassembleProgram(assembled(text))).toBe(text);
});
