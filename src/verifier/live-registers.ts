import type { Instruction } from "../isa/instruction.ts";

const callerSaved = 0x3f;
const argumentMask = 0x3e;

/** Registers an instruction reads and overwrites, as bit masks. */
interface Use {
  readonly reads: number;
  readonly writes: number;
}

/**
 * For each slot the registers that something from there on may read before it is overwritten, as
 * bit masks: others need not be compared. Works backwards until nothing changes: each slot changes
 * at most eleven times. `argumentCount` is how many registers a helper takes.
 */
export function liveRegisters(
  instructions: readonly Instruction[],
  argumentCount: (helper: number) => number,
): Uint16Array {
  const count = instructions.length;
  const live = new Uint16Array(count + 1);
  const reads = new Uint16Array(count);
  const writes = new Uint16Array(count);
  for (let slot = 0; slot < count; slot++) {
    const use = useOf(instructions[slot]!, argumentCount);
    reads[slot] = use.reads;
    writes[slot] = use.writes;
  }
  const jumpsBack: number[] = [];
  // Once from the end to the start: only where jumps go back is there more to find.
  for (let slot = count - 1; slot >= 0; slot--) {
    const instruction = instructions[slot]!;
    if ((instruction.kind === "jump" || instruction.kind === "branch") && instruction.offset < 0)
      jumpsBack.push(slot);
    live[slot] = reads[slot]! | (liveAfter(instructions, live, slot) & ~writes[slot]!);
  }
  if (jumpsBack.length === 0) return live;
  const sources = jumpSources(instructions);
  const queued = new Uint8Array(count);
  const stack: number[] = [];
  const visit = (from: number): void => {
    if (queued[from] === 1) return;
    queued[from] = 1;
    stack.push(from);
  };
  for (const slot of jumpsBack) visit(slot);
  while (stack.length > 0) {
    const slot = stack.pop() as number;
    queued[slot] = 0;
    const before = reads[slot]! | (liveAfter(instructions, live, slot) & ~writes[slot]!);
    if (before === live[slot]) continue;
    live[slot] = before;
    if (slot > 0) visit(slot - 1);
    for (const from of sources.get(slot) ?? none) visit(from);
  }
  return live;
}

const none: readonly number[] = [];

function liveAfter(instructions: readonly Instruction[], live: Uint16Array, slot: number): number {
  const instruction = instructions[slot] as Instruction;
  switch (instruction.kind) {
    case "exit":
      return 0;
    case "jump":
      return live[slot + 1 + instruction.offset] ?? 0;
    case "branch":
      return live[slot + 1]! | (live[slot + 1 + instruction.offset] ?? 0);
    default:
      return live[slot + 1]!;
  }
}

/** Slots that jump to a slot, by the slot. */
function jumpSources(instructions: readonly Instruction[]): Map<number, number[]> {
  const sources = new Map<number, number[]>();
  for (let slot = 0; slot < instructions.length; slot++) {
    const instruction = instructions[slot]!;
    if (instruction.kind !== "jump" && instruction.kind !== "branch") continue;
    const target = slot + 1 + instruction.offset;
    const known = sources.get(target);
    if (known === undefined) sources.set(target, [slot]);
    else known.push(slot);
  }
  return sources;
}

function useOf(instruction: Instruction, argumentCount: (helper: number) => number): Use {
  switch (instruction.kind) {
    case "alu": {
      const { op, dst, src } = instruction;
      const source = "register" in src ? 1 << src.register : 0;
      return { reads: source | (op === "mov" ? 0 : 1 << dst), writes: 1 << dst };
    }
    case "move_signed":
      return { reads: 1 << instruction.src, writes: 1 << instruction.dst };
    case "negate":
    case "byte_order":
      return { reads: 1 << instruction.dst, writes: 1 << instruction.dst };
    case "load_immediate":
    case "load_map":
    case "load_map_value":
    case "load_variable":
    case "load_function":
      return { reads: 0, writes: 1 << instruction.dst };
    case "load":
      return { reads: 1 << instruction.base, writes: 1 << instruction.dst };
    case "store": {
      const { base, src } = instruction;
      return { reads: (1 << base) | ("register" in src ? 1 << src.register : 0), writes: 0 };
    }
    case "atomic": {
      const { op, base, src, fetch } = instruction;
      const exchanged = op === "cmpxchg" ? 1 : 0;
      const writes = fetch ? 1 << (op === "cmpxchg" ? 0 : src) : 0;
      return { reads: (1 << base) | (1 << src) | exchanged, writes };
    }
    case "load_packet": {
      const { index } = instruction;
      return { reads: (1 << 6) | (index === undefined ? 0 : 1 << index), writes: callerSaved };
    }
    case "branch": {
      const { dst, src } = instruction;
      return { reads: (1 << dst) | ("register" in src ? 1 << src.register : 0), writes: 0 };
    }
    case "call_helper": {
      const reads = (1 << (argumentCount(instruction.id) + 1)) - 2;
      return { reads, writes: callerSaved };
    }
    case "call_register":
      return { reads: argumentMask | (1 << instruction.target), writes: callerSaved };
    case "call_local":
    case "call_btf":
      return { reads: argumentMask, writes: callerSaved };
    case "exit":
      return { reads: 1, writes: 0 };
    case "jump":
    case "second_slot":
      return { reads: 0, writes: 0 };
    default: {
      const never: never = instruction;
      return never;
    }
  }
}
