import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import type { VerifiableProgram } from "../../src/verifier/program.ts";
import { EngineBench } from "../engine/engine-bench.ts";
import { Random } from "../packet/random.ts";

/**
 * What the checking interpreter finds wrong about a program in so many runs, whose packets and random
 * numbers differ; undefined: nothing. A run that is ended for being too long has broken no rule.
 */
export function brokenRule(program: VerifiableProgram, runs: number): string | undefined {
  const random = new Random(1);
  const bench = new EngineBench(interpreter, undefined, () => random.below(2 ** 32));
  const maps = program.maps.map(({ frozenValue: _, spinLock: __, inner: ___, ...spec }) =>
    bench.map(spec.type, spec),
  );
  const executable = bench.prepare(program.instructions, program.type, maps);
  for (let i = 0; i < runs; i++) {
    const { fault } = bench.run(executable, random.bytes(14 + random.below(60)));
    if (fault !== undefined && fault.code !== "budget_exceeded") return fault.message;
  }
  return undefined;
}
