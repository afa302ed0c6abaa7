import { putU32le, u32le } from "../common/bytes.ts";
import { decodeProgram } from "../isa/codec.ts";
import { disassemble } from "../isa/disassembler.ts";
import type { Btf } from "./btf.ts";
import type { CoreRecord } from "./btf-ext.ts";
import { nameOfType, resolveType, sizeOfType } from "./btf-types.ts";
import {
  type CoreField,
  fieldAnswer,
  fieldQuestions,
  localPath,
  matchPath,
} from "./core-fields.ts";
import type { NamedTypes } from "./declarations.ts";
import type { Unanswered } from "./object-spec.ts";
import { stableTypes } from "./stable-types.ts";

/** enum bpf_core_relo_kind, linux/bpf.h: what is asked of a field, a type or an enum's value. */
const questions = [
  (field: string) => `the offset of ${field}`,
  (field: string) => `the size of ${field}`,
  (field: string) => `whether ${field} exists`,
  (field: string) => `the sign of ${field}`,
  (field: string) => `the left shift of ${field}`,
  (field: string) => `the right shift of ${field}`,
  (type: string) => `the local type id of ${type}`,
  (type: string) => `the type id of ${type}`,
  (type: string) => `whether ${type} exists`,
  (type: string) => `the size of ${type}`,
  (value: string) => `whether ${value} exists`,
  (value: string) => `the value of ${value}`,
  (type: string) => `whether ${type} matches`,
] as const;
const localTypeId = 6;
const typeQuestions = { exists: 8, size: 9, matches: 12 } as const;
const enumQuestions = { exists: 10, value: 11 } as const;

/** Questions whose answer is "no" where there is no such type: a field, a type, an enum value, a match. */
const existenceQuestions = [2, 8, 10, 12];

/**
 * Answers the CO-RE question of the instruction at byte `at` of `code`, by the types that are the same
 * everywhere. Whether anything else of a kernel exists is answered with no; other questions have no
 * answer: then the instruction becomes a call of a helper that is none, as libbpf makes it, which the
 * verifier refuses where a path comes to it.
 */
export function relocateCore(
  btf: Btf,
  record: CoreRecord,
  code: Uint8Array,
  at: number,
): Unanswered | undefined {
  if (record.kind === localTypeId) return undefined;
  const subject = subjectOf(btf, record);
  const asked = questions[record.kind]?.(subject) ?? `question ${record.kind} of ${subject}`;
  const instruction = instructionText(code, at);
  const answer = answerOf(btf, record);
  const problem =
    "fix" in answer
      ? { what: `${asking(asked)}, ${answer.what}`, fix: answer.fix }
      : patch(code, at, answer, asked);
  if (problem === undefined) return undefined;
  poison(code, at);
  return { code: "OBJECT_CORE_RELOCATION", ...problem, instruction };
}

function asking(asked: string): string {
  return `its CO-RE relocation asks the kernel for ${asked}`;
}

/** What a question is about: `field data_len of struct sk_buff`, `TCP_SECRET of enum tcp_states`. */
function subjectOf(btf: Btf, { kind, type, access }: CoreRecord): string {
  const named = nameOfType(btf, type);
  const resolved = resolveType(btf, type);
  if (kind === enumQuestions.exists || kind === enumQuestions.value) {
    const value = resolved.kind === "enum" ? resolved.values[Number(access)] : undefined;
    return `${value?.name ?? `value ${access}`} of ${named}`;
  }
  if (kind > fieldQuestions.rightShift) return named;
  const path = localPath(btf, type, access);
  if (path === undefined) return `access ${access} of ${named}`;
  const { steps } = path;
  const whole = steps[0]!.index === 0 ? named : `${named}[${steps[0]!.index}]`;
  return steps.length === 1 ? whole : `field ${fieldName(steps)} of ${whole}`;
}

