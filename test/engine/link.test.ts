import { expect, test } from "vitest";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { linkProgram } from "../../src/engine/link.ts";
import type { MapSpec } from "../../src/object/object-spec.ts";
import { programTypes } from "../../src/object/object-spec.ts";
import { EngineBench, spec, unwrap } from "./engine-bench.ts";

/** Arguments of bpf_skb_load_bytes, and the call. */
const loadBytes = "r2 = 0\nr3 = r10\nr3 += -8\nr4 = 8\ncall 26";

const unwritten: MapSpec = {
  name: "array",
  type: "array",
  keySize: 4,
  valueSize: 8,
  maxEntries: 1,
  flags: 0,
  pinning: "none",
  keyType: undefined,
  valueType: undefined,
  readOnly: false,
  contents: [],
  dataSection: undefined,
  inner: undefined,
  slots: [],
};

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
    // To cgroup_skb 2 is no verdict.
    const program = spec(`r0 = ${type === "cgroup_skb" ? 1 : 2}\nexit`, "guard");
    expect(unwrap(linkProgram(program, [], type)).type).toBe(type);
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

for (const { type, call, id, allowed } of [
  { type: "xdp", call: "r2 = 0\ncall 44", id: 44, allowed: true },
  { type: "socket", call: "r2 = 0\ncall 44", id: 44, allowed: false },
  { type: "raw", call: "r2 = 0\ncall 44", id: 44, allowed: false },
  { type: "socket", call: loadBytes, id: 26, allowed: true },
  { type: "xdp", call: loadBytes, id: 26, allowed: false },
  { type: "raw", call: "call 5", id: 5, allowed: true },
] as const)
  test(`linkProgram ${allowed ? "allows" : "refuses"} helper ${id} to ${type} programs`, () => {
    const linked = linkProgram(spec(`${call}\nexit`), [], type);
    expect(linked.ok).toBe(allowed);
    if (!linked.ok) expect(linked.error.code).toBe("PROGRAM_HELPER_NOT_ALLOWED");
  });

test("linkProgram gives what was proven to the engines, and no program without a proof", () => {
  const program = unwrap(linkProgram(pass, [], "xdp"));
  expect(program.verified).toBe(true);
  expect(Array.from(program.proof!.reached)).toEqual([1, 1]);
  expect(program.dataBytes).toBeUndefined();
  expect(linkProgram(spec("r0 = *(u8 *)(r1 + 40)\nexit", "guard"), [], "xdp")).toMatchObject({
    ok: false,
    error: {
      code: "CONTEXT_ACCESS",
      where: "program guard, instruction 0 (r0 = *(u8 *)(r1 + 40))",
      detail: ["r1: the context"],
    },
  });
});

test("linkProgram proves a raw program for data of one length", () => {
  const last = spec("r0 = *(u8 *)(r1 + 7)\nexit");
  expect(unwrap(linkProgram(last, [], "raw", { dataBytes: 8 })).dataBytes).toBe(8);
  for (const source of [{ dataBytes: 7 }, { dataBytes: 0 }, {}])
    expect(linkProgram(last, [], "raw", source)).toMatchObject({
      ok: false,
      error: { code: "MEMORY_BOUNDS" },
    });
});

test("linkProgram believes what .rodata holds, and no map that others can write", () => {
  const section = (readOnly: boolean): MapSpec => ({
    ...unwritten,
    name: readOnly ? ".rodata" : ".data",
    dataSection: readOnly ? ".rodata" : ".data",
    readOnly,
    contents: [
      { key: new Uint8Array(4), value: Uint8Array.of(0xfc, 0xff, 0xff, 0xff, 0, 0, 0, 0) },
    ],
  });
  // The offset into the stack is what the map holds.
  const program = spec(`*(u64 *)(r10 - 8) = 0
    r1 = map_val(map_by_fd(0)) + 0 ll
    r2 = *(s32 *)(r1 + 0)
    r3 = r10
    r3 += r2
    r0 = *(u8 *)(r3 + 0)
    exit`);
  const bench = new EngineBench(interpreter);
  for (const readOnly of [true, false]) {
    const map = section(readOnly);
    const object = { file: "test.o", maps: [map], btf: undefined };
    const linked = linkProgram(program, [bench.map("array", map)], "xdp", { object });
    expect(linked.ok ? "accepted" : linked.error.code).toBe(
      readOnly ? "accepted" : "POINTER_OFFSET",
    );
  }
});

test("linkProgram puts an exit in place of what is not allowed and never reached", () => {
  const bench = new EngineBench(interpreter);
  const program = unwrap(
    linkProgram(spec("r0 = 7\nif r0 == 7 goto +1\ncall 44\nexit"), [], "socket"),
  );
  expect(program.instructions[2]).toEqual({ kind: "exit" });
  expect(Array.from(program.proof!.reached)).toEqual([1, 1, 0, 1]);
  expect(bench.run(bench.prepareLinked(program), new Uint8Array(14)).r0).toBe(7n);
});
