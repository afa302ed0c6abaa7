import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import {
  type ElfFile,
  type ElfSection,
  type ElfSymbol,
  sectionFlags,
  sectionTypes,
  symbolBindings,
  symbolTypes,
} from "./elf.ts";

/** Ten times what the largest known objects hold. */
const maxFunctions = 16_384;

/** A stretch of code under a name: a program, or a function that programs call. */
export interface ObjectFunction {
  readonly name: string;
  readonly section: ElfSection;
  /** First byte within the section, a multiple of 8. */
  readonly start: number;
  /** One past its last byte. */
  readonly end: number;
  /** Local functions are called; global ones outside `.text` are programs as well. */
  readonly local: boolean;
}

/** An object's functions by section, in order of their addresses. */
export class FunctionTable {
  readonly #bySection = new Map<number, readonly ObjectFunction[]>();

  private constructor() {}

  static read(elf: ElfFile): Result<FunctionTable, UserError> {
    const table = new FunctionTable();
    let count = 0;
    for (const section of elf.sections) {
      const code = section.type === sectionTypes.progbits && section.size > 0;
      if (!code || (section.flags & sectionFlags.executable) === 0) continue;
      const functions = readSection(elf.file, section, elf.symbols.get(section.index) ?? []);
      if (!functions.ok) return functions;
      count += functions.value.length;
      if (count > maxFunctions)
        return err(
          new UserError(
            "OBJECT_TOO_LARGE",
            elf.file,
            `more than ${maxFunctions} functions`,
            "split the object",
          ),
        );
      table.#bySection.set(section.index, functions.value);
    }
    return ok(table);
  }

  /** The function that begins at this byte of a section, or undefined. */
  at(section: number, start: number): ObjectFunction | undefined {
    const functions = this.#bySection.get(section) ?? [];
    let low = 0;
    let high = functions.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const found = functions[middle]!;
      if (found.start === start) return found;
      if (found.start < start) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  /** What can be run: `.text` holds subprograms, unless there is nothing else. As libbpf has it. */
  programs(): readonly ObjectFunction[] {
    const all = [...this.#bySection.values()].flat().filter(({ local }) => !local);
    const outsideText = all.filter(({ section }) => section.name !== ".text");
    return outsideText.length > 0 ? outsideText : all;
  }
}

function readSection(
  file: string,
  section: ElfSection,
  symbols: readonly ElfSymbol[],
): Result<ObjectFunction[], UserError> {
  const bad = (what: string) =>
    err(
      new UserError(
        "OBJECT_BAD_CODE",
        `${file}, section "${section.name}"`,
        what,
        "build the object again",
      ),
    );
  const { size } = section;
  if (size % 8 !== 0) return bad(`${size} bytes of code, no multiple of 8`);
  const functions = symbols.filter(({ type }) => type === symbolTypes.function);
  const starts = distinctStarts(functions.length > 0 ? functions : symbols.filter(isLabel));
  if (starts.length === 0)
    return ok([{ name: section.name, section, start: 0, end: size, local: false }]);
  const found: ObjectFunction[] = [];
  for (const [i, symbol] of starts.entries()) {
    const next = starts[i + 1]?.value ?? size;
    // Assembly need not give sizes: such a function ends where the next begins.
    const end = symbol.size === 0 ? next : symbol.value + symbol.size;
    if (symbol.value % 8 !== 0 || end % 8 !== 0 || end > size || symbol.value >= end)
      return bad(
        `function "${symbol.name}" is bytes ${symbol.value} to ${end} of ${size}, which are no whole instructions`,
      );
    if (end > next) return bad(`functions "${symbol.name}" and "${starts[i + 1]!.name}" overlap`);
    found.push({
      name: symbol.name,
      section,
      start: symbol.value,
      end,
      local: symbol.binding === symbolBindings.local,
    });
  }
  return ok(found);
}

/** A name without a type: what assembly without `.type` leaves. */
function isLabel({ type, binding, name }: ElfSymbol): boolean {
  return type === symbolTypes.none && binding !== symbolBindings.local && name !== "";
}

/** One symbol an address (aliases share code), the most visible one, in order. */
function distinctStarts(symbols: readonly ElfSymbol[]): ElfSymbol[] {
  const byStart = new Map<number, ElfSymbol>();
  for (const symbol of symbols) {
    const known = byStart.get(symbol.value);
    if (known === undefined || known.binding === symbolBindings.local)
      byStart.set(symbol.value, symbol);
  }
  return [...byStart.values()].sort((a, b) => a.value - b.value);
}
