import { toHex } from "../common/bytes.ts";
import { formatAddress } from "../packet/address.ts";
import type { Btf, BtfMember, BtfType } from "./btf.ts";
import { flattenMembers, resolveType, sizeOfType } from "./btf-types.ts";
import { readBits, readInteger } from "./integers.ts";
import { decodePrefixKey } from "./prefix-key.ts";
import { isAddress, isNetworkOrder, isText, prefixAddressBytes } from "./value-shapes.ts";

/** Values within values that one is taken apart into; what lies beyond is given as `hex:`. */
const maxParts = 65_536;

/**
 * A value's bytes as JSON can hold them, by their BTF type: `encodeValue` reads what this writes.
 * Integers beyond 2⁵³ are text, addresses and prefixes are text, structs are objects by member.
 * The bytes are as long as the type.
 */
export function decodeValue(btf: Btf, type: number, bytes: Uint8Array): unknown {
  return read({ btf, bytes, left: maxParts }, type, 0);
}

interface Source {
  readonly btf: Btf;
  readonly bytes: Uint8Array;
  left: number;
}

function read(source: Source, id: number, at: number): unknown {
  const { btf, bytes } = source;
  const type = resolveType(btf, id);
  const size = sizeOfType(btf, id) ?? 0;
  const part = bytes.subarray(at, at + size);
  if (isAddress(btf, id) && (size === 4 || size === 16)) return formatAddress(part, 0, size);
  switch (type.kind) {
    case "int":
      if (type.bool) return part.some((byte) => byte !== 0);
      return numeric(readInteger(bytes, at, size, type.signed, isNetworkOrder(btf, id)));
    case "enum":
      return enumerated(type, readInteger(bytes, at, size, type.signed, false));
    case "float":
      return readFloat(part);
    case "pointer":
      return `0x${readInteger(bytes, at, size, false, false).toString(16)}`;
    case "array":
      return readArray(source, type, at, part);
    case "struct":
    case "union":
      return readStruct(source, type, at, part);
    default:
      return asHex(part);
  }
}

function enumerated(type: BtfType & { readonly kind: "enum" }, value: bigint): unknown {
  return type.values.find((known) => known.value === value)?.name ?? numeric(value);
}

function readArray(
  source: Source,
  type: BtfType & { readonly kind: "array" },
  at: number,
  part: Uint8Array,
): unknown {
  const { btf } = source;
  if (isText(btf, type)) return readText(part);
  const elementBytes = sizeOfType(btf, type.type) ?? 0;
  if (elementBytes === 0) return [];
  if (!take(source, type.length)) return asHex(part);
  return Array.from({ length: type.length }, (_, i) =>
    read(source, type.type, at + i * elementBytes),
  );
}

function readStruct(
  source: Source,
  type: BtfType & { readonly kind: "struct" | "union" },
  at: number,
  part: Uint8Array,
): unknown {
  const { btf } = source;
  const prefix = prefixAddressBytes(btf, type) === undefined ? undefined : decodePrefixKey(part);
  if (prefix !== undefined) return prefix;
  const members = flattenMembers(btf, type);
  if (!take(source, members.length)) return asHex(part);
  return Object.fromEntries(members.map((member) => [member.name, readMember(source, member, at)]));
}

function readMember(source: Source, member: BtfMember, at: number): unknown {
  if (member.bitSize === 0) return read(source, member.type, at + member.bitOffset / 8);
  const type = resolveType(source.btf, member.type);
  const signed = (type.kind === "int" || type.kind === "enum") && type.signed;
  const value = readBits(source.bytes, at * 8 + member.bitOffset, member.bitSize, signed);
  return type.kind === "enum" ? enumerated(type, value) : numeric(value);
}

/** Text up to its first NUL, if only NULs follow and it is UTF-8: else it would not read back the same. */
function readText(part: Uint8Array): string {
  const end = part.indexOf(0);
  const length = end < 0 ? part.length : end;
  if (part.subarray(length).some((byte) => byte !== 0)) return asHex(part);
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      part.subarray(0, length),
    );
    return text.startsWith("hex:") ? asHex(part) : text;
  } catch {
    return asHex(part);
  }
}

function readFloat(part: Uint8Array): unknown {
  const view = new DataView(part.buffer, part.byteOffset, part.length);
  if (part.length !== 4 && part.length !== 8) return asHex(part);
  const value = part.length === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true);
  return Number.isFinite(value) ? value : asHex(part);
}

/** A number where it is exact, else its digits. */
export function numeric(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

export function asHex(bytes: Uint8Array): string {
  return `hex:${toHex(bytes)}`;
}

function take(source: Source, parts: number): boolean {
  if (parts > source.left) return false;
  source.left -= parts;
  return true;
}
