import { expect, test } from "vitest";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { assemble } from "../../src/isa/assembler.ts";
import { decodeProgram } from "../../src/isa/codec.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import { opcodeTable } from "../../src/isa/opcodes.ts";
import { verify } from "../../src/verifier/verify.ts";
import { Random } from "../packet/random.ts";
import { mutated, randomProgram } from "./random-program.ts";
import { programOf, testMaps } from "./rules/rule-case.ts";

function verdictOf(instructions: readonly Instruction[], type: "xdp" | "socket" | "raw") {
  const program = { object: "f", name: "f", type, maps: testMaps, functions: [], lines: [] };
  return verify({ ...program, instructions, dataBytes: 64 }, helpers, { maxVisited: 20_000 });
}

test("any bytes that decode end in a verdict or a named rejection (20,000 programs)", () => {
  const random = new Random(99);
  const codes = opcodeTable.map(({ code }) => code);
  let decodedCount = 0;
  for (let i = 0; i < 20_000; i++) {
    const length = 1 + random.below(12);
    const bytes = random.bytes(8 * length);
    for (let slot = 0; slot < length; slot++) {
      // Bytes that are all random decode too rarely to show anything.
      bytes[8 * slot] = codes[random.below(codes.length)] as number;
      bytes[8 * slot + 1]! &= 0x77;
      bytes.set([random.below(4), 0], 8 * slot + 2);
      bytes.set([random.below(40), 0, 0, 0], 8 * slot + 4);
      if (random.below(2) === 0) bytes.fill(0, 8 * slot + 2, 8 * slot + 8);
    }
    bytes.set([0x95, 0, 0, 0, 0, 0, 0, 0], 8 * (length - 1));
    const decoded = decodeProgram(bytes);
    if (!decoded.ok) continue;
    decodedCount++;
    const verdict = verdictOf(decoded.value, (["xdp", "socket", "raw"] as const)[i % 3]!);
    if (!verdict.ok) expect(verdict.error.code).toMatch(/^[A-Z_0-9]+$/);
  }
  expect(decodedCount).toBeGreaterThan(1000);
});

test("programs with changed bits end in a verdict or a named rejection", () => {
  const random = new Random(100);
  for (let i = 0; i < 2000; i++) {
    const program = mutated(random, randomProgram(random, "xdp"));
    if (program === undefined) continue;
    const verdict = verdictOf(program, "xdp");
    if (!verdict.ok) expect(verdict.error.message).toMatch(/^f, program f, instruction \d+ /);
  }
});

test("a program without instructions is refused", () => {
  const verdict = verify({ ...programOf("exit"), instructions: [] }, helpers);
  expect(verdict.ok ? "" : verdict.error.code).toBe("PROGRAM_EMPTY");
});

test("a program is followed over no more instructions than it may be", () => {
  const loop = programOf("r6 = 0\nl: r6 += 1\nif r6 != 100 goto l\nr0 = 0\nexit");
  const verdict = verify(loop, helpers, { maxVisited: 100 });
  if (verdict.ok) return expect.fail("accepted");
  expect(verdict.error.code).toBe("TOO_COMPLEX");
  expect(verdict.error.cause).toBe(
    "100 instructions were followed over all paths, and there are more",
  );
  expect(verify(loop, helpers, { maxVisited: 300 }).ok).toBe(true);
  return undefined;
});

test("a loop whose every round leaves a branch open ends where too many are open", () => {
  const loop = programOf(`r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r6 = 0
    l: r5 = r2
    r5 += r6
    r4 = r5
    r4 += 1
    if r4 > r3 goto out
    r6 += 1
    r5 = *(u8 *)(r5 + 0)
    if r5 != 0 goto l
    out: r0 = 2
    exit`);
  const verdict = verify(loop, helpers);
  if (verdict.ok) return expect.fail("accepted");
  expect(verdict.error.cause).toBe("8192 branches are open on one path");
  return undefined;
});

test("a compare of a number with itself goes one way, and moves no bound from round to round", () => {
  const loop = programOf(`call 7
    r5 = r0
    r6 = 0
    l: if w5 >= w5 goto m
    r7 = r6
    m: r6 += 1
    if r6 < 16 goto l
    w5 = w5
    r8 = 0xffffffff ll
    if r5 > r8 goto bad
    r0 = 0
    exit
    bad: r0 = 1
    exit`);
  const verdict = verify(loop, helpers);
  expect(verdict.ok ? verdict.value.visited : verdict.error.message).toBe(3 + 16 * 3 + 5);
});

test("a function that calls itself is refused", () => {
  const verdict = verify(programOf("call f\nr0 = 0\nexit\nf: call f\nr0 = 0\nexit"), helpers);
  expect(verdict.ok ? "" : verdict.error.code).toBe("CALL_DEPTH");
});

test("100,000 instructions in a row, and a loop around 90,000, are within the limit", () => {
  const straight = `r0 = 0\n${"r0 += 1\n".repeat(99_998)}exit`;
  expect(verify(programOf(straight), helpers).ok).toBe(true);
  const looped = `r0 = 0\nr6 = 0\nl: ${"r0 ^= 1\n".repeat(90_000)}r6 += 1\nif r6 s> 8 goto o\ngoto l\no: exit`;
  const assembled = assemble(looped.replace("goto l\no", "gotol l\no"));
  if (!assembled.ok) throw assembled.error[0];
  const verdict = verify({ ...programOf("exit"), instructions: assembled.value }, helpers);
  expect(verdict.ok ? verdict.value.visited : verdict.error.message).toBeGreaterThan(800_000);
});

test("functions whose frames are full are refused where they nest, not once all paths are followed", () => {
  const fill = Array.from({ length: 64 }, (_, i) => `*(u64 *)(r10 - ${8 * i + 8}) = r1`).join("\n");
  const endless = "r6 = 0\nl: r6 += 1\nif r6 < 900000000 goto l\nr0 = 0\nexit";
  const verdict = verify(
    programOf(`r1 = 1\n${fill}\ncall f\nr0 = 0\nexit\nf: ${fill}\n${endless}`),
    helpers,
  );
  if (verdict.ok) return expect.fail("accepted");
  expect(verdict.error.code).toBe("STACK_DEPTH");
  expect(verdict.error.message).toMatch(/instruction 65 .*2 nested functions use 528 bytes/);
  return undefined;
});
