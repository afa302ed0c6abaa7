import { parseHex } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { encodeValue, shown } from "./encode-value.ts";
import { parseInteger, writeInteger } from "./integers.ts";
import type { MapSpec, ObjectSpec, VariableSpec } from "./object-spec.ts";
import { integerRange, listed } from "./value-shapes.ts";

/**
 * The object with one global variable set, as its BTF type reads `value` (see `encodeValue`). The
 * given object stays as it is.
 */
export function setGlobal(
  object: ObjectSpec,
  name: string,
  value: unknown,
): Result<ObjectSpec, UserError> {
  const variable = object.variables.find((candidate) => candidate.name === name);
  if (variable === undefined) return err(unknownGlobal(object, name));
  const where = `${object.file}, global "${name}"`;
  const bytes = encodeGlobal(object, variable, value, where);
  if (!bytes.ok) return bytes;
  const maps = object.maps.map((map, i) =>
    i === variable.map ? withBytes(map, variable.offset, bytes.value) : map,
  );
  return ok({ ...object, maps });
}

function encodeGlobal(
  object: ObjectSpec,
  { type, size }: VariableSpec,
  value: unknown,
  where: string,
): Result<Uint8Array, UserError> {
  if (object.btf !== undefined && type !== undefined)
    return encodeValue(object.btf, type, value, where);
  return encodeUntyped(size, value, where);
}

/** Without a type: `hex:` and all bytes, or for 1, 2, 4 and 8 bytes a whole number. */
export function encodeUntyped(
  size: number,
  value: unknown,
  where: string,
): Result<Uint8Array, UserError> {
  const scalar = [1, 2, 4, 8].includes(size);
  const bytes = typeof value === "string" ? untypedHex(value, size, scalar) : undefined;
  if (bytes?.length === size) return ok(bytes);
  const number = scalar ? parseInteger(value) : undefined;
  const { least } = integerRange(size * 8, true);
  const { most } = integerRange(size * 8, false);
  if (number !== undefined && number >= least && number <= most) {
    const written = new Uint8Array(size);
    writeInteger(written, 0, size, number, false);
    return ok(written);
  }
  const hex = `hex: and ${size * 2} hex digits`;
  return err(
    new UserError(
      number === undefined && bytes === undefined ? "VALUE_TYPE" : "VALUE_RANGE",
      where,
      `${shown(value)} is no value of ${size} bytes, and the object has no BTF type for it`,
      scalar ? `write a whole number from ${least} to ${most}, or ${hex}` : `write ${hex}`,
    ),
  );
}

function untypedHex(text: string, size: number, scalar: boolean): Uint8Array | undefined {
  if (text.startsWith("hex:")) return parseHex(text.slice(4));
  // For a number's size 0x is a number.
  if (!scalar && text.startsWith("0x") && text.length === 2 + size * 2)
    return parseHex(text.slice(2));
  return undefined;
}

function withBytes(map: MapSpec, offset: number, bytes: Uint8Array): MapSpec {
  const [before] = map.contents;
  // Zeroed sections have no contents until something is set.
  const value = before?.value.slice() ?? new Uint8Array(map.valueSize);
  value.set(bytes, offset);
  return { ...map, contents: [{ key: new Uint8Array(map.keySize), value }] };
}

/**
 * Names of an object's global variables, each once. Format strings of `bpf_printk` and its like, static
 * within libbpf's macros (`____fmt`), are none that anyone declared.
 */
export function globalNames({ variables }: ObjectSpec): readonly string[] {
  const names = variables.map(({ name }) => name);
  return [...new Set(names.filter((name) => !/(^|\.)_{3,4}fmt(\.\d+)?$/.test(name)))];
}

function unknownGlobal(object: ObjectSpec, name: string): UserError {
  const { file } = object;
  const names = globalNames(object);
  const close = names
    .map((known) => ({ known, distance: editDistance(name, known) }))
    .filter(({ known, distance }) => distance <= Math.max(2, known.length / 3))
    .sort((a, b) => a.distance - b.distance)
    .map(({ known }) => known);
  const fix =
    names.length === 0
      ? "it has none; declare one as volatile const __u32 name = 1;"
      : close[0] !== undefined && names.length > 8
        ? `did you mean "${close[0]}"?`
        : `it has ${listed(close.length > 0 ? [...new Set([...close, ...names])] : names)}`;
  return new UserError("GLOBAL_UNKNOWN", file, `no global variable "${name}"`, fix);
}

/** Levenshtein's, over names cut to 64 characters. */
function editDistance(one: string, other: string): number {
  const a = one.slice(0, 64);
  const b = other.slice(0, 64);
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min(
          next[j - 1]! + 1,
          row[j]! + 1,
          row[j - 1]! + (a[i - 1]!.toLowerCase() === b[j - 1]!.toLowerCase() ? 0 : 1),
        ),
      );
    row = next;
  }
  return row[b.length]!;
}
