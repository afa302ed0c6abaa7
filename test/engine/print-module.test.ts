import { expect, test } from "vitest";
import { compileProgram } from "../../src/engine/jit/compile-program.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { printModule } from "../../src/engine/jit/print-module.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import { Random } from "../packet/random.ts";
import { EngineBench, spec, unwrap } from "./engine-bench.ts";
import { flowProgram } from "./flow-program.ts";
import { structuredMaps, structuredProgram } from "./structured-program.ts";
import { linkUnverified } from "./unverified.ts";

const bench = new EngineBench(jit);

function printed(
  program: Parameters<typeof spec>[0],
  type: "raw" | "xdp" = "raw",
  maps: readonly MapHandle[] = [],
) {
  const linked = unwrap(linkUnverified(spec(program), maps, type));
  return printModule(compileProgram({ ...linked, verified: true }, bench.context).bytes);
}

test("a compiled program is printed in the text format, its functions by name", () => {
  const text = printed("if r1 == 0 goto none\nr0 = *(u8 *)(r1 + 2)\nexit\nnone:\nr0 = -1\nexit");
  const own = /\(func \$f6.*?\n {2}\)/s.exec(text)![0];
  expect(own.split("\n").map((line) => line.trim())).toEqual([
    "(func $f6 (param i32 i64) (result i64)",
    "(local i64)",
    "(local i32)",
    "local.get 1",
    "i64.const 0",
    "i64.eq",
    "if",
    "i64.const -1",
    "local.set 2",
    "local.get 2",
    "return",
    "end",
    "local.get 1",
    "i32.wrap_i64",
    "i32.load8_u offset=2",
    "local.set 3",
    "local.get 3",
    "i64.extend_i32_u",
    "return",
    "unreachable",
    ")",
  ]);
  expect(text).toMatch(
    /^\(module \$test\.\d+\n {2}\(import "env" "memory" \(memory 1 65536 shared\)\)/,
  );
  expect(text).toMatch(/\(func \$batch \(export "batch"\) \(param i32 i32 i32\)/);
});

test("whatever the JIT writes can be printed, and every block that opens closes", () => {
  const random = new Random(44);
  const maps = structuredMaps.map((type, i) =>
    bench.map(type, {
      ...(type === "lpm_trie" ? { keySize: 8, flags: 1 } : {}),
      ...(i === structuredMaps.length - 1 ? { maxEntries: 1, valueSize: 32 } : {}),
    }),
  );
  const texts: string[] = [];
  for (let i = 0; i < 200; i++) {
    const [program, type] =
      i % 2 === 0
        ? ([structuredProgram(random), "xdp"] as const)
        : ([flowProgram(random), "raw"] as const);
    texts.push(printed(program, type, maps));
  }
  const seen = new Set<string>();
  for (const text of texts) {
    let open = 0;
    for (const line of text.split("\n")) {
      const word = line.trim().split(" ")[0]!;
      seen.add(word);
      if (word === "block" || word === "loop" || word === "if") open++;
      if (word === "end") open--;
    }
    expect(open).toBe(0);
  }
  for (const word of ["br_table", "br_if", "i64.atomic.rmw.add", "i64.load32_s", "v128.store"])
    expect([...seen], word).toContain(word);
});

test("tail calls and callbacks are printed with the types they call through", () => {
  const array = bench.map("prog_array", { valueSize: 4 });
  const text = printed(
    "r6 = r1\nr1 = 3\nr2 = code_addr(back) ll\nr3 = 0\nr4 = 0\ncall 181\nr1 = r6\nr2 = map_by_fd(0) ll\nr3 = 1\ncall 12\nr0 = 2\nexit\nback:\nr0 = 0\nexit",
    "xdp",
    [array],
  );
  expect(text).toContain("return_call_indirect (param i32) (result i64)");
  expect(text).toContain('(import "env" "programs" (table 0 funcref))');
  expect(text).toContain("ref.is_null");
});
