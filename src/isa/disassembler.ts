import type { AtomicOp, Instruction, Operand, Slot } from "./instruction.ts";
import { aluOps, atomicOps, branchOps } from "./opcodes.ts";

export interface DisassemblyOptions {
  /**
   * `clang` (the default): what clang's assembler reads and llvm-objdump prints. `kernel`: what the
   * verifier's log and `bpftool prog dump xlated` print after the opcode. They differ in addresses,
   * targets, numbers and atomics. The assembler reads both, but for the kernel's `lddw` of a number:
   * without `ll` it looks like a move.
   */
  readonly style?: "clang" | "kernel";
  /** Name of a target this many slots from the next instruction; without it, the distance. */
  readonly target?: (offset: number) => string;
  /** Name of a helper: `call name#id` is written, as the kernel does. Clang cannot read that. */
  readonly helper?: (id: number) => string | undefined;
}

/**
 * One instruction as text. `second_slot` has none of its own: the empty string.
 *
 * Pseudo sources of `lddw` that neither clang nor the kernel writes as code are named as in RFC
 * 9669 §5.4: `r1 = map_by_fd(0) ll`, `r1 = map_val(map_by_idx(2)) + 8 ll`, `r1 = var_addr(7) ll`,
 * `r1 = code_addr(+5) ll`; a call by BTF id is `call btf_id(7)`.
 */
export function disassemble(instruction: Instruction, options: DisassemblyOptions = {}): string {
  const kernel = options.style === "kernel";
  const target =
    options.target ?? ((offset: number) => (kernel ? `pc${plus(offset)}` : plus(offset)));
  switch (instruction.kind) {
    case "alu": {
      const { op, width, dst, src } = instruction;
      const letter = width === 32 ? "w" : "r";
      return `${letter}${dst} ${signOf(aluOps, op)} ${operandText(src, letter)}`;
    }
    case "move_signed": {
      const letter = instruction.width === 32 ? "w" : "r";
      return `${letter}${instruction.dst} = (s${instruction.bits})${letter}${instruction.src}`;
    }
    case "negate": {
      const letter = instruction.width === 32 ? "w" : "r";
      return `${letter}${instruction.dst} = -${letter}${instruction.dst}`;
    }
    case "byte_order": {
      const { to, bits, dst } = instruction;
      return `r${dst} = ${to === "swap" ? "bswap" : to}${bits} r${dst}`;
    }
    case "load_immediate": {
      const { dst, value } = instruction;
      return `r${dst} = 0x${value.toString(16)}${kernel ? "" : " ll"}`;
    }
    case "load_map":
      return `r${instruction.dst} = ${mapText(instruction)} ll`;
    case "load_map_value":
      return `r${instruction.dst} = map_val(${mapText(instruction)}) + ${instruction.offset} ll`;
    case "load_variable":
      return `r${instruction.dst} = var_addr(${instruction.id}) ll`;
    case "load_function":
      return `r${instruction.dst} = code_addr(${target(instruction.offset)}) ll`;
    case "second_slot":
      return "";
    case "load": {
      const { size, signed, dst, base, offset } = instruction;
      const type = `${signed ? "s" : "u"}${size * 8}`;
      return `r${dst} = *(${type} *)(${addressText(base, offset, kernel)})`;
    }
    case "store": {
      const { size, base, offset, src } = instruction;
      return `*(u${size * 8} *)(${addressText(base, offset, kernel)}) = ${operandText(src, "r")}`;
    }
    case "atomic":
      return atomicText(instruction, kernel);
    case "load_packet": {
      const { size, index, offset } = instruction;
      const sum = `r${index} + ${offset}`;
      const indexed = offset === 0 && !kernel ? `r${index}` : sum;
      return `r0 = *(u${size * 8} *)skb[${index === undefined ? offset : indexed}]`;
    }
    case "jump":
      return `${instruction.long ? "gotol" : "goto"} ${target(instruction.offset)}`;
    case "branch": {
      const { op, width, dst, src, offset } = instruction;
      const letter = width === 32 ? "w" : "r";
      const right =
        "register" in src ? `${letter}${src.register}` : compared(src.immediate, kernel);
      return `if ${letter}${dst} ${signOf(branchOps, op)} ${right} goto ${target(offset)}`;
    }
    case "call_helper": {
      const name = options.helper?.(instruction.id);
      return name === undefined ? `call ${instruction.id}` : `call ${name}#${instruction.id}`;
    }
    case "call_btf":
      return `call btf_id(${instruction.id})`;
    case "call_local":
      // A number alone is a helper's: without a name the distance needs `pc` in both styles.
      return `call ${options.target === undefined ? `pc${plus(instruction.offset)}` : target(instruction.offset)}`;
    case "call_register":
      return `callx r${instruction.target}`;
    case "exit":
      return "exit";
    default: {
      const never: never = instruction;
      return never;
    }
  }
}

