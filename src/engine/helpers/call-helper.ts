import type { MapType } from "../../object/object-spec.ts";
import { F_RDONLY_PROG } from "../../runtime/wasm/layout.ts";
import type { Helper, HelperRun } from "./helper.ts";
import { stepsOfCall } from "./helper-work.ts";

/** Kernel: BPF_MAX_VAR_SIZ, the most bytes an argument may span. */
const maxArgumentBytes = 1 << 29;

/**
 * Calls a helper on the registers of a run, after checking r1 to r5 against its signature, and leaves its result in r0. A bad
 * argument returns its cause in words, and then nothing has been done; undefined is success.
 */
export function callHelper(helper: Helper, run: HelperRun): string | undefined {
  const problem = checkArguments(helper, run);
  if (problem !== undefined) return problem;
  run.work += stepsOfCall(helper, run);
  const result = helper.call(run);
  if (result !== undefined) {
    run.registers[0] = result;
    run.registers[1] = result < 0 ? -1 : 0;
  }
  return undefined;
}

/** What of r1 to r5 does not fit the helper's signature, in words. */
export function checkArguments(helper: Helper, run: HelperRun): string | undefined {
  for (let i = 0; i < helper.arguments.length; i++) {
    const problem = checkArgument(helper, i, run);
    if (problem !== undefined) return `${helper.name}, argument r${i + 1}: ${problem}`;
  }
  return undefined;
}

function checkArgument(helper: Helper, index: number, run: HelperRun): string | undefined {
  const { memory, registers } = run;
  const low = registers[2 * index + 2]!;
  const high = registers[2 * index + 3]!;
  switch (helper.arguments[index]!) {
    case "map":
      return checkMap(helper, low, high, run);
    case "map_key":
      return checkReadable(run, low, high, run.map!.keySize);
    case "map_value":
      return checkReadable(run, low, high, run.map!.valueSize);
    case "writable_map_value":
      return memory.writable(low, high, run.map!.valueSize) ? undefined : memory.problem.message;
    case "reserved_memory":
      return high === 0 && memory.holdings.hasRecord(low)
        ? undefined
        : "no record that the program has reserved";
    case "spin_lock":
      return checkSpinLock(helper, low, high, run);
    case "context":
      return high === 0 && low === memory.contextAddress ? undefined : "not the program's context";
    case "readable_memory":
    case "readable_memory_or_null":
    case "writable_memory":
    case "writable_memory_or_null":
    case "updated_memory":
      return checkMemory(helper, index, run);
    case "updated_u32":
      return checkReadable(run, low, high, 4) ?? checkWritable(run, low, high, 4);
    case "writable_u64":
      return checkWritable(run, low, high, 8);
    case "constant_string":
    case "format_string":
      return checkConstantString(run, low, high);
    case "callback":
      return high === 0 && run.callbacks.has(low) ? undefined : "not a function of this program";
    case "socket":
      return "no socket: there are none in user space";
    case "size":
    case "size_or_zero":
    case "allocation_size":
    // The callback gets it, and what that does with it is checked there.
    case "stack_or_null":
    case "anything":
      return undefined;
    default:
      throw new Error(`no check of ${helper.arguments[index]}, which ${helper.name} takes`);
  }
}

function checkMap(helper: Helper, low: number, high: number, run: HelperRun): string | undefined {
  const map = run.memory.maps.at(low, high);
  if (map === undefined) return "not the address of a map of this program";
  if (!(helper.maps as readonly MapType[]).includes(map.type))
    return `map ${map.name} is of type ${map.type}, which this helper does not take`;
  if (helper.changesMap && (map.readOnly || (map.flags & F_RDONLY_PROG) !== 0))
    return `map ${map.name} is read-only to programs`;
  run.map = map;
  return undefined;
}

/** What the verifier proves: one lock at a time, freed through the same pointer. */
function checkSpinLock(
  { spinLock }: Helper,
  low: number,
  high: number,
  { memory }: HelperRun,
): string | undefined {
  if (memory.maps.spinLockAt(low, high) === undefined)
    return "not the address of a struct bpf_spin_lock in a map's value";
  const { lock } = memory.holdings;
  if (spinLock === "lock") return lock === 0 ? undefined : "a spin lock is held already";
  return lock === low ? undefined : "not the spin lock that is held";
}

/** A pointer and the size in the register after it. */
function checkMemory(helper: Helper, index: number, run: HelperRun): string | undefined {
  const { registers } = run;
  const at = 2 * index + 2;
  const size = registers[at + 2]!;
  if (registers[at + 3] !== 0 || size < 0 || size >= maxArgumentBytes)
    return `its size in r${index + 2} is out of range`;
  if (size === 0)
    return helper.arguments[index + 1] === "size" ? `its size in r${index + 2} is 0` : undefined;
  const low = registers[at]!;
  const high = registers[at + 1]!;
  const kind = helper.arguments[index]!;
  const unread = kind.startsWith("writable") ? undefined : checkReadable(run, low, high, size);
  return unread ?? (kind.startsWith("readable") ? undefined : checkWritable(run, low, high, size));
}

function checkWritable(
  run: HelperRun,
  low: number,
  high: number,
  size: number,
): string | undefined {
  return run.memory.writable(low, high, size) ? undefined : run.memory.problem.message;
}

/** Of a map that no program writes, up to a zero byte within its value. */
function checkConstantString(run: HelperRun, low: number, high: number): string | undefined {
  const { memory, context } = run;
  if (!memory.maps.isConstant(low, high)) return "no string constant of the program";
  const length = context.arena.bytes.indexOf(0, low) - low + 1;
  return length > 0 && memory.readable(low, high, length)
    ? undefined
    : "a string without a zero byte at its end";
}

function checkReadable(
  run: HelperRun,
  low: number,
  high: number,
  size: number,
): string | undefined {
  return run.memory.readable(low, high, size) ? undefined : run.memory.problem.message;
}
