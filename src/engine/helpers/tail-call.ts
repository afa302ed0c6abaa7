import { SLOT_SCRATCH } from "../../runtime/wasm/layout.ts";
import type { Executable } from "../engine.ts";
import { contextTypes, type Helper, type HelperRun, R3 } from "./helper.ts";

/**
 * bpf_tail_call: another program goes on in place of this one. A row of the table for what may call
 * it and with what; an engine does the call itself (`tailCallTarget`), since it changes what runs.
 */
export const tailCall: Helper = {
  id: 12,
  name: "tail_call",
  arguments: ["context", "map", "anything"],
  types: contextTypes,
  maps: ["prog_array"],
  tailCall: true,
  call() {
    throw new Error("bpf_tail_call is an engine's to do, and was called as other helpers are");
  },
};

/**
 * The program that a tail call's arguments name, once they have been checked: that in the map's
 * slot of r3's low word. Undefined where the slot is empty or beyond the map: then the call does
 * nothing, and the program goes on behind it with all registers as they were (kernel/bpf/core.c,
 * JMP_TAIL_CALL).
 */
export function tailCallTarget(run: HelperRun): Executable | undefined {
  const { arena, runtime, cpu, programs } = run.context;
  if (programs === undefined) return undefined;
  const key = run.memory.slot + SLOT_SCRATCH;
  arena.view.setInt32(key, run.registers[R3]!, true);
  const value = runtime.lookup(run.map!.descriptor, key, cpu);
  return value === 0 ? undefined : programs[arena.view.getUint32(value, true) - 1];
}
