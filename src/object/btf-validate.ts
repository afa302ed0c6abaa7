import type { Btf, BtfType } from "./btf.ts";
import { resolveType, sizeOfType } from "./btf-types.ts";

/** Types within types: the kernel stops at 32; real objects stay below 10. */
const maxDepth = 64;

interface BrokenType {
  readonly id: number;
  readonly what: string;
}

/** The first type that others could not be read by: a bad id, a type within itself, a bad size. */
export function findBrokenType(btf: Btf): BrokenType | undefined {
  return findBadReference(btf) ?? findDeepType(btf) ?? findBadSize(btf);
}

function findBadReference({ types }: Btf): BrokenType | undefined {
  for (const [id, type] of types.entries()) {
    const unknown = references(type).find((reference) => reference >= types.length);
    if (unknown !== undefined)
      return { id, what: `it refers to type ${unknown}, and there are ${types.length}` };
  }
  return undefined;
}

/** Walks with a stack of its own: types may be nested as deep as a file is long. */
function findDeepType({ types }: Btf): BrokenType | undefined {
  /** 0: not seen; -1: being visited; else 1 + the depth of the deepest type within. */
  const depths = new Int32Array(types.length);
  for (let root = 0; root < types.length; root++) {
    if (depths[root] !== 0) continue;
    depths[root] = -1;
    const path = [{ id: root, inner: contained(types[root]!), next: 0, deepest: 0 }];
    while (path.length > 0) {
      const top = path.at(-1)!;
      const child = top.inner[top.next];
      if (child === undefined) {
        depths[top.id] = top.deepest + 1;
        path.pop();
        const parent = path.at(-1);
        if (parent !== undefined) parent.deepest = Math.max(parent.deepest, top.deepest + 1);
        continue;
      }
      const depth = depths[child]!;
      if (depth === -1) return { id: child, what: "it contains itself" };
      if (depth === 0) {
        if (path.length >= maxDepth)
          return { id: root, what: `more than ${maxDepth} types within each other` };
        depths[child] = -1;
        path.push({ id: child, inner: contained(types[child]!), next: 0, deepest: 0 });
      } else {
        top.deepest = Math.max(top.deepest, depth);
        top.next++;
      }
      if (top.deepest + path.length > maxDepth)
        return { id: top.id, what: `more than ${maxDepth} types within each other` };
    }
  }
  return undefined;
}

function findBadSize(btf: Btf): BrokenType | undefined {
  for (const [id, type] of btf.types.entries()) {
    // Arrays may be larger than memory: `__uint(max_entries, n)` is a pointer to an array of n.
    if (type.kind === "array" && sizeOfType(btf, id) === undefined)
      return { id, what: "an array of elements without a size" };
    if (type.kind !== "struct" && type.kind !== "union") continue;
    for (const member of type.members) {
      const bytes = sizeOfType(btf, member.type);
      const bits = member.bitSize > 0 ? member.bitSize : (bytes ?? 0) * 8;
      const named = `member "${member.name}" of "${type.name}"`;
      if (bytes === undefined) return { id, what: `${named} is of a type without a size` };
      if (member.bitOffset + bits > type.size * 8)
        return { id, what: `${named} ends beyond its ${type.size} bytes` };
      if (!fitsField(btf, member.type, member.bitOffset, member.bitSize))
        return {
          id,
          what: `${named} is no field of ${member.bitSize} bits at bit ${member.bitOffset}`,
        };
    }
  }
  return undefined;
}

/** Bit fields are integers or enums of at most 64 bits; everything else begins at a byte. */
function fitsField(btf: Btf, id: number, bitOffset: number, bitSize: number): boolean {
  if (bitSize === 0) return bitOffset % 8 === 0;
  const type = resolveType(btf, id);
  return (type.kind === "int" || type.kind === "enum") && bitSize <= Math.min(64, type.size * 8);
}

/** All type ids that a type names. */
function references(type: BtfType): readonly number[] {
  switch (type.kind) {
    case "array":
      return [type.type, type.index];
    case "prototype":
      return [type.returns, ...type.parameters.map((parameter) => parameter.type)];
    case "struct":
    case "union":
      return type.members.map((member) => member.type);
    case "section":
      return type.variables.map((variable) => variable.type);
    case "pointer":
    case "function":
    case "decl_tag":
      return [type.type];
    default:
      return contained(type);
  }
}

/** Ids of the types that are part of a value of this type. Pointers and functions end the walk. */
function contained(type: BtfType): readonly number[] {
  switch (type.kind) {
    case "array":
    case "typedef":
    case "const":
    case "volatile":
    case "restrict":
    case "type_tag":
    case "variable":
      return [type.type];
    case "struct":
    case "union":
      return type.members.map((member) => member.type);
    default:
      return [];
  }
}
