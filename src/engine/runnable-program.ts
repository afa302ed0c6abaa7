import type { LinkedProgram, RunnableProgram } from "./engine.ts";
import { type ProgramSurvey, surveyProgram } from "./program-survey.ts";

/** What is left of a program to run it, beside its code. */
export function runnableProgram(
  program: LinkedProgram,
  survey: ProgramSurvey = surveyProgram(program.instructions),
): RunnableProgram {
  const { name, type, maps, verified, onDevmap, dataBytes } = program;
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
  };
}
