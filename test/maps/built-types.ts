import type { Btf, BtfMember, BtfType } from "../../src/object/btf.ts";
import { sizeOfType } from "../../src/object/btf-types.ts";

/** Types by name, as clang would describe them. */
export class Types implements Btf {
  readonly types: BtfType[] = [{ kind: "void" }];
  readonly #ids = new Map<string, number>();

  add(name: string, type: BtfType): number {
    this.#ids.set(name, this.types.push(type) - 1);
    return this.types.length - 1;
  }

  int(name: string, size: number, signed = false): number {
    const [char, bool] = [false, name === "_Bool"];
    return this.add(name, { kind: "int", name, size, signed, char, bool, bits: size * 8 });
  }

  array(name: string, element: string, length: number): number {
    return this.add(name, { kind: "array", type: this.id(element), index: 0, length });
  }

  struct(name: string, members: readonly (readonly [string, string])[], unnamed = false): number {
    let bitOffset = 0;
    const placed = members.map(([member, type]): BtfMember => {
      const at = bitOffset;
      bitOffset += sizeOfType(this, this.id(type))! * 8;
      return { name: member, type: this.id(type), bitOffset: at, bitSize: 0 };
    });
    const type = { size: bitOffset / 8, members: placed, name: unnamed ? "" : name };
    return this.add(name, { kind: "struct", ...type });
  }

  union(name: string, members: readonly (readonly [string, string])[], unnamed = false): number {
    const placed = members.map(
      ([member, type]): BtfMember => ({
        name: member,
        type: this.id(type),
        bitOffset: 0,
        bitSize: 0,
      }),
    );
    const size = Math.max(...placed.map(({ type }) => sizeOfType(this, type)!));
    return this.add(name, { kind: "union", name: unnamed ? "" : name, size, members: placed });
  }

  id(name: string): number {
    const id = this.#ids.get(name);
    if (id === undefined) throw new Error(`no type ${name}`);
    return id;
  }
}

/** Types of every shape that keys and values have. */
export const btf = new Types();
btf.int("char", 1, true);
btf.int("__u8", 1);
btf.int("__u16", 2);
btf.int("__u32", 4);
btf.int("__u64", 8);
btf.int("__s32", 4, true);
btf.int("__int128", 16);
btf.int("_Bool", 1);
btf.add("__be16", { kind: "typedef", name: "__be16", type: btf.id("__u16") });
btf.add("__be32", { kind: "typedef", name: "__be32", type: btf.id("__u32") });
btf.add("counter", {
  kind: "typedef",
  name: "counter",
  type: btf.add("const u64", { kind: "const", type: btf.id("__u64") }),
});
btf.add("double", { kind: "float", name: "double", size: 8 });
btf.add("void *", { kind: "pointer", type: 0 });
btf.add("action", {
  kind: "enum",
  name: "action",
  size: 4,
  signed: true,
  values: [
    { name: "DROP", value: 1n },
    { name: "PASS", value: 2n },
    { name: "NONE", value: -1n },
  ],
});
btf.array("char[8]", "char", 8);
btf.array("__u8[4]", "__u8", 4);
btf.array("__u8[6]", "__u8", 6);
btf.array("__u8[16]", "__u8", 16);
btf.array("__u16[3]", "__u16", 3);
btf.array("__be32[4]", "__be32", 4);
btf.union(
  "in6_u",
  [
    ["u6_addr8", "__u8[16]"],
    ["u6_addr32", "__be32[4]"],
  ],
  true,
);
btf.struct("in6_addr", [["in6_u", "in6_u"]]);
btf.struct("only", [["rule", "__u32"]]);
btf.struct("named", [["name", "char[8]"]]);
btf.struct("measure", [
  ["ratio", "double"],
  ["count", "__u64"],
]);
btf.struct("ipv4_prefix", [
  ["prefixlen", "__u32"],
  ["address", "__be32"],
]);
btf.struct("ipv6_prefix", [
  ["prefix_len", "__u32"],
  ["address", "in6_addr"],
]);
btf.union(
  "number or bytes",
  [
    ["number", "__u32"],
    ["bytes", "__u8[4]"],
  ],
  true,
);
btf.struct("flow", [
  ["source", "__be32"],
  ["port", "__be16"],
  ["protocol", "__u8"],
  ["padding", "__u8"],
  ["", "number or bytes"],
]);
btf.array("flow[2]", "flow", 2);
btf.add("bits", {
  kind: "struct",
  name: "bits",
  size: 2,
  members: [
    { name: "low", type: btf.id("__u16"), bitOffset: 0, bitSize: 3 },
    { name: "middle", type: btf.id("__s32"), bitOffset: 3, bitSize: 7 },
    { name: "high", type: btf.id("__u16"), bitOffset: 10, bitSize: 6 },
  ],
});
