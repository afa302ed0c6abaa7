import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Btf, BtfMember, BtfType } from "./btf.ts";
import type { DecodedBtf } from "./btf-decode.ts";
import { resolveType, sizeOfType } from "./btf-types.ts";
import { variablesOf } from "./btf-variables.ts";
import type { ElfFile, ElfSection } from "./elf.ts";
import { type LocatedMap, type MapAttributes, mapSpec, tooManyMaps } from "./map-table.ts";
import type { MapSpec } from "./object-spec.ts";
import { recordsBetween } from "./records.ts";
import { spinLockOffsets } from "./spin-lock.ts";

/**
 * Maps of a `.maps` section: BTF describes one variable a map, whose struct's members are the
 * map's attributes. Numbers are hidden in types: `__uint(name, n)` is a pointer to an array of n,
 * `__type(name, T)` a pointer to T, `__array(name, T)` an array of pointers to T.
 * libbpf documentation and bpf_helpers.h.
 */
export function readBtfMaps(
  elf: ElfFile,
  section: ElfSection,
  btf: DecodedBtf | undefined,
): Result<LocatedMap[], UserError> {
  if (btf === undefined)
    return err(
      new UserError(
        "OBJECT_NO_BTF",
        `${elf.file}, section ".maps"`,
        "its maps are described by BTF, which the object does not have",
        "compile with -g, and strip with llvm-strip -g if at all",
      ),
    );
  const variables = variablesOf(elf, section, btf);
  const tooMany = tooManyMaps(elf.file, section.name, variables.length);
  if (tooMany !== undefined) return err(tooMany);
  const maps: LocatedMap[] = [];
  for (const { name, type, offset, size } of variables) {
    const struct = resolveType(btf, type);
    if (struct.kind !== "struct")
      return err(badMap(elf.file, name, `it is no struct but ${struct.kind}`, structFix));
    if (offset + size > section.size)
      return err(badMap(elf.file, name, "it ends beyond its section", undefined));
    const values = initialValues(elf, section, struct, offset, size);
    const spec = readDefinition(elf.file, name, btf, struct, values, false);
    if (!spec.ok) return spec;
    maps.push({ spec: spec.value, section: section.index, offset, size });
  }
  return ok(maps);
}

const structFix =
  'declare it as struct { __uint(type, …); __uint(max_entries, …); __type(key, …); __type(value, …); } SEC(".maps")';

/** What the initialiser of `values` names: each is a pointer, left to a relocation. */
function initialValues(
  elf: ElfFile,
  section: ElfSection,
  struct: BtfType & { readonly kind: "struct" | "union" },
  offset: number,
  size: number,
): MapSpec["slots"] {
  const values = struct.members.find((member) => member.name === "values");
  if (values === undefined) return [];
  const start = offset + values.bitOffset / 8;
  return recordsBetween(elf.relocations.get(section.index) ?? [], start, offset + size)
    .map(({ offset: at, symbol }) => ({ index: (at - start) / 8, name: symbol.name }))
    .filter(({ index, name }) => Number.isInteger(index) && name !== "");
}

const mapInMap = [12, 13];
const progArray = 3;
const pinByName = 1;

function readDefinition(
  file: string,
  name: string,
  btf: Btf,
  struct: BtfType & { readonly kind: "struct" | "union" },
  slots: MapSpec["slots"],
  isInner: boolean,
): Result<MapSpec, UserError> {
  const found: Found = {
    numbers: new Map(),
    keyType: undefined,
    valueType: undefined,
    inner: undefined,
  };
  for (const member of struct.members) {
    const problem = readMember(file, name, btf, member, found, isInner);
    if (problem !== undefined) return err(problem);
  }
  const type = found.numbers.get("type");
  if (type === undefined)
    return err(badMap(file, name, "it has no type", "add __uint(type, BPF_MAP_TYPE_…)"));
  const pinning = found.numbers.get("pinning") ?? 0;
  if (pinning > pinByName || (isInner && pinning !== 0))
    return err(
      badMap(
        file,
        name,
        `pinning ${pinning}${isInner ? " of an inner map" : ""}`,
        isInner ? "pin the outer map" : "use LIBBPF_PIN_BY_NAME (1) or LIBBPF_PIN_NONE (0)",
      ),
    );
  const key = agreedSize(btf, found.keyType, found.numbers.get("key_size"));
  const value = agreedSize(btf, found.valueType, found.numbers.get("value_size"));
  for (const [what, size] of [
    ["key", key],
    ["value", value],
  ] as const)
    if (typeof size === "string")
      return err(
        badMap(
          file,
          name,
          `its ${what} ${size}`,
          `give one of __type(${what}, …) and __uint(${what}_size, …)`,
        ),
      );
  const holdsNumbers = mapInMap.includes(type) || type === progArray;
  const attributes: MapAttributes = {
    type,
    keySize: key as number,
    // Values of these are file descriptors.
    valueSize: holdsNumbers ? 4 : (value as number),
    maxEntries: found.numbers.get("max_entries") ?? 0,
    flags: found.numbers.get("map_flags") ?? 0,
    pinned: pinning === pinByName,
    keyType: found.keyType,
    valueType: found.valueType,
    extra: found.numbers.get("map_extra"),
    spinLocks: spinLockOffsets(btf, found.valueType),
    inner: found.inner,
    slots,
  };
  const made = mapSpec(file, name, attributes);
  return "error" in made ? err(made.error) : ok(made.spec);
}

