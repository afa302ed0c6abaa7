import { expect } from "vitest";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { assemble } from "../../src/isa/assembler.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import type { VerifiableProgram } from "../../src/verifier/program.ts";
import { unavailableHelpers } from "../../src/verifier/unavailable-helpers.ts";
import { needing } from "../support/needing.ts";
import { kernelVerdicts } from "../verifier/kernel-verdicts.ts";

const test = needing("clang", "kernel bpf()");

/** The types that the kernel is asked about; `tcx` and `action` have what `tc` has. */
const types = ["xdp", "tc", "socket", "cgroup_skb"] as const satisfies readonly ProgramType[];

/** What the kernel's log says of a helper that a type does not have, before it looks at arguments. */
const notOfThisType = /cannot use helper|unknown func|invalid func/;

/** Whether the kernel gives each helper to programs of each type: `type id`. */
function kernelHelpers(): ReadonlySet<string> {
  const ids = [...helpers.keys(), ...unavailableHelpers.keys()];
  const asked = types.flatMap((type) => ids.map((id) => ({ type, id })));
  const programs = asked.map(({ type, id }) => ({
    object: "feature",
    name: `helper_${id}`,
    type,
    instructions: instructionsOf(`call ${id}\nr0 = 0\nexit`),
    maps: [],
    functions: [],
    lines: [],
  }));
  const verdicts = kernelVerdicts(programs);
  const given = asked.filter((_, i) => !notOfThisType.test(verdicts[i]!.log));
  return new Set(given.map(({ type, id }) => `${type} ${id}`));
}

function instructionsOf(text: string): VerifiableProgram["instructions"] {
  const assembled = assemble(text);
  if (!assembled.ok) throw assembled.error;
  return assembled.value;
}

test("weir feature gives each helper to the program types that the kernel gives it to", () => {
  const kernel = kernelHelpers();
  const different = [...helpers.values()].flatMap((helper) =>
    types
      .filter((type) => helper.types.includes(type) !== kernel.has(`${type} ${helper.id}`))
      .map((type) => `bpf_${helper.name} (${helper.id}) ${type}`),
  );
  expect(different).toEqual([]);
  for (const { id, types: callers } of helpers.values())
    expect(
      [callers.includes("tcx"), callers.includes("action")],
      `tcx and action of helper ${id}`,
    ).toEqual([callers.includes("tc"), callers.includes("tc")]);
});
