import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { type DecodedBtf, decodeBtf } from "./btf-decode.ts";
import { type BtfExt, decodeBtfExt } from "./btf-ext.ts";
import { readBtfMaps } from "./btf-maps.ts";
import { relocateBtf } from "./btf-variables.ts";
import { readDataSections, readVariables } from "./data-sections.ts";
import { type ElfFile, type ElfSection, readElf, sectionTypes } from "./elf.ts";
import { FunctionTable, type ObjectFunction } from "./function-table.ts";
import { readKconfig } from "./kconfig.ts";
import { readLegacyMaps } from "./legacy-maps.ts";
import { linkProgram } from "./link-program.ts";
import { type LocatedMap, MapTable } from "./map-table.ts";
import type { MapSpec, ObjectSpec, ProgramSpec, ProgramType } from "./object-spec.ts";
import { FunctionResolver, type ObjectParts } from "./resolve-function.ts";
import { sectionProgramType, tailCallSlot, tailCallType } from "./section-type.ts";
import { sortMaps } from "./sort-maps.ts";
import { StringTable } from "./string-table.ts";

/** Code of all programs together: functions that many programs share are copied into each. */
const maxCodeBytes = 16 * 2 ** 20;

/**
 * Reads an eBPF object that clang built: its programs, maps and global variables.
 *
 * `file` is its name in messages. The bytes may be anything: what is wrong is returned as an error
 * that names file, section and symbol, within time and memory bounded by the size of the input.
 */
export function loadObject(bytes: Uint8Array, file: string): Result<ObjectSpec, UserError> {
  // A Buffer's `slice` shares memory where an array's copies.
  const elf = readElf(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length), file);
  if (!elf.ok) return elf;
  const types = readTypes(elf.value);
  if (!types.ok) return types;
  const functions = FunctionTable.read(elf.value);
  if (!functions.ok) return functions;
  const maps = readMaps(elf.value, types.value.btf);
  if (!maps.ok) return maps;
  const { usable, refused } = sortMaps(maps.value);
  const kconfig = types.value.btf && readKconfig(elf.value, types.value.btf);
  const allMaps = kconfig === undefined ? usable : [...usable, kconfig.map];
  const parts: ObjectParts = {
    elf: elf.value,
    functions: functions.value,
    maps: new MapTable(allMaps, refused),
    kconfig,
    ...types.value,
  };
  const programs = linkPrograms(parts);
  if (!programs.ok) return programs;
  return ok({
    file,
    license: readLicense(elf.value),
    programs: programs.value,
    maps: withTailCalls(allMaps, programs.value),
    variables: readVariables(elf.value, types.value.btf, usable),
    btf: types.value.btf,
    ...(refused.length > 0 && { refusedMaps: refused.map(({ refusal }) => refusal) }),
  });
}

interface Types {
  readonly btf: DecodedBtf | undefined;
  readonly ext: BtfExt | undefined;
}

function readTypes(elf: ElfFile): Result<Types, UserError> {
  const section = findSection(elf, ".BTF");
  if (section === undefined) return ok({ btf: undefined, ext: undefined });
  const btf = decodeBtf(relocateBtf(elf, section), elf.file);
  if (!btf.ok) return btf;
  const extSection = findSection(elf, ".BTF.ext");
  if (extSection === undefined) return ok({ btf: btf.value, ext: undefined });
  const ext = decodeBtfExt(extSection.bytes, btf.value.strings, elf.file);
  if (!ext.ok) return ext;
  return ok({ btf: btf.value, ext: ext.value });
}

function readMaps(
  elf: ElfFile,
  btf: DecodedBtf | undefined,
): Result<readonly LocatedMap[], UserError> {
  const maps: LocatedMap[] = [];
  const legacy = findSection(elf, "maps");
  const described = findSection(elf, ".maps");
  for (const read of [
    legacy === undefined ? undefined : readLegacyMaps(elf, legacy, btf),
    described === undefined ? undefined : readBtfMaps(elf, described, btf),
    readDataSections(elf, btf),
  ]) {
    if (read === undefined) continue;
    if (!read.ok) return read;
    maps.push(...read.value);
  }
  return ok(maps);
}

