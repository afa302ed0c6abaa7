import type { TracedRun } from "../filter/trace-bench.ts";
import type { Verdict } from "../filter/verdict.ts";
import type { SourceLine } from "../object/object-spec.ts";
import { targetText } from "./target-text.ts";
import { type ExplainedStep, explainSteps } from "./trace-steps.ts";

/** A run as text: instructions under the source lines they came from, then what decided. */
export function runText(run: TracedRun, isBrief: boolean): string {
  let text = `filter ${run.filter}, program ${run.program.name} (${run.program.type}): ${run.count} instructions\n`;
  const explained = explainSteps(run);
  if (!isBrief) {
    let shown: string | undefined;
    for (const step of explained) {
      const place = step.line === undefined ? undefined : lineText(step.line);
      if (place !== undefined && place !== shown) text += `\n${place}\n`;
      shown = place;
      const instruction = `${" ".repeat(step.depth * 2)}${String(step.slot).padStart(5)}: ${step.text}`;
      text += `${step.effect === "" ? instruction : `${instruction.padEnd(44)}  ${step.effect}`}\n`;
    }
    text += "\n";
  }
  return `${text}${decisionText(run, explained)}`;
}

/** The last lines: what the program returned, and which line decided that. */
function decisionText(run: TracedRun, explained: readonly ExplainedStep[]): string {
  const { fault, decision } = run;
  if (fault !== undefined) {
    const name = fault.program ?? run.program.name;
    const { lines } = run.object.programs.find((spec) => spec.name === name)!;
    const line = lines.findLast((one) => one.slot <= fault.slot && one.line > 0);
    const place = line === undefined ? "" : ` at ${lineText(line)}`;
    return `aborted at ${slotText(run, name, fault.slot)}: ${fault.message}${place}\n`;
  }
  const low = run.verdict === undefined ? run.returned : run.returned & 0xffff_ffffn;
  let text = `returned ${low}${run.verdict === undefined ? "" : `: ${verdictText(run.verdict)}`}\n`;
  if (run.count > run.steps.length)
    text += `what decided is not known: of ${run.count} instructions the first ${run.steps.length} were kept\n`;
  if (decision === undefined) return text;
  const told = (at: number): string => {
    const step = explained[at]!;
    const { program, slot } = run.steps[at]!;
    const { kind } = program.instructions[slot]!;
    const hasWay = kind === "branch" || kind === "load_packet";
    const line = decidingLine(run, explained, at);
    return `${stepPlace(run, { ...step, line })}${hasWay ? ` (${step.effect})` : ""}`;
  };
  text += `decided at ${told(decision.decidedAt)}\n`;
  if (decision.because !== undefined) text += `because at ${told(decision.because)}\n`;
  return text;
}

/**
 * The source line of a step that decided. Compilers often give a branch that leads to a function's
 * end the line of the brace there: then that of the values it compares, which were made just before.
 */
function decidingLine(
  run: TracedRun,
  explained: readonly ExplainedStep[],
  at: number,
): SourceLine | undefined {
  const { line, program, depth } = explained[at]!;
  const { instructions } = run.steps[at]!.program;
  const isBrace = (one: SourceLine | undefined): boolean => one?.text.trim() === "}";
  if (instructions[explained[at]!.slot]!.kind !== "branch" || !isBrace(line)) return line;
  for (let i = at - 1; i >= 0; i--) {
    const step = explained[i]!;
    if (step.program !== program || step.depth < depth) break;
    if (step.depth === depth && !isBrace(step.line)) return step.line;
  }
  return line;
}

/** An instruction's number, and its program's name where that is not the run's own. */
function slotText(run: TracedRun, program: string, slot: number): string {
  return `instruction ${slot}${program === run.program.name ? "" : ` of program ${program}`}`;
}

/** `filter.c:14: return XDP_DROP;`; some objects know their lines' numbers, and not their text. */
function lineText({ file, line, text }: SourceLine): string {
  const code = text.trim();
  return code === "" ? `${file}:${line}` : `${file}:${line}: ${code}`;
}

/** Where a step stands: the instruction itself where there is no text of its source. */
function stepPlace(run: TracedRun, { line, program, slot, text }: ExplainedStep): string {
  const instruction = `${slotText(run, program, slot)}: ${text}`;
  if (line === undefined) return instruction;
  return line.text.trim() === "" ? `${lineText(line)}, ${instruction}` : lineText(line);
}

export function verdictText(verdict: Verdict): string {
  if ("reason" in verdict) return `${verdict.kind} (${verdict.reason})`;
  if (verdict.kind === "redirect")
    return `redirect${targetText(verdict.ifindex, verdict.broadcast?.ports)}`;
  return verdict.kind === "pass" && verdict.cutTo !== undefined
    ? `pass, cut to ${verdict.cutTo} bytes`
    : verdict.kind;
}

/** A run as JSON. */
export function runJson(run: TracedRun, isBrief: boolean): Record<string, unknown> {
  const { decision, fault } = run;
  const explained = explainSteps(run);
  const place = (at: number | undefined): unknown => {
    if (at === undefined) return undefined;
    const { slot, text, effect } = explained[at]!;
    const line = decidingLine(run, explained, at);
    return { step: at, slot, text, effect, ...sourceOf(line) };
  };
  return {
    filter: run.filter,
    program: run.program.name,
    type: run.program.type,
    instructions: run.count,
    ret:
      run.verdict === undefined ? run.returned.toString(16) : Number(run.returned & 0xffff_ffffn),
    verdict: run.verdict,
    fault: fault && { code: fault.code.toUpperCase(), slot: fault.slot, message: fault.message },
    decided: place(decision?.decidedAt),
    because: place(decision?.because),
    ...(isBrief
      ? {}
      : {
          steps: explained.map(({ line, registers, ...step }) => ({
            ...step,
            ...sourceOf(line),
            registers: registers.map((value) => `0x${value.toString(16)}`),
          })),
        }),
  };
}

function sourceOf(line: SourceLine | undefined): Record<string, unknown> {
  return line === undefined ? {} : { file: line.file, line: line.line, source: line.text.trim() };
}
