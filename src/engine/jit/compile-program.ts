import type { Instruction } from "../../isa/instruction.ts";
import type { CodePlace, LinkedProgram } from "../engine.ts";
import { tailCall } from "../helpers/tail-call.ts";
import { type ProgramSurvey, surveyProgram } from "../program-survey.ts";
import { type Blocks, type FunctionRange, findBlocks, functionRanges } from "./blocks.ts";
import { CallbackLoops } from "./callbacks.ts";
import { type CodeOrigin, moduleName, newPlaces, type Places } from "./code-origin.ts";
import { FunctionBody, type RegisterStates } from "./emit-function.ts";
import { type CompileInPlace, emitEntries } from "./entries.ts";
import { graphOf } from "./flow-graph.ts";
import type { FunctionBuilder, FunctionReference } from "./function-builder.ts";
import { FunctionEmitter, type InPlace } from "./function-emitter.ts";
import { callsRuntime, mayBeCharged, readsClock } from "./inline-helpers.ts";
import { type FrameUse, frameUse, knownAtBlocks } from "./known-values.ts";
import { registersOf, signatures } from "./liveness.ts";
import { usesSlot } from "./memory-access.ts";
import { ModuleBuilder } from "./module-builder.ts";
import { makeReducible } from "./reducible.ts";
import { allRegisters, type RegisterUse, registerUse } from "./register-use.ts";
import { scratchAddress } from "./scratch.ts";
import { shortRegisters } from "./short-registers.ts";
import { declareTailCalls } from "./tail-calls.ts";
import {
  type CompiledFunction,
  countsProvenSteps,
  type Imports,
  needsCheck,
  needsZeroFrames,
  proofOf,
  type Unit,
} from "./unit.ts";
import { I32, I64, type ValueType } from "./wasm-operation.ts";

/** A program as WebAssembly, for one worker: its addresses are constants in the code. */
export interface CompiledProgram {
  /** Imports `env.memory`, functions of `host` (host.ts) and of `runtime`; exports `run`, `batch`. */
  readonly bytes: Uint8Array;
  readonly largestBody: number;
  readonly origin: CodeOrigin;
  /** It, or what it tail-calls, may ask for the time. */
  readonly usesClock: boolean;
}

/** Compiles a linked program. Time and size grow with its length alone. */
export function compileProgram(
  program: LinkedProgram,
  context: CodePlace,
  survey: ProgramSurvey = surveyProgram(program.instructions),
): CompiledProgram {
  const { instructions, type } = program;
  const module = new ModuleBuilder();
  const imports = declareImports(module, survey);
  const use = registerUse(instructions, type, proofOf(program));
  const bodies = functionRanges(survey, instructions.length).map((range) => ({
    range,
    blocks: findBlocks(instructions, range, use),
  }));
  const functions = new Map<number, CompiledFunction>();
  const callbacks = survey.callsBack ? survey.addressed : noFunctions;
  const borders = signatures(instructions, use, bodies, callbacks);
  for (const [i, { needs, gives }] of borders.entries()) {
    const parameters: ValueType[] = [I32, ...registersOf(needs).map((): ValueType => I64)];
    const results = registersOf(gives).map((): ValueType => I64);
    functions.set(bodies[i]!.range.start, {
      reference: module.declare(parameters, results),
      needs: registersOf(needs),
      gives: registersOf(gives),
    });
  }
  const scratch = scratchAddress(context.stack);
  const zeroFrames = needsZeroFrames(program);
  const usesBudget = takesFromBudget(program, survey);
  const parts = { program, context, scratch, imports, functions, usesBudget, zeroFrames };
  const loops = survey.callsBack ? new CallbackLoops(module, parts, callbacks) : undefined;
  const unit: Unit = { ...parts, callbacks: loops };
  const inPlace = mayStandInPlace(program, bodies[0]!.range, survey);
  const places = newPlaces(instructions.length);
  const origins: (FunctionRange & { reference: FunctionReference; places: Places })[] = [];
  const shortBehind = new Uint16Array(instructions.length);
  let entry: CompileInPlace | undefined;
  for (const [i, { range, blocks }] of bodies.entries()) {
    const compile = prepareFunction(
      unit,
      range,
      blocks,
      use,
      shortBehind,
      borders[i]!.live,
      isCalled(survey, range.start),
    );
    const capacity = likelyBytes * (range.end - range.start);
    const { reference } = functions.get(range.start)!;
    compile(module.define(reference, capacity), places);
    origins.push({ ...range, reference, places });
    if (!inPlace || range.start !== 0) continue;
    entry = (code, place) => {
      const placesThere = newPlaces(range.end);
      compile(code, placesThere, place);
      origins.push({ ...range, reference: place.within, places: placesThere });
    };
  }
  emitEntries(module, unit, entry);
  loops?.finish();
  const name = moduleName(program.name, module.codeBytes);
  const bytes = module.finish(name);
  const functionOrigins = origins.map(({ reference, start, end, places }) => {
    return { index: reference.index, codeStart: module.codeStart(reference), start, end, places };
  });
  return {
    bytes,
    largestBody: module.largestBody,
    origin: { module: name, functions: functionOrigins },
    usesClock: [...survey.helpers].some((id) => readsClock(id) || id === tailCall.id),
  };
}

/** Whether something of a program counts: its instructions, its callbacks' turns, or a helper's work. */
function takesFromBudget(program: LinkedProgram, survey: ProgramSurvey): boolean {
  if (needsCheck(program) || countsProvenSteps(program)) return true;
  const { helpers: called, callsByRegister, callsBack } = survey;
  if (callsByRegister || callsBack || called.has(tailCall.id)) return true;
  const maps = [...survey.maps].map((index) => program.maps[index]!);
  return [...called].some((id) => mayBeCharged(program, id, maps));
}

