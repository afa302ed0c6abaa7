import type { Btf, BtfMember, BtfType } from "./btf.ts";
import { flattenMembers, isNamed, nameOfType, resolveType, sizeOfType } from "./btf-types.ts";

/**
 * What a BTF type means to a person: which values are addresses, prefixes or text. Reading and
 * writing values (`encode-value.ts`, `decode-value.ts`) agree because both ask here.
 */

/** Types whose numbers lie in network order. linux/types.h. */
export function isNetworkOrder(btf: Btf, id: number): boolean {
  return isNamed(btf, id, ["__be16", "__be32", "__be64"]);
}

/** An array of `char`: text. `__u8` and `unsigned char` are numbers. */
export function isText(btf: Btf, type: BtfType): boolean {
  if (type.kind !== "array") return false;
  const element = resolveType(btf, type.type);
  return element.kind === "int" && element.size === 1 && (element.name === "char" || element.char);
}

/** Types that are always an address. linux/in.h, linux/in6.h. */
export function isAddress(btf: Btf, id: number): boolean {
  return isNamed(btf, id, ["__be32", "in_addr", "in6_addr"]);
}

/**
 * The length of the address that a value can be given as: 4 or 16. An integer, an array of integers,
 * or a struct or union of one of them; undefined for all others.
 */
export function addressBytes(btf: Btf, id: number): 4 | 16 | undefined {
  const size = sizeOfType(btf, id);
  if (size !== 4 && size !== 16) return undefined;
  const type = resolveType(btf, id);
  if (type.kind === "int") return type.bool ? undefined : size;
  if (type.kind === "array") {
    const element = resolveType(btf, type.type);
    return element.kind === "int" && !isText(btf, type) ? size : undefined;
  }
  if (type.kind === "union")
    return type.members.some((member) => addressBytes(btf, member.type) === size)
      ? size
      : undefined;
  if (type.kind !== "struct" || type.members.length !== 1) return undefined;
  return addressBytes(btf, type.members[0]!.type);
}

/**
 * The length of the address behind a prefix length, where the type is the key of an LPM trie:
 * `struct { __u32 prefixlen; <4 or 16 bytes> }`.
 */
export function prefixAddressBytes(btf: Btf, type: BtfType): 4 | 16 | undefined {
  if (type.kind !== "struct" || (type.size !== 8 && type.size !== 20)) return undefined;
  const [length] = flattenMembers(btf, type);
  if (length === undefined || length.bitOffset !== 0 || length.bitSize !== 0) return undefined;
  if (!/^prefix_?len(gth)?$/i.test(length.name)) return undefined;
  const number = resolveType(btf, length.type);
  return number.kind === "int" && number.size === 4 ? (type.size === 8 ? 4 : 16) : undefined;
}

/** The one member that a struct is about, so that its value may stand for the struct's. */
export function onlyMember(btf: Btf, type: BtfType): BtfMember | undefined {
  if (type.kind !== "struct") return undefined;
  const members = flattenMembers(btf, type);
  return members.length === 1 && members[0]!.bitSize === 0 ? members[0] : undefined;
}

/** Range of an integer or bit field. */
export function integerRange(bits: number, signed: boolean): { least: bigint; most: bigint } {
  const count = BigInt(bits);
  return signed
    ? { least: -(1n << (count - 1n)), most: (1n << (count - 1n)) - 1n }
    : { least: 0n, most: (1n << count) - 1n };
}

/** How to write a value of the type, for the second half of an error message. */
export function expectation(btf: Btf, id: number): string {
  const type = resolveType(btf, id);
  switch (type.kind) {
    case "int": {
      if (type.bool) return "write true or false";
      const { least, most } = integerRange(type.size * 8, type.signed);
      return `write a whole number from ${least} to ${most}${addressHint(addressBytes(btf, id))}`;
    }
    case "enum":
      return `write ${listed(type.values.map(({ name }) => name))}, or a number`;
    case "float":
      return "write a number";
    case "array": {
      if (isText(btf, type)) return `write text of at most ${type.length} bytes`;
      const element = nameOfType(btf, type.type);
      return `write a list of at most ${type.length} values of type ${element}${addressHint(addressBytes(btf, id))}${hexHint(btf, id)}`;
    }
    case "struct":
    case "union": {
      const bytes = prefixAddressBytes(btf, type);
      if (bytes !== undefined)
        return `write a prefix such as ${bytes === 4 ? "203.0.113.0/24" : "2001:db8::/32"}`;
      const names = flattenMembers(btf, type).map(({ name }) => name);
      return `write its members: ${listed(names)}${addressHint(addressBytes(btf, id))}${hexHint(btf, id)}`;
    }
    default:
      return `values of type ${nameOfType(btf, id)} cannot be set`;
  }
}

/** The first few of many names. */
export function listed(names: readonly string[]): string {
  const shown = 8;
  return names.length <= shown
    ? names.join(", ")
    : `${names.slice(0, shown).join(", ")} and ${names.length - shown} more`;
}

function addressHint(bytes: 4 | 16 | undefined): string {
  if (bytes === undefined) return "";
  return bytes === 4 ? ", or an address such as 192.0.2.1" : ", or an address such as 2001:db8::1";
}

function hexHint(btf: Btf, id: number): string {
  const size = sizeOfType(btf, id);
  return size === undefined ? "" : `, or hex: and ${size * 2} hex digits`;
}
