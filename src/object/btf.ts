/**
 * BPF Type Format, as far as user space asks it: what the bytes of a key, a value or a variable
 * mean. Kernel documentation, bpf/btf.rst. Type ids are as in the object; id 0 is `void`.
 */
export type BtfType =
  | { readonly kind: "void" }
  | {
      readonly kind: "int";
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly bool: boolean;
      readonly char: boolean;
      readonly bits: number;
    }
  | { readonly kind: "float"; readonly name: string; readonly size: number }
  | { readonly kind: "pointer"; readonly type: number }
  | {
      readonly kind: "array";
      readonly type: number;
      readonly index: number;
      readonly length: number;
    }
  | {
      readonly kind: "struct" | "union";
      readonly name: string;
      readonly size: number;
      readonly members: readonly BtfMember[];
    }
  | {
      readonly kind: "enum";
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly values: readonly { readonly name: string; readonly value: bigint }[];
    }
  | { readonly kind: "forward"; readonly name: string; readonly union: boolean }
  | { readonly kind: "typedef"; readonly name: string; readonly type: number }
  | { readonly kind: "const" | "volatile" | "restrict"; readonly type: number }
  | { readonly kind: "type_tag"; readonly name: string; readonly type: number }
  /** Of a type, or of one of its members or parameters: `component` is its index, or -1. */
  | {
      readonly kind: "decl_tag";
      readonly name: string;
      readonly type: number;
      readonly component: number;
    }
  | {
      readonly kind: "function";
      readonly name: string;
      readonly type: number;
      readonly linkage: "static" | "global" | "extern";
    }
  | {
      readonly kind: "prototype";
      readonly returns: number;
      readonly parameters: readonly { readonly name: string; readonly type: number }[];
    }
  | {
      readonly kind: "variable";
      readonly name: string;
      readonly type: number;
      readonly linkage: "static" | "global" | "extern";
    }
  | {
      readonly kind: "section";
      readonly name: string;
      readonly size: number;
      readonly variables: readonly {
        readonly type: number;
        readonly offset: number;
        readonly size: number;
      }[];
    };

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** From the start of the struct, in bits. */
  readonly bitOffset: number;
  /** 0: not a bit field. */
  readonly bitSize: number;
}

export interface Btf {
  /** All types by id; index 0 is `void`. */
  readonly types: readonly BtfType[];
}
