import { expect } from "vitest";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { verifiableProgram } from "../../src/engine/link.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { verify } from "../../src/verifier/verify.ts";
import { needing } from "../support/needing.ts";
import { compile } from "./clang.ts";

const test = needing("clang");
const load = (...flags: string[]) => loadObject(compile("spin-locks.c", ...flags), "spin-locks.o");

test("a spin lock is found in the value, in structs within it, and in an array of one", () => {
  const object = load();
  if (!object.ok) throw object.error;
  expect(Object.fromEntries(object.value.maps.map((map) => [map.name, map.spinLock]))).toEqual({
    in_value: 8,
    in_nested_struct: 16,
    in_array_of_one: 12,
    in_none: undefined,
  });
});

test("a program that holds a lock of a nested struct is accepted", () => {
  const object = load();
  if (!object.ok) throw object.error;
  const { programs, maps } = object.value;
  const program = verifiableProgram(programs[0]!, maps, "xdp", { object: object.value });
  if (!program.ok) throw program.error;
  const verdict = verify(program.value, helpers);
  expect(verdict.ok ? "accepted" : verdict.error.message).toBe("accepted");
});

for (const { where, several } of [
  { where: "side by side", several: "struct bpf_spin_lock a, b" },
  {
    where: "in the value and in a struct of it",
    several: "struct bpf_spin_lock a; struct inner b",
  },
  { where: "in an array of two", several: "struct inner a[2]" },
  { where: "in an array of arrays", several: "struct inner a[1][2]" },
])
  test(`a value with two spin locks is refused: ${where}`, () => {
    const object = load(`-DSEVERAL=${several}`);
    expect(object.ok ? "loaded" : object.error.message).toBe(
      'spin-locks.o, map "in_several": its value has more than one struct bpf_spin_lock; keep one, which guards all of the value',
    );
  });
