import type { LinkedProgram, RunnableProgram } from "./engine.ts";
import { type ProgramSurvey, surveyProgram } from "./program-survey.ts";

/** What is left of a program to run it, beside its code. */
export function runnableProgram(
  program: LinkedProgram,
  survey: ProgramSurvey = surveyProgram(program.instructions),
): RunnableProgram {
  const { name, type, maps, verified, onDevmap, dataBytes } = program;
  const mostSteps = provenSteps(program);
  const named = [...survey.maps].sort((a, b) => a - b);
  return {
    name,
    type,
    maps,
    ...(verified === undefined ? {} : { verified }),
    ...(onDevmap === undefined ? {} : { onDevmap }),
    ...(dataBytes === undefined ? {} : { dataBytes }),
    namedMaps: named.map((index) => maps[index]!),
    callbacks: survey.addressed,
    ...(mostSteps === undefined ? {} : { mostSteps }),
  };
}

/** Steps that a run takes at most, where the verifier has proven how many: `lddw` counts as two. */
export function provenSteps({ verified, proof }: LinkedProgram): number | undefined {
  return verified === true && proof?.bounded === true ? 2 * proof.visited : undefined;
}