/** The instruction at byte `at` as its compiler wrote it. */
function instructionText(code: Uint8Array, at: number): string {
  const end = at + (code[at] === lddw ? 16 : 8);
  const decoded = decodeProgram(code.subarray(at, end));
  return decoded.ok
    ? disassemble(decoded.value[0]!)
    : `an instruction of opcode 0x${code[at]!.toString(16)}`;
}

/** A question without an answer. */
interface NoAnswer {
  readonly what: string;
  readonly fix: string;
}

/** What is written into the instruction; and for a load or a store of another size, how many bytes. */
interface Answer {
  readonly value: bigint;
  readonly resize?: Resize | undefined;
}

interface Resize {
  readonly from: number;
  readonly to: number;
  /** Whether the one may be loaded for the other: not where a sign would have to be carried. */
  readonly isSound: boolean;
}

function answerOf(btf: Btf, record: CoreRecord): Answer | NoAnswer {
  const stable = stableTypes();
  const type = resolveType(btf, record.type);
  // A name may go on behind three underscores, to tell apart what the source sees in one type.
  const name = "name" in type ? essentialName(type.name) : "";
  const target = stable.ids.get(name) ?? 0;
  const known = resolveType(stable, target);
  if (known.kind === "enum" && type.kind === "enum") {
    const asked = type.values[Number(record.access)]?.name ?? "";
    const found = known.values.find((value) => value.name === essentialName(asked));
    if (record.kind === enumQuestions.value && found !== undefined) return { value: found.value };
    if (record.kind === enumQuestions.exists) return yesOrNo(found !== undefined);
  }
  const isKnown = known.kind === type.kind && known.kind !== "void";
  if (isKnown && known.kind === "struct" && record.kind <= fieldQuestions.rightShift)
    return fieldOf(btf, record, stable, target, name);
  if (isKnown && record.kind === typeQuestions.size)
    return { value: BigInt(sizeOfType(stable, target)!) };
  if (isKnown && record.kind === typeQuestions.exists) return yesOrNo(true);
  if (isKnown && record.kind === typeQuestions.matches)
    return yesOrNo(known.kind !== "struct" || matches(btf, record.type, stable, target));
  if (existenceQuestions.includes(record.kind)) return yesOrNo(false);
  return {
    what: "and user space has no kernel types",
    fix:
      type.kind === "enum"
        ? "use the enum's constant, without bpf_core_enum_value"
        : "use the struct of the linux/ headers, without preserve_access_index",
  };
}

/** Flavours of a type: what stands behind three underscores is not of its name. */
function essentialName(name: string): string {
  return name.replace(/___.*$/s, "");
}

function yesOrNo(isSo: boolean): Answer {
  return { value: isSo ? 1n : 0n };
}

function fieldOf(
  btf: Btf,
  record: CoreRecord,
  stable: NamedTypes,
  target: number,
  name: string,
): Answer | NoAnswer {
  const path = localPath(btf, record.type, record.access);
  if (path === undefined)
    return { what: "which is no field of the object's own type", fix: "build the object again" };
  const field = matchPath(btf, path, stable, target);
  if (record.kind === fieldQuestions.exists) return yesOrNo(field !== undefined);
  const value = field && fieldAnswer(stable, record.kind, field);
  if (field === undefined || value === undefined)
    return {
      what: `and struct ${name} has ${field === undefined ? `no field ${fieldName(path.steps)}` : "no such answer"}`,
      fix: `declare struct ${name} with names and types of the linux/ headers, or ask bpf_core_field_exists first`,
    };
  const isOffset = record.kind === fieldQuestions.byteOffset;
  return {
    value: BigInt(value),
    resize: isOffset ? resizeOf(btf, path.field, stable, field) : undefined,
  };
}

function fieldName(
  steps: readonly { readonly name: string | undefined; readonly index: number }[],
) {
  const text = steps
    .slice(1)
    .map(({ name, index }) => (name === undefined ? `[${index}]` : `.${name}`));
  return text.join("").replace(/^\./, "");
}

