import type { MapHandle } from "../../maps/map-handle.ts";
import { holdsMaps } from "../../object/map-rules.ts";
import { type Helper, type HelperRun, R1 } from "./helper.ts";

/**
 * What helpers take off a run's budget, in steps: instructions count one each, and a step may take
 * some 15 ns of a slow core (engine.ts, `maxProvenSteps`). Both engines count by what is here.
 */

/** enum bpf_func_id. */
const mapLookup = 1;

/** Of a call that is made through JavaScript and does next to nothing. */
const callSteps = 16;

/** Bytes that count as one step: a load's. */
export const stepBytes = 8;

/** Of one more turn of a callback's loop, beside what the callback does. */
export const turnSteps = 4;

/** Buckets of a hash map that a walk finds nothing in, for a step. */
export const bucketsAStep = 2;

/** Hash functions of a bloom filter, at most: each reads the value. */
const bloomHashes = 15;

/** To the bucket of a map of maps, and from its map's address to what is known of that map. */
const innerMapSteps = 48;

/**
 * Calls of at most so many steps count nothing in a program whose instructions the verifier has bounded: it
 * makes no more of them than it has instructions, and the JIT has their map lookups in a few ns.
 */
const lightSteps = 32;

/** Steps of a call on `map`, whatever else its arguments are. */
export function callStepsOn(helper: Helper, map: MapHandle | undefined): number {
  let steps = helper.work ?? callSteps;
  if (map === undefined) return steps;
  const { type, keySize, valueSize } = map;
  // The JIT has it in a few instructions.
  if (helper.id === mapLookup && (type === "array" || type === "percpu_array")) return 0;
  if (holdsMaps(type)) steps += innerMapSteps;
  for (const argument of helper.arguments)
    if (argument === "map_key") {
      steps += keySize / stepBytes;
      // A node for each bit of a prefix behind its length.
      if (type === "lpm_trie") steps += (keySize - 4) * 8;
    } else if (argument === "map_value" || argument === "writable_map_value")
      steps += (valueSize / stepBytes) * (type === "bloom_filter" ? bloomHashes : 1);
  return Math.trunc(steps);
}

/** Steps of a call whose arguments have been checked, or are proven. */
export function stepsOfCall(helper: Helper, run: HelperRun): number {
  let bytes = 0;
  for (let i = 0; i < helper.arguments.length; i++) {
    const low = run.registers[R1 + 2 * i]!;
    switch (helper.arguments[i]) {
      case "size":
      case "size_or_zero":
        bytes += low >>> 0;
        break;
      case "constant_string":
      case "format_string":
        bytes += run.context.arena.bytes.indexOf(0, low) - low;
        break;
    }
  }
  const map = helper.arguments.includes("map") ? run.map : undefined;
  return callStepsOn(helper, map) + Math.trunc(bytes / stepBytes);
}

/** What of a call's steps a program counts, with `RunnableProgram.mostSteps` of it. */
export function countedSteps(mostSteps: number | undefined, steps: number): number {
  return mostSteps !== undefined && steps <= lightSteps ? 0 : steps;
}

/** Of a walk over a map that has moved on by so many buckets, or entries of an array. */
export function walkSteps(keySize: number, moved: number): number {
  return Math.trunc(keySize / stepBytes) + Math.trunc(moved / bucketsAStep);
}
