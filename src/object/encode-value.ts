import { inspect } from "node:util";
import { parseHex, toHex } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { parseAddress } from "../packet/address.ts";
import type { Btf, BtfMember, BtfType } from "./btf.ts";
import { flattenMembers, nameOfType, resolveType, sizeOfType } from "./btf-types.ts";
import { parseInteger, writeBits, writeInteger } from "./integers.ts";
import { encodePrefixKey } from "./prefix-key.ts";
import {
  addressBytes,
  expectation,
  integerRange,
  isNetworkOrder,
  isText,
  listed,
  onlyMember,
  prefixAddressBytes,
} from "./value-shapes.ts";
import { isCollection, parseCollection } from "./written-text.ts";

/**
 * The bytes of a value that a person wrote (in YAML, JSON or on a command line), by its BTF type.
 *
 * Integers: numbers, decimal or 0x text, true and false; `__be16/32/64` are written in network
 * order. Enums by name. `char[]`: text. Addresses: wherever 4 or 16 bytes of integers stand.
 * `struct { __u32 prefixlen; address }`: a prefix, 203.0.113.0/24. Arrays: lists; structs: objects by
 * member, or the value of their only member. What is left out is zero, as in C. Text for a struct
 * that begins with `{`, or for a list with `[`, holds one as YAML or JSON has it. Anything: `hex:`
 * and its bytes. `where` begins the place that an error names.
 */
export function encodeValue(
  btf: Btf,
  type: number,
  input: unknown,
  where: string,
): Result<Uint8Array, UserError> {
  const size = sizeOfType(btf, type);
  if (size === undefined || size > maxValueBytes)
    return err(
      new UserError(
        "VALUE_TYPE",
        where,
        `values of type ${nameOfType(btf, type)} cannot be set`,
        `give a type with a size of at most ${maxValueBytes} bytes`,
      ),
    );
  const bytes = new Uint8Array(size);
  const problem = write({ btf, bytes }, type, 0, input, where);
  return problem === undefined ? ok(bytes) : err(problem);
}

/** As large as the largest data section. */
const maxValueBytes = 64 * 2 ** 20;

interface Target {
  readonly btf: Btf;
  readonly bytes: Uint8Array;
}

type Problem = UserError | undefined;

function write(target: Target, id: number, at: number, input: unknown, where: string): Problem {
  const { btf, bytes } = target;
  const type = resolveType(btf, id);
  const size = sizeOfType(btf, id) ?? 0;
  const raw = typeof input === "string" ? rawBytes(btf, type, size, input) : undefined;
  if (raw !== undefined) {
    if (raw.length !== size) return wrongSize(btf, id, raw.length, size, where);
    bytes.set(raw, at);
    return undefined;
  }
  switch (type.kind) {
    case "int":
      return writeInt(target, id, type, at, input, where);
    case "enum":
      return writeEnum(target, id, type, at, input, where);
    case "float":
      return writeFloat(target, id, size, at, input, where);
    case "array":
      return writeArray(target, id, type, at, input, where);
    case "struct":
    case "union":
      return writeStruct(target, id, type, at, input, where);
    default:
      return new UserError(
        "VALUE_TYPE",
        where,
        `a value of type ${nameOfType(btf, id)} has no meaning outside the program`,
        "leave it out",
      );
  }
}

/** What is written as bytes, or as an address that fills the value. */
function rawBytes(btf: Btf, type: BtfType, size: number, text: string): Uint8Array | undefined {
  if (text.startsWith("hex:")) return parseHex(text.slice(4));
  if (isText(btf, type)) return undefined;
  // Where a number can stand, 0x is a number.
  const isList = type.kind === "array" || type.kind === "struct" || type.kind === "union";
  const asBytes = isList && onlyMember(btf, type) === undefined;
  if (asBytes && text.startsWith("0x") && text.length === 2 + size * 2)
    return parseHex(text.slice(2));
  if (type.kind === "array" && size === 6 && /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text))
    return parseHex(text);
  return undefined;
}

function writeInt(
  target: Target,
  id: number,
  type: BtfType & { readonly kind: "int" },
  at: number,
  input: unknown,
  where: string,
): Problem {
  const { btf, bytes } = target;
  if (typeof input === "string" && writeAddress(target, id, at, input)) return undefined;
  const value = parseInteger(input);
  if (value === undefined) return mismatch(btf, id, input, where);
  const range = type.bool ? { least: 0n, most: 1n } : integerRange(type.size * 8, type.signed);
  if (value < range.least || value > range.most) return outOfRange(btf, id, value, range, where);
  writeInteger(bytes, at, type.size, value, isNetworkOrder(btf, id));
  return undefined;
}

