import { u16le, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Btf, BtfMember, BtfType } from "./btf.ts";
import { findBrokenType } from "./btf-validate.ts";
import { StringTable } from "./string-table.ts";

/** A decoded `.BTF` section, with what the rest of the loader looks up in it. */
export interface DecodedBtf extends Btf {
  /** `.BTF.ext` refers to them as well. */
  readonly strings: StringTable;
  /** Type ids of kind section, by name. */
  readonly sections: ReadonlyMap<string, number>;
}

const magic = 0xeb9f;

/**
 * Decodes a `.BTF` section. Kernel documentation, bpf/btf.rst.
 * Afterwards every type id names a type, no type contains itself, and members lie within their struct.
 */
export function decodeBtf(bytes: Uint8Array, file: string): Result<DecodedBtf, UserError> {
  const parts = readBtfHeader(bytes, file);
  if (!parts.ok) return parts;
  const { types: section, strings } = parts.value;
  const types: BtfType[] = [{ kind: "void" }];
  for (let at = 0; at < section.length; ) {
    const decoded = decodeType(section, at, strings);
    if (typeof decoded === "string") return bad(file, `type ${types.length}: ${decoded}`);
    types.push(decoded.type);
    at = decoded.end;
  }
  const broken = findBrokenType({ types });
  if (broken !== undefined) return bad(file, `type ${broken.id}: ${broken.what}`);
  const sections = new Map<string, number>();
  for (const [id, type] of types.entries())
    if (type.kind === "section") sections.set(type.name, id);
  return ok({ types, strings, sections });
}

function readBtfHeader(
  bytes: Uint8Array,
  file: string,
): Result<{ types: Uint8Array; strings: StringTable }, UserError> {
  if (bytes.length < 24) return bad(file, `${bytes.length} bytes, shorter than its header`);
  if (u16le(bytes, 0) !== magic)
    return bad(
      file,
      `it begins with 0x${u16le(bytes, 0).toString(16)}, expected 0x${magic.toString(16)}`,
    );
  if (bytes[2] !== 1) return bad(file, `version ${bytes[2]}, expected 1`);
  const headerBytes = u32le(bytes, 4);
  const typesAt = headerBytes + u32le(bytes, 8);
  const typesEnd = typesAt + u32le(bytes, 12);
  const stringsAt = headerBytes + u32le(bytes, 16);
  const stringsEnd = stringsAt + u32le(bytes, 20);
  if (headerBytes < 24 || typesEnd > bytes.length || stringsEnd > bytes.length)
    return bad(
      file,
      `its parts would end at byte ${Math.max(typesEnd, stringsEnd)} of ${bytes.length}`,
    );
  return ok({
    types: bytes.subarray(typesAt, typesEnd),
    strings: new StringTable(bytes.subarray(stringsAt, stringsEnd)),
  });
}

/** Kinds with a fixed number of bytes behind the 12 they share; the others count by `vlen`. */
const tails: Readonly<Record<number, { readonly fixed: number; readonly each: number }>> = {
  1: { fixed: 4, each: 0 },
  2: { fixed: 0, each: 0 },
  3: { fixed: 12, each: 0 },
  4: { fixed: 0, each: 12 },
  5: { fixed: 0, each: 12 },
  6: { fixed: 0, each: 8 },
  7: { fixed: 0, each: 0 },
  8: { fixed: 0, each: 0 },
  9: { fixed: 0, each: 0 },
  10: { fixed: 0, each: 0 },
  11: { fixed: 0, each: 0 },
  12: { fixed: 0, each: 0 },
  13: { fixed: 0, each: 8 },
  14: { fixed: 4, each: 0 },
  15: { fixed: 0, each: 12 },
  16: { fixed: 0, each: 0 },
  17: { fixed: 4, each: 0 },
  18: { fixed: 0, each: 0 },
  19: { fixed: 0, each: 12 },
};

const linkages = ["static", "global", "extern"] as const;

/** The type at `at` and where the next begins, or what is wrong with it. struct btf_type, linux/btf.h. */
function decodeType(
  bytes: Uint8Array,
  at: number,
  strings: StringTable,
): { readonly type: BtfType; readonly end: number } | string {
  if (at + 12 > bytes.length) return "it is cut off";
  const info = u32le(bytes, at + 4);
  const count = info & 0xffff;
  const kind = (info >>> 24) & 0x1f;
  const tail = tails[kind];
  if (tail === undefined) return `unknown kind ${kind}`;
  const body = at + 12;
  const end = body + tail.fixed + tail.each * count;
  if (end > bytes.length) return "it is cut off";
  const name = strings.read(u32le(bytes, at));
  if (name === undefined)
    return `its name, string ${u32le(bytes, at)}, is outside the string table`;
  const shape = {
    bytes,
    body,
    count,
    flag: info >>> 31 === 1,
    sizeOrType: u32le(bytes, at + 8),
    name,
  };
  const type = decodeKind(kind, shape, strings);
  return typeof type === "string" ? type : { type, end };
}

interface Shape {
  readonly bytes: Uint8Array;
  /** Where what follows the shared 12 bytes begins. */
  readonly body: number;
  readonly count: number;
  /** `kind_flag`. */
  readonly flag: boolean;
  readonly sizeOrType: number;
  readonly name: string;
}

