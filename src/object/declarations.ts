import type { Btf, BtfMember, BtfType } from "./btf.ts";
import { sizeOfType } from "./btf-types.ts";

/** Types, and the ids of those that have a name. */
export interface NamedTypes extends Btf {
  readonly ids: ReadonlyMap<string, number>;
}

/** Unsigned numbers by their bytes; `pointer` is 8 of them. */
const scalars = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;

/**
 * Lays out declarations as C does on a little-endian machine with 8-byte pointers: a small part of its
 * language, one member a `;`, enum values from 0 on. Made for tables of ours: throws for what is not
 * that.
 */
export function parseDeclarations(text: string): NamedTypes {
  return new Declarations(text.match(/\w+|[^\s\w]/g) ?? []).parse();
}

class Declarations {
  readonly #tokens: readonly string[];
  #at = 0;
  readonly #types: BtfType[] = [{ kind: "void" }];
  readonly #ids = new Map<string, number>();

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  parse(): NamedTypes {
    for (const [name, size] of Object.entries(scalars))
      this.#ids.set(
        name,
        this.#add({
          kind: "int",
          name,
          size,
          signed: false,
          bool: false,
          char: false,
          bits: size * 8,
        }),
      );
    this.#ids.set("pointer", this.#add({ kind: "pointer", type: 0 }));
    while (this.#at < this.#tokens.length) {
      const kind = this.#next();
      const name = this.#next();
      this.#ids.set(name, kind === "enum" ? this.#enum(name) : this.#composite(kind, name));
      this.#expect(";");
    }
    return { types: this.#types, ids: this.#ids };
  }

  #enum(name: string): number {
    const values: { name: string; value: bigint }[] = [];
    this.#expect("{");
    while (!this.#take("}")) {
      values.push({ name: this.#next(), value: BigInt(values.length) });
      this.#expect(";");
    }
    return this.#add({ kind: "enum", name, size: 4, signed: false, values });
  }

  #composite(kind: string, name: string): number {
    if (kind !== "struct" && kind !== "union") throw new SyntaxError(`${kind} ${name}`);
    const members: BtfMember[] = [];
    let [end, widest] = [0, 1];
    this.#expect("{");
    while (!this.#take("}")) {
      const member = this.#member();
      const bytes = sizeOfType(this, member.type)!;
      const alignment = this.#alignment(member.type);
      // A bit field goes on where the last one ended, unless it would cross a unit of its type.
      const isNextBit = member.bitSize > 0 && (end % (bytes * 8)) + member.bitSize <= bytes * 8;
      const unit = isNextBit ? 1 : alignment * 8;
      const bitOffset = kind === "union" ? 0 : Math.ceil(end / unit) * unit;
      members.push({ ...member, bitOffset });
      end = Math.max(end, bitOffset + (member.bitSize || bytes * 8));
      widest = Math.max(widest, alignment);
    }
    const size = Math.ceil(end / (widest * 8)) * widest;
    return this.#add({ kind, name, size, members });
  }

  #member(): Omit<BtfMember, "bitOffset"> {
    const first = this.#next();
    const isNested = (first === "struct" || first === "union") && this.#tokens[this.#at] === "{";
    let type = isNested ? this.#composite(first, "") : this.#ids.get(first);
    if (type === undefined) throw new SyntaxError(`no type ${first}`);
    if (this.#take(";")) return { name: "", type, bitSize: 0 };
    const name = this.#next();
    if (this.#take("[")) {
      type = this.#add({ kind: "array", type, index: 0, length: Number(this.#next()) });
      this.#expect("]");
    }
    const bitSize = this.#take(":") ? Number(this.#next()) : 0;
    this.#expect(";");
    return { name, type, bitSize };
  }

  /** For `sizeOfType`. */
  get types(): readonly BtfType[] {
    return this.#types;
  }

  #alignment(id: number): number {
    const type = this.#types[id]!;
    switch (type.kind) {
      case "array":
        return this.#alignment(type.type);
      case "struct":
      case "union":
        return Math.max(1, ...type.members.map((member) => this.#alignment(member.type)));
      default:
        return sizeOfType(this, id)!;
    }
  }

  #add(type: BtfType): number {
    return this.#types.push(type) - 1;
  }

  #next(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new SyntaxError("it ends too soon");
    return token;
  }

  #take(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at++;
    return true;
  }

  #expect(token: string): void {
    const found = this.#next();
    if (found !== token) throw new SyntaxError(`${found} where ${token} is expected`);
  }
}
