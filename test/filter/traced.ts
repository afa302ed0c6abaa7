import { TraceBench, type TracedChain, type TracedFilter } from "../../src/filter/trace-bench.ts";
import { assemble } from "../../src/isa/assembler.ts";
import { encodeProgram } from "../../src/isa/codec.ts";
import type { MapSpec, ObjectSpec, ProgramType } from "../../src/object/object-spec.ts";

/** An object of one program. */
export function objectOf(
  assembly: string,
  name = "program",
  type: ProgramType = "xdp",
  maps: readonly MapSpec[] = [],
): ObjectSpec {
  const instructions = assemble(assembly);
  if (!instructions.ok) throw new Error(String(instructions.error));
  return {
    file: "test",
    license: "GPL",
    programs: [
      {
        name,
        section: type,
        type,
        bytecode: encodeProgram(instructions.value),
        functions: [{ name, slot: 0 }],
        lines: [],
      },
    ],
    maps,
    variables: [],
    btf: undefined,
  };
}

export function filterOf(object: ObjectSpec, more: Partial<TracedFilter> = {}): TracedFilter {
  const program = object.programs[0]!.name;
  return { name: program, object, program, contents: [], slots: [], nested: [], ...more };
}

/** Traces a frame through a chain. */
export async function trace(
  filters: readonly TracedFilter[],
  frame = new Uint8Array(60),
  maxSteps = 1000,
): Promise<TracedChain> {
  const bench = await TraceBench.create(filters, { maxSteps });
  if (!bench.ok) throw bench.error;
  const traced = bench.value.judge(frame, 1000, "ingress");
  if (!traced.ok) throw traced.error;
  return traced.value;
}
