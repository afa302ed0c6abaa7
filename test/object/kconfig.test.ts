import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { Workbench } from "../../src/filter/workbench.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { needing } from "../support/needing.ts";
import { build } from "./clang.ts";

const test = needing("clang");

function unwrap<T>(result: { ok: true; value: T } | { ok: false; error: Error }): T {
  if (!result.ok) throw result.error;
  return result.value;
}

for (const engine of ["interpreter", "jit"] as const)
  test(`what a program asks of the kernel's configuration is answered from a table (${engine})`, async () => {
    const file = build("kconfig.c");
    const object = unwrap(loadObject(readFileSync(file), file));
    const bench = unwrap(await Workbench.create());
    const maps = unwrap(bench.createMaps(object.maps));
    const executable = unwrap(bench.prepare(object.programs[0]!, maps, undefined, engine));
    const { verdict, fault } = unwrap(bench.run(executable, new Uint8Array(64)));
    expect({ verdict, fault }).toEqual({ verdict: { kind: "pass" }, fault: undefined });
    const bss = object.maps.findIndex(({ name }) => name === ".bss");
    const [value] = bench.access(maps[bss]!).lookup(new Uint8Array(4))!;
    const { buffer, byteOffset } = value!.slice();
    const seen = [...new BigUint64Array(buffer, byteOffset)].map(Number);
    // Version, BPF_SYSCALL, INET as a letter, IPV6, HZ, and what there is not, plus 7 and 8.
    expect(seen).toEqual([(6 << 16) | (18 << 8), 1, "y".charCodeAt(0), 1, 250, 7, 8]);
  });

test("an option that is not in the table is refused by name, unless it is weak", () => {
  const object = unwrap(loadObject(readFileSync(build("kconfig.c", "-DUNKNOWN")), "kconfig.o"));
  expect(object.programs[0]!.unanswered).toEqual([
    {
      slot: expect.any(Number),
      instruction: expect.stringMatching(/^r\d = CONFIG_NR_OF_TOES ll$/),
      code: "OBJECT_EXTERN",
      what: 'uses "CONFIG_NR_OF_TOES" (.kconfig), which is no option that is known here',
      fix: "declare it __weak, which makes it 0, or use a global variable",
    },
  ]);
});

test("the configuration is no variable that a user can set", () => {
  const object = unwrap(loadObject(readFileSync(build("kconfig.c")), "kconfig.o"));
  expect(object.variables.map(({ name }) => name)).toEqual(["seen"]);
  expect(object.maps.find(({ name }) => name === ".kconfig")).toMatchObject({ readOnly: true });
});

for (const [asked, flag] of [
  [
    "a field of a struct of the kernel exists is answered with no, and of stable types with yes",
    "-DEXISTS",
  ],
  ["a value of an enum of the kernel exists is answered with no", "-DENUM_EXISTS"],
] as const)
  test(`whether ${asked}`, async () => {
    const file = build("core.c", flag);
    const object = unwrap(loadObject(readFileSync(file), file));
    const bench = unwrap(await Workbench.create());
    const executable = unwrap(bench.prepare(object.programs[0]!, []));
    // XDP_PASS only where the header's field exists and what is the kernel's does not.
    expect(unwrap(bench.run(executable, new Uint8Array(64))).verdict).toEqual({ kind: "pass" });
  });
