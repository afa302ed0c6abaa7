import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { ancillaryBase, ancillaryNames, ancillaryOffset } from "./ancillary.ts";
import type { ClassicInstruction, ClassicProgram } from "./instruction.ts";
import {
  aluOp,
  classOf,
  code,
  jumpOp,
  memoryWords,
  mode,
  modeOf,
  opClass,
  size,
  source,
} from "./opcode.ts";

/** BPF_MAXINSNS: what the kernel takes. Expressions may compile to more, for user space. */
const kernelMaxInstructions = 4096;

/**
 * The checks the kernel makes before it attaches a classic filter: bpf_check_classic,
 * chk_code_allowed and check_load_and_stores in net/core/filter.c, but for another limit where
 * `maxInstructions` gives one. `where` names the program.
 */
export function validateClassic(
  program: ClassicProgram,
  where: string,
  maxInstructions = kernelMaxInstructions,
): Result<ClassicProgram, UserError> {
  const sound = checkInstructions(program, where, maxInstructions);
  if (!sound.ok) return sound;
  for (const [word, at] of readsBeforeWrites(program))
    return refuse(`${where}, instruction ${at}`, `M[${word}] is read before it is written`);
  return sound;
}

/** All but the use of scratch memory. */
function checkInstructions(
  program: ClassicProgram,
  where: string,
  maxInstructions: number,
): Result<ClassicProgram, UserError> {
  if (program.length === 0 || program.length > maxInstructions)
    return refuse(
      where,
      `${program.length} instructions`,
      `a program has 1 to ${maxInstructions} instructions`,
    );
  for (const [i, instruction] of program.entries()) {
    const problem = instructionProblem(instruction, i, program.length);
    if (problem !== undefined) return refuse(`${where}, instruction ${i}`, problem);
  }
  const last = program[program.length - 1]!;
  if (last.code !== code.returnK && last.code !== code.returnA)
    return refuse(
      `${where}, instruction ${program.length - 1}`,
      "the last instruction does not return",
      "end the program with ret",
    );
  return ok(program);
}

const allowed: ReadonlySet<number> = new Set(allowedCodes());

function* allowedCodes(): Generator<number> {
  for (const operation of Object.values(aluOp))
    if (operation === aluOp.neg) yield opClass.alu | operation;
    else yield* [opClass.alu | operation | source.k, opClass.alu | operation | source.x];
  for (const width of Object.values(size))
    yield* [code.loadAbsolute | width, code.loadIndirect | width];
  yield* [code.loadImmediate, code.loadMemory, code.loadLength];
  yield* [code.loadXImmediate, code.loadXMemory, code.loadXLength, code.loadXHeaderLength];
  yield* [code.store, code.storeX, code.tax, code.txa, code.returnK, code.returnA];
  yield code.jumpAlways;
  for (const operation of [jumpOp.eq, jumpOp.gt, jumpOp.ge, jumpOp.set])
    yield* [opClass.jump | operation | source.k, opClass.jump | operation | source.x];
}

function instructionProblem(
  { code: operation, jt, jf, k }: ClassicInstruction,
  at: number,
  length: number,
): string | undefined {
  if (!allowed.has(operation)) return `code 0x${operation.toString(16)} is no instruction`;
  switch (operation) {
    case opClass.alu | aluOp.div | source.k:
    case opClass.alu | aluOp.mod | source.k:
      return k === 0 ? "division by the constant zero" : undefined;
    case opClass.alu | aluOp.lsh | source.k:
    case opClass.alu | aluOp.rsh | source.k:
      return k >= 32 ? `shift by ${k} bits: at most 31` : undefined;
    case code.loadMemory:
    case code.loadXMemory:
    case code.store:
    case code.storeX:
      return k >= memoryWords ? `M[${k}]: scratch memory is M[0] to M[15]` : undefined;
    case code.jumpAlways:
      if (k >= 0x8000_0000) return "a jump backwards: programs have no loops";
      return k >= length - at - 1 ? `jump by ${k} leaves the program` : undefined;
  }
  if (classOf(operation) === opClass.jump)
    return at + 1 + Math.max(jt, jf) >= length
      ? `jump by ${Math.max(jt, jf)} leaves the program`
      : undefined;
  if (classOf(operation) === opClass.load && modeOf(operation) === mode.absolute)
    return k >= ancillaryBase && !ancillaryNames.has(ancillaryOffset(k) ?? -1)
      ? `offset 0x${k.toString(16)} is no ancillary data`
      : undefined;
  return undefined;
}

/**
 * Words of scratch memory that some path reads before it has written them, and where first. For
 * programs that `checkInstructions` has accepted: jumps go forward only.
 */
export function readsBeforeWrites(program: ClassicProgram): ReadonlyMap<number, number> {
  const reads = new Map<number, number>();
  // Bit n: M[n] is written on every path that reaches the instruction.
  const written = new Uint16Array(program.length).fill(0xffff);
  written[0] = 0;
  let current = 0xffff;
  for (const [i, { code: operation, jt, jf, k }] of program.entries()) {
    current &= written[i]!;
    if (operation === code.store || operation === code.storeX) current |= 1 << k;
    else if (operation === code.loadMemory || operation === code.loadXMemory) {
      if ((current & (1 << k)) === 0 && !reads.has(k)) reads.set(k, i);
    } else if (operation === code.jumpAlways) {
      written[i + 1 + k]! &= current;
      current = 0xffff;
    } else if (classOf(operation) === opClass.jump) {
      written[i + 1 + jt]! &= current;
      written[i + 1 + jf]! &= current;
      current = 0xffff;
    } else if (classOf(operation) === opClass.return) current = 0xffff;
  }
  return reads;
}

function refuse(where: string, what: string, fix?: string): Result<never, UserError> {
  return err(new UserError("CBPF_INVALID", where, what, fix));
}
