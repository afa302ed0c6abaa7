import { assemble } from "../../../src/isa/assembler.ts";
import type { ProgramType } from "../../../src/object/object-spec.ts";
import type { VerifiableProgram, VerifiedMap } from "../../../src/verifier/program.ts";
import { type Declarations, typed } from "../function-types.ts";

/** Maps that the programs name by index. */
export const testMaps: readonly VerifiedMap[] = [
  map({ name: "counters", type: "array", keySize: 4, valueSize: 16, maxEntries: 4 }),
  map({ name: "flows", type: "hash", keySize: 8, valueSize: 32, maxEntries: 16 }),
  map({
    name: ".rodata",
    type: "array",
    keySize: 4,
    valueSize: 16,
    maxEntries: 1,
    flags: 0x80,
    readOnly: true,
    frozenValue: Uint8Array.from([4, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]),
  }),
  map({ name: "events", type: "ringbuf", keySize: 0, valueSize: 0, maxEntries: 4096 }),
  map({ name: "globals", type: "array", keySize: 4, valueSize: 64, maxEntries: 1 }),
  map({ name: "programs", type: "prog_array", keySize: 4, valueSize: 4, maxEntries: 4 }),
  map({ name: "locked", type: "hash", keySize: 8, valueSize: 16, maxEntries: 4, spinLock: 4 }),
  map({
    name: ".rodata.str1.1",
    type: "array",
    keySize: 4,
    valueSize: 16,
    maxEntries: 1,
    flags: 0x80,
    readOnly: true,
    frozenValue: new TextEncoder().encode("%d %llx\0%d %q\0ab"),
  }),
  map({ name: "words", type: "array", valueSize: 16, flags: 0x80, readOnly: true }),
];

function map(parts: Partial<VerifiedMap> & Pick<VerifiedMap, "name" | "type">): VerifiedMap {
  return { keySize: 4, valueSize: 8, maxEntries: 1, flags: 0, readOnly: false, ...parts };
}

export function programOf(
  text: string,
  type: ProgramType = "xdp",
  more: Partial<VerifiableProgram> = {},
): VerifiableProgram {
  const assembled = assemble(text);
  if (!assembled.ok) throw new AggregateError(assembled.error, `${assembled.error[0]}\n${text}`);
  return {
    object: "test.o",
    name: "test",
    type,
    instructions: assembled.value,
    maps: testMaps,
    functions: [],
    lines: [],
    ...more,
  };
}

/** One rule: a program that keeps it, and its twin that breaks it. */
export interface RuleCase {
  readonly rule: string;
  readonly type?: ProgramType;
  /** Its functions have types: the kernel takes callbacks with those alone. Static, but for these. */
  readonly typed?: Declarations;
  /** What else the program is. */
  readonly more?: Partial<VerifiableProgram>;
  readonly accepted: string;
  readonly refused: string;
  readonly code: string;
  /** In the cause, or the fix. */
  readonly says: RegExp;
  /** Why the kernel cannot be asked. */
  readonly notInKernel?: string;
}

/** What `typed` of a rule is where all functions are static. */
export const allStatic: Declarations = new Map();

/** Of a rule's two programs the one that keeps it, or the one that breaks it. */
export function programOfRule(rule: RuleCase, good: boolean): VerifiableProgram {
  const program = programOf(good ? rule.accepted : rule.refused, rule.type, rule.more);
  return rule.typed === undefined ? program : typed(program, rule.typed);
}

/** Data in r2, data_end in r3. */
export const packetStart = `
  r2 = *(u32 *)(r1 + 0)
  r3 = *(u32 *)(r1 + 4)`;

export const lookup = (index: number, keySlot = -8): string => `
  *(u64 *)(r10 - 8) = 0
  r1 = map_by_fd(${index}) ll
  r2 = r10
  r2 += ${keySlot}
  call 1`;

export const packetCheck = (bytes: number): string => `${packetStart}
  r4 = r2
  r4 += ${bytes}
  if r4 > r3 goto out`;

export const out = `
  out: r0 = 1
  exit`;