export interface ProgramDisassemblyOptions extends Omit<DisassemblyOptions, "target"> {
  /** `labels` (the default) names targets `L` and their slot; `distance` writes them as `+3`. */
  readonly targets?: "labels" | "distance";
}

/**
 * A program as text that assembles to the same instructions: a line an instruction, and before
 * each target a line with its label.
 */
export function disassembleProgram(
  instructions: readonly Instruction[],
  options: ProgramDisassemblyOptions = {},
): string {
  const { targets = "labels", ...others } = options;
  const labelled = targets === "labels" ? targetSlots(instructions) : new Set<Slot>();
  const lines: string[] = [];
  instructions.forEach((instruction, slot) => {
    if (labelled.has(slot as Slot)) lines.push(`L${slot}:`);
    if (instruction.kind === "second_slot") return;
    const name = (offset: number): string | undefined =>
      labelled.has((slot + 1 + offset) as Slot) ? `L${slot + 1 + offset}` : undefined;
    const { offset } = targetOf(instruction) ?? {};
    const label = offset === undefined ? undefined : name(offset);
    lines.push(
      disassemble(instruction, label === undefined ? others : { ...others, target: () => label }),
    );
  });
  return `${lines.join("\n")}\n`;
}

/** Slots that something jumps to, calls or takes the address of, where an instruction begins. */
function targetSlots(instructions: readonly Instruction[]): Set<Slot> {
  const slots = new Set<Slot>();
  instructions.forEach((instruction, slot) => {
    const target = targetOf(instruction);
    if (target === undefined) return;
    const to = slot + 1 + target.offset;
    const there = instructions[to];
    if (there !== undefined && there.kind !== "second_slot") slots.add(to as Slot);
  });
  return slots;
}

function targetOf(instruction: Instruction): { readonly offset: number } | undefined {
  switch (instruction.kind) {
    case "jump":
    case "branch":
    case "call_local":
    case "load_function":
      return instruction;
    default:
      return undefined;
  }
}

type Atomic = Extract<Instruction, { kind: "atomic" }>;

function atomicText(instruction: Atomic, kernel: boolean): string {
  const { op, fetch, size, base, offset, src } = instruction;
  const place = addressText(base, offset, kernel);
  // To clang, 32-bit atomics work on `w` registers; the kernel names whole ones.
  const letter = size === 4 && !kernel ? "w" : "r";
  if (!fetch) return `lock *(u${size * 8} *)(${place}) ${atomicSign(op)} ${letter}${src}`;
  if (kernel) {
    const call = `atomic${size === 8 ? "64" : ""}_${kernelAtomicName(op)}((u${size * 8} *)(${place})`;
    return op === "cmpxchg" ? `r0 = ${call}, r0, r${src})` : `r${src} = ${call}, r${src})`;
  }
  const suffix = size === 4 ? "32_32" : "_64";
  if (op === "cmpxchg")
    return `${letter}0 = cmpxchg${suffix}(${place}, ${letter}0, ${letter}${src})`;
  if (op === "xchg") return `${letter}${src} = xchg${suffix}(${place}, ${letter}${src})`;
  return `${letter}${src} = atomic_fetch_${op}((u${size * 8} *)(${place}), ${letter}${src})`;
}

function kernelAtomicName(op: AtomicOp): string {
  return op === "xchg" || op === "cmpxchg" ? op : `fetch_${op}`;
}

function atomicSign(op: AtomicOp): string {
  const sign = atomicOps.find((row) => row.op === op && !row.fetch)?.sign;
  if (sign === undefined) throw new RangeError(`${op} always fetches`);
  return sign;
}

function signOf<Op extends string>(rows: readonly { op: Op; sign: string }[], op: Op): string {
  return (rows.find((row) => row.op === op) as { sign: string }).sign;
}

function operandText(operand: Operand, letter: "r" | "w"): string {
  return "register" in operand ? `${letter}${operand.register}` : `${operand.immediate}`;
}

/** Branches compare with hexadecimal numbers; the kernel prints the 32 bits without a sign. */
function compared(immediate: number, kernel: boolean): string {
  if (kernel) return `0x${(immediate >>> 0).toString(16)}`;
  return immediate < 0 ? `-0x${(-immediate).toString(16)}` : `0x${immediate.toString(16)}`;
}

function mapText({ by, map }: { readonly by: "fd" | "index"; readonly map: number }): string {
  return `${by === "fd" ? "map_by_fd" : "map_by_idx"}(${map})`;
}

function addressText(base: number, offset: number, kernel: boolean): string {
  if (kernel) return `r${base} ${plus(offset)}`;
  return `r${base} ${offset < 0 ? "-" : "+"} ${Math.abs(offset)}`;
}

function plus(offset: number): string {
  return offset < 0 ? `${offset}` : `+${offset}`;
}