function linkPrograms(parts: ObjectParts): Result<readonly ProgramSpec[], UserError> {
  const { file } = parts.elf;
  const entries = parts.functions.programs();
  if (entries.length === 0)
    return err(
      new UserError(
        "OBJECT_NO_PROGRAM",
        file,
        "it holds no program",
        'put a function into a section that names its type, as SEC("xdp") does',
      ),
    );
  const types = programTypes(entries);
  const resolver = new FunctionResolver(parts);
  const programs: ProgramSpec[] = [];
  const errors: UserError[] = [];
  let codeBytes = 0;
  for (const [i, entry] of entries.entries()) {
    const program = linkProgram(parts, resolver, entry, types[i]);
    if (program.ok) {
      programs.push(program.value);
      codeBytes += program.value.bytecode.length;
    } else {
      programs.push(faultyProgram(file, entry, types[i], program.error));
      errors.push(program.error);
    }
    if (codeBytes > maxCodeBytes)
      return err(
        new UserError(
          "OBJECT_TOO_LARGE",
          `${file}, program "${entry.name}"`,
          `its ${entries.length} programs take more than ${maxCodeBytes} bytes of code`,
          "split the object",
        ),
      );
  }
  const [first, ...others] = errors;
  if (first === undefined || errors.length < programs.length) return ok(programs);
  // None of them can run: the object is good for nothing.
  const { code, where, what, fix } = first;
  const detail = others.map(({ message }) => message);
  return err(new UserError(code, where, what, fix, detail));
}

/** In the place of a program that could not be put together, beside others that could. */
function faultyProgram(
  file: string,
  { name, section }: ObjectFunction,
  type: ProgramType | undefined,
  { code, where, what, fix }: UserError,
): ProgramSpec {
  const within = where.replace(`${file}, `, "");
  const program = `${file}, program ${name}`;
  const place = within.startsWith("program ") ? program : `${program}, ${within}`;
  return {
    name,
    section: section.name,
    type,
    bytecode: new Uint8Array(0),
    functions: [],
    lines: [],
    fault: new UserError(code, place, what, fix),
  };
}

function programTypes(entries: readonly ObjectFunction[]): (ProgramType | undefined)[] {
  const named = entries.map(({ section }) => sectionProgramType(section.name));
  const forTailCalls = tailCallType(named);
  return entries.map(({ section }, i) =>
    tailCallSlot(section.name) === undefined ? named[i] : forTailCalls,
  );
}

/** Programs of sections `ID/INDEX` go into the prog_array with that id, as iproute2 puts them. */
function withTailCalls(
  maps: readonly LocatedMap[],
  programs: readonly ProgramSpec[],
): readonly MapSpec[] {
  const byMap = new Map<number, { index: number; name: string }[]>();
  for (const { section, name } of programs) {
    const slot = tailCallSlot(section);
    if (slot === undefined) continue;
    const slots = byMap.get(slot.mapId) ?? [];
    slots.push({ index: slot.index, name });
    byMap.set(slot.mapId, slots);
  }
  return maps.map(({ spec, id }) => {
    const slots = id === undefined || spec.type !== "prog_array" ? undefined : byMap.get(id);
    return slots === undefined ? spec : { ...spec, slots };
  });
}

/** The text of the `license` section; empty where there is none. The kernel reads 128 bytes too. */
function readLicense(elf: ElfFile): string {
  const bytes = findSection(elf, "license")?.bytes.subarray(0, 128) ?? new Uint8Array(0);
  return new StringTable(Uint8Array.of(...bytes, 0)).read(0) ?? "";
}

function findSection(elf: ElfFile, name: string): ElfSection | undefined {
  return elf.sections.find(
    (section) => section.name === name && section.type === sectionTypes.progbits,
  );
}