/** Bit fields are loaded by sizes that the program asks for itself. */
function resizeOf(btf: Btf, local: CoreField, stable: Btf, field: CoreField): Resize | undefined {
  if (local.bitSize > 0 || field.bitSize > 0) return undefined;
  const from = sizeOfType(btf, local.type) ?? 0;
  const to = sizeOfType(stable, field.type) ?? 0;
  if (from === to) return undefined;
  const [mine, theirs] = [resolveType(btf, local.type), resolveType(stable, field.type)];
  const arePointers = mine.kind === "pointer" && theirs.kind === "pointer";
  const areUnsigned =
    mine.kind === "int" && theirs.kind === "int" && !mine.signed && !theirs.signed;
  return { from, to, isSound: arePointers || areUnsigned };
}

/** Every member of the object's struct is one of the other's too, with the same size. */
function matches(btf: Btf, local: number, stable: Btf, target: number): boolean {
  const type = resolveType(btf, local);
  if (type.kind !== "struct") return false;
  return type.members.every((member, index) => {
    const path = localPath(btf, local, `0:${index}`);
    const field = path && matchPath(btf, path, stable, target);
    return field !== undefined && sizeOfType(btf, member.type) === sizeOfType(stable, field.type);
  });
}

/** Classes of instructions, the low three bits of an opcode. RFC 9669 §3.1. */
const classes = {
  load: 0,
  loadRegister: 1,
  store: 2,
  storeRegister: 3,
  alu32: 4,
  alu64: 7,
} as const;
const fromRegister = 8;
const lddw = 0x18;
const sizeMask = 0x18;
/** Opcode bits by bytes loaded or stored. RFC 9669 §5. */
const sizeBits: ReadonlyMap<number, number> = new Map([
  [1, 0x10],
  [2, 0x08],
  [4, 0x00],
  [8, 0x18],
]);

/** Writes an answer where the instruction has room for it. bpf_core_patch_insn. */
function patch(code: Uint8Array, at: number, answer: Answer, asked: string): NoAnswer | undefined {
  const opcode = code[at]!;
  const refuse = (what: string): NoAnswer => ({
    what: `${asking(asked)}, and ${what}`,
    fix: "build the object again, with the struct of the linux/ headers",
  });
  const { value, resize } = answer;
  switch (opcode & 7) {
    case classes.alu32:
    case classes.alu64:
      if ((opcode & fromRegister) !== 0) break;
      putU32le(code, at + 4, Number(BigInt.asUintN(32, value)));
      return undefined;
    case classes.loadRegister:
    case classes.store:
    case classes.storeRegister: {
      if (value > 0x7fffn) return refuse(`${value} bytes are beyond an instruction's reach`);
      if (resize !== undefined) {
        const { from, to, isSound } = resize;
        const bits = sizeBits.get(to);
        if (!isSound || bits === undefined || sizeBits.get(from) !== (opcode & sizeMask))
          return refuse(`it has ${to} bytes there and ${from} here`);
        code[at] = (opcode & ~sizeMask) | bits;
      }
      code[at + 2] = Number(value) & 0xff;
      code[at + 3] = Number(value) >>> 8;
      return undefined;
    }
    case classes.load:
      if (opcode !== lddw || at + 16 > code.length) break;
      putU32le(code, at + 4, Number(BigInt.asUintN(32, value)));
      putU32le(code, at + 12, Number(BigInt.asUintN(32, value >> 32n)));
      return undefined;
  }
  return refuse(`its opcode 0x${opcode.toString(16)} has no place for the answer`);
}

const call = 0x85;
/** libbpf's: no kernel will ever have a helper of this number. */
const poisonHelper = 0xbad2310;

/** Makes a call of no helper of the instruction at byte `at`: the verifier refuses it where it is reached. */
export function poison(code: Uint8Array, at: number): void {
  const slots = code[at] === lddw && u32le(code, at + 8) % 2 ** 16 === 0 ? [at, at + 8] : [at];
  for (const slot of slots) {
    code.fill(0, slot, slot + 8);
    code[slot] = call;
    putU32le(code, slot + 4, poisonHelper);
  }
}
