import type { Btf, BtfMember, BtfType } from "./btf.ts";

/**
 * Questions about decoded types. They end: `decodeBtf` refuses types that contain themselves.
 */

/** The type behind typedefs, qualifiers and tags. Unknown ids are `void`. */
export function resolveType(btf: Btf, id: number): BtfType {
  let type = btf.types[id] ?? voidType;
  for (;;) {
    const inner = behind(type);
    if (inner === undefined) return type;
    type = btf.types[inner] ?? voidType;
  }
}

/** Bytes a value of the type takes; undefined for what has no values (void, functions, forwards). */
export function sizeOfType(btf: Btf, id: number): number | undefined {
  const type = resolveType(btf, id);
  switch (type.kind) {
    case "int":
    case "float":
    case "struct":
    case "union":
    case "enum":
    case "section":
      return type.size;
    case "pointer":
      return 8;
    case "array": {
      const element = sizeOfType(btf, type.type);
      return element === undefined ? undefined : element * type.length;
    }
    case "variable":
      return sizeOfType(btf, type.type);
    default:
      return undefined;
  }
}

/** The type as C writes it: `__u32`, `struct in6_addr`, `char[16]`. */
export function nameOfType(btf: Btf, id: number, depth = 8): string {
  const type = btf.types[id] ?? voidType;
  // Pointers may form rings.
  if (depth === 0) return "…";
  switch (type.kind) {
    case "void":
      return "void";
    case "int":
    case "float":
    case "typedef":
    case "function":
    case "variable":
    case "section":
      return type.name;
    case "struct":
    case "union":
    case "enum":
      return type.name === "" ? `${type.kind} {…}` : `${type.kind} ${type.name}`;
    case "forward":
      return `${type.union ? "union" : "struct"} ${type.name}`;
    case "pointer":
      return `${nameOfType(btf, type.type, depth - 1)} *`;
    case "array":
      return `${nameOfType(btf, type.type, depth - 1)}[${type.length}]`;
    case "prototype":
      return "a function";
    default:
      return nameOfType(btf, type.type, depth - 1);
  }
}

/** True if any name on the way to the type is one of `names`: `__be32` is a typedef of a typedef. */
export function isNamed(btf: Btf, id: number, names: readonly string[]): boolean {
  let type = btf.types[id] ?? voidType;
  for (;;) {
    if ("name" in type && names.includes(type.name)) return true;
    const inner = behind(type);
    if (inner === undefined) return false;
    type = btf.types[inner] ?? voidType;
  }
}

/** Members by name, those of unnamed structs and unions among them, with offsets from the outermost. */
export function flattenMembers(btf: Btf, type: BtfType): readonly BtfMember[] {
  const flat: BtfMember[] = [];
  collectMembers(btf, type, 0, flat, { left: maxFlatMembers });
  return flat;
}

/** Unnamed structs within unnamed structs can double at each level; no source has so many members. */
const maxFlatMembers = 65_536;

function collectMembers(
  btf: Btf,
  type: BtfType,
  bitsBefore: number,
  flat: BtfMember[],
  budget: { left: number },
): void {
  if (type.kind !== "struct" && type.kind !== "union") return;
  for (const member of type.members) {
    if (budget.left-- <= 0) return;
    const bitOffset = bitsBefore + member.bitOffset;
    if (member.name !== "") flat.push({ ...member, bitOffset });
    else collectMembers(btf, resolveType(btf, member.type), bitOffset, flat, budget);
  }
}

const voidType: BtfType = { kind: "void" };

function behind(type: BtfType): number | undefined {
  switch (type.kind) {
    case "typedef":
    case "const":
    case "volatile":
    case "restrict":
    case "type_tag":
      return type.type;
    default:
      return undefined;
  }
}
