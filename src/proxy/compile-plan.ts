import { ok, type Result } from "../common/result.ts";
import { inTurns, type Steps } from "../common/steps.ts";
import type { UserError } from "../common/user-error.ts";
import type { LinkedProgram } from "../engine/engine.ts";
import { codeFor, type ProgramCode } from "../filter/engines.ts";
import { Arena } from "../runtime/arena.ts";
import { workerPlan } from "./load-chains.ts";
import type { CompiledPlan, ProgramPlan, ProxyPlan } from "./plan.ts";

/**
 * Makes the code of a plan's programs for worker number `worker`, a program a turn: on the thread that
 * calls, which is to be one that carries no packets.
 */
export function compilePlan(
  plan: ProxyPlan,
  worker: number,
): Promise<Result<CompiledPlan, UserError>> {
  return inTurns(compileSteps(plan, worker));
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
