import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { decodeProgram } from "../../src/isa/codec.ts";
import { unplacedMap } from "../../src/maps/map-handle.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { ObjectSpec, ProgramSpec } from "../../src/object/object-spec.ts";
import { verify } from "../../src/verifier/verify.ts";
import { needing } from "../support/needing.ts";
import { askKernel } from "./kernel.ts";
import { buildProgram } from "./truth-rig.ts";

/** The verifier on programs that use maps rightly and wrongly; the kernel says which is which. */
const test = needing("clang");
const besideKernel = needing("clang", "kernel bpf()");

/** What each program of map-misuse.c is refused for. */
const misuse = {
  lock_not_freed: "REFERENCE_LEAK",
  lock_taken_twice: "SPIN_LOCK",
  other_lock_freed: "SPIN_LOCK",
  other_maps_lock_freed: "SPIN_LOCK",
  lock_never_taken: "SPIN_LOCK",
  helper_under_lock: "SPIN_LOCK",
  lock_read: "SPIN_LOCK",
  lock_written: "SPIN_LOCK",
  lock_given_to_helper: "SPIN_LOCK",
  lock_elsewhere: "SPIN_LOCK",
  record_kept: "REFERENCE_LEAK",
  record_used_after: "NOT_A_POINTER",
  record_overrun: "MEMORY_BOUNDS",
  record_not_checked: "HELPER_ARGUMENT",
  record_kept_over_tail_call: "REFERENCE_LEAK",
  inner_not_checked: "HELPER_ARGUMENT",
  inner_value_overrun: "MAP_VALUE_BOUNDS",
  outer_updated: "HELPER_ARGUMENT",
  socket_written: "MEMORY_READ_ONLY",
  queue_looked_up: "HELPER_ARGUMENT",
  ring_pushed: "HELPER_ARGUMENT",
  events_without_context: "HELPER_ARGUMENT",
} as const;

for (const [name, code] of Object.entries(misuse))
  test(`${name} is refused as ${code}`, () => {
    expect(verdict("map-misuse", name)).toBe(code);
  });

test("every program of map-misuse.c is told of above", () => {
  const names = readProgram("map-misuse").programs.map((program) => program.name);
  expect(names.toSorted()).toEqual(Object.keys(misuse).toSorted());
});

test("what the kernel runs in the test of helpers is accepted", () => {
  const { programs } = readProgram("map-helpers");
  expect(programs.map(({ name }) => `${name}: ${verdict("map-helpers", name)}`)).toEqual(
    programs.map(({ name }) => `${name}: accepted`),
  );
});

besideKernel("the kernel refuses each program of map-misuse.c too", () => {
  const file = buildProgram("map-misuse");
  for (const name of Object.keys(misuse)) {
    const { code, stderr } = askKernel(file, [], name);
    expect(code, name).toBe(7);
    expect(stderr, "it is the verifier that refuses").toContain("BEGIN PROG LOAD LOG");
  }
});

function verdict(source: string, name: string): string {
  const object = readProgram(source);
  const result = verify(verifiable(object, named(object, name)), helpers);
  return result.ok ? "accepted" : result.error.code;
}

function verifiable(object: ObjectSpec, program: ProgramSpec) {
  const instructions = decodeProgram(program.bytecode);
  if (!instructions.ok) throw instructions.error;
  return {
    object: object.file,
    name: program.name,
    type: "xdp" as const,
    instructions: instructions.value,
    maps: object.maps.map(unplacedMap),
    functions: program.functions,
    btf: object.btf,
    lines: program.lines,
  };
}

function named({ programs }: ObjectSpec, name: string): ProgramSpec {
  const program = programs.find((one) => one.name === name);
  if (program === undefined) throw new Error(`no program ${name}`);
  return program;
}

function readProgram(source: string): ObjectSpec {
  const file = buildProgram(source);
  const object = loadObject(readFileSync(file), file);
  if (!object.ok) throw object.error;
  return object.value;
}
