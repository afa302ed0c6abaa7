import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { type AluOp, type BranchOp, type Instruction, register } from "../isa/instruction.ts";
import { ancillary, ancillaryNames, ancillaryOffset } from "./ancillary.ts";
import type { ClassicInstruction, ClassicProgram } from "./instruction.ts";
import {
  aluOp,
  classOf,
  code,
  jumpOp,
  mode,
  modeOf,
  opClass,
  operationOf,
  size,
  sizeOf,
  usesX,
} from "./opcode.ts";
import { validateClassic } from "./validate.ts";

/** More than 50,000 hosts compile to; the verifier has its own limit. */
const maxInstructions = 1_000_000;

const a = register(0);
const context = register(6);
const x = register(7);
const scratch = register(8);
const stack = register(10);

/** Jumps name the classic instruction they go to until all slots are known. */
type Line =
  | Instruction
  | { readonly kind: "go"; readonly to: number }
  | {
      readonly kind: "test";
      readonly op: BranchOp;
      readonly operand: { readonly register: typeof x } | { readonly immediate: number };
      readonly to: number;
    };

/**
 * Headers that `protochain` walks over in programs that are to be translated (`maxChainedHeaders` of
 * the compiler): eBPF as translated here has no loops.
 */
export const maxChainedHeaders = 8;

/**
 * Translates a classic program to eBPF, as the kernel does when it attaches one (bpf_convert_filter
 * in net/core/filter.c), for program type "socket" on a frame from its Ethernet header on. A is r0,
 * X r7, scratch memory the stack; r0 at the end is the number of bytes to keep.
 *
 * Ancillary data come from `__sk_buff`, and what is not in it is refused by name. Two rules are
 * libpcap's, so that a filter matches live what it matches in a capture: shifts by X of 32 and more
 * give 0, where the kernel takes the count modulo 32, and `[x + k]` does not wrap around. Backward
 * jumps, which `protochain` without a limit has, and reads of scratch memory before it is written are
 * refused as there. `where` names the program.
 */
export function translateClassic(
  program: ClassicProgram,
  where: string,
): Result<readonly Instruction[], UserError> {
  const valid = validateClassic(program, where, maxInstructions);
  if (!valid.ok) return valid;
  const lines: Line[] = [
    { kind: "alu", op: "mov", width: 32, dst: a, src: { immediate: 0 } },
    { kind: "alu", op: "mov", width: 32, dst: x, src: { immediate: 0 } },
    { kind: "alu", op: "mov", width: 64, dst: context, src: { register: register(1) } },
  ];
  const starts: number[] = [];
  const isSmall = smallX(program);
  const reached = reachable(program);
  for (const [i, instruction] of program.entries()) {
    starts.push(lines.length);
    // Classic programs may hold what no jump goes to; the verifier takes none that does.
    if (reached[i] === 0) continue;
    const translated = translate(instruction, i, isSmall[i] === 1);
    if (typeof translated === "string")
      return err(
        new UserError(
          "CBPF_ANCILLARY",
          `${where}, instruction ${i}`,
          `[${translated}] is not known outside the kernel`,
          "leave this test out",
        ),
      );
    for (const line of translated) lines.push(line);
  }
  return ok(lines.map((line, slot) => resolve(line, slot, starts)));
}

function resolve(line: Line, slot: number, starts: readonly number[]): Instruction {
  if (line.kind === "go") {
    const offset = starts[line.to]! - slot - 1;
    return { kind: "jump", offset, long: offset > 0x7fff };
  }
  if (line.kind !== "test") return line;
  const offset = starts[line.to]! - slot - 1;
  return { kind: "branch", op: line.op, width: 32, dst: a, src: line.operand, offset };
}

/** The lines of one instruction, or the name of ancillary data that there is not. */
function translate(
  instruction: ClassicInstruction,
  at: number,
  isXSmall: boolean,
): readonly Line[] | string {
  const { code: operation, k } = instruction;
  switch (classOf(operation)) {
    case opClass.load:
      return translateLoad(operation, k, isXSmall);
    case opClass.loadX:
      return translateLoadX(operation, k);
    case opClass.store:
      return [
        { kind: "store", size: 4, base: stack, offset: stackOffset(k), src: { register: a } },
      ];
    case opClass.storeX:
      return [
        { kind: "store", size: 4, base: stack, offset: stackOffset(k), src: { register: x } },
      ];
    case opClass.alu:
      return translateAlu(operation, k);
    case opClass.jump:
      return translateJump(instruction, at);
    case opClass.return:
      return operation === code.returnA ? [{ kind: "exit" }] : [setA(k), { kind: "exit" }];
    default:
      return operation === code.tax ? [move(x, a)] : [move(a, x)];
  }
}

