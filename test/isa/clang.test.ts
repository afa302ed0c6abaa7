import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { assemble } from "../../src/isa/assembler.ts";
import { decodeProgram, encodeProgram } from "../../src/isa/codec.ts";
import { disassembleProgram } from "../../src/isa/disassembler.ts";
import type { Form } from "../../src/isa/form.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import { sampleInstructions } from "../../src/isa/opcodes.ts";
import { needing } from "../support/needing.ts";

const test = needing("clang", "llvm-objcopy", "llvm-objdump");
const folder = mkdtempSync(join(tmpdir(), "weir-isa-clang-"));
afterAll(() => rmSync(folder, { recursive: true }));

function clang(name: string, source: string): string {
  const input = join(folder, name);
  const object = `${input}.o`;
  writeFileSync(input, source);
  execFileSync("clang", ["-target", "bpf", "-mcpu=v3", "-O2", "-c", input, "-o", object]);
  return object;
}

function sectionBytes(object: string, section: string): string {
  const raw = `${object}.raw`;
  execFileSync("llvm-objcopy", ["-O", "binary", `--only-section=${section}`, object, raw]);
  return toHex(readFileSync(raw));
}

/** What clang 14's assembler can read: newer instructions and exchanges it cannot. */
function knownToClang14(form: Form): boolean {
  switch (form.kind) {
    case "alu":
      return !["mod", "smod", "sdiv"].includes(form.op);
    case "branch":
      return form.op !== "set";
    case "store":
      return form.src === "register";
    case "load":
      return !form.signed;
    case "atomic":
      return !form.fetch;
    case "load_packet":
      return !form.indexed;
    case "byte_order":
      return form.to !== "swap";
    case "jump":
      return !form.long;
    case "negate":
    case "load_immediate":
    case "call_helper":
    case "exit":
      return true;
    default:
      return false;
  }
}

function knownProgram(): Instruction[] {
  const program: Instruction[] = [];
  for (const { row, instruction } of sampleInstructions()) {
    if (!knownToClang14(row.form)) continue;
    program.push(instruction);
    if (row.slots === 2) program.push({ kind: "second_slot" });
  }
  // The last jumps reach beyond the samples.
  for (let i = 0; i < 8; i++) program.push({ kind: "exit" });
  return program;
}

for (const targets of ["labels", "distance"] as const)
  test(`clang assembles disassembled programs with ${targets} to the same bytes`, () => {
    const program = knownProgram();
    expect(program.length).toBeGreaterThan(110);
    const object = clang(`${targets}.s`, disassembleProgram(program, { targets }));
    expect(sectionBytes(object, ".text")).toBe(toHex(encodeProgram(program)));
  });

test("clang reads extreme operands as they were meant", () => {
  const text = [
    "r1 = -2147483648",
    "w2 = 2147483647",
    "r3 = 0xffffffffffffffff ll",
    "r4 = 0x8000000000000000 ll",
    "r5 = *(u64 *)(r10 - 32768)",
    "*(u16 *)(r10 + 32767) = r5",
    "if r1 == -0x80000000 goto -2",
    "if w1 s<= 0x7fffffff goto +0",
    "goto -1",
    "r0 = *(u32 *)skb[-4096]",
    "call -1",
    "exit",
  ].join("\n");
  const program = assemble(text);
  if (!program.ok) throw new AggregateError(program.error);
  const written = disassembleProgram(program.value, { targets: "distance" });
  expect(written.trimEnd()).toBe(text);
  expect(sectionBytes(clang("extremes.s", text), ".text")).toBe(
    toHex(encodeProgram(program.value)),
  );
});

// Branches both ways, 32-bit arithmetic and compares, every size of load and store, byte swaps,
// atomics that fetch and exchange, a 64-bit constant. No calls: llvm-objdump 14 prints those of
// local functions and of helpers alike.
const source = `
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64;
struct cells { u64 sum; u64 old; u32 word; u16 half; u8 byte; long long least; };
__attribute__((section("xdp"), used)) u64 probe(struct cells *cells, u8 *data, u32 length) {
  u64 hash = 0xcbf29ce484222325ull;
#pragma clang loop unroll(disable)
  for (u32 i = 0; i < length; i++) {
    hash ^= data[i];
    hash *= 0x100000001b3ull;
    if ((int)hash < -5) hash += cells->half;
    if ((long long)hash <= cells->least) cells->word = (u32)hash >> 3;
  }
  cells->half = __builtin_bswap16(cells->half);
  cells->word = __builtin_bswap32(cells->word);
  cells->byte = -(int)cells->byte;
  __sync_fetch_and_add(&cells->sum, hash);
  cells->old = __sync_fetch_and_or(&cells->sum, length);
  hash += __sync_lock_test_and_set(&cells->sum, hash);
  hash += __sync_val_compare_and_swap(&cells->sum, 1, hash);
  return hash / (length | 1) % 1000 + __builtin_bswap64(hash);
}
`;

test("what llvm-objdump prints of a compiled object assembles to the same bytes", () => {
  const object = clang("probe.c", source);
  const bytes = sectionBytes(object, "xdp");
  const listing = execFileSync(
    "llvm-objdump",
    ["-d", "--no-show-raw-insn", "--section=xdp", object],
    { encoding: "utf8" },
  );
  const text = listing
    .split("\n")
    .filter((line) => /^\s+\d+:/.test(line))
    .join("\n");
  for (const part of [
    /goto [-+]\d+ <LBB/,
    /if w\d/,
    /be16/,
    /atomic_fetch_or/,
    /cmpxchg_64/,
    / ll$/m,
  ])
    expect(text).toMatch(part);
  const program = assemble(text);
  if (!program.ok) throw new AggregateError(program.error);
  expect(toHex(encodeProgram(program.value))).toBe(bytes);
  expect(decodeProgram(encodeProgram(program.value))).toEqual(program);
});
