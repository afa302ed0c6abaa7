import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseHex } from "../../src/common/bytes.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { type Instruction, register } from "../../src/isa/instruction.ts";
import { sampleInstructions } from "../../src/isa/opcodes.ts";
import { corpus } from "../support/corpora.ts";
import { arithmeticCases } from "./arithmetic-cases.ts";
import { callbackCases } from "./callback-cases.ts";
import { runCases } from "./case-table.ts";
import { controlCases } from "./control-cases.ts";
import { EngineBench, spec, unwrap } from "./engine-bench.ts";
import { helperCases } from "./helper-cases.ts";
import { memoryCases } from "./memory-cases.ts";
import { skbCases } from "./skb-cases.ts";
import { linkUnverified } from "./unverified.ts";

/** What every engine must do, whatever it is inside. Call it from a test file of that engine. */
export function engineContract(label: string, engine: Engine): void {
  const bench = new EngineBench(engine);
  arithmeticCases(label, bench);
  runCases(label, bench, memoryCases);
  runCases(label, bench, controlCases);
  helperCases(label, bench);
  runCases(label, bench, skbCases);
  callbackCases(label, bench);
  everyRow(label, bench);
  conformance(label, engine, bench);
}

/** Each row's sample, guarded by nothing: it must run to an end, and be known to the engine. */
function everyRow(label: string, bench: EngineBench): void {
  const refused = ["call_btf", "load_variable"];
  test(`${label}: runs an instruction of every row of the opcode table, or the linker refuses it`, () => {
    let ran = 0;
    const maps = Array.from({ length: 6 }, () =>
      bench.map("array", { maxEntries: 1, valueSize: 16 }),
    );
    for (const { row, instruction } of sampleInstructions()) {
      const { kind } = instruction;
      const program: Instruction[] = [
        ...(row.form.kind === "load_packet" ? [moveContext] : []),
        instruction,
        ...(row.slots === 2 ? [secondSlot] : []),
        ...Array.from({ length: 6 }, () => exit),
      ];
      const type = kind === "load_packet" ? "socket" : "raw";
      const linked = linkUnverified(spec(program), maps, type);
      if (refused.includes(kind)) {
        expect(linked.ok, row.name).toBe(false);
        continue;
      }
      expect(linked, row.name).toMatchObject({ ok: true });
      const run = bench.run(bench.prepare(program, type, maps), new Uint8Array(64));
      expect(run.fault?.code ?? "none", row.name).not.toBe("budget_exceeded");
      ran++;
    }
    expect(ran).toBeGreaterThan(120);
  });
}

const exit: Instruction = { kind: "exit" };
const secondSlot: Instruction = { kind: "second_slot" };
/** What packet loads ask of r6. */
const moveContext: Instruction = {
  kind: "alu",
  op: "mov",
  width: 64,
  dst: register(6),
  src: { register: register(1) },
};

/** One case of the public conformance suite; `result` is r0 at exit, 64 bits, in hex. */
interface ConformanceCase {
  readonly file: string;
  readonly result: string;
  readonly mem: string;
  readonly insns: string;
}

function conformance(label: string, engine: Engine, bench: EngineBench): void {
  const expected = corpus("bpf_conformance/kernel.expected");
  if (expected === undefined) {
    test.skip(`${label}: conformance suite [skipped: needs the bpf_conformance corpus]`, () => {});
    return;
  }
  const cases = JSON.parse(readFileSync(expected, "utf8")) as ConformanceCase[];
  test(`${label}: the conformance suite is there whole`, () => {
    expect(cases.length).toBeGreaterThanOrEqual(217);
  });
  for (const { file, result, mem, insns } of cases)
    test(`${label}: gives the conformance suite's result for ${file}`, () => {
      const bytecode = parseHex(insns)!;
      const linked = unwrap(linkUnverified({ ...spec("exit"), bytecode }, [], "raw"));
      const run = bench.run(unwrap(engine(linked, bench.context)), parseHex(mem)!);
      expect(run.fault).toBeUndefined();
      expect(run.r0.toString(16)).toBe(result);
    });
}