function move(dst: typeof a, src: typeof a): Instruction {
  return { kind: "alu", op: "mov", width: 32, dst, src: { register: src } };
}

function setA(k: number): Instruction {
  return { kind: "alu", op: "mov", width: 32, dst: a, src: { immediate: k | 0 } };
}

/** M[0] is right below the frame pointer. */
function stackOffset(word: number): number {
  return -4 * (word + 1);
}

function loadStack(dst: typeof a, word: number): Instruction {
  return { kind: "load", size: 4, signed: false, dst, base: stack, offset: stackOffset(word) };
}

/** A field of struct __sk_buff, linux/bpf.h, by its offset. */
function loadField(dst: typeof a, offset: number): Instruction {
  return { kind: "load", size: 4, signed: false, dst, base: context, offset };
}

const lengthField = 0;

const bytesOf: ReadonlyMap<number, 1 | 2 | 4> = new Map([
  [size.byte, 1],
  [size.half, 2],
  [size.word, 4],
]);

function translateLoad(operation: number, k: number, isXSmall: boolean): readonly Line[] | string {
  const bytes = bytesOf.get(sizeOf(operation))!;
  switch (modeOf(operation)) {
    case mode.immediate:
      return [setA(k)];
    case mode.memory:
      return [loadStack(a, k)];
    case mode.length:
      return [loadField(a, lengthField)];
    case mode.indirect: {
      const load: Line = { kind: "load_packet", size: bytes, index: x, offset: k | 0 };
      return isXSmall ? [load] : [...endWithoutSmallX, load];
    }
    default: {
      const offset = ancillaryOffset(k);
      if (offset === undefined)
        return [{ kind: "load_packet", size: bytes, index: undefined, offset: k | 0 }];
      return ancillaryLoads.get(offset) ?? ancillaryNames.get(offset)!;
    }
  }
}

/** A sum of offsets must not wrap around to the front of the packet. */
const endWithoutSmallX: readonly Instruction[] = [
  { kind: "branch", op: "le", width: 32, dst: x, src: { immediate: 0x7fff_ffff }, offset: 2 },
  setA(0),
  { kind: "exit" },
];

/** For each instruction, 1 where some path comes. Jumps go forward only: one pass finds all. */
function reachable(program: ClassicProgram): Uint8Array {
  const reached = new Uint8Array(program.length);
  reached[0] = 1;
  for (const [i, { code: operation, jt, jf, k }] of program.entries()) {
    if (reached[i] === 0) continue;
    if (operation === code.jumpAlways) reached[i + 1 + k] = 1;
    else if (classOf(operation) === opClass.jump) reached[i + 1 + jt] = reached[i + 1 + jf] = 1;
    else if (classOf(operation) !== opClass.return) reached[i + 1] = 1;
  }
  return reached;
}

/**
 * For each instruction, 1 if X is below 2³¹ on every path that reaches it: 0 as in the beginning, the
 * length of a header, or a constant. Jumps go forward only.
 */
function smallX(program: ClassicProgram): Uint8Array {
  const isSmall = new Uint8Array(program.length).fill(1);
  let current = 1;
  for (const [i, { code: operation, jt, jf, k }] of program.entries()) {
    current &= isSmall[i]!;
    isSmall[i] = current;
    if (operation === code.jumpAlways) {
      isSmall[i + 1 + k]! &= current;
      current = 1;
    } else if (classOf(operation) === opClass.jump) {
      isSmall[i + 1 + jt]! &= current;
      isSmall[i + 1 + jf]! &= current;
      current = 1;
    } else if (classOf(operation) === opClass.return) current = 1;
    else if (operation === code.tax || operation === code.loadXMemory) current = 0;
    else if (operation === code.loadXImmediate) current = k < 0x8000_0000 ? 1 : 0;
    else if (classOf(operation) === opClass.loadX) current = 1;
  }
  return isSmall;
}

/** Fields in network order are turned to the host's, as classic programs see them. */
const toHostOrder: Instruction = { kind: "byte_order", to: "be", bits: 16, dst: a };

/** What user space has of the ancillary data. */
const ancillaryLoads: ReadonlyMap<number, readonly Instruction[]> = new Map<
  number,
  readonly Instruction[]
