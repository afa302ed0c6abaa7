import { u16be, u32be } from "../../common/bytes.ts";
import { type Statement, statement } from "../block.ts";
import type { Direction, Protocol } from "../expression/ast.ts";
import type { Ip6Address } from "../expression/token.ts";
import { code, size, source } from "../opcode.ts";
import type { Context } from "./context.ts";
import { etherType } from "./ether-types.ts";
import { and, type Fragment, not, or, test } from "./fragment.ts";
import { linkTypeTest } from "./link-type-test.ts";
import { compare } from "./load.ts";

/** An IPv4 address or network; both numbers unsigned. */
export interface Ip4Network {
  readonly address: number;
  readonly mask: number;
}

export interface Ip6Network {
  readonly address: Ip6Address;
  readonly mask: Ip6Address;
}

/** Puts the tests of the two ends together as the direction says. */
export function byDirection(
  direction: Direction,
  testEnd: (end: "src" | "dst") => Fragment,
): Fragment {
  if (direction === "src" || direction === "dst") return testEnd(direction);
  const source = testEnd("src");
  const destination = testEnd("dst");
  return direction === "src_and_dst" ? and(source, destination) : or(source, destination);
}

/** Addresses of IPv4 packets, or those that ARP and RARP speak of. */
export function ip4Test(
  context: Context,
  network: Ip4Network,
  protocol: Protocol,
  direction: Direction,
): Fragment {
  switch (protocol) {
    case "default": {
      const inIp = ip4Test(context, network, "ip", direction);
      if (context.mplsLabels > 0) return inIp;
      const inArp = ip4Test(context, network, "arp", direction);
      return or(or(inIp, inArp), ip4Test(context, network, "rarp", direction));
    }
    case "ip":
      return ip4FieldTest(context, network, direction, etherType.ip, { src: 12, dst: 16 });
    case "arp":
      return ip4FieldTest(context, network, direction, etherType.arp, { src: 14, dst: 24 });
    case "rarp":
      return ip4FieldTest(context, network, direction, etherType.rarp, { src: 14, dst: 24 });
    default:
      return context.refuse(
        "EXPRESSION_MEANING",
        `${protocol} does not go with an IPv4 address`,
        "use ip, arp, rarp, or no protocol",
      );
  }
}

function ip4FieldTest(
  context: Context,
  { address, mask }: Ip4Network,
  direction: Direction,
  type: number,
  offsets: { readonly src: number; readonly dst: number },
): Fragment {
  return byDirection(direction, (end) =>
    and(
      linkTypeTest(context, type),
      compare(context, "network", offsets[end], size.word, address, { mask }),
    ),
  );
}

const ip6Offsets = { src: 8, dst: 24 } as const;

export function ip6Test(
  context: Context,
  { address, mask }: Ip6Network,
  protocol: Protocol,
  direction: Direction,
): Fragment {
  if (protocol !== "default" && protocol !== "ip6")
    return context.refuse(
      "EXPRESSION_MEANING",
      `${protocol} does not go with an IPv6 address`,
      "use ip6 or no protocol",
    );
  return byDirection(direction, (end) => {
    const word = (i: 0 | 1 | 2 | 3): Fragment =>
      compare(context, "network", ip6Offsets[end] + i * 4, size.word, address[i], {
        mask: mask[i],
      });
    const words = and(word(0), and(word(1), and(word(2), word(3))));
    return and(linkTypeTest(context, etherType.ip6), words);
  });
}

const macOffsets = { src: 6, dst: 0 } as const;

/** The hardware addresses of an Ethernet header. */
export function macTest(context: Context, address: Uint8Array, direction: Direction): Fragment {
  if (context.linkType !== "EN10MB")
    return context.refuse(
      "EXPRESSION_LINK_TYPE",
      `${context.linkType} frames have no Ethernet addresses`,
    );
  const addresses = byDirection(direction, (end) =>
    and(
      compare(context, "link_header", macOffsets[end] + 2, size.word, u32be(address, 2)),
      compare(context, "link_header", macOffsets[end], size.half, u16be(address, 0)),
    ),
  );
  const hasHeader = geneveEthernetTest(context);
  return hasHeader === undefined ? addresses : and(hasHeader, addresses);
}

/** Inside GENEVE there may be no Ethernet header: then link header and payload start together. */
export function geneveEthernetTest(context: Context): Fragment | undefined {
  if (!context.insideGeneve) return undefined;
  // GENEVE keeps both offsets in registers, see geneve.ts.
  const statements: Statement[] = [
    statement(code.loadMemory, context.linkHeader.register!),
    statement(code.loadXMemory, context.linkPayload.register!),
  ];
  return not(test(statements, code.jumpEqual | source.x, 0));
}

/** Offsets in DECnet's long and short headers. DECnet Phase IV Routing Layer, §6. */
const decnetOffsets = { dst: { short: 1, long: 7 }, src: { short: 3, long: 15 } } as const;

/**
 * DECnet nodes: long and short data packets, with or without a byte of padding. The length of the
 * packet comes first, in 2 bytes; all numbers are little-endian.
 */
export function decnetTest(context: Context, node: number, direction: Direction): Fragment {
  const swapped = ((node & 0xff) << 8) | (node >>> 8);
  return byDirection(direction, (end) => {
    const { short, long } = decnetOffsets[end];
    const variant = (
      width: typeof size.half | typeof size.byte,
      flags: number,
      mask: number,
      offset: number,
    ): Fragment =>
      and(
        compare(context, "network", 2, width, flags, { mask }),
        compare(context, "network", 2 + offset, size.half, swapped),
      );
    const longPadded = variant(size.half, 0x8106, 0xff07, 1 + long);
    const longPlain = variant(size.byte, 0x06, 0x07, long);
    const shortPadded = variant(size.half, 0x8102, 0xff07, 1 + short);
    const shortPlain = variant(size.byte, 0x02, 0x07, short);
    const any = or(shortPlain, or(shortPadded, or(longPlain, longPadded)));
    return and(linkTypeTest(context, etherType.decnet), any);
  });
}
