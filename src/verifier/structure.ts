import type { Instruction } from "../isa/instruction.ts";
import { writtenRegister } from "../isa/written-register.ts";
import type { MapType, ProgramType } from "../object/object-spec.ts";
import { unavailableHelpers } from "./unavailable-helpers.ts";

/** A program as far as its structure goes. */
export interface StructuredProgram {
  readonly type: ProgramType;
  /** By slot, as the codec decodes them. */
  readonly instructions: readonly Instruction[];
  /** What its map operands index. */
  readonly maps: readonly MapShape[];
}

/** What the check asks of a map. */
export interface MapShape {
  readonly name: string;
  readonly type: MapType;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** Where a `struct bpf_spin_lock` lies in the value, bytes. */
  readonly spinLock?: number | undefined;
}

/** All helpers that an engine has, by id, and the program types that may call each. */
export type HelperRules = ReadonlyMap<
  number,
  { readonly name: string; readonly types: readonly ProgramType[] }
>;

interface Problem {
  readonly code: `PROGRAM_${string}`;
  readonly what: string;
  readonly fix: string;
}

/** A fault of a program's structure: `PROGRAM_*`, and the slot it is at. */
export interface StructureProblem {
  readonly slot: number;
  readonly code: string;
  readonly what: string;
  readonly fix: string;
}

/** Types that see the packet through the legacy packet instructions: `may_access_skb`. */
const packetLoadTypes: readonly ProgramType[] = ["socket", "tc", "tcx", "action"];

/**
 * What must hold before any engine may look at a program, whatever its values turn out to be: jumps
 * and calls stay in their function and hit no second half of a 16-byte instruction, no function
 * runs off its end, map operands exist. The first fault, or undefined. With `helpers` also what an
 * instruction may not do wherever it stands (`forbiddenInstruction`); without, code that is never
 * reached may call what it likes.
 */
