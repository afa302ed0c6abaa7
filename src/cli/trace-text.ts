import { instructionText } from "../admin/xlated.ts";
import type { TraceStep } from "../engine/interpreter/trace-recorder.ts";
import type { TracedRun } from "../filter/trace-bench.ts";
import type { Verdict } from "../filter/verdict.ts";
import type { BranchOp, Instruction } from "../isa/instruction.ts";
import { branchOps } from "../isa/opcodes.ts";
import { formatTyped } from "../maps/typed.ts";
import type { SourceLine } from "../object/object-spec.ts";
import { targetText } from "./target-text.ts";

/** An instruction of a run in words. */
export interface ExplainedStep {
  readonly slot: number;
  readonly text: string;
  readonly depth: number;
  readonly program: string;
  readonly line: SourceLine | undefined;
  /** What it did: registers it changed, which way a branch went, what a helper found. */
  readonly effect: string;
  readonly registers: readonly bigint[];
}

/** A value that a helper returned the address of, or a global variable. */
interface NamedMemory {
  readonly start: bigint;
  readonly size: number;
  readonly name: string;
}

/** The steps of a run, each with its source line and what it did. */
export function explainSteps(run: TracedRun): ExplainedStep[] {
  const memory: NamedMemory[] = [];
  return run.steps.map((step, i) => {
    const next = run.steps[i + 1];
    const instruction = step.program.instructions[step.slot]!;
    const spec = run.specOf(step.program);
    const functions = new Map(spec.functions.map(({ name, slot }) => [slot, name]));
    remember(run, step, instruction, next, memory);
    return {
      slot: step.slot,
      text: instructionText(instruction, step.slot, functions, (map) => map + 1).replace(
        /map\[id:(\d+)\]/g,
        (_, id: string) => `map ${run.object.maps[Number(id) - 1]!.name}`,
      ),
      depth: step.depth,
      program: step.program.name,
      line: lineOf(run, step),
      effect: effectOf(run, step, instruction, next, memory),
      registers: step.registers,
    };
  });
}

/** The source line of a step; undefined where the object has none. */
export function lineOf(run: TracedRun, { program, slot }: TraceStep): SourceLine | undefined {
  const { lines } = run.specOf(program);
  let found: SourceLine | undefined;
  for (const line of lines) {
    if (line.slot > slot) break;
    if (line.line > 0) found = line;
  }
  return found;
}

function remember(
  run: TracedRun,
  step: TraceStep,
  instruction: Instruction,
  after: TraceStep | undefined,
  memory: NamedMemory[],
): void {
  if (step.call?.found !== undefined && after !== undefined)
    memory.push({
      start: after.registers[0]!,
      size: step.call.map!.valueSize,
      name: `value of ${step.call.map!.name}`,
    });
  if (instruction.kind !== "load_map_value" || after === undefined) return;
  const map = instruction.map;
  const variable = run.object.variables.find(
    (one) => one.map === map && one.offset === instruction.offset,
  );
  memory.push({
    start: after.registers[instruction.dst]!,
    size: variable?.size ?? 1,
    name: variable?.name ?? `${run.object.maps[map]!.name}+${instruction.offset}`,
  });
}

function effectOf(
  run: TracedRun,
  step: TraceStep,
  instruction: Instruction,
  after: TraceStep | undefined,
  memory: readonly NamedMemory[],
): string {
  const show = (value: bigint): string => describeValue(run, step, memory, value);
  if (instruction.kind === "branch") return branchText(step, instruction, after, show);
  if (instruction.kind === "exit")
    return step.depth === 0 && after === undefined ? `returns ${show(run.returned)}` : "";
  if (step.call !== undefined) return callText(run, step, after, show);
  if (instruction.kind === "store") {
    const { src, base, offset } = instruction;
    const value = "register" in src ? step.registers[src.register]! : BigInt(src.immediate);
    return `${show(step.registers[base]! + BigInt(offset))} ← ${show(BigInt.asUintN(64, value))}`;
  }
  if (after === undefined) return "";
  return step.registers
    .flatMap((value, i) => {
      const now = after.registers[i]!;
      return value === now || i === 10 ? [] : [`r${i} ← ${show(now)}`];
    })
    .join(", ");
}

function branchText(
  step: TraceStep,
  { op, width, dst, src, offset }: Instruction & { kind: "branch" },
  after: TraceStep | undefined,
  show: (value: bigint) => string,
): string {
  const right =
    "register" in src ? step.registers[src.register]! : BigInt.asUintN(64, BigInt(src.immediate));
  const cut = (value: bigint): string => show(BigInt.asUintN(width, value));
  const sign = (of: BranchOp): string => branchOps.find((row) => row.op === of)!.sign;
  const [left, other] = [cut(step.registers[dst]!), cut(right)];
  const taken = after !== undefined && offset !== 0 && after.slot === step.slot + 1 + offset;
  if (taken) return `${left} ${sign(op)} ${other}: goes to ${after.slot}`;
  const opposite = opposites[op];
  return opposite === undefined
    ? `${left} has no bit of ${other}: goes on`
    : `${left} ${sign(opposite)} ${other}: goes on`;
}

