import type { Ip6Address, ProtocolWord } from "./token.ts";

/** `default` where the expression names no protocol. */
export type Protocol = ProtocolWord | "default";

export type Direction = "default" | "src" | "dst" | "src_or_dst" | "src_and_dst";

export type AddressType =
  | "default"
  | "host"
  | "net"
  | "port"
  | "portrange"
  | "proto"
  | "protochain"
  | "gateway";

/** What stands before an address: `tcp src port`. A later address may take it over: `… or 443`. */
export interface Qualifiers {
  readonly protocol: Protocol;
  readonly direction: Direction;
  readonly type: AddressType;
}

/** An address, port or number, or a name for one. */
export type Value =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "number"; readonly value: number }
  /** Dots and numbers, not yet read: their meaning depends on the qualifiers. */
  | { readonly kind: "dotted"; readonly text: string }
  | {
      readonly kind: "prefix";
      readonly text: string;
      readonly bits: number;
      readonly bitsAt: number;
    }
  | {
      readonly kind: "masked";
      readonly text: string;
      readonly mask: string;
      readonly maskAt: number;
    }
  | {
      readonly kind: "ip6";
      readonly text: string;
      readonly address: Ip6Address;
      readonly bits: number;
      readonly bitsAt: number;
    }
  | { readonly kind: "mac"; readonly address: Uint8Array };

export type ArithmeticOperator = "+" | "-" | "*" | "/" | "%" | "&" | "|" | "^" | "<<" | ">>";

export type Arithmetic =
  | { readonly kind: "constant"; readonly value: number; readonly at: number }
  | { readonly kind: "length"; readonly at: number }
  | {
      readonly kind: "load";
      readonly protocol: ProtocolWord;
      readonly index: Arithmetic;
      /** Bytes: 1, 2 or 4. */
      readonly size: number;
      readonly at: number;
    }
  | {
      readonly kind: "binary";
      readonly operator: ArithmeticOperator;
      readonly left: Arithmetic;
      readonly right: Arithmetic;
      readonly at: number;
    }
  | { readonly kind: "negative"; readonly operand: Arithmetic; readonly at: number };

export type RelationOperator = "=" | "!=" | "<" | "<=" | ">" | ">=";

/**
 * A parsed expression. `at` is the place in the text that errors point at.
 * `and` and `or` bind equally and from the left, so a run of them is one flat node.
 */
export type Expression =
  | {
      readonly kind: "sequence";
      readonly first: Expression;
      readonly rest: readonly { readonly operator: "and" | "or"; readonly operand: Expression }[];
    }
  | { readonly kind: "not"; readonly operand: Expression }
  | {
      readonly kind: "primitive";
      readonly qualifiers: Qualifiers;
      readonly value: Value;
      readonly at: number;
    }
  | { readonly kind: "protocol"; readonly protocol: ProtocolWord; readonly at: number }
  | {
      readonly kind: "relation";
      readonly operator: RelationOperator;
      readonly left: Arithmetic;
      readonly right: Arithmetic;
      readonly at: number;
    }
  | {
      readonly kind: "broadcast" | "multicast";
      readonly protocol: Protocol;
      readonly at: number;
    }
  | { readonly kind: "length"; readonly relation: "less" | "greater"; readonly value: number }
  | {
      readonly kind: "byte";
      readonly offset: number;
      readonly operator: ByteOperator;
      readonly value: number;
    }
  | { readonly kind: "direction"; readonly outbound: boolean; readonly at: number }
  | { readonly kind: "ifindex"; readonly value: number; readonly at: number }
  | {
      readonly kind: "encapsulation";
      readonly header: EncapsulationHeader;
      /** VLAN, label, session or network identifier, where one is asked for. */
      readonly id: HeaderId | undefined;
      readonly at: number;
    }
  | { readonly kind: "pppoe_discovery"; readonly at: number }
  | { readonly kind: "llc"; readonly frame: LlcFrame; readonly at: number };

export interface HeaderId {
  readonly value: number;
  readonly at: number;
}

export type ByteOperator = "=" | "<" | ">" | "&" | "|";

/** Headers after which the offsets of all that follows in the expression change. */
export type EncapsulationHeader = "vlan" | "mpls" | "pppoes" | "geneve";

/** IEEE 802.2: any, information, supervisory or unnumbered frames, or one of the two latter kinds. */
export type LlcFrame =
  | { readonly kind: "any" | "information" | "supervisory" | "unnumbered" }
  | { readonly kind: "supervisory_type" | "unnumbered_type"; readonly value: number };
