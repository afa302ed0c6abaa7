import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import { assemble } from "../../src/isa/assembler.ts";
import { decodeProgram, encodeProgram } from "../../src/isa/codec.ts";
import { disassemble } from "../../src/isa/disassembler.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import { type OpcodeRow, sampleInstructions } from "../../src/isa/opcodes.ts";
import { needing } from "../support/needing.ts";

const test = needing("clang", "kernel bpf()");
const folder = mkdtempSync(join(tmpdir(), "weir-isa-kernel-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Loaded {
  readonly accepted: boolean;
  readonly log: readonly string[];
}

/** The kernel's answer to each program, given in hex. */
function load(programs: readonly string[]): Loaded[] {
  const loader = join(folder, "load-programs");
  const source = fileURLToPath(new URL("load-programs.c", import.meta.url));
  const built = spawnSync("clang", ["-O1", "-Wall", "-Werror", source, "-o", loader]);
  if (built.status !== 0) throw new Error(String(built.stderr));
  const run = spawnSync(loader, {
    input: `${programs.join("\n")}\n`,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (run.status !== 0) throw new Error(`loader ended with ${run.status}: ${run.stderr}`);
  const answers = run.stdout.trimEnd().split("\n");
  expect(answers).toHaveLength(programs.length);
  return answers.map((answer) => {
    const [status, log = ""] = answer.split("\t");
    return { accepted: status === "ok", log: log.split("\x1f").filter((line) => line !== "") };
  });
}

function bytesOf(text: string): string {
  const program = assemble(text);
  if (!program.ok) throw new AggregateError(program.error);
  return toHex(encodeProgram(program.value));
}

function hexOf(row: OpcodeRow, instruction: Instruction): string {
  const program: Instruction[] = [instruction];
  if (row.slots === 2) program.push({ kind: "second_slot" });
  return toHex(encodeProgram(program));
}

// All registers hold a number, r6 the context: what packet loads and arithmetic ask for.
const prologue = bytesOf(
  `r6 = r1\n${[0, 1, 2, 3, 4, 5, 7, 8, 9].map((n) => `r${n} = 1`).join("\n")}`,
);
const prologueSlots = prologue.length / 16;
const padding = bytesOf("r0 = 0\n".repeat(6));
const exit = bytesOf("exit");

/** Each sample with one field changed at a time, then every opcode there is. */
function mutations(): string[] {
  const programs = new Set<string>();
  for (const { row, instruction } of sampleInstructions()) {
    const original = Buffer.from(hexOf(row, instruction), "hex");
    const change = (edit: (bytes: Buffer) => void): void => {
      const bytes = Buffer.from(original);
      edit(bytes);
      programs.add(bytes.toString("hex"));
    };
    const registers = original[1] as number;
    change(() => {});
    for (const dst of [0, 3, 11, 15]) change((b) => b.writeUInt8((registers & 0xf0) | dst, 1));
    for (const src of [0, 1, 2, 3, 4, 5, 6, 7, 11, 15])
      change((b) => b.writeUInt8((registers & 0x0f) | (src << 4), 1));
    for (const offset of [0, 1, 2, 8, 16, 32, -1]) change((b) => b.writeInt16LE(offset, 2));
    for (const imm of [0, 1, 5, 16, 32, 64, 0xe0, 0xe1, 0xf0, -1])
      change((b) => b.writeInt32LE(imm, 4));
    if (row.slots === 2) for (const at of [8, 9, 10, 11, 12]) change((b) => b.writeUInt8(1, at));
  }
  for (let code = 0; code < 256; code++)
    programs.add(`${code.toString(16).padStart(2, "0")}21000000000000`);
  return [...programs];
}

/** How the kernel says that an instruction is no instruction, rather than not allowed here. */
const encodingFault =
  /uses reserved fields|unknown opcode|invalid bpf_ld_imm64|unrecognized bpf_ld_imm64|invalid atomic opcode|invalid BPF_|^R1[1-5] is invalid/;

test("the codec takes what the kernel accepts and refuses what the kernel calls no instruction", () => {
  const instructions = mutations();
  const answers = load(instructions.map((hex) => prologue + hex + exit));
  let accepted = 0;
  let refused = 0;
  for (const [i, hex] of instructions.entries()) {
    const { accepted: byKernel, log } = answers[i] as Loaded;
    const decoded = decodeProgram(parseHex(hex + exit) as Uint8Array);
    const fault = log.find((line) => encodingFault.test(line));
    // The kernel refuses callx, the conformance suite has it.
    if (decoded.ok && decoded.value[0]?.kind === "call_register") continue;
    if (byKernel) {
      accepted++;
      expect(decoded.ok, `kernel accepts ${hex}`).toBe(true);
    } else if (fault !== undefined) {
      refused++;
      expect(decoded.ok, `kernel says of ${hex}: ${fault}`).toBe(false);
    }
  }
  expect(accepted).toBeGreaterThan(500);
  expect(refused).toBeGreaterThan(1000);
});

/** Kinds whose text the kernel replaces (maps become addresses) or that it refuses. */
const notPrinted: readonly Instruction["kind"][] = [
  "load_map",
  "load_map_value",
  "load_variable",
  "load_function",
  "call_btf",
  "call_register",
];

/** A whole program that holds the instruction right after the prologue, and lets it be reached. */
function around({ row, instruction }: { row: OpcodeRow; instruction: Instruction }): {
  shown: Instruction;
  hex: string;
} {
  switch (instruction.kind) {
    case "jump": {
      const shown = { ...instruction, offset: 0 };
      return { shown, hex: prologue + hexOf(row, shown) + exit };
    }
    case "call_local": {
      const shown = { ...instruction, offset: 1 };
      return { shown, hex: prologue + hexOf(row, shown) + exit + padding + exit };
    }
    case "exit":
      return { shown: instruction, hex: prologue + exit };
    default:
      return { shown: instruction, hex: prologue + hexOf(row, instruction) + padding + exit };
  }
}

test("kernel style is what the kernel's verifier prints", () => {
  const programs = [...sampleInstructions()]
    .filter(({ instruction }) => !notPrinted.includes(instruction.kind))
    .map(around);
  expect(programs.length).toBeGreaterThan(150);
  const answers = load(programs.map(({ hex }) => hex));
  const line = new RegExp(`^${prologueSlots}: \\([0-9a-f]{2}\\) (.*?)(?:\\s+;.*)?$`);
  for (const [i, { shown }] of programs.entries()) {
    const { log } = answers[i] as Loaded;
    const printed = log.map((text) => line.exec(text)?.[1]).find((text) => text !== undefined);
    const ours = disassemble(shown, {
      style: "kernel",
      helper: (id) => (id === 5 ? "bpf_ktime_get_ns" : undefined),
    });
    expect(ours, log.join("\n")).toBe(printed);
  }
});
