import { ok, type Result } from "../common/result.ts";
import { inTurns, type Steps } from "../common/steps.ts";
import type { UserError } from "../common/user-error.ts";
import type { EngineContext, Executable, LinkedProgram } from "../engine/engine.ts";
import { codeFor, load, type ProgramCode } from "../filter/engines.ts";
import { callOnce } from "../filter/warm-up.ts";
import { Arena } from "../runtime/arena.ts";
import { instantiateRuntime } from "../runtime/instantiate.ts";
import { workerPlan } from "./load-chains.ts";
import type { CompiledPlan, ProgramPlan, ProxyPlan } from "./plan.ts";

/**
 * Makes the code of a plan's programs for worker number `worker`, a program a turn: on the thread that
 * calls, which is to be one that carries no packets.
 */
export async function compilePlan(
  plan: ProxyPlan,
  worker: number,
): Promise<Result<CompiledPlan, UserError>> {
  const compiled = await inTurns(compileSteps(plan, worker));
  if (compiled.ok) await callLarge(compiled.value, worker);
  return compiled;
}

/** V8's baseline compiler takes a millisecond for some 70 KB of WebAssembly. */
const largeBytes = 65_536;
/** Code whose functions V8 has compiled already. */
const calledCode = new WeakSet<ProgramCode>();

/** Has V8 compile large functions here: else it did where they are first called, on the worker. */
async function callLarge(plan: CompiledPlan, worker: number): Promise<void> {
  const { filters, tailCalled = [], memory, runtime } = plan;
  const codes = [...new Set([...tailCalled, ...filters].map(({ program }) => program))];
  const large = codes.filter(
    (code) => code.engine === "jit" && code.largestBody > largeBytes && !calledCode.has(code),
  );
  if (large.length === 0) return;
  const { stack, slots } = workerPlan(plan, worker);
  const arena = Arena.attach(memory);
  const programs: Executable[] = [];
  const context: EngineContext = {
    arena,
    runtime: instantiateRuntime(runtime, arena),
    cpu: worker,
    stack,
    clock: { low: 0, high: 0 },
    random: () => 0,
    trace: () => {},
    programs,
  };
  const executables = new Map(codes.map((code) => [code, load(code, context)]));
  for (const { program } of tailCalled) programs.push(executables.get(program)!);
  const called = new Set(large.map((code) => executables.get(code)!));
  const compiled = [...executables.values()].filter(({ engine }) => engine === "jit");
  await callOnce(called, compiled, context, slots, runtime);
  for (const code of large) calledCode.add(code);
}

function* compileSteps(plan: ProxyPlan, worker: number): Steps<Result<CompiledPlan, UserError>> {
  const { filters, tailCalled = [] } = plan;
  const place = {
    arena: Arena.attach(plan.memory),
    cpu: worker,
    stack: workerPlan(plan, worker).stack,
  };
  const codes = new Map<LinkedProgram, ProgramCode>();
  for (const { program, engine } of [...tailCalled, ...filters]) {
    if (codes.has(program)) continue;
    const code = codeFor(program, engine, place);
    if (!code.ok) return code;
    codes.set(program, code.value);
    yield;
  }
  const compiled = <Plan extends ProgramPlan>(one: Plan) => ({
    ...one,
    program: codes.get(one.program)!,
  });
  return ok({ ...plan, filters: filters.map(compiled), tailCalled: tailCalled.map(compiled) });
}
