import type { Instruction } from "../isa/instruction.ts";

/**
 * Slots where paths meet, and states are worth keeping to compare with: targets of jumps, branches,
 * calls and where they return to. Not the slot behind a branch, to which one way alone leads: what
 * comes there was compared at the branch. Kernel: mark_prune_point.
 */
export function meetingSlots(instructions: readonly Instruction[]): Uint8Array {
  const meeting = new Uint8Array(instructions.length + 1);
  for (let slot = 0; slot < instructions.length; slot++) {
    const instruction = instructions[slot]!;
    switch (instruction.kind) {
      case "branch":
        meeting[slot] = 1;
        meeting[slot + 1 + instruction.offset] = 1;
        break;
      case "jump":
        meeting[slot + 1 + instruction.offset] = 1;
        break;
      case "call_local":
        meeting[slot] = 1;
        meeting[slot + 1] = 1;
        break;
      default:
        break;
    }
  }
  return meeting;
}

/** Every slot that jumps, calls and fall-through can reach from `entry`, once each, in no order. */
export function reachableSlots(
  instructions: readonly Instruction[],
  entry: number,
): readonly number[] {
  const reached = new Uint8Array(instructions.length);
  const slots = [entry];
  const visit = (slot: number): void => {
    if (reached[slot] !== 0 || slot >= instructions.length) return;
    reached[slot] = 1;
    slots.push(slot);
  };
  reached[entry] = 1;
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i]!;
    const instruction = instructions[slot] as Instruction;
    switch (instruction.kind) {
      case "exit":
        break;
      case "jump":
        visit(slot + 1 + instruction.offset);
        break;
      case "branch":
      case "call_local":
      case "load_function":
        visit(slot + 1 + instruction.offset);
        visit(slot + 1);
        break;
      default:
        visit(slot + 1);
    }
  }
  return slots;
}

/** The first instruction that no jump, call or fall-through can reach, or undefined. */
export function firstUnreachable(instructions: readonly Instruction[]): number | undefined {
  const slots = reachableSlots(instructions, 0);
  if (slots.length === instructions.length) return undefined;
  const reached = new Uint8Array(instructions.length);
  for (const slot of slots) reached[slot] = 1;
  return reached.indexOf(0);
}
