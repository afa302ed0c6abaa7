import type { Analysis } from "./analysis.ts";
import { reachableSlots } from "./control-flow.ts";
import { whereText } from "./describe-place.ts";
import type { Reference } from "./path-state.ts";

/**
 * Where the path that ends with something unreleased leaves that to a callback, says so: the helper may
 * call back not once, and then nobody has released it. Undefined where it does not.
 */
export function leftToCallback(a: Analysis, held: Reference): string | undefined {
  const { trace, instructions } = a;
  let call: number | undefined;
  let isBehind = true;
  for (let step = a.state.step; step >= 0; step = trace.previous(step)) {
    const slot = trace.slot(step);
    const instruction = instructions[slot]!;
    isBehind &&= slot !== held.slot;
    if (isBehind && instruction.kind === "call_helper")
      if (a.helpers.get(instruction.id)?.callback !== undefined) call = slot;
    if (call === undefined || instruction.kind !== "load_function") continue;
    if (releases(a, slot + 1 + instruction.offset))
      return `the callback of ${whereText(a.program, call)} gives it back, and may not be called even once`;
  }
  return undefined;
}

function releases({ instructions, helpers }: Analysis, entry: number): boolean {
  for (const slot of reachableSlots(instructions, entry)) {
    const instruction = instructions[slot]!;
    const helper = instruction.kind === "call_helper" ? helpers.get(instruction.id) : undefined;
    if (helper?.arguments.includes("reserved_memory")) return true;
  }
  return false;
}
