import { putU32le } from "../../src/common/bytes.ts";

/** A section of an object that no compiler would write. */
export interface BuiltSection {
  readonly name: string;
  readonly type: "progbits" | "symtab" | "strtab" | "rel";
  readonly executable?: boolean;
  readonly link?: number;
  readonly info?: number;
  readonly bytes: Uint8Array;
}

export interface BuiltSymbol {
  readonly name: string;
  readonly type: "none" | "object" | "function" | "section";
  readonly local?: boolean;
  readonly section: number;
  readonly value?: number;
  readonly size?: number;
}

const typeNumbers = { progbits: 1, symtab: 2, strtab: 3, rel: 9 } as const;
const symbolNumbers = { none: 0, object: 1, function: 2, section: 3 } as const;

/**
 * An eBPF object of these sections (numbered from 1), with a symbol table, and relocations of
 * section 1: [offset, type, index of the symbol].
 */
export function buildElf(
  sections: readonly BuiltSection[],
  symbols: readonly BuiltSymbol[] = [],
  relocations: readonly (readonly [number, number, number])[] = [],
): Uint8Array {
  const names = new Strings();
  const table = new Uint8Array(symbols.length * 24);
  for (const [i, symbol] of symbols.entries()) {
    putU32le(table, i * 24, names.add(symbol.name));
    table[i * 24 + 4] = ((symbol.local ? 0 : 1) << 4) | symbolNumbers[symbol.type];
    table.set([symbol.section & 255, symbol.section >> 8], i * 24 + 6);
    putU32le(table, i * 24 + 8, symbol.value ?? 0);
    putU32le(table, i * 24 + 16, symbol.size ?? 0);
  }
  const rel = new Uint8Array(relocations.length * 16);
  for (const [i, [offset, type, symbol]] of relocations.entries()) {
    putU32le(rel, i * 16, offset);
    putU32le(rel, i * 16 + 8, type);
    putU32le(rel, i * 16 + 12, symbol);
  }
  const strtab = sections.length + 1;
  return layOut([
    ...sections,
    { name: ".strtab", type: "strtab", bytes: names.bytes() },
    { name: ".symtab", type: "symtab", link: strtab, bytes: table },
    { name: ".rel", type: "rel", info: 1, link: strtab + 1, bytes: rel },
  ]);
}

function layOut(sections: readonly BuiltSection[]): Uint8Array {
  const names = new Strings();
  const offsets = sections.map(({ name }) => names.add(name));
  const nameOffset = names.add(".shstrtab");
  const all = [
    ...sections,
    { name: ".shstrtab", type: "strtab", bytes: names.bytes() },
  ] as readonly BuiltSection[];
  const dataBytes = all.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const headersAt = 64 + dataBytes;
  const file = new Uint8Array(headersAt + 64 * (all.length + 1));
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.set([1, 0, 247], 16);
  putU32le(file, 40, headersAt);
  const count = all.length + 1;
  file.set([64, 0, count & 255, count >> 8, all.length & 255, all.length >> 8], 58);
  let at = 64;
  for (const [i, { type, executable, link, info, bytes }] of all.entries()) {
    file.set(bytes, at);
    const header = headersAt + 64 * (i + 1);
    putU32le(file, header, offsets[i] ?? nameOffset);
    putU32le(file, header + 4, typeNumbers[type]);
    putU32le(file, header + 8, type === "progbits" ? (executable ? 6 : 3) : 0);
    putU32le(file, header + 24, at);
    putU32le(file, header + 32, bytes.length);
    putU32le(file, header + 40, link ?? 0);
    putU32le(file, header + 44, info ?? 0);
    at += bytes.length;
  }
  return file;
}

class Strings {
  #text = "\0";

  add(text: string): number {
    const at = this.#text.length;
    this.#text += `${text}\0`;
    return at;
  }

  bytes(): Uint8Array {
    return new TextEncoder().encode(this.#text);
  }
}
