import { putU32le, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { DecodedBtf } from "./btf-decode.ts";
import type { BtfExt } from "./btf-ext.ts";
import { poison, relocateCore } from "./core-relocations.ts";
import {
  type ElfFile,
  type ElfRelocation,
  type ElfSymbol,
  sectionFlags,
  symbolBindings,
  undefinedSection,
} from "./elf.ts";
import type { FunctionTable, ObjectFunction } from "./function-table.ts";
import { type Kconfig, kconfigSection } from "./kconfig.ts";
import type { MapTable } from "./map-table.ts";
import type { Unanswered } from "./object-spec.ts";
import { recordsBetween } from "./records.ts";

/** All that code refers to. */
export interface ObjectParts {
  readonly elf: ElfFile;
  readonly functions: FunctionTable;
  readonly maps: MapTable;
  readonly kconfig: Kconfig | undefined;
  readonly btf: DecodedBtf | undefined;
  readonly ext: BtfExt | undefined;
}

/** An instruction that names another function: a call, or a load of its address. */
interface Reference {
  /** From the start of the function. */
  readonly slot: number;
  readonly target: ObjectFunction;
}

/** A function whose map operands are done, and whose references wait for a place in a program. */
export interface ResolvedFunction {
  readonly code: Uint8Array;
  /** By slot. */
  readonly references: readonly Reference[];
  /** What only a kernel has: such instructions are calls of no helper. */
  readonly unanswered: readonly UnansweredAt[];
}

type UnansweredAt = Unanswered & { readonly slot: number };

const lddw = 0x18;
const call = 0x85;

/** Source register of `call`: a function of this object, or a kernel function. RFC 9669 §4.3.1. */
const callSource = { local: 1, btf: 2 } as const;

/** Source register of `lddw`. RFC 9669 §5.4. */
const loadSource = { none: 0, map: 1, value: 2, variable: 3, function: 4 } as const;

/** R_BPF_64_64 and R_BPF_64_32, the two that patch code. Documentation/bpf/llvm_reloc.rst. */
const codeRelocations = [1, 10];

/** Resolves each function once, when the first program needs it: what nobody calls may be broken. */
export class FunctionResolver {
  readonly #parts: ObjectParts;
  readonly #known = new Map<ObjectFunction, Result<ResolvedFunction, UserError>>();

  constructor(parts: ObjectParts) {
    this.#parts = parts;
  }

  resolve(target: ObjectFunction): Result<ResolvedFunction, UserError> {
    let resolved = this.#known.get(target);
    if (resolved === undefined) {
      resolved = resolveFunction(this.#parts, target);
      this.#known.set(target, resolved);
    }
    return resolved;
  }
}

function resolveFunction(
  parts: ObjectParts,
  target: ObjectFunction,
): Result<ResolvedFunction, UserError> {
  const { elf, ext, btf } = parts;
  const { section, start, end } = target;
  const place = (slot: number): string =>
    `${elf.file}, section "${section.name}", function "${target.name}", instruction ${slot}`;

  const code = section.bytes.slice(start, end);
  const unanswered: UnansweredAt[] = [];
  for (const record of recordsBetween(ext?.coreRelocations.get(section.name) ?? [], start, end)) {
    const at = record.offset - start;
    if (at % 8 !== 0)
      return err(
        new UserError(
          "OBJECT_CORE_RELOCATION",
          place(at / 8),
          "a CO-RE relocation within an instruction",
          "build the object again",
        ),
      );
    const problem = relocateCore(btf!, record, code, at);
    if (problem !== undefined) unanswered.push({ ...problem, slot: at / 8 });
  }

  const references: Reference[] = [];
  const relocated = new Set<number>();
  for (const relocation of recordsBetween(elf.relocations.get(section.index) ?? [], start, end)) {
    const at = relocation.offset - start;
    const patch = new Patch(parts, target, code, at, place(at / 8), unanswered);
    const patched = relocated.has(at) ? patch.twice(relocation) : patch.apply(relocation);
    relocated.add(at);
    if (!patched.ok) return patched;
    if (patched.value !== undefined) references.push({ slot: at / 8, target: patched.value });
  }
  for (let at = 0; at < code.length; at += code[at] === lddw ? 16 : 8) {
    if (relocated.has(at)) continue;
    const found = new Patch(parts, target, code, at, place(at / 8), unanswered).withoutRelocation();
    if (!found.ok) return found;
    if (found.value !== undefined) references.push({ slot: at / 8, target: found.value });
  }
  references.sort((a, b) => a.slot - b.slot);
  return ok({ code, references, unanswered });
}

type Patched = Result<ObjectFunction | undefined, UserError>;

/**
 * One instruction to patch: what it names is a function (returned), a map or data (written into it), or
 * what there is none of (told to `unanswered`).
 */
class Patch {
  readonly #parts: ObjectParts;
  readonly #within: ObjectFunction;
  readonly #code: Uint8Array;
  readonly #at: number;
  readonly #where: string;
  readonly #unanswered: UnansweredAt[];

  constructor(
    parts: ObjectParts,
    within: ObjectFunction,
    code: Uint8Array,
    at: number,
    where: string,
    unanswered: UnansweredAt[],
  ) {
    this.#unanswered = unanswered;
    this.#parts = parts;
    this.#within = within;
    this.#code = code;
    this.#at = at;
    this.#where = where;
  }

  apply({ type, symbol }: ElfRelocation): Patched {
    if (!codeRelocations.includes(type))
      return this.#refuse(
        `relocation type ${type} for "${symbol.name}"; code has types 1 (R_BPF_64_64) and 10 (R_BPF_64_32)`,
        "build it with clang -target bpf",
      );
    if (Number.isInteger(this.#at / 8)) {
      if (this.#code[this.#at] === lddw && this.#at + 16 <= this.#code.length)
        return this.#load(symbol);
      if (this.#code[this.#at] === call) return this.#call(symbol);
    }
    return this.#refuse(
      `a relocation for "${symbol.name}" at byte ${this.#at}, which is neither a call nor a 64-bit load`,
      "build the object again",
    );
  }

  /** The first one has taken the addend's place. */
  twice({ symbol }: ElfRelocation): Patched {
    return this.#refuse(
      `a second relocation, for "${symbol.name}", of one instruction`,
      "build the object again",
    );
  }

  /** Calls within a section need no relocation; their operand is the distance. */
  withoutRelocation(): Patched {
    const opcode = this.#code[this.#at];
    const source = this.#source;
    const isCall = opcode === call && source === callSource.local;
    const isAddress = opcode === lddw && source === loadSource.function;
    if (isCall || isAddress) {
      const next = this.#within.start + this.#at + 8;
      return this.#function(this.#within.section.index, next + this.#immediate * 8, "it");
    }
    if (opcode === lddw && source !== loadSource.none && source !== loadSource.variable)
      return this.#refuse(
        `it names map ${this.#immediate} by number, without a relocation`,
        "refer to maps by their variables",
      );
    return ok(undefined);
  }

  #call(symbol: ElfSymbol): Patched {
    if (symbol.section === undefinedSection) return this.#unresolved(symbol, "calls");
    if (this.#source !== callSource.local)
      return this.#refuse(
        `a relocation for "${symbol.name}" on a call of helper ${this.#immediate}`,
        "build the object again",
      );
    return this.#function(
      symbol.section,
      symbol.value + (this.#immediate + 1) * 8,
      `"${symbol.name}"`,
    );
  }

  #load(symbol: ElfSymbol): Patched {
    const { elf, maps } = this.#parts;
    const { section, value, name } = symbol;
    if (section === undefinedSection) {
      const configured = this.#parts.kconfig?.offsets.get(name);
      if (configured !== undefined) {
        this.#write(loadSource.value, maps.find(kconfigSection, 0)!, configured);
        return ok(undefined);
      }
      if (symbol.binding !== symbolBindings.weak) return this.#unresolved(symbol, "uses");
      // What may be missing and is has address 0; programs compare with it.
      this.#write(loadSource.none, 0, 0);
      return ok(undefined);
    }
    const offset = value + this.#immediate;
    const home = elf.sections[section];
    if (home !== undefined && (home.flags & sectionFlags.executable) !== 0) {
      this.#write(loadSource.function, 0, 0);
      return this.#function(section, offset, `"${name}"`);
    }
    const refused = maps.refusal(section, offset);
    if (refused !== undefined) {
      const { code, what, fix } = refused;
      return this.#leave(
        `uses map "${refused.name}", which cannot be: ${what}`,
        fix,
        code,
        refused.name,
      );
    }
    const index = maps.find(section, offset);
    if (index === undefined)
      return this.#refuse(
        `"${name}"${home === undefined ? "" : ` (section "${home.name}", byte ${offset})`} is neither a map, a global variable nor a function`,
        'declare maps in SEC(".maps") and variables outside other sections',
      );
    if (maps.maps[index]!.spec.dataSection === undefined) this.#write(loadSource.map, index, 0);
    else this.#write(loadSource.value, index, offset);
    return ok(undefined);
  }

  #function(section: number, start: number, called: string): Patched {
    const found = this.#parts.functions.at(section, start);
    if (found !== undefined) return ok(found);
    const home = this.#parts.elf.sections[section];
    return this.#refuse(
      `${called} leads to byte ${start} of section "${home?.name ?? section}", where no function begins`,
      "build the object again",
    );
  }

  #unresolved({ name }: ElfSymbol, use: string): Patched {
    const { btf } = this.#parts;
    const home = [".kconfig", ".ksyms"].find((section) => {
      const listed = btf?.types[btf.sections.get(section) ?? 0];
      return (
        listed?.kind === "section" &&
        listed.variables.some(({ type }) => {
          const variable = btf?.types[type];
          return variable !== undefined && "name" in variable && variable.name === name;
        })
      );
    });
    if (home !== undefined)
      return this.#leave(
        `${use} "${name}" (${home}), which ${home === ".kconfig" ? "is no option that is known here" : "only a kernel can provide"}`,
        home === ".kconfig"
          ? "declare it __weak, which makes it 0, or use a global variable"
          : "build the program without it, or declare it __weak and test it before use",
        "OBJECT_EXTERN",
        name,
      );
    return this.#leave(
      `${use} "${name}", which the object does not define`,
      "define it, link it in with bpftool gen object, or include bpf_helpers.h if it is a helper",
      "OBJECT_EXTERN",
      name,
    );
  }

  /** What the instruction names cannot be had: only programs that get to it are refused. */
  #leave(what: string, fix: string, code: string, name: string): Patched {
    const text =
      this.#code[this.#at] === call ? `call ${name}` : `r${this.#destination} = ${name} ll`;
    this.#unanswered.push({ slot: this.#at / 8, code, what, fix, instruction: text });
    poison(this.#code, this.#at);
    return ok(undefined);
  }

  #refuse(what: string, fix: string): Patched {
    return err(new UserError("OBJECT_RELOCATION", this.#where, what, fix));
  }

  get #destination(): number {
    return this.#code[this.#at + 1]! & 15;
  }

  get #source(): number {
    return this.#code[this.#at + 1]! >>> 4;
  }

  /** Signed. */
  get #immediate(): number {
    return u32le(this.#code, this.#at + 4) | 0;
  }

  #write(source: number, low: number, high: number): void {
    this.#code[this.#at + 1] = (this.#code[this.#at + 1]! & 15) | (source << 4);
    putU32le(this.#code, this.#at + 4, low);
    putU32le(this.#code, this.#at + 12, high);
  }
}