function decodeKind(kind: number, shape: Shape, strings: StringTable): BtfType | string {
  const { bytes, body, flag, sizeOrType, name } = shape;
  switch (kind) {
    case 1:
      return decodeInt(shape);
    case 2:
      return { kind: "pointer", type: sizeOrType };
    case 3:
      return {
        kind: "array",
        type: u32le(bytes, body),
        index: u32le(bytes, body + 4),
        length: u32le(bytes, body + 8),
      };
    case 4:
    case 5: {
      const members = decodeMembers(shape, strings);
      if (typeof members === "string") return members;
      return { kind: kind === 4 ? "struct" : "union", name, size: sizeOrType, members };
    }
    case 6:
    case 19:
      return decodeEnum(shape, kind === 19, strings);
    case 7:
      return { kind: "forward", name, union: flag };
    case 8:
      return { kind: "typedef", name, type: sizeOrType };
    case 9:
      return { kind: "volatile", type: sizeOrType };
    case 10:
      return { kind: "const", type: sizeOrType };
    case 11:
      return { kind: "restrict", type: sizeOrType };
    case 12: {
      const linkage = linkages[shape.count];
      if (linkage === undefined) return `function "${name}" has linkage ${shape.count}`;
      return { kind: "function", name, type: sizeOrType, linkage };
    }
    case 13: {
      const parameters = decodeParameters(shape, strings);
      if (typeof parameters === "string") return parameters;
      return { kind: "prototype", returns: sizeOrType, parameters };
    }
    case 14: {
      const linkage = linkages[u32le(bytes, body)];
      if (linkage === undefined) return `variable "${name}" has linkage ${u32le(bytes, body)}`;
      return { kind: "variable", name, type: sizeOrType, linkage };
    }
    case 15:
      return decodeSection(shape);
    case 16:
      return { kind: "float", name, size: sizeOrType };
    case 17:
      return { kind: "decl_tag", name, type: sizeOrType, component: u32le(bytes, body) | 0 };
    default:
      return { kind: "type_tag", name, type: sizeOrType };
  }
}

function decodeInt({ bytes, body, sizeOrType, name }: Shape): BtfType | string {
  const encoding = u32le(bytes, body);
  const bits = encoding & 0xff;
  if (![1, 2, 4, 8, 16].includes(sizeOrType) || bits === 0 || bits > sizeOrType * 8)
    return `integer "${name}" has ${bits} bits in ${sizeOrType} bytes`;
  return {
    kind: "int",
    name,
    size: sizeOrType,
    signed: (encoding & 0x0100_0000) !== 0,
    char: (encoding & 0x0200_0000) !== 0,
    bool: (encoding & 0x0400_0000) !== 0,
    bits,
  };
}

function decodeMembers(shape: Shape, strings: StringTable): BtfMember[] | string {
  const members: BtfMember[] = [];
  for (let i = 0; i < shape.count; i++) {
    const at = shape.body + i * 12;
    const name = strings.read(u32le(shape.bytes, at));
    if (name === undefined) return `the name of member ${i} is outside the string table`;
    const offset = u32le(shape.bytes, at + 8);
    members.push({
      name,
      type: u32le(shape.bytes, at + 4),
      // With kind_flag the upper byte is the width of a bit field.
      bitOffset: shape.flag ? offset & 0xff_ffff : offset,
      bitSize: shape.flag ? offset >>> 24 : 0,
    });
  }
  return members;
}

function decodeEnum(shape: Shape, wide: boolean, strings: StringTable): BtfType | string {
  const { bytes, name, sizeOrType: size, flag: signed } = shape;
  if (![1, 2, 4, 8].includes(size)) return `enum "${name}" has ${size} bytes`;
  const values: { name: string; value: bigint }[] = [];
  for (let i = 0; i < shape.count; i++) {
    const at = shape.body + i * (wide ? 12 : 8);
    const valueName = strings.read(u32le(bytes, at));
    if (valueName === undefined) return `the name of value ${i} is outside the string table`;
    const low = u32le(bytes, at + 4);
    const value = wide ? (BigInt(u32le(bytes, at + 8)) << 32n) | BigInt(low) : BigInt(low);
    values.push({ name: valueName, value: signed ? BigInt.asIntN(wide ? 64 : 32, value) : value });
  }
  return { kind: "enum", name, size, signed, values };
}

function decodeParameters(
  shape: Shape,
  strings: StringTable,
): { name: string; type: number }[] | string {
  const parameters: { name: string; type: number }[] = [];
  for (let i = 0; i < shape.count; i++) {
    const at = shape.body + i * 8;
    const name = strings.read(u32le(shape.bytes, at));
    if (name === undefined) return `the name of parameter ${i} is outside the string table`;
    parameters.push({ name, type: u32le(shape.bytes, at + 4) });
  }
  return parameters;
}

function decodeSection({ bytes, body, count, sizeOrType, name }: Shape): BtfType {
  const variables: { type: number; offset: number; size: number }[] = [];
  for (let i = 0; i < count; i++) {
    const at = body + i * 12;
    variables.push({
      type: u32le(bytes, at),
      offset: u32le(bytes, at + 4),
      size: u32le(bytes, at + 8),
    });
  }
  return { kind: "section", name, size: sizeOrType, variables };
}

function bad(file: string, what: string) {
  return err(
    new UserError("OBJECT_BAD_BTF", `${file}, section ".BTF"`, what, "build the object again"),
  );
}
