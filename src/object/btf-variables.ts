import { putU32le, u32le } from "../common/bytes.ts";
import type { DecodedBtf } from "./btf-decode.ts";
import { type ElfFile, type ElfSection, symbolTypes } from "./elf.ts";

/** A variable of a section: a global, or the struct that declares a map. */
export interface LocatedVariable {
  readonly name: string;
  /** BTF type id of its value. */
  readonly type: number;
  /** In bytes from the start of the section. */
  readonly offset: number;
  readonly size: number;
}

/** R_BPF_64_ABS32 and R_BPF_64_NODYLD32: what clang leaves in `.BTF`, before and after LLVM 13. */
const btfRelocations = [3, 4];

/**
 * The `.BTF` section with its relocations done. clang cannot tell where in a section variables will
 * lie and leaves offsets to the linker; objects that were never linked still need them.
 */
export function relocateBtf(elf: ElfFile, section: ElfSection): Uint8Array {
  const relocations = elf.relocations.get(section.index);
  if (relocations === undefined) return section.bytes;
  const bytes = section.bytes.slice();
  for (const { offset, type, symbol } of relocations)
    if (btfRelocations.includes(type)) putU32le(bytes, offset, u32le(bytes, offset) + symbol.value);
  return bytes;
}

/** The variables that BTF lists for a section. Where a symbol has a variable's name, it says where. */
export function variablesOf(elf: ElfFile, section: ElfSection, btf: DecodedBtf): LocatedVariable[] {
  const listed = btf.types[btf.sections.get(section.name) ?? 0];
  if (listed?.kind !== "section") return [];
  const symbols = new Map(
    (elf.symbols.get(section.index) ?? [])
      .filter((symbol) => symbol.type === symbolTypes.object)
      .map((symbol) => [symbol.name, symbol.value]),
  );
  return listed.variables.flatMap(({ type: id, offset, size }) => {
    const variable = btf.types[id];
    if (variable?.kind !== "variable" || variable.linkage === "extern") return [];
    const { name, type } = variable;
    return [{ name, type, offset: symbols.get(name) ?? offset, size }];
  });
}
