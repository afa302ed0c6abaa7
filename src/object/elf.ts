import { u16be, u16le, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { sortByOffset } from "./records.ts";
import { StringTable } from "./string-table.ts";

/** Largest object file that is read. The largest known network objects are below 2 MiB. */
export const maxObjectBytes = 16 * 2 ** 20;

/** SHN_LORESERVE: higher section numbers have other meanings. elf(5). */
const maxSections = 0xff00;

const headerBytes = 64;
const sectionHeaderBytes = 64;
const symbolBytes = 24;
const relocationBytes = 16;

export const sectionTypes = { progbits: 1, symtab: 2, rela: 4, nobits: 8, rel: 9 } as const;
export const sectionFlags = { write: 1, alloc: 2, executable: 4, compressed: 0x800 } as const;
export const symbolTypes = { none: 0, object: 1, function: 2, section: 3 } as const;
export const symbolBindings = { local: 0, global: 1, weak: 2 } as const;

/** Section number of a symbol that this file does not define. */
export const undefinedSection = 0;

export interface ElfSection {
  readonly index: number;
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  /** Empty for NOBITS, whose `size` takes no room in the file. */
  readonly bytes: Uint8Array;
}

export interface ElfSymbol {
  readonly name: string;
  readonly type: number;
  readonly binding: number;
  /** A section's index, or a reserved number (0: undefined, from 0xff00: absolute, common). */
  readonly section: number;
  readonly value: number;
  readonly size: number;
}

export interface ElfRelocation {
  /** In bytes from the start of the section that it patches. */
  readonly offset: number;
  /** R_BPF_*, Documentation/bpf/llvm_reloc.rst. */
  readonly type: number;
  readonly symbol: ElfSymbol;
}

/** A relocatable eBPF object: ELF64, little-endian, every offset and size within the file. */
export interface ElfFile {
  readonly file: string;
  readonly sections: readonly ElfSection[];
  /** By the index of the section they are in (0: undefined here), in file order. */
  readonly symbols: ReadonlyMap<number, readonly ElfSymbol[]>;
  /** By the index of the section they patch, ordered by offset. */
  readonly relocations: ReadonlyMap<number, readonly ElfRelocation[]>;
}

/** Reads an object's structure. elf(5); EM_BPF is 247. */
export function readElf(bytes: Uint8Array, file: string): Result<ElfFile, UserError> {
  const header = readHeader(bytes, file);
  if (!header.ok) return header;
  const sections = readSections(bytes, file, header.value);
  if (!sections.ok) return sections;
  const symbols = readSymbols(file, sections.value);
  if (!symbols.ok) return symbols;
  const relocations = readRelocations(file, sections.value, symbols.value);
  if (!relocations.ok) return relocations;
  return ok({
    file,
    sections: sections.value,
    symbols: Map.groupBy(symbols.value, ({ section }) => section),
    relocations: relocations.value,
  });
}

interface Header {
  readonly sectionsAt: number;
  readonly sectionCount: number;
  /** Index of the section that holds section names. */
  readonly namesIndex: number;
}

const rebuild = "build it with clang -target bpf";

function readHeader(bytes: Uint8Array, file: string): Result<Header, UserError> {
  const refuse = (code: string, what: string, fix: string) =>
    err(new UserError(code, file, what, fix));
  if (bytes.length > maxObjectBytes)
    return refuse(
      "OBJECT_TOO_LARGE",
      `${bytes.length} bytes; an object has at most ${maxObjectBytes}`,
      "strip its debug information with llvm-strip -g",
    );
  if (bytes.length < 4 || bytes[0] !== 0x7f || bytes[1] !== 0x45 || u16le(bytes, 2) !== 0x464c)
    return refuse(
      "OBJECT_NOT_ELF",
      `not an ELF object: it begins with ${beginning(bytes)}`,
      `give the .o file, or ${rebuild}`,
    );
  if (bytes.length < headerBytes) return truncated(file, "the ELF header", headerBytes, bytes);
  const machine = bytes[5] === 2 ? u16be(bytes, 18) : u16le(bytes, 18);
  if (machine !== emBpf && machine !== 0)
    return refuse("OBJECT_WRONG_MACHINE", `${machineName(machine)} object, not eBPF`, rebuild);
  if (bytes[4] !== 2)
    return refuse(
      "OBJECT_NOT_64_BIT",
      `ELF class ${bytes[4]}${bytes[4] === 1 ? " (32-bit)" : ""}; eBPF objects are 64-bit (class 2)`,
      rebuild,
    );
  if (bytes[5] !== 1)
    return refuse(
      "OBJECT_BIG_ENDIAN",
      bytes[5] === 2
        ? "big-endian eBPF object; Weir runs little-endian programs"
        : `ELF data encoding ${bytes[5]}, expected 1 (little-endian)`,
      "build it with clang -target bpfel",
    );
  const type = u16le(bytes, 16);
  if (type !== 1)
    return refuse(
      "OBJECT_NOT_RELOCATABLE",
      `ELF type ${type}; an object file has type 1 (relocatable)`,
      "give what clang -c wrote, not a linked file",
    );
  const sectionsAt = u64(bytes, 40);
  const sectionCount = u16le(bytes, 60);
  if (u16le(bytes, 58) !== sectionHeaderBytes || sectionCount === 0 || sectionCount > maxSections)
    return refuse(
      "OBJECT_BAD_SECTIONS",
      `${sectionCount} section headers of ${u16le(bytes, 58)} bytes; expected 1 to ${maxSections} of ${sectionHeaderBytes}`,
      rebuild,
    );
  if (sectionsAt + sectionCount * sectionHeaderBytes > bytes.length)
    return truncated(
      file,
      "the section headers",
      sectionsAt + sectionCount * sectionHeaderBytes,
      bytes,
    );
  return ok({ sectionsAt, sectionCount, namesIndex: u16le(bytes, 62) });
}

function readSections(
  bytes: Uint8Array,
  file: string,
  { sectionsAt, sectionCount, namesIndex }: Header,
): Result<ElfSection[], UserError> {
  const contents: Uint8Array[] = [];
  for (let i = 0; i < sectionCount; i++) {
    const at = sectionsAt + i * sectionHeaderBytes;
    const type = u32le(bytes, at + 4);
    const offset = u64(bytes, at + 24);
    const size = u64(bytes, at + 32);
    const inFile = type !== 0 && type !== sectionTypes.nobits;
    if (inFile && offset + size > bytes.length)
      return truncated(file, `section ${i}`, offset + size, bytes);
    contents.push(inFile ? bytes.subarray(offset, offset + size) : new Uint8Array(0));
  }
  const names = new StringTable(contents[namesIndex] ?? new Uint8Array(0));
  const sections: ElfSection[] = [];
  for (let index = 0; index < sectionCount; index++) {
    const at = sectionsAt + index * sectionHeaderBytes;
    const type = u32le(bytes, at + 4);
    const name = type === 0 ? "" : names.read(u32le(bytes, at));
    if (name === undefined)
      return broken(file, `section ${index}: its name is outside the string table`);
    sections.push({
      index,
      name,
      type,
      flags: u32le(bytes, at + 8),
      size: u64(bytes, at + 32),
      link: u32le(bytes, at + 40),
      info: u32le(bytes, at + 44),
      bytes: contents[index]!,
    });
  }
  const compressed = sections.find(
    ({ flags, type }) =>
      type !== 0 && (flags & sectionFlags.compressed) !== 0 && (flags & sectionFlags.alloc) !== 0,
  );
  if (compressed !== undefined)
    return broken(
      file,
      `section "${compressed.name}" is compressed, which code and data may not be`,
    );
  return ok(sections);
}

function readSymbols(
  file: string,
  sections: readonly ElfSection[],
): Result<ElfSymbol[], UserError> {
  const table = sections.find(({ type }) => type === sectionTypes.symtab);
  if (table === undefined) return ok([]);
  const { bytes } = table;
  if (bytes.length % symbolBytes !== 0)
    return broken(
      file,
      `the symbol table has ${bytes.length} bytes, no multiple of ${symbolBytes}`,
    );
  const strings = sections[table.link];
  if (strings === undefined)
    return broken(file, `the symbol table names section ${table.link} for its strings`);
  const names = new StringTable(strings.bytes);
  const symbols: ElfSymbol[] = [];
  for (let at = 0; at < bytes.length; at += symbolBytes) {
    const info = bytes[at + 4]!;
    const type = info & 15;
    const section = u16le(bytes, at + 6);
    const nameAt = u32le(bytes, at);
    const name =
      type === symbolTypes.section && nameAt === 0 ? sections[section]?.name : names.read(nameAt);
    // Symbol 0 is all zero, and a table of nothing else needs no strings.
    if (name === undefined && nameAt !== 0)
      return broken(file, `symbol ${at / symbolBytes}: its name is outside the string table`);
    if (section < maxSections && section >= sections.length)
      return broken(file, `symbol "${name}" is in section ${section} of ${sections.length}`);
    symbols.push({
      name: name ?? "",
      type,
      binding: info >>> 4,
      section,
      value: u64(bytes, at + 8),
      size: u64(bytes, at + 16),
    });
  }
  return ok(symbols);
}

function readRelocations(
  file: string,
  sections: readonly ElfSection[],
  symbols: readonly ElfSymbol[],
): Result<Map<number, readonly ElfRelocation[]>, UserError> {
  const relocations = new Map<number, readonly ElfRelocation[]>();
  for (const section of sections) {
    if (section.type !== sectionTypes.rel && section.type !== sectionTypes.rela) continue;
    const target = sections[section.info];
    if (target === undefined)
      return broken(file, `section "${section.name}" relocates section ${section.info}`);
    if (!isRead(target)) continue;
    if (section.type === sectionTypes.rela)
      return broken(file, `section "${section.name}" has addends (RELA); eBPF objects have none`);
    if (section.bytes.length % relocationBytes !== 0)
      return broken(
        file,
        `section "${section.name}" is not made of ${relocationBytes}-byte entries`,
      );
    const list = [...(relocations.get(target.index) ?? [])];
    for (let at = 0; at < section.bytes.length; at += relocationBytes) {
      const offset = u64(section.bytes, at);
      const symbol = symbols[u32le(section.bytes, at + 12)];
      const where = `section "${section.name}", entry ${at / relocationBytes}`;
      if (symbol === undefined)
        return broken(
          file,
          `${where}: symbol ${u32le(section.bytes, at + 12)} of ${symbols.length}`,
        );
      if (offset + 4 > target.bytes.length)
        return broken(file, `${where}: offset ${offset} is outside "${target.name}"`);
      list.push({ offset, type: u32le(section.bytes, at + 8), symbol });
    }
    relocations.set(target.index, sortByOffset(list));
  }
  return ok(relocations);
}

/** Relocations of debug sections mean nothing here; those of code, data and BTF do. */
function isRead(section: ElfSection): boolean {
  return (section.flags & sectionFlags.alloc) !== 0 || section.name === ".BTF";
}

function truncated(file: string, what: string, needed: number, bytes: Uint8Array) {
  return err(
    new UserError(
      "OBJECT_TRUNCATED",
      file,
      `truncated: ${what} would end at byte ${needed}, and the file has ${bytes.length}`,
      "copy or build the object again",
    ),
  );
}

function broken(file: string, what: string) {
  return err(new UserError("OBJECT_BROKEN", file, what, "build the object again"));
}

/** Beyond 2⁵³ it is imprecise, and always larger than any file. */
function u64(bytes: Uint8Array, at: number): number {
  return u32le(bytes, at + 4) * 2 ** 32 + u32le(bytes, at);
}

const emBpf = 247;

/** The machines people build for by mistake. EM_*, elf.h. */
const machines: Readonly<Record<number, string>> = {
  3: "x86",
  8: "MIPS",
  20: "PowerPC",
  21: "PowerPC64",
  22: "S/390",
  40: "Arm",
  62: "x86-64",
  183: "AArch64",
  243: "RISC-V",
  258: "LoongArch",
};

function machineName(machine: number): string {
  return machines[machine] ?? `machine-${machine}`;
}

function beginning(bytes: Uint8Array): string {
  if (bytes.length === 0) return "nothing (0 bytes)";
  return Array.from(bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