/** What holds where a condition does not. */
const opposites: Readonly<Partial<Record<BranchOp, BranchOp>>> = {
  eq: "ne",
  ne: "eq",
  gt: "le",
  le: "gt",
  ge: "lt",
  lt: "ge",
  sgt: "sle",
  sle: "sgt",
  sge: "slt",
  slt: "sge",
};

function callText(
  run: TracedRun,
  { call }: TraceStep,
  after: TraceStep | undefined,
  show: (value: bigint) => string,
): string {
  const { name, map, key, value, found, foundMap } = call!;
  const spec = run.object.maps.find((one) => one.name === map?.name);
  const typed = (type: number | undefined, bytes: Uint8Array | undefined): string =>
    bytes === undefined ? "?" : shown(formatTyped(run.object.btf, type, bytes));
  const given: string[] = [];
  if (map !== undefined) given.push(map.name);
  if (map !== undefined && key !== undefined) given.push(`key ${typed(spec?.keyType, key)}`);
  if (map !== undefined && value !== undefined)
    given.push(`value ${typed(spec?.valueType, value)}`);
  const result =
    name !== "map_lookup_elem"
      ? after === undefined
        ? ""
        : ` = ${show(after.registers[0]!)}`
      : foundMap !== undefined
        ? `: found map ${foundMap.name}`
        : found === undefined
          ? ": no entry"
          : `: found ${typed(spec?.valueType, found)}`;
  return `bpf_${name}(${given.join(", ")})${result}`;
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A register's value as a place, where it is one, else as a number. */
function describeValue(
  run: TracedRun,
  step: TraceStep,
  memory: readonly NamedMemory[],
  value: bigint,
): string {
  const { packet, context, stack, maps } = run.places;
  const number = Number(value);
  const plus = (base: number): string => (number === base ? "" : `+${number - base}`);
  if (number >= packet[0] && number <= packet[1])
    return number === packet[1]
      ? `packet end (${packet[1] - packet[0]})`
      : `packet${plus(packet[0])}`;
  const map = maps.find(({ descriptor }) => descriptor === number);
  if (map !== undefined) return `map ${map.name}`;
  for (const { start, size, name } of memory)
    if (value >= start && value < start + BigInt(size)) return `${name}${plus(Number(start))}`;
  if (number >= stack[0] && number <= stack[1]) {
    const frame = Number(step.registers[10]);
    if (number === frame) return "fp";
    return number < frame ? `fp-${frame - number}` : `fp+${number - frame}`;
  }
  if (number >= context[0] && number < context[1]) return `context${plus(context[0])}`;
  return value < 4096n ? String(value) : `0x${value.toString(16)}`;
}

/** A run as text: instructions under the source lines they came from, then what decided. */
export function runText(run: TracedRun, isBrief: boolean): string {
  let text = `filter ${run.filter}, program ${run.program.name} (${run.program.type}): ${run.count} instructions\n`;
  if (!isBrief) {
    let shownLine: string | undefined;
    for (const step of explainSteps(run)) {
      const place = step.line === undefined ? undefined : `${step.line.file}:${step.line.line}`;
      if (place !== undefined && place !== shownLine)
        text += `\n${place}: ${step.line!.text.trim()}\n`;
      shownLine = place;
      const instruction = `${" ".repeat(step.depth * 2)}${String(step.slot).padStart(5)}: ${step.text}`;
      text += `${step.effect === "" ? instruction : `${instruction.padEnd(44)}  ${step.effect}`}\n`;
    }
    if (run.count > run.steps.length)
      text += `… ${run.count - run.steps.length} more instructions were not kept\n`;
    text += "\n";
  }
  return `${text}${decisionText(run)}`;
}

/** The last lines: what the program returned, and which line decided that. */
export function decisionText(run: TracedRun): string {
  const { fault, decision } = run;
  if (fault !== undefined)
    return `aborted at instruction ${fault.slot}: ${fault.message}${placeText(lineOfSlot(run, fault.slot))}\n`;
  const low = run.verdict === undefined ? run.returned : run.returned & 0xffff_ffffn;
  let text = `returned ${low}${run.verdict === undefined ? "" : `: ${verdictText(run.verdict)}`}\n`;
  if (decision === undefined) return text;
  const explained = explainSteps(run);
  const told = (at: number): string => {
    const step = explained[at]!;
    const place = placeText(step.line) || ` at instruction ${step.slot}: ${step.text}`;
    return run.program.instructions[step.slot]!.kind === "branch"
      ? `${place} (${step.effect})`
      : place;
  };
  text += `decided${told(decision.decidedAt)}\n`;
  if (decision.because !== undefined) text += `because${told(decision.because)}\n`;
  return text;
}

function lineOfSlot(run: TracedRun, slot: number): SourceLine | undefined {
  const step = run.steps.findLast((one) => one.slot === slot);
  return step === undefined ? undefined : lineOf(run, step);
}

function placeText(line: SourceLine | undefined): string {
  return line === undefined ? "" : ` at ${line.file}:${line.line}: ${line.text.trim()}`;
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
  const { decision, fault, steps } = run;
  const place = (at: number | undefined): unknown => {
    if (at === undefined) return undefined;
    const line = lineOf(run, steps[at]!);
    return { step: at, slot: steps[at]!.slot, ...sourceOf(line) };
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
          steps: explainSteps(run).map(({ line, registers, ...step }) => ({
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