const noFunctions: ReadonlySet<number> = new Set();

/** Of WebAssembly for an instruction. What checks or calls a lot takes more. */
const likelyBytes = 16;

function declareImports(module: ModuleBuilder, survey: ProgramSurvey): Imports {
  module.importSharedMemory("env", "memory");
  const called = survey.helpers;
  const callbacks = survey.callsBack;
  const host = (name: string, parameters: number, results: ValueType[] = []): FunctionReference =>
    module.importFunction("host", name, new Array(parameters).fill(I32), results);
  const runtime = new Map<string, FunctionReference>();
  const imports: Imports = {
    locate: host("locate", 3),
    misaligned: host("misaligned", 3),
    stop: host("stop", 2),
    helper: host("helper", 2, [I32]),
    numberedHelper: host("numberedHelper", 3, [I32]),
    begin: host("begin", 1),
    tailCalls: called.has(tailCall.id) ? declareTailCalls(module, host) : undefined,
    checkCallback: callbacks ? host("checkCallback", 2) : undefined,
    runtime,
  };
  const needed = [
    ...([...called].some(callsRuntime) ? runtimeFunctions : []),
    ...(callbacks ? walkFunctions : []),
  ];
  for (const [name, parameters] of needed)
    runtime.set(
      name,
      module.importFunction("runtime", name, new Array(parameters).fill(I32), [I32]),
    );
  return imports;
}

/** Of map-runtime.ts, by name and number of parameters. */
const runtimeFunctions: readonly (readonly [string, number])[] = [
  ["lookup", 3],
  ["update", 5],
  ["remove", 3],
  ["lookupHash4", 3],
  ["lookupHash8", 3],
  ["lookupHash16", 3],
  ["lookupHashN", 3],
  ["lookupLru4", 3],
  ["lookupLru8", 3],
  ["lookupLru16", 3],
  ["lookupLruN", 3],
  ["lookupTrie", 3],
];

const walkFunctions: typeof runtimeFunctions = [["walk", 3]];

/** A program's own function of more slots stands once, and `batch` calls it. */
const mostSlotsInPlace = 256;

/**
 * Whether `batch` has the program's own function in place of a call. Not where something else leads
 * there too or away from there, nor with checks: these make room for frames, budgets and callers.
 */
function mayStandInPlace(
  program: LinkedProgram,
  { start, end }: FunctionRange,
  survey: ProgramSurvey,
): boolean {
  return (
    !needsCheck(program) &&
    end - start <= mostSlotsInPlace &&
    !survey.helpers.has(tailCall.id) &&
    !isCalled(survey, 0)
  );
}

const contextRegister = 1;

const noFrameUse: FrameUse = { lowest: 0, direct: false };

/** What is known of a function before it is compiled, once or twice. */
function prepareFunction(
  unit: Unit,
  range: FunctionRange,
  blocks: Blocks,
  use: RegisterUse,
  shortBehind: Uint16Array,
  live: Int32Array,
  called: boolean,
): (code: FunctionBuilder, places: Places, inPlace?: InPlace) => void {
  const { instructions } = unit.program;
  const self = unit.functions.get(range.start)!;
  const flow = makeReducible(graphOf(blocks));
  const hasContext = range.start === 0 && unit.program.type !== "raw" && !called;
  const order = flow.order.nodes;
  const known = knownAtBlocks(instructions, blocks, order, use, hasContext);
  // Registers that are no parameters begin as 0.
  const given = live[0]! & ~(hasContext ? 1 << contextRegister : 0);
  const shortAtStart = allRegisters & ~given;
  const proof = proofOf(unit.program);
  const short = shortRegisters(instructions, blocks, order, use, shortAtStart, proof, shortBehind);
  const states: RegisterStates = { use, known, live, short };
  const checks = needsCheck(unit.program);
  // What nothing asks for is not looked for.
  const frame = checks || unit.zeroFrames ? frameUse(instructions, blocks, use, known) : noFrameUse;
  // The program itself may be another's successor by a tail call, and be returned from.
  const chargedAtExit = checks && (range.start !== 0 || unit.program.type !== "raw" || called);
  const used = chargedAtExit || (checks && holds(instructions, range, mayTakeFuel));
  return (code, places, inPlace) => {
    const fuel = { used, chargedAtExit };
    const to = new FunctionEmitter(unit, code, self, frame, range, fuel, shortAtStart, inPlace);
    if (holds(instructions, range, usesSlot)) to.loadSlot();
    new FunctionBody(to, blocks, flow, states, places).emit(instructions);
  };
}

/** Whether some instruction of the function is such a one. */
function holds(
  instructions: readonly Instruction[],
  { start, end }: FunctionRange,
  isSuch: (instruction: Instruction) => boolean,
): boolean {
  for (let slot = start; slot < end; slot++) if (isSuch(instructions[slot]!)) return true;
  return false;
}

/** A jump back, a helper's work, or a function that may have either. */
function mayTakeFuel(instruction: Instruction): boolean {
  const { kind } = instruction;
  if (kind === "jump" || kind === "branch") return instruction.offset < 0;
  return kind === "call_local" || kind === "call_helper" || kind === "call_register";
}

function isCalled({ called, addressed }: ProgramSurvey, target: number): boolean {
  return called.has(target) || addressed.has(target);
}
