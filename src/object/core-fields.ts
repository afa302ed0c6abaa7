import type { Btf } from "./btf.ts";
import { flattenMembers, resolveType, sizeOfType } from "./btf-types.ts";

/** A field as a CO-RE access names it: a member, or an element of an array. */
export interface CoreField {
  readonly type: number;
  /** From the start of the struct. */
  readonly bitOffset: number;
  /** 0: not a bit field. */
  readonly bitSize: number;
  readonly isElement: boolean;
}

/** One step to a field: to a member by its name, or to an element of an array by its number. */
interface Step {
  readonly name: string | undefined;
  readonly index: number;
  /** What it leads to, in the types of the object. */
  readonly type: number;
}

/** A field in the object's own types, and the way to it that other types may have too. */
export interface CorePath {
  readonly steps: readonly Step[];
  readonly field: CoreField;
}

/** No source nests deeper. BPF_CORE_SPEC_MAX_LEN. */
const maxSteps = 64;

/**
 * The field that `access` names within a type of the object, as "0:1:2": the number of a struct (as in
 * an array of them), then of members and elements. Undefined where there is none. bpf_core_parse_spec
 * in libbpf's relo_core.c.
 */
export function localPath(btf: Btf, root: number, access: string): CorePath | undefined {
  const numbers = access.split(":").map(Number);
  const whole = sizeOfType(btf, root);
  if (whole === undefined || numbers.length > maxSteps) return undefined;
  if (!numbers.every((index) => Number.isInteger(index) && index >= 0 && index < 2 ** 31))
    return undefined;
  const steps: Step[] = [{ name: undefined, index: numbers[0]!, type: root }];
  let field = element(root, 0, whole, numbers[0]!);
  for (const index of numbers.slice(1)) {
    const within = resolveType(btf, field.type);
    if (within.kind === "array") {
      const bytes = sizeOfType(btf, within.type);
      if (bytes === undefined) return undefined;
      field = element(within.type, field.bitOffset, bytes, index);
      steps.push({ name: undefined, index, type: field.type });
      continue;
    }
    if (within.kind !== "struct" && within.kind !== "union") return undefined;
    const member = within.members[index];
    if (member === undefined) return undefined;
    const { name, type, bitSize } = member;
    field = { type, bitSize, bitOffset: field.bitOffset + member.bitOffset, isElement: false };
    // Other types may have the members of an unnamed struct in another, or in none.
    if (name !== "") steps.push({ name, index, type });
  }
  return { steps, field };
}

/**
 * The field at the end of the same way through another type, or undefined where that has no such
 * field, or one of another kind. bpf_core_spec_match.
 */
export function matchPath(
  local: Btf,
  { steps }: CorePath,
  target: Btf,
  root: number,
): CoreField | undefined {
  let field = element(root, 0, sizeOfType(target, root) ?? 0, steps[0]!.index);
  for (const step of steps.slice(1)) {
    const within = resolveType(target, field.type);
    if (step.name !== undefined) {
      const member = flattenMembers(target, within).find(({ name }) => name === step.name);
      if (member === undefined || !areCompatible(local, step.type, target, member.type))
        return undefined;
      const { type, bitSize } = member;
      field = { type, bitSize, bitOffset: field.bitOffset + member.bitOffset, isElement: false };
    } else {
      if (within.kind !== "array" || step.index >= within.length) return undefined;
      field = element(
        within.type,
        field.bitOffset,
        sizeOfType(target, within.type) ?? 0,
        step.index,
      );
    }
  }
  return field;
}

function element(type: number, bitsBefore: number, bytes: number, index: number): CoreField {
  return { type, bitOffset: bitsBefore + index * bytes * 8, bitSize: 0, isElement: true };
}

/** Whether one may stand for the other: numbers of any size do. bpf_core_fields_are_compat. */
function areCompatible(local: Btf, localId: number, target: Btf, targetId: number): boolean {
  const [mine, theirs] = [resolveType(local, localId), resolveType(target, targetId)];
  const isComposite = ({ kind }: { kind: string }) => kind === "struct" || kind === "union";
  if (isComposite(mine) && isComposite(theirs)) return true;
  if (mine.kind === "array" && theirs.kind === "array")
    return areCompatible(local, mine.type, target, theirs.type);
  return mine.kind === theirs.kind;
}

/** The questions about fields of enum bpf_core_relo_kind, linux/bpf.h. */
export const fieldQuestions = {
  byteOffset: 0,
  byteSize: 1,
  exists: 2,
  signed: 3,
  leftShift: 4,
  rightShift: 5,
} as const;

/** The answer for a field that there is; undefined where it has none. bpf_core_calc_field_relo. */
export function fieldAnswer(btf: Btf, question: number, field: CoreField): number | undefined {
  const { type, bitOffset, bitSize, isElement } = field;
  const load = loadOf(btf, field);
  if (load === undefined) return undefined;
  switch (question) {
    case fieldQuestions.byteOffset:
      return load.at;
    case fieldQuestions.byteSize:
      return load.bytes;
    case fieldQuestions.exists:
      return 1;
  }
  // What is loaded is 64 bits wide; the shifts leave the field's bits alone.
  if (isElement) return undefined;
  switch (question) {
    case fieldQuestions.signed: {
      const resolved = resolveType(btf, type);
      return "signed" in resolved && resolved.signed ? 1 : 0;
    }
    case fieldQuestions.leftShift:
      return 64 - (bitOffset + (bitSize || load.bytes * 8) - load.at * 8);
    case fieldQuestions.rightShift:
      return 64 - (bitSize || load.bytes * 8);
    default:
      return undefined;
  }
}

/** The bytes to load for a field: for a bit field the aligned number of its type, or a wider one. */
function loadOf(
  btf: Btf,
  { type, bitOffset, bitSize }: CoreField,
): { readonly at: number; readonly bytes: number } | undefined {
  let bytes = sizeOfType(btf, type);
  if (bytes === undefined || bitSize === 0)
    return bytes === undefined ? undefined : { at: bitOffset / 8, bytes };
  for (; bytes > 0 && bytes <= 8; bytes *= 2) {
    const at = Math.floor(bitOffset / 8 / bytes) * bytes;
    if (bitOffset + bitSize <= (at + bytes) * 8) return { at, bytes };
  }
  return undefined;
}