/** Writes an IP address where one of its length can stand. False if it is none, or cannot. */
function writeAddress({ btf, bytes }: Target, id: number, at: number, text: string): boolean {
  const length = addressBytes(btf, id);
  // A scope names an interface of one machine; no packet carries it.
  if (length === undefined || text.includes("%")) return false;
  const address = parseAddress(text);
  if (address?.length !== length) return false;
  bytes.set(address, at);
  return true;
}

function writeEnum(
  { btf, bytes }: Target,
  id: number,
  type: BtfType & { readonly kind: "enum" },
  at: number,
  input: unknown,
  where: string,
): Problem {
  const value = type.values.find(({ name }) => name === input)?.value ?? parseInteger(input);
  if (value === undefined) return mismatch(btf, id, input, where);
  const range = integerRange(type.size * 8, type.signed);
  if (value < range.least || value > range.most) return outOfRange(btf, id, value, range, where);
  writeInteger(bytes, at, type.size, value, false);
  return undefined;
}

function writeFloat(
  { btf, bytes }: Target,
  id: number,
  size: number,
  at: number,
  input: unknown,
  where: string,
): Problem {
  const value = typeof input === "string" && input.trim() !== "" ? Number(input) : input;
  if (typeof value !== "number" || Number.isNaN(value) || (size !== 4 && size !== 8))
    return mismatch(btf, id, input, where);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (size === 4) view.setFloat32(at, value, true);
  else view.setFloat64(at, value, true);
  return undefined;
}

