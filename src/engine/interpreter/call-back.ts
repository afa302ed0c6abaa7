import { errno } from "../../common/errno.ts";
import { CURSOR_POSITION } from "../../runtime/wasm/layout.ts";
import { maxFrames } from "../engine.ts";
import { checkArguments } from "../helpers/call-helper.ts";
import { maxLoops, tooManyLoops } from "../helpers/callback-helpers.ts";
import { type Helper, R1, R2, R3, R4 } from "../helpers/helper.ts";
import { turnSteps, walkSteps } from "../helpers/helper-work.ts";
import { beginWalk, endWalk, walk, walkAt } from "../map-walk.ts";
import { callerRegisters, type Machine } from "./machine.ts";
import { isInlinedLoop, slotWords } from "./translate.ts";

/** execute.ts, which asks for this: runs a machine from where it stands. */
type Execute = (machine: Machine) => number;

/**
 * A helper that calls a function of the program for each turn of a loop or entry of a map:
 * kernel/bpf/bpf_iter.c, bpf_loop and bpf_for_each_map_elem. The call stands before `pc`, in the
 * function at `depth`. r0 is the number of turns; r1 to r9 stay. Sets the machine's fault where the
 * run ends in it. `execute` runs the function.
 */
export function callBack(
  machine: Machine,
  helper: Helper,
  depth: number,
  pc: number,
  execute: Execute,
): void {
  const problem = checkArguments(helper, machine);
  if (problem !== undefined) {
    machine.stop(pc, "bad_argument", problem);
    return;
  }
  if (depth === maxFrames - 1) {
    machine.stopAtDepth(pc);
    return;
  }
  const { registers, registers64, floor } = machine;
  const saved = machine.saveAll(depth);
  machine.calledBack++;
  const hasFlags = (registers[R4]! | registers[R4 + 1]!) !== 0;
  const call = (): boolean => callOnce(machine, saved, depth, pc, execute);
  const isInlined = isInlinedLoop(machine.translation, pc);
  const result = hasFlags
    ? BigInt(-errno.EINVAL)
    : helper.callback === "loop"
      ? loop(machine, saved, isInlined, call)
      : BigInt(walkMap(machine, saved, depth, call));
  if (machine.fault !== undefined) return;
  machine.calledBack--;
  machine.floor = floor;
  for (let i = 0; i < callerRegisters; i++) registers64[i] = saved[i]!;
  registers64[0] = result;
}

function loop(
  machine: Machine,
  saved: BigInt64Array,
  isInlined: boolean,
  call: () => boolean,
): bigint {
  const { registers, registers64 } = machine;
  const count = registers[R1]! >>> 0;
  if (isInlined && registers[R1 + 1] !== 0) return tooManyLoops.inlined;
  if (count > maxLoops) return isInlined ? tooManyLoops.inlined : tooManyLoops.called;
  for (let i = 0; i < count; i++) {
    beginCallback(machine);
    registers[R1] = i;
    registers64[R2 / 2] = saved[R3 / 2]!;
    if (call()) return BigInt(i + 1);
  }
  return BigInt(count);
}

function walkMap(
  machine: Machine,
  saved: BigInt64Array,
  depth: number,
  call: () => boolean,
): number {
  const { registers, registers64, context, memory } = machine;
  const { arena, runtime, cpu, stack } = context;
  const map = machine.map!.descriptor;
  const at = walkAt(stack, memory.framePointer(depth + 1));
  beginWalk(arena, at, map);
  const { keySize } = machine.map!;
  const position = (at + walk.cursor + CURSOR_POSITION) >> 2;
  let count = 0;
  for (let going = true; going; ) {
    const before = arena.words[position]!;
    const value = runtime.walk(map, at + walk.cursor, cpu);
    machine.steps -= walkSteps(keySize, arena.words[position]! - before);
    if (value === 0) break;
    count++;
    beginCallback(machine);
    registers[R1] = map;
    registers[R2] = at + walk.key;
    registers[R3] = value;
    registers64[R4 / 2] = saved[R3 / 2]!;
    going = !call();
  }
  endWalk(arena, at);
  return count;
}

/** Registers of a callback begin as 0. */
function beginCallback({ registers64 }: Machine): void {
  for (let i = 0; i < callerRegisters; i++) registers64[i] = 0n;
}

/** Calls the function that the caller's r2 names. True: it, or a fault, ends the loop. */
function callOnce(
  machine: Machine,
  saved: BigInt64Array,
  depth: number,
  pc: number,
  execute: Execute,
): boolean {
  if (machine.callbacksLeft-- === 0) {
    machine.stopAtCallbacks(pc);
    return true;
  }
  machine.steps -= turnSteps;
  machine.save(depth, pc);
  machine.pc = Number(saved[R2 / 2]!) * slotWords;
  machine.depth = depth + 1;
  machine.floor = depth + 1;
  execute(machine);
  if (machine.fault !== undefined) return true;
  machine.restore(depth);
  return (machine.registers[0]! | machine.registers[1]!) !== 0;
}
