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

/** The cause of a fault: a callback's caller could not go on from another program's end. */
export const tailCallInCallback = "tail_call cannot be called in a callback";

/**
 * The program that a tail call's arguments name, once they have been checked. Undefined where there
 * is none: then the call does nothing, and the program goes on behind it with all registers as they
 * were (kernel/bpf/core.c, JMP_TAIL_CALL).
 */
export function tailCallTarget(run: HelperRun): Executable | undefined {
  return run.context.programs?.[tailCallNumber(run) - 1];
}

/** Its number, from 1: that in the map's slot of r3's low word. 0: the slot is empty, or beyond the map. */
export function tailCallNumber(run: HelperRun): number {
  const { arena, runtime, cpu } = run.context;
  const key = run.memory.slot + SLOT_SCRATCH;
  arena.view.setInt32(key, run.registers[R3]!, true);
  const value = runtime.lookup(run.map!.descriptor, key, cpu);
  return value === 0 ? 0 : arena.view.getUint32(value, true);
}
