import { type Statement, statement } from "../block.ts";
import { aluOp, code, jumpOp, opClass, size, source } from "../opcode.ts";
import type { Context, HeaderOffset } from "./context.ts";
import { type Fragment, not, test } from "./fragment.ts";

/** What an offset counts from. */
export type Base =
  | "link_header"
  /** The LLC header, where there is one. */
  | "llc"
  | "link_type"
  | "network"
  | "network_without_snap"
  /** The MPLS label before the current header. */
  | "previous_label"
  /** The transport header after an IPv4 header of whatever length. */
  | "transport"
  /** The transport header after an IPv6 header without extensions. */
  | "transport6";

type LoadSize = (typeof size)[keyof typeof size];

/** Bytes of an IPv6 header. RFC 8200 §3. */
export const ip6HeaderBytes = 40;

/** Loads a field into A. */
export function load(context: Context, base: Base, offset: number, width: LoadSize): Statement[] {
  const { linkPayload, network } = context;
  switch (base) {
    case "link_header":
      return loadFrom(context.linkHeader, offset, width);
    case "llc":
      return loadFrom(linkPayload, offset, width);
    case "link_type":
      // Link types without such a field have tests of their own.
      return loadFrom(context.linkTypeField!, offset, width);
    case "network":
      return loadFrom(linkPayload, network + offset, width);
    case "network_without_snap":
      return loadFrom(linkPayload, context.networkWithoutSnap + offset, width);
    case "previous_label":
      return loadFrom(linkPayload, network - 4 + offset, width);
    case "transport":
      return [
        ...loadXHeaderLength(context),
        statement(code.loadIndirect | width, linkPayload.constant + network + offset),
      ];
    case "transport6":
      return loadFrom(linkPayload, network + ip6HeaderBytes + offset, width);
  }
}

function loadFrom(header: HeaderOffset, offset: number, width: LoadSize): Statement[] {
  const k = header.constant + offset;
  if (header.register === undefined) return [statement(code.loadAbsolute | width, k)];
  return [...loadXOffset(header), statement(code.loadIndirect | width, k)];
}

/** Loads the variable part of an offset into X: nothing, where it has none. */
export function loadXOffset({ register }: HeaderOffset): Statement[] {
  return register === undefined ? [] : [statement(code.loadXMemory, register)];
}

/** Loads into X where the transport header starts, counted from the constant part of IPv4's. */
export function loadXHeaderLength({ linkPayload, network }: Context): Statement[] {
  const k = linkPayload.constant + network;
  if (linkPayload.register === undefined) return [statement(code.loadXHeaderLength, k)];
  return [
    ...loadXOffset(linkPayload),
    statement(code.loadIndirect | size.byte, k),
    statement(opClass.alu | aluOp.and, 0xf),
    statement(opClass.alu | aluOp.lsh, 2),
    statement(opClass.alu | aluOp.add | source.x),
    statement(code.tax),
  ];
}

type Comparison = Exclude<(typeof jumpOp)[keyof typeof jumpOp], typeof jumpOp.always>;

interface Compare {
  /** Bits of the field that count; all, if left out. */
  readonly mask?: number;
  /** `eq`, if left out. */
  readonly operation?: Comparison;
}

/** Compares a field with a value. */
export function compare(
  context: Context,
  base: Base,
  offset: number,
  width: LoadSize,
  value: number,
  { mask = 0xffff_ffff, operation = jumpOp.eq }: Compare = {},
): Fragment {
  const statements = load(context, base, offset, width);
  if (mask !== 0xffff_ffff) statements.push(statement(opClass.alu | aluOp.and, mask));
  return test(statements, opClass.jump | operation, value);
}

/** The field is at most `value`. */
export function atMost(
  context: Context,
  base: Base,
  offset: number,
  width: LoadSize,
  value: number,
): Fragment {
  return not(compare(context, base, offset, width, value, { operation: jumpOp.gt }));
}

/** A test that always gives this answer. */
export function always(answer: boolean): Fragment {
  return test([statement(code.loadImmediate, answer ? 0 : 1)], code.jumpEqual, 0);
}
