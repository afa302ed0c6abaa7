import { errno } from "../../common/errno.ts";
import type { MapType } from "../../object/object-spec.ts";
import { maxCallbacks } from "../engine.ts";
import { anyType, type Helper } from "./helper.ts";

/** Maps that can be walked: those whose `map_ops` have `map_for_each_callback`. */
const walkableMaps: readonly MapType[] = [
  "array",
  "percpu_array",
  "hash",
  "percpu_hash",
  "lru_hash",
  "lru_percpu_hash",
];

function calledAsOthers(): never {
  throw new Error("a helper that calls back is an engine's to do, and was called as others are");
}

/**
 * Helpers that call a function of the program. Rows of the table for what may call them and with
 * what; an engine does the calls itself, since it runs the function.
 */
export const callbackHelpers: readonly Helper[] = [
  {
    id: 164,
    name: "for_each_map_elem",
    arguments: ["map", "callback", "stack_or_null", "anything"],
    types: anyType,
    maps: walkableMaps,
    callback: "map_walk",
    call: calledAsOthers,
  },
  {
    id: 181,
    name: "loop",
    arguments: ["anything", "callback", "stack_or_null", "anything"],
    types: anyType,
    callback: "loop",
    call: calledAsOthers,
  },
];

/** The cause of a fault: the run's budget of callbacks is used up. */
export const callbacksExceeded = `more than ${maxCallbacks} iterations of callbacks`;

/** bpf_loop's limit on r1: BPF_MAX_LOOPS. */
export const maxLoops = 1 << 23;

/**
 * What a call of bpf_loop gives that asks for more. Where the kernel's verifier puts a loop in its place
 * (`Verified.inlinedLoops`), r1 has 64 bits and the error 32: inline_bpf_loop, kernel/bpf/verifier.c.
 * The helper itself takes r1 for a u32 and returns a long.
 */
export const tooManyLoops = { called: BigInt(-errno.E2BIG), inlined: BigInt(-errno.E2BIG >>> 0) };
