import type { Protocol } from "../expression/ast.ts";
import type { ProtocolWord } from "../expression/token.ts";
import { size } from "../opcode.ts";
import type { Context } from "./context.ts";
import { etherType, llcSap } from "./ether-types.ts";
import { and, type Fragment, or } from "./fragment.ts";
import { linkTypeTest } from "./link-type-test.ts";
import { compare, ip6HeaderBytes } from "./load.ts";

/** Network layer protocol identifiers of ISO. ISO/IEC TR 9577. */
export const isoProtocol = { clnp: 0x81, esis: 0x82, isis: 0x83 } as const;

/** PDU types of IS-IS. ISO/IEC 10589 §9. */
const isis = {
  l1LanHello: 15,
  l2LanHello: 16,
  pointToPointHello: 17,
  l1LinkState: 18,
  l2LinkState: 20,
  l1CompleteSequence: 24,
  l2CompleteSequence: 25,
  l1PartialSequence: 26,
  l2PartialSequence: 27,
} as const;

/** IP's number of the fragment header. RFC 8200 §4.5. */
const fragmentHeader = 44;

type Meaning =
  | { readonly kind: "link_type"; readonly type: number }
  /** An IP protocol number, over IPv4, IPv6, or both. */
  | { readonly kind: "ip"; readonly over: "default" | "ip" | "ip6"; readonly number: number }
  | { readonly kind: "iso"; readonly number: number }
  /** The first two are tested in the order of libpcap, each further one in front of all before. */
  | { readonly kind: "isis"; readonly types: readonly number[] };

const meanings: Readonly<Record<Exclude<ProtocolWord, "link">, Meaning>> = {
  ip: { kind: "link_type", type: etherType.ip },
  ip6: { kind: "link_type", type: etherType.ip6 },
  arp: { kind: "link_type", type: etherType.arp },
  rarp: { kind: "link_type", type: etherType.rarp },
  atalk: { kind: "link_type", type: etherType.atalk },
  aarp: { kind: "link_type", type: etherType.aarp },
  decnet: { kind: "link_type", type: etherType.decnet },
  sca: { kind: "link_type", type: etherType.sca },
  lat: { kind: "link_type", type: etherType.lat },
  mopdl: { kind: "link_type", type: etherType.mopdl },
  moprc: { kind: "link_type", type: etherType.moprc },
  iso: { kind: "link_type", type: llcSap.iso },
  stp: { kind: "link_type", type: llcSap.spanningTree },
  ipx: { kind: "link_type", type: llcSap.ipx },
  netbeui: { kind: "link_type", type: llcSap.netbeui },
  sctp: { kind: "ip", over: "default", number: 132 },
  tcp: { kind: "ip", over: "default", number: 6 },
  udp: { kind: "ip", over: "default", number: 17 },
  icmp: { kind: "ip", over: "ip", number: 1 },
  igmp: { kind: "ip", over: "ip", number: 2 },
  igrp: { kind: "ip", over: "ip", number: 9 },
  pim: { kind: "ip", over: "default", number: 103 },
  vrrp: { kind: "ip", over: "ip", number: 112 },
  carp: { kind: "ip", over: "ip", number: 112 },
  icmp6: { kind: "ip", over: "ip6", number: 58 },
  ah: { kind: "ip", over: "default", number: 51 },
  esp: { kind: "ip", over: "default", number: 50 },
  clnp: { kind: "iso", number: isoProtocol.clnp },
  esis: { kind: "iso", number: isoProtocol.esis },
  isis: { kind: "iso", number: isoProtocol.isis },
  l1: {
    kind: "isis",
    types: [
      isis.l1LanHello,
      isis.pointToPointHello,
      isis.l1LinkState,
      isis.l1CompleteSequence,
      isis.l1PartialSequence,
    ],
  },
  l2: {
    kind: "isis",
    types: [
      isis.l2LanHello,
      isis.pointToPointHello,
      isis.l2LinkState,
      isis.l2CompleteSequence,
      isis.l2PartialSequence,
    ],
  },
  iih: { kind: "isis", types: [isis.l1LanHello, isis.l2LanHello, isis.pointToPointHello] },
  lsp: { kind: "isis", types: [isis.l1LinkState, isis.l2LinkState] },
  snp: {
    kind: "isis",
    types: [
      isis.l1CompleteSequence,
      isis.l2CompleteSequence,
      isis.l1PartialSequence,
      isis.l2PartialSequence,
    ],
  },
  csnp: { kind: "isis", types: [isis.l1CompleteSequence, isis.l2CompleteSequence] },
  psnp: { kind: "isis", types: [isis.l1PartialSequence, isis.l2PartialSequence] },
};

/** A protocol that stands alone: `tcp`, `arp`, `isis`. */
export function protocolTest(context: Context, protocol: ProtocolWord): Fragment {
  if (protocol === "link")
    return context.refuse(
      "EXPRESSION_MEANING",
      "the link layer itself is no protocol to test for",
      "put host, proto, broadcast or multicast after it",
    );
  const meaning = meanings[protocol];
  switch (meaning.kind) {
    case "link_type":
      return linkTypeTest(context, meaning.type);
    case "ip":
      return protocolNumberTest(context, meaning.number, meaning.over);
    case "iso":
      return protocolNumberTest(context, meaning.number, "iso");
    case "isis": {
      const [first, second, ...others] = meaning.types.map((type) =>
        protocolNumberTest(context, type, "isis"),
      );
      return others.reduce((all, next) => or(next, all), or(first!, second!));
    }
  }
}

/** A protocol by its number in the header of the one around it: `ip proto 17`. */
export function protocolNumberTest(context: Context, number: number, around: Protocol): Fragment {
  switch (around) {
    case "default":
      return or(
        protocolNumberTest(context, number, "ip"),
        protocolNumberTest(context, number, "ip6"),
      );
    case "link":
      return linkTypeTest(context, number);
    case "ip":
      return and(
        linkTypeTest(context, etherType.ip),
        compare(context, "network", 9, size.byte, number),
      );
    case "ip6": {
      const isIp6 = linkTypeTest(context, etherType.ip6);
      const inFragment = and(
        compare(context, "network", 6, size.byte, fragmentHeader),
        compare(context, "network", ip6HeaderBytes, size.byte, number),
      );
      return and(isIp6, or(compare(context, "network", 6, size.byte, number), inFragment));
    }
    case "iso":
      return and(
        linkTypeTest(context, llcSap.iso),
        compare(context, "network_without_snap", 0, size.byte, number),
      );
    case "isis":
      return and(
        protocolNumberTest(context, isoProtocol.isis, "iso"),
        compare(context, "network_without_snap", 4, size.byte, number),
      );
    default:
      return context.refuse(
        "EXPRESSION_MEANING",
        `${around} has no protocol number inside`,
        "use proto with ip, ip6, ether, iso, isis, or without a protocol",
      );
  }
}
