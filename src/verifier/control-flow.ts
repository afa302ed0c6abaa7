import type { Instruction } from "../isa/instruction.ts";

/** Where an instruction leads; `refer` is what names a function: a call of it, or its address. */
export const flows = { on: 0, jump: 1, branch: 2, exit: 3, refer: 4 } as const;

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