export function findStructureProblem(
  program: StructuredProgram,
  helpers: HelperRules | undefined,
): StructureProblem | undefined {
  const { instructions } = program;
  const named = slotsThatName(instructions);
  const starts = functionStarts(instructions, named);
  for (const [i, start] of starts.entries()) {
    const range = { start, end: starts[i + 1] ?? instructions.length };
    named[range.end - 1] = 1;
    const problem = findInFunction(program, range, named, helpers);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** By slot 1 where an instruction names something, or is one that nobody has: others have no shape to check. */
function slotsThatName(instructions: readonly Instruction[]): Uint8Array {
  const named = new Uint8Array(instructions.length);
  for (let slot = 0; slot < instructions.length; slot++)
    switch (instructions[slot]!.kind) {
      // The most frequent come first: strings are compared one by one.
      case "alu":
      case "load":
      case "store":
        break;
      case "jump":
      case "branch":
      case "call_local":
      case "load_function":
      case "load_map":
      case "load_map_value":
      case "call_btf":
      case "load_variable":
        named[slot] = 1;
    }
  return named;
}

function findInFunction(
  program: StructuredProgram,
  range: FunctionRange,
  named: Uint8Array,
  helpers: HelperRules | undefined,
): StructureProblem | undefined {
  const { instructions, type } = program;
  for (let slot = range.start; slot < range.end; slot++) {
    if (named[slot] === 0 && helpers === undefined) continue;
    const forbidden = helpers && forbiddenInstruction(type, instructions[slot]!, helpers);
    const problem = forbidden ?? checkShape(program, slot, range);
    if (problem !== undefined) return { ...problem, slot };
  }
  return undefined;
}

interface FunctionRange {
  readonly start: number;
  readonly end: number;
}

/** Slot 0 and whatever is called or has its address taken: a function ends where the next starts. */
export function functionStarts(
  instructions: readonly Instruction[],
  named: Uint8Array = slotsThatName(instructions),
): number[] {
  const starts = new Set([0]);
  for (let slot = 0; slot < instructions.length; slot++) {
    if (named[slot] === 0) continue;
    const instruction = instructions[slot]!;
    if (instruction.kind !== "call_local" && instruction.kind !== "load_function") continue;
    const target = slot + 1 + instruction.offset;
    if (target > 0 && target < instructions.length) starts.add(target);
  }
  return [...starts].sort((a, b) => a - b);
}

function checkShape(
  program: StructuredProgram,
  slot: number,
  range: FunctionRange,
): Problem | undefined {
  const { instructions } = program;
  const instruction = instructions[slot]!;
  if (slot + 1 === range.end && instruction.kind !== "exit" && instruction.kind !== "jump")
    return {
      code: "PROGRAM_FALLS_OFF",
      what:
        range.end === instructions.length
          ? "is the last instruction, and the program goes on behind it"
          : `is the last of its function, and the function at ${range.end} would be run into`,
      fix: "end every function with exit or a jump",
    };
  switch (instruction.kind) {
    case "jump":
    case "branch":
      return checkJump(instructions, slot + 1 + instruction.offset, range);
    case "call_local":
    case "load_function":
      return checkFunction(instructions, slot + 1 + instruction.offset);
    case "load_map":
    case "load_map_value":
      return checkMap(program, instruction);
    case "call_btf":
      return {
        code: "PROGRAM_KERNEL_FUNCTION",
        what: `calls kernel function ${instruction.id} (a kfunc), and there is no kernel here`,
        fix: "use a helper instead",
      };
    case "load_variable":
      return {
        code: "PROGRAM_KERNEL_VARIABLE",
        what: `takes the address of kernel variable ${instruction.id} (a ksym), and there is no kernel here`,
        fix: "declare the extern __weak and test it before use",
      };
    default:
      return undefined;
  }
}

/** What an instruction may not do wherever it stands, if it is ever reached. */
export function forbiddenInstruction(
  type: ProgramType,
  instruction: Instruction,
  helpers: HelperRules,
): Problem | undefined {
  if (writtenRegister(instruction) === 10)
    return {
      code: "PROGRAM_FRAME_POINTER",
      what: "writes r10, the frame pointer, which is read-only",
      fix: "copy r10 to another register first",
    };
  switch (instruction.kind) {
    case "load_packet":
      return packetLoadTypes.includes(type)
        ? undefined
        : {
            code: "PROGRAM_PACKET_LOAD",
            what: `loads from a packet as only socket and tc programs may, and this is of type ${type}`,
            fix: "read the packet between data and data_end",
          };
    case "call_helper":
      return checkHelper(type, instruction.id, helpers);
    case "call_register":
      return type === "raw"
        ? undefined
        : {
            code: "PROGRAM_CALLX",
            what: "calls what a register holds, a function by its pointer or a helper by its number: BPF has no indirect calls",
            fix: "call functions and helpers by name, and choose between them with if or switch; bpf_tail_call chooses a program by number",
          };
    default:
      return undefined;
  }
}

function checkJump(
  instructions: readonly Instruction[],
  target: number,
  range: FunctionRange,
): Problem | undefined {
  if (target < 0 || target >= instructions.length)
    return outside("jumps", target, instructions.length);
  if (instructions[target]!.kind === "second_slot") return intoSecondSlot("jumps", target);
  if (target >= range.start && target < range.end) return undefined;
  return {
    code: "PROGRAM_JUMP_LEAVES_FUNCTION",
    what: `jumps to ${target}, out of its function (${range.start} to ${range.end - 1})`,
    fix: "only call and exit pass between functions",
  };
}

function checkFunction(instructions: readonly Instruction[], target: number): Problem | undefined {
  if (target < 0 || target >= instructions.length)
    return outside("refers", target, instructions.length);
  if (instructions[target]!.kind === "second_slot") return intoSecondSlot("refers", target);
  return undefined;
}

function outside(verb: string, target: number, length: number): Problem {
  return {
    code: "PROGRAM_JUMP_OUTSIDE",
    what: `${verb} to ${target}, and the program has instructions 0 to ${length - 1}`,
    fix: "jump and call within the program",
  };
}

function intoSecondSlot(verb: string, target: number): Problem {
  return {
    code: "PROGRAM_JUMP_INTO_LDDW",
    what: `${verb} to ${target}, the second half of a 16-byte instruction`,
    fix: "jump to its first half, or behind it",
  };
}

function checkMap(
  { type, maps }: Pick<StructuredProgram, "type" | "maps">,
  instruction: Extract<Instruction, { kind: "load_map" | "load_map_value" }>,
): Problem | undefined {
  const map = maps[instruction.map];
  if (map === undefined)
    return {
      code: "PROGRAM_MAP",
      what: `names map ${instruction.map}, and there are ${maps.length} maps`,
      fix: "name a map that there is, counted from 0",
    };
  if (type === "socket" && map.spinLock !== undefined)
    return {
      code: "PROGRAM_MAP",
      what: `uses map ${map.name}, whose values hold a struct bpf_spin_lock, and socket filters may not`,
      fix: "count with atomics (__sync_fetch_and_add) or in a per-CPU map, or make it a tc program",
    };
  if (instruction.kind === "load_map") return undefined;
  if (map.type !== "array" || map.maxEntries !== 1)
    return {
      code: "PROGRAM_MAP_VALUE",
      what: `takes the address of a value of map ${map.name} (${map.type}, ${map.maxEntries} entries)`,
      fix: "only an array of one entry has such an address; use map_lookup_elem",
    };
  if (instruction.offset < map.valueSize) return undefined;
  return {
    code: "PROGRAM_MAP_VALUE",
    what: `takes the address of byte ${instruction.offset} of map ${map.name}, whose value has ${map.valueSize} bytes`,
    fix: `stay within bytes 0 to ${map.valueSize - 1}`,
  };
}

function checkHelper(type: ProgramType, id: number, helpers: HelperRules): Problem | undefined {
  const helper = helpers.get(id);
  if (helper?.types.includes(type)) return undefined;
  if (helper !== undefined)
    return {
      code: "PROGRAM_HELPER_NOT_ALLOWED",
      what: `calls bpf_${helper.name} (helper ${id}), which programs of type ${type} may not call`,
      fix: `programs of type ${helper.types.join(", ")} may: change the section, or do without it`,
    };
  const unavailable = unavailableHelpers.get(id);
  if (unavailable !== undefined)
    return {
      code: "PROGRAM_HELPER_UNAVAILABLE",
      what: `calls bpf_${unavailable.name} (helper ${id}), which ${unavailable.reason}: it is not available in user space`,
      fix: "weir feature lists the helpers there are",
    };
  if (id <= 0)
    return {
      code: "PROGRAM_HELPER_UNKNOWN",
      what: `calls helper ${id}, which is none: so does a call of a function that is declared and not defined`,
      fix: "define the function in the same file, as static, or include what declares the helper",
    };
  return {
    code: "PROGRAM_HELPER_UNKNOWN",
    what: `calls helper ${id}, and Linux has no helper of that number`,
    fix: "build the program against the linux/bpf.h of Linux 6.18 or older",
  };
}
