import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { DecodedBtf } from "./btf-decode.ts";
import { sizeOfType } from "./btf-types.ts";
import { variablesOf } from "./btf-variables.ts";
import { type ElfFile, type ElfSection, sectionTypes, symbolTypes } from "./elf.ts";
import { dataSectionMap, type LocatedMap, tooManyMaps } from "./map-table.ts";
import type { VariableSpec } from "./object-spec.ts";

/** Zeroed data takes no room in the file, so its size needs a limit of its own. */
const maxZeroedBytes = 64 * 2 ** 20;

/** `.rodata`, `.data` and `.bss`, also with a suffix (`.rodata.str1.1`, `.data.hot`). As libbpf has it. */
function isDataSection({ name, type, size }: ElfSection): boolean {
  if (size === 0) return false;
  if (type === sectionTypes.nobits) return /^\.bss($|\.)/.test(name);
  return type === sectionTypes.progbits && /^\.(rodata|data)($|\.)/.test(name);
}

/** A map for each data section: an array whose one value is the section's bytes. */
export function readDataSections(
  elf: ElfFile,
  btf: DecodedBtf | undefined,
): Result<LocatedMap[], UserError> {
  const maps: LocatedMap[] = [];
  const sections = elf.sections.filter(isDataSection);
  const tooMany = tooManyMaps(elf.file, ".data", sections.length);
  if (tooMany !== undefined) return err(tooMany);
  for (const section of sections) {
    const { name, index, size } = section;
    const zeroed = section.type === sectionTypes.nobits;
    if (zeroed && size > maxZeroedBytes)
      return err(
        new UserError(
          "OBJECT_TOO_LARGE",
          `${elf.file}, section "${name}"`,
          `${size} bytes of zeroed variables; at most ${maxZeroedBytes} are allowed`,
          "keep large tables in maps",
        ),
      );
    // Pointers in data stay as they are, without their relocations: libbpf does the same.
    const bytes = zeroed ? undefined : section.bytes.slice();
    const spec = dataSectionMap(name, size, bytes, btf?.sections.get(name));
    maps.push({ spec, section: index, offset: 0, size });
  }
  return ok(maps);
}

/** The global variables of data sections: those BTF knows, and symbols that it does not know. */
export function readVariables(
  elf: ElfFile,
  btf: DecodedBtf | undefined,
  maps: readonly LocatedMap[],
): VariableSpec[] {
  const variables: VariableSpec[] = [];
  for (const [map, { spec, section: index, size: sectionSize }] of maps.entries()) {
    const section = elf.sections[index];
    // What is in no section of the file (`.kconfig`) is not the object's to set.
    if (spec.dataSection === undefined || section === undefined) continue;
    const typed = btf === undefined ? [] : variablesOf(elf, section, btf);
    const known = new Set<number>();
    for (const { name, type, offset, size } of typed) {
      if (offset + size > sectionSize) continue;
      known.add(offset);
      // A variable with a flexible array is larger than its type, which then cannot describe it.
      const described = btf !== undefined && sizeOfType(btf, type) === size;
      variables.push({ name, map, offset, size, type: described ? type : undefined });
    }
    for (const { name, type, value: offset, size } of elf.symbols.get(index) ?? []) {
      if (type !== symbolTypes.object || name === "" || size === 0) continue;
      if (known.has(offset) || offset + size > sectionSize) continue;
      variables.push({ name, map, offset, size, type: undefined });
    }
  }
  return variables;
}
