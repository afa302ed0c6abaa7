import { instructionText } from "../admin/xlated.ts";
import type { TraceStep } from "../engine/interpreter/trace-recorder.ts";
import type { TracedRun } from "../filter/trace-bench.ts";
import { isTailCall, type Origins, originsOf } from "../filter/trace-origins.ts";
import type { BranchOp, Instruction } from "../isa/instruction.ts";
import { branchOps } from "../isa/opcodes.ts";
import { writtenRegister } from "../isa/written-register.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { formatTyped } from "../maps/typed.ts";
import type { SourceLine } from "../object/object-spec.ts";
import { numberText, resultText, signedText, specOfMap, valueText } from "./trace-value.ts";

/** An instruction of a run in words. */
export interface ExplainedStep {
  readonly slot: number;
  readonly text: string;
  readonly depth: number;
  readonly program: string;
  readonly line: SourceLine | undefined;
  /** What it did: the register it wrote, which way a branch went, what a helper found. */
  readonly effect: string;
  readonly registers: readonly bigint[];
}

/** A step, what its registers point into, and what came after it. */
interface Moment {
  readonly run: TracedRun;
  readonly step: TraceStep;
  readonly origins: Origins;
  readonly next: TraceStep | undefined;
  readonly nextOrigins: Origins | undefined;
  /** Where the function goes on: `next`, or behind the functions that the step calls. */
  readonly back: TraceStep | undefined;
}

/** The steps of a run, each with its source line and what it did. */
export function explainSteps(run: TracedRun): ExplainedStep[] {
  const { steps } = run;
  const origins = originsOf(steps);
  const backs = backsOf(steps);
  const lines = new Map<string, readonly (SourceLine | undefined)[]>();
  return steps.map((step, i) => {
    const { program, slot, depth, registers } = step;
    const instruction = program.instructions[slot]!;
    const spec = run.specOf(program);
    if (!lines.has(spec.name)) lines.set(spec.name, linesBySlot(run, step));
    const functions = new Map(spec.functions.map((one) => [one.slot, one.name]));
    const text = instructionText(instruction, slot, functions, (map) => map + 1).replace(
      /map\[id:(\d+)\]/g,
      (_, id: string) => `map ${run.object.maps[Number(id) - 1]!.name}`,
    );
    const moment: Moment = {
      run,
      step,
      origins: origins[i]!,
      next: steps[i + 1],
      nextOrigins: origins[i + 1],
      back: steps[backs[i]!],
    };
    const effect = effectOf(moment, instruction);
    const line = lines.get(spec.name)![slot];
    return { slot, text, depth, program: program.name, line, effect, registers };
  });
}

/** The source line of each instruction of a step's program; undefined where the object has none. */
function linesBySlot(run: TracedRun, { program }: TraceStep): (SourceLine | undefined)[] {
  const { lines } = run.specOf(program);
  let found: SourceLine | undefined;
  let at = 0;
  return program.instructions.map((_, slot) => {
    for (; at < lines.length && lines[at]!.slot <= slot; at++)
      if (lines[at]!.line > 0) found = lines[at];
    return found;
  });
}

/** By step: the next that is no deeper. */
function backsOf(steps: readonly TraceStep[]): Int32Array {
  const backs = new Int32Array(steps.length);
  /** Of the steps that follow those that no shallower one comes before. */
  const waiting: number[] = [];
  for (let i = steps.length - 1; i >= 0; i--) {
    while (waiting.length > 0 && steps[waiting.at(-1)!]!.depth > steps[i]!.depth) waiting.pop();
    backs[i] = waiting.at(-1) ?? steps.length;
    waiting.push(i);
  }
  return backs;
}

function effectOf(moment: Moment, instruction: Instruction): string {
  const { run, step, origins, next, nextOrigins } = moment;
  const { registers, depth } = step;
  if (instruction.kind === "branch") return branchText(moment, instruction);
  if (instruction.kind === "exit")
    return `returns ${valueText(run, step, registers[0]!, origins[0])}`;
  if (step.call !== undefined) return callText(moment);
  if (instruction.kind === "store") {
    const { src, base, offset, size } = instruction;
    const isPointer = size === 8 && "register" in src;
    const given = "register" in src ? registers[src.register]! : BigInt(src.immediate);
    const stored = BigInt.asUintN(8 * size, given);
    const value = valueText(run, step, stored, isPointer ? origins[src.register] : undefined);
    const at = registers[base]! + BigInt(offset);
    return `${valueText(run, step, at, origins[base])} ← ${value}`;
  }
  if (instruction.kind === "atomic") return atomicText(moment, instruction);
  const hasLeft = next === undefined || next.depth < depth;
  if (instruction.kind === "load_packet" && (hasLeft || next.slot !== step.slot + 1))
    return run.fault === undefined || next !== undefined ? "beyond the packet: returns 0" : "";
  const written = writtenRegister(instruction);
  if (next === undefined || written === undefined) return "";
  return `r${written} ← ${valueText(run, next, next.registers[written]!, nextOrigins![written])}`;
}