>([
  [ancillary.protocol, [loadField(a, 16), toHostOrder]],
  [ancillary.packetType, [loadField(a, 4)]],
  [ancillary.ifindex, [loadField(a, 40)]],
  [ancillary.mark, [loadField(a, 8)]],
  [ancillary.queue, [loadField(a, 12)]],
  [ancillary.rxHash, [loadField(a, 68)]],
  [ancillary.vlanTag, [loadField(a, 24)]],
  [ancillary.vlanTagPresent, [loadField(a, 20)]],
  [ancillary.vlanProtocol, [loadField(a, 28), toHostOrder]],
  // ARPHRD_ETHER, linux/if_arp.h: whatever came in, programs see Ethernet frames.
  [ancillary.hardwareType, [setA(1)]],
  [ancillary.xorX, [{ kind: "alu", op: "xor", width: 32, dst: a, src: { register: x } }]],
  // bpf_get_smp_processor_id and bpf_get_prandom_u32.
  [ancillary.cpu, [{ kind: "call_helper", id: 8 }]],
  [ancillary.random, [{ kind: "call_helper", id: 7 }]],
]);

function translateLoadX(operation: number, k: number): readonly Line[] {
  switch (modeOf(operation)) {
    case mode.immediate:
      return [{ kind: "alu", op: "mov", width: 32, dst: x, src: { immediate: k | 0 } }];
    case mode.memory:
      return [loadStack(x, k)];
    case mode.length:
      return [loadField(x, lengthField)];
    default:
      // Packet loads go to r0 and spoil r1 to r5, so A waits in r8.
      return [
        move(scratch, a),
        { kind: "load_packet", size: 1, index: undefined, offset: k | 0 },
        { kind: "alu", op: "and", width: 32, dst: a, src: { immediate: 0xf } },
        { kind: "alu", op: "lsh", width: 32, dst: a, src: { immediate: 2 } },
        move(x, a),
        move(a, scratch),
      ];
  }
}

const aluOps: ReadonlyMap<number, AluOp> = new Map([
  [aluOp.add, "add"],
  [aluOp.sub, "sub"],
  [aluOp.mul, "mul"],
  [aluOp.div, "div"],
  [aluOp.mod, "mod"],
  [aluOp.or, "or"],
  [aluOp.and, "and"],
  [aluOp.xor, "xor"],
  [aluOp.lsh, "lsh"],
  [aluOp.rsh, "rsh"],
]);

function translateAlu(operation: number, k: number): readonly Line[] {
  if (operation === code.negate) return [{ kind: "negate", width: 32, dst: a }];
  const op = aluOps.get(operationOf(operation))!;
  const src = usesX(operation) ? { register: x } : { immediate: k | 0 };
  const calculate: Instruction = { kind: "alu", op, width: 32, dst: a, src };
  if (!usesX(operation)) return [calculate];
  switch (op) {
    case "div":
    case "mod":
      // Division by zero ends a classic program with 0.
      return [
        { kind: "branch", op: "ne", width: 32, dst: x, src: { immediate: 0 }, offset: 2 },
        setA(0),
        { kind: "exit" },
        calculate,
      ];
    case "lsh":
    case "rsh":
      return [
        { kind: "branch", op: "le", width: 32, dst: x, src: { immediate: 31 }, offset: 2 },
        setA(0),
        { kind: "jump", offset: 1, long: false },
        calculate,
      ];
    default:
      return [calculate];
  }
}

const branchOps: ReadonlyMap<number, BranchOp> = new Map([
  [jumpOp.eq, "eq"],
  [jumpOp.gt, "gt"],
  [jumpOp.ge, "ge"],
  [jumpOp.set, "set"],
]);

/** Conditions that hold where another does not; `set` has none. */
const inverse: ReadonlyMap<BranchOp, BranchOp> = new Map([
  ["eq", "ne"],
  ["gt", "le"],
  ["ge", "lt"],
]);

function translateJump(
  { code: operation, jt, jf, k }: ClassicInstruction,
  at: number,
): readonly Line[] {
  if (operation === code.jumpAlways) return [{ kind: "go", to: at + 1 + k }];
  const op = branchOps.get(operationOf(operation))!;
  const operand = usesX(operation) ? { register: x } : { immediate: k | 0 };
  const whenTrue = at + 1 + jt;
  const whenFalse = at + 1 + jf;
  if (jf === 0) return [{ kind: "test", op, operand, to: whenTrue }];
  const opposite = inverse.get(op);
  if (jt === 0 && opposite !== undefined)
    return [{ kind: "test", op: opposite, operand, to: whenFalse }];
  return [
    { kind: "test", op, operand, to: whenTrue },
    { kind: "go", to: whenFalse },
  ];
}
