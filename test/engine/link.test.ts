import { expect, test } from "vitest";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { linkProgram } from "../../src/engine/link.ts";
import { programTypes } from "../../src/object/object-spec.ts";
import { EngineBench, spec, unwrap } from "./engine-bench.ts";

const pass = spec("r0 = 2\nexit", "guard");

test("linkProgram gives the program with its type and maps", () => {
  const map = new EngineBench(interpreter).map("array");
  const program = unwrap(linkProgram({ ...pass, type: "xdp" }, [map]));
  expect(program).toMatchObject({ name: "guard", type: "xdp", maps: [map] });
  expect(program.instructions).toHaveLength(2);
});

test("linkProgram lets a given type stand in for the section's", () => {
  expect(unwrap(linkProgram({ ...pass, type: "tc" }, [], "xdp")).type).toBe("xdp");
});

test("linkProgram refuses a program whose type is not known", () => {
  expect(linkProgram({ ...pass, section: "mystery" }, [])).toMatchObject({
    ok: false,
    error: { code: "PROGRAM_TYPE_UNKNOWN", where: "program guard", what: /"mystery"/ },
  });
});

for (const type of programTypes)
  test(`linkProgram takes programs of type ${type}`, () => {
    expect(unwrap(linkProgram(pass, [], type)).type).toBe(type);
  });

test("linkProgram says in which program an instruction cannot be decoded", () => {
  const bytecode = Uint8Array.of(0xff, 0, 0, 0, 0, 0, 0, 0);
  expect(linkProgram({ ...pass, bytecode }, [], "xdp")).toMatchObject({
    ok: false,
    error: { code: "INSTRUCTION_UNKNOWN_OPCODE", where: "program guard, instruction 0" },
  });
});

test("linkProgram refuses an empty program", () => {
  expect(linkProgram({ ...pass, bytecode: new Uint8Array() }, [], "xdp")).toMatchObject({
    ok: false,
    error: { code: "PROGRAM_EMPTY", where: "program guard" },
  });
});

for (const { type, id, allowed } of [
  { type: "xdp", id: 44, allowed: true },
  { type: "socket", id: 44, allowed: false },
  { type: "raw", id: 44, allowed: false },
  { type: "socket", id: 26, allowed: true },
  { type: "xdp", id: 26, allowed: false },
  { type: "raw", id: 5, allowed: true },
] as const)
  test(`linkProgram ${allowed ? "allows" : "refuses"} helper ${id} to ${type} programs`, () => {
    const linked = linkProgram(spec(`call ${id}\nexit`), [], type);
    expect(linked.ok).toBe(allowed);
    if (!linked.ok) expect(linked.error.code).toBe("PROGRAM_HELPER_NOT_ALLOWED");
  });