function atomicText(
  { run, step, origins, next, nextOrigins }: Moment,
  { op, fetch, size, base, offset, src }: Instruction & { kind: "atomic" },
): string {
  const { registers } = step;
  const at = valueText(run, step, registers[base]! + BigInt(offset), origins[base]);
  const operand = (register: number): string =>
    signedText(BigInt.asUintN(8 * size, registers[register]!));
  const done =
    op === "cmpxchg"
      ? `${at} ← ${operand(src)} if it is ${operand(0)}`
      : `${at} ${atomicSigns[op]} ${operand(src)}`;
  if (!fetch || next === undefined) return done;
  const old = op === "cmpxchg" ? 0 : src;
  return `${done}, r${old} ← ${valueText(run, next, next.registers[old]!, nextOrigins![old])}`;
}

const atomicSigns = { add: "+=", or: "|=", and: "&=", xor: "^=", xchg: "←" } as const;

function branchText(
  { run, step, origins, next }: Moment,
  { op, width, dst, src, offset }: Instruction & { kind: "branch" },
): string {
  // Cut off by the limit on steps.
  if (next === undefined) return "";
  const side = (register: number | undefined, value: bigint): string => {
    const cut = BigInt.asUintN(width, value);
    const origin = register === undefined || width === 32 ? undefined : origins[register];
    if (origin !== undefined) return valueText(run, step, cut, origin);
    if (op.startsWith("s") && op !== "set")
      return signedText(BigInt.asUintN(64, BigInt.asIntN(width, cut)));
    return numberText(cut, width === 64 && (op === "eq" || op === "ne"));
  };
  const left = side(dst, step.registers[dst]!);
  const other =
    "register" in src
      ? side(src.register, step.registers[src.register]!)
      : side(undefined, BigInt(src.immediate));
  const sign = (of: BranchOp): string => branchOps.find((row) => row.op === of)!.sign;
  if (offset === 0) return `${left}, ${other}: goes on either way`;
  if (next.slot === step.slot + 1 + offset)
    return `${left} ${sign(op)} ${other}: goes to ${next.slot}`;
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

function callText(moment: Moment): string {
  const { run, step, origins } = moment;
  const { helper, map, key, value } = step.call!;
  const typed = (bytes: Uint8Array | undefined, what: "keyType" | "valueType"): string =>
    map === undefined ? "?" : typedText(run, step, map, bytes, what);
  const given = helper.arguments.map((argument, i) => {
    const register = i + 1;
    if (argument === "map" && map !== undefined) return map.name;
    if (argument === "map_key") return `key ${typed(key, "keyType")}`;
    if (argument === "map_value") return `value ${typed(value, "valueType")}`;
    return valueText(run, step, step.registers[register]!, origins[register]);
  });
  return `bpf_${helper.name}(${given.join(", ")})${calledText(moment, typed)}`;
}

/** What came of a helper's call. */
function calledText(
  { step, next, nextOrigins, back }: Moment,
  typed: (bytes: Uint8Array | undefined, what: "valueType") => string,
): string {
  const { helper, found, foundMap } = step.call!;
  if (next === undefined) return "";
  if (helper.tailCall === true)
    return isTailCall(step, next)
      ? `: goes on as program ${next.program.name}`
      : ": no program there";
  if (foundMap !== undefined) return `: found map ${foundMap.name}`;
  if (found !== undefined) return `: found ${typed(found, "valueType")}`;
  if (helper.returns === "map_value_or_null") return ": no entry";
  if (helper.returns === "nothing" || back === undefined) return "";
  const result = back.registers[0]!;
  if (helper.returns === "reserved_memory_or_null")
    return nextOrigins?.[0] === undefined ? ": no room" : ": reserved";
  return ` = ${resultText(result)}`;
}

function typedText(
  run: TracedRun,
  step: TraceStep,
  map: MapHandle,
  bytes: Uint8Array | undefined,
  what: "keyType" | "valueType",
): string {
  if (bytes === undefined) return "?";
  const value = formatTyped(run.object.btf, specOfMap(run, step, map)?.[what], bytes);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length <= maxShown ? text : `${text.slice(0, maxShown)}… (${bytes.length} bytes)`;
}

/** Characters of an entry's key or value: a value may have megabytes. */
const maxShown = 400;
