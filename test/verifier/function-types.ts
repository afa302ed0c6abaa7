import { decodeBtf } from "../../src/object/btf-decode.ts";
import type { VerifiableProgram } from "../../src/verifier/program.ts";
import { functionStarts } from "../../src/verifier/structure.ts";
import { type BtfRow, btfSection } from "../object/btf-builder.ts";

/** What a global function is declared to take: a number, the context, or memory of so many bytes, a struct of any name. */
export type DeclaredParameter =
  | "number"
  | "context"
  | { readonly bytes: number; readonly nonnull?: true; readonly struct?: string };

/** A global function, by the slot it begins at. */
export type Declarations = ReadonlyMap<number, readonly DeclaredParameter[]>;

/** A program whose functions have types: decoded for us, and as the kernel takes them. */
export interface TypedProgram extends VerifiableProgram {
  readonly btfBytes: Uint8Array;
}

/**
 * The program with BTF for its functions, which the kernel asks for where helpers call them: static but
 * for those declared. All return int.
 */
export function typed(program: VerifiableProgram, globals: Declarations = new Map()): TypedProgram {
  const types = new TypeTable(program.type === "xdp" ? "xdp_md" : "__sk_buff");
  const functions = functionStarts(program.instructions).map((slot, i) => ({
    name: `function${i}`,
    slot,
    type: types.function(`function${i}`, globals.get(slot)),
  }));
  const btfBytes = btfSection(types.rows);
  const btf = decodeBtf(btfBytes, "typed");
  if (!btf.ok) throw btf.error;
  return { ...program, functions, btf: btf.value, btfBytes };
}

/** BTF kinds, linux/btf.h. */
const kinds = { int: 1, pointer: 2, struct: 4, function: 12, prototype: 13, tag: 17 } as const;

class TypeTable {
  readonly rows: BtfRow[] = [
    { name: "int", kind: kinds.int, type: 4, tail: [0x0100_0020] },
    { name: "u64", kind: kinds.int, type: 8, tail: [64] },
  ];
  readonly #context: number;
  readonly #pointers = new Map<string, number>();

  constructor(context: string) {
    const struct = this.#add({ name: context, kind: kinds.struct, type: 4 });
    this.#context = this.#add({ kind: kinds.pointer, type: struct });
  }

  /** The type of a function that is global if it has parameters told. */
  function(name: string, parameters: readonly DeclaredParameter[] | undefined): number {
    const tail = (parameters ?? []).flatMap((one, i) => [`p${i}`, this.#parameter(one)]);
    const prototype = this.#add({
      kind: kinds.prototype,
      count: tail.length / 2,
      type: 1,
      tail,
    });
    const linkage = parameters === undefined ? 0 : 1;
    const id = this.#add({ name, kind: kinds.function, count: linkage, type: prototype });
    for (const [i, one] of (parameters ?? []).entries())
      if (typeof one === "object" && one.nonnull)
        this.#add({ name: "arg:nonnull", kind: kinds.tag, type: id, tail: [i] });
    return id;
  }

  #add(row: BtfRow): number {
    return this.rows.push(row);
  }

  #parameter(declared: DeclaredParameter): number {
    if (declared === "number") return 2;
    if (declared === "context") return this.#context;
    const name = declared.struct ?? `bytes${declared.bytes}`;
    const known = this.#pointers.get(name);
    if (known !== undefined) return known;
    const struct = this.#add({ name, kind: kinds.struct, type: declared.bytes });
    const pointer = this.#add({ kind: kinds.pointer, type: struct });
    this.#pointers.set(name, pointer);
    return pointer;
  }
}
