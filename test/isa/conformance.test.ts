import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { assemble } from "../../src/isa/assembler.ts";
import { decodeProgram, encodeProgram } from "../../src/isa/codec.ts";
import { disassembleProgram } from "../../src/isa/disassembler.ts";
import { corpus } from "../support/corpora.ts";

interface Case {
  readonly file: string;
  readonly insns: string;
}

const folder = corpus("bpf_conformance");

/** The asm section with its line numbers: other lines are left blank. */
function assemblyOf(file: string): string {
  let section = "";
  return readFileSync(file, "utf8")
    .split("\n")
    .map((line) => {
      if (!line.startsWith("-- ")) return section === "asm" ? line : "";
      section = line.slice(3).trim();
      return "";
    })
    .join("\n");
}

if (folder === undefined)
  test.skip("bpf_conformance assembles to its bytes [skipped: needs the corpus]", () => {});
else {
  const cases: Case[] = JSON.parse(readFileSync(join(folder, "kernel.expected"), "utf8"));

  test("every file of bpf_conformance has an expectation", () => {
    const files = readdirSync(join(folder, "tests")).map((name) => `tests/${name}`);
    const known = new Set(cases.map(({ file }) => file));
    expect(files.filter((file) => file.endsWith(".data") && !known.has(file))).toEqual([]);
    expect(cases.length).toBeGreaterThan(200);
  });

  for (const { file, insns } of cases)
    test(`${file} assembles to its bytes and survives disassembly`, () => {
      const program = assemble(assemblyOf(join(folder, file)), { file });
      if (!program.ok) throw new AggregateError(program.error);
      expect(toHex(encodeProgram(program.value))).toBe(insns);
      expect(decodeProgram(encodeProgram(program.value))).toEqual(program);
      for (const targets of ["labels", "distance"] as const)
        expect(assemble(disassembleProgram(program.value, { targets }))).toEqual(program);
    });
}