interface Found {
  readonly numbers: Map<string, number>;
  keyType: number | undefined;
  valueType: number | undefined;
  inner: MapSpec | undefined;
}

const numberMembers = [
  "type",
  "max_entries",
  "map_flags",
  "key_size",
  "value_size",
  "pinning",
  // Read so that a wrong form is refused; it has no meaning for maps in user space.
  "numa_node",
  "map_extra",
];

function readMember(
  file: string,
  map: string,
  btf: Btf,
  member: BtfMember,
  found: Found,
  isInner: boolean,
): UserError | undefined {
  const { name } = member;
  const bad = (what: string, fix: string) => badMap(file, map, `member "${name}" ${what}`, fix);
  if (numberMembers.includes(name)) {
    const number =
      hiddenNumber(btf, member.type) ??
      (name === "map_extra" ? enumNumber(btf, member.type) : undefined);
    if (number === undefined) return bad("hides no number", `write __uint(${name}, …)`);
    found.numbers.set(name, number);
    return undefined;
  }
  if (name === "key" || name === "value") {
    const pointer = resolveType(btf, member.type);
    if (pointer.kind !== "pointer" || sizeOfType(btf, pointer.type) === undefined)
      return bad("names no type with a size", `write __type(${name}, …)`);
    if (name === "key") found.keyType = pointer.type;
    else found.valueType = pointer.type;
    return undefined;
  }
  if (name !== "values")
    return bad(
      "is unknown",
      "use type, key, value, key_size, value_size, max_entries, map_flags, pinning or values",
    );
  if (isInner) return bad("stands in an inner map", "maps nest one level deep");
  return readValues(file, map, btf, member, found, bad);
}

/** `__array(values, struct …)` is the inner map's template; `__array(values, int (…))` names programs. */
function readValues(
  file: string,
  map: string,
  btf: Btf,
  member: BtfMember,
  found: Found,
  bad: (what: string, fix: string) => UserError,
): UserError | undefined {
  const fix = "write __array(values, struct …) or __array(values, int (void *))";
  const array = resolveType(btf, member.type);
  if (array.kind !== "array") return bad("is no array of pointers", fix);
  const pointer = resolveType(btf, array.type);
  if (pointer.kind !== "pointer") return bad("is no array of pointers", fix);
  const target = resolveType(btf, pointer.type);
  if (target.kind === "prototype") return undefined;
  if (target.kind !== "struct") return bad("points to neither map nor program", fix);
  const inner = readDefinition(file, `${map}.inner`, btf, target, [], true);
  if (!inner.ok) return inner.error;
  found.inner = inner.value;
  return undefined;
}

/** The n of `int (*name)[n]`. */
function hiddenNumber(btf: Btf, id: number): number | undefined {
  const pointer = resolveType(btf, id);
  if (pointer.kind !== "pointer") return undefined;
  const array = resolveType(btf, pointer.type);
  return array.kind === "array" ? array.length : undefined;
}

/** The one value of the enum that `__ulong(name, n)` declares. */
function enumNumber(btf: Btf, id: number): number | undefined {
  const type = resolveType(btf, id);
  if (type.kind !== "enum" || type.values.length !== 1) return undefined;
  return Number(type.values[0]!.value);
}

/** The size that a type and a number give, 0 where neither is there, or how they disagree. */
function agreedSize(btf: Btf, type: number | undefined, size: number | undefined): number | string {
  if (type === undefined) return size ?? 0;
  const ofType = sizeOfType(btf, type)!;
  if (size !== undefined && size !== ofType)
    return `has ${ofType} bytes by its type and ${size} by its size`;
  return ofType > 0xffff_ffff ? `has ${ofType} bytes` : ofType;
}

function badMap(file: string, name: string, what: string, fix: string | undefined): UserError {
  return new UserError("OBJECT_BAD_MAP", `${file}, map "${name}"`, what, fix);
}