function writeArray(
  target: Target,
  id: number,
  type: BtfType & { readonly kind: "array" },
  at: number,
  input: unknown,
  where: string,
): Problem {
  const { btf, bytes } = target;
  if (typeof input === "string") {
    if (isText(btf, type)) {
      const text = new TextEncoder().encode(input);
      if (text.length > type.length)
        return new UserError(
          "VALUE_RANGE",
          where,
          `"${input}" has ${text.length} bytes, and ${nameOfType(btf, id)} holds ${type.length}`,
          expectation(btf, id),
        );
      bytes.set(text, at);
      return undefined;
    }
    if (writeAddress(target, id, at, input)) return undefined;
  }
  let list = input;
  if (typeof input === "string" && isCollection(input, "[")) {
    const read = collectionOf(input, "write a list, as in YAML or JSON: [1, 2]", where);
    if (!read.ok) return read.error;
    list = read.value;
  }
  if (!Array.isArray(list)) return mismatch(btf, id, input, where);
  if (list.length > type.length)
    return new UserError(
      "VALUE_RANGE",
      where,
      `${list.length} values, and ${nameOfType(btf, id)} holds ${type.length}`,
      expectation(btf, id),
    );
  const elementBytes = sizeOfType(btf, type.type)!;
  for (const [i, element] of list.entries()) {
    const problem = write(target, type.type, at + i * elementBytes, element, `${where}[${i}]`);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function writeStruct(
  target: Target,
  id: number,
  type: BtfType & { readonly kind: "struct" | "union" },
  at: number,
  input: unknown,
  where: string,
): Problem {
  const { btf, bytes } = target;
  if (typeof input === "string" && isCollection(input, "{")) {
    const [name = "member"] = flattenMembers(btf, type).map((member) => member.name);
    const members = collectionOf(
      input,
      `write its members as in YAML or JSON: { ${name}: … }; text in them with a comma, a colon or a bracket in quotes`,
      where,
    );
    return members.ok ? writeMembers(target, type, at, members.value, where) : members.error;
  }
  if (typeof input === "string") {
    const keyBytes = prefixAddressBytes(btf, type);
    if (keyBytes !== undefined) {
      const key = encodePrefixKey(input, keyBytes, where);
      if (!key.ok) return key.error;
      bytes.set(key.value, at);
      return undefined;
    }
    if (writeAddress(target, id, at, input)) return undefined;
  }
  if (typeof input === "object" && input !== null && !Array.isArray(input))
    return writeMembers(target, type, at, input, where);
  const only = onlyMember(btf, type);
  if (only === undefined) return mismatch(btf, id, input, where);
  return write(target, only.type, at + only.bitOffset / 8, input, `${where}.${only.name}`);
}

function writeMembers(
  target: Target,
  type: BtfType & { readonly kind: "struct" | "union" },
  at: number,
  input: object,
  where: string,
): Problem {
  const known = new Map(flattenMembers(target.btf, type).map((member) => [member.name, member]));
  const written: { readonly member: BtfMember; readonly value: unknown }[] = [];
  for (const [name, value] of Object.entries(input)) {
    const member = known.get(name);
    if (member === undefined)
      return new UserError(
        "VALUE_MEMBER",
        where,
        `${type.kind} ${type.name} has no member "${name}"`,
        `its members are ${listed([...known.keys()])}`,
      );
    const problem = writeMember(target, member, at, value, `${where}.${name}`);
    if (problem !== undefined) return problem;
    written.push({ member, value });
  }
  return findOverwritten(target, written, at, where);
}

function writeMember(
  target: Target,
  member: BtfMember,
  at: number,
  input: unknown,
  where: string,
): Problem {
  const { btf, bytes } = target;
  if (member.bitSize === 0)
    return write(target, member.type, at + member.bitOffset / 8, input, where);
  const type = resolveType(btf, member.type);
  const named = type.kind === "enum" ? type.values.find(({ name }) => name === input) : undefined;
  const value = named?.value ?? parseInteger(input);
  if (value === undefined) return mismatch(btf, member.type, input, where);
  const signed = (type.kind === "int" || type.kind === "enum") && type.signed;
  const range = integerRange(member.bitSize, signed);
  if (value < range.least || value > range.most)
    return outOfRange(btf, member.type, value, range, where);
  writeBits(bytes, at * 8 + member.bitOffset, member.bitSize, value);
  return undefined;
}

/** Members of a union may all be given (a dump lists them all) as long as they say the same. */
function findOverwritten(
  { btf, bytes }: Target,
  written: readonly { readonly member: BtfMember; readonly value: unknown }[],
  at: number,
  where: string,
): Problem {
  let end = 0;
  const overlapping = written
    .toSorted((a, b) => a.member.bitOffset - b.member.bitOffset)
    .some(({ member }) => {
      const before = end;
      end = Math.max(end, member.bitOffset + memberBits(btf, member));
      return member.bitOffset < before;
    });
  if (!overlapping) return undefined;
  for (const { member, value } of written) {
    if (member.bitSize !== 0) continue;
    const start = at + member.bitOffset / 8;
    const alone = encodeValue(btf, member.type, value, where);
    if (alone.ok && toHex(alone.value) === toHex(bytes.subarray(start, start + alone.value.length)))
      continue;
    return new UserError(
      "VALUE_MEMBER",
      where,
      `member "${member.name}" shares its bytes with another one that was given, and they differ`,
      "give one of them",
    );
  }
  return undefined;
}

function memberBits(btf: Btf, member: BtfMember): number {
  return member.bitSize > 0 ? member.bitSize : (sizeOfType(btf, member.type) ?? 0) * 8;
}

/** An object or a list that was written as text, on a command line or in quotes. */
function collectionOf(text: string, expected: string, where: string): Result<object, UserError> {
  const read = parseCollection(text);
  if (read.ok) return read;
  return err(new UserError("VALUE_TYPE", where, `${shown(text)} ${read.error}`, expected));
}

function mismatch(btf: Btf, id: number, input: unknown, where: string): UserError {
  if (Number.isInteger(input) && !Number.isSafeInteger(input))
    return new UserError(
      "VALUE_TYPE",
      where,
      `${input} is no exact number beyond 2⁵³`,
      "write it in quotes",
    );
  return new UserError(
    "VALUE_TYPE",
    where,
    `${shown(input)} is no ${nameOfType(btf, id)}`,
    expectation(btf, id),
  );
}

function outOfRange(
  btf: Btf,
  id: number,
  value: bigint,
  { least, most }: { least: bigint; most: bigint },
  where: string,
): UserError {
  return new UserError(
    "VALUE_RANGE",
    where,
    `${value} does not fit ${nameOfType(btf, id)}`,
    `write a whole number from ${least} to ${most}`,
  );
}

function wrongSize(btf: Btf, id: number, given: number, size: number, where: string): UserError {
  return new UserError(
    "VALUE_RANGE",
    where,
    `${given} bytes for ${nameOfType(btf, id)}, which has ${size}`,
    `write ${size * 2} hex digits`,
  );
}

/** What was given, cut to a line. It may be anything: rings, symbols, objects without a prototype. */
export function shown(input: unknown): string {
  const text =
    typeof input === "string"
      ? JSON.stringify(input)
      : inspect(input, { depth: 1, breakLength: Number.POSITIVE_INFINITY, customInspect: false });
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`;
}
