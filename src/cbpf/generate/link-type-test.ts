import { size } from "../opcode.ts";
import type { Context } from "./context.ts";
import { etherType, llcSap, maxEthernetLength, pppProtocol } from "./ether-types.ts";
import { and, type Fragment, or } from "./fragment.ts";
import { always, atMost, type Base, compare } from "./load.ts";

/** The protocol field of Linux's cooked headers for frames that are not Ethernet II. */
const cookedNovell = 0x0001;
const cookedLlc = 0x0004;

/** Address families in NULL and LOOP headers. IPv6's differs between systems. */
const familyIp = 2;
const familyIp6 = { bsd: 24, freeBsd: 28, darwin: 30, linux: 10 } as const;

/** The link-layer header names this protocol: an EtherType, or an LLC access point up to 1500. */
export function linkTypeTest(context: Context, protocol: number): Fragment {
  if (context.mplsLabels > 0) return mplsTest(context, protocol);
  switch (context.linkType) {
    case "EN10MB":
      return ethernetTest(context, protocol);
    case "LINUX_SLL":
      return cookedTest(context, protocol);
    case "LINUX_SLL2":
      return compare(context, "link_type", 0, size.half, protocol);
    case "PPP":
      return compare(context, "link_type", 0, size.half, pppProtocol.get(protocol) ?? protocol);
    case "RAW":
      return rawTest(context, protocol, "link_header");
    case "NULL":
    case "LOOP":
      return loopbackTest(context, protocol);
  }
}

/** The version in the first half byte of an IP header is all there is. */
function rawTest(context: Context, protocol: number, base: Base): Fragment {
  if (protocol === etherType.ip) return compare(context, base, 0, size.byte, 0x40, { mask: 0xf0 });
  if (protocol === etherType.ip6) return compare(context, base, 0, size.byte, 0x60, { mask: 0xf0 });
  return always(false);
}

function mplsTest(context: Context, protocol: number): Fragment {
  if (protocol !== etherType.ip && protocol !== etherType.ip6)
    return context.refuse(
      "EXPRESSION_MEANING",
      "after mpls only IPv4 and IPv6 can be told apart",
      "put this before mpls in the expression",
    );
  const isLastLabel = compare(context, "network", -2, size.byte, 0x01, { mask: 0x01 });
  return and(isLastLabel, rawTest(context, protocol, "network"));
}

function ethernetTest(context: Context, protocol: number): Fragment {
  const hasLength = (): Fragment => atMost(context, "link_type", 0, size.half, maxEthernetLength);
  const hasType = (type: number): Fragment => compare(context, "link_type", 0, size.half, type);
  switch (protocol) {
    case llcSap.iso:
    case llcSap.ip:
    case llcSap.netbeui:
      return and(hasLength(), llcTest(context, protocol));
    case llcSap.ipx: {
      const inLlc = compare(context, "llc", 0, size.byte, llcSap.ipx);
      const isNovell = compare(context, "llc", 0, size.half, 0xffff);
      const inSnap = snapTest(context, 0, etherType.ipx);
      const framed = or(inSnap, or(inLlc, isNovell));
      return or(hasType(etherType.ipx), and(hasLength(), framed));
    }
    case etherType.atalk:
    case etherType.aarp: {
      const organisation = protocol === etherType.atalk ? appleOrganisation : 0;
      const inSnap = and(hasLength(), snapTest(context, organisation, protocol));
      return or(hasType(protocol), inSnap);
    }
    default:
      if (protocol > maxEthernetLength) return hasType(protocol);
      return and(hasLength(), compare(context, "link_type", 2, size.byte, protocol));
  }
}

/** The organisation code AppleTalk has in SNAP headers. */
const appleOrganisation = 0x080007;

function cookedTest(context: Context, protocol: number): Fragment {
  const hasType = (type: number): Fragment => compare(context, "link_type", 0, size.half, type);
  switch (protocol) {
    case llcSap.iso:
    case llcSap.ip:
    case llcSap.netbeui:
      return and(hasType(cookedLlc), llcTest(context, protocol));
    case llcSap.ipx: {
      const inLlc = compare(context, "llc", 0, size.byte, llcSap.ipx);
      const framed = and(hasType(cookedLlc), or(inLlc, snapTest(context, 0, etherType.ipx)));
      return or(hasType(etherType.ipx), or(hasType(cookedNovell), framed));
    }
    case etherType.atalk:
    case etherType.aarp: {
      const organisation = protocol === etherType.atalk ? appleOrganisation : 0;
      const inSnap = and(hasType(cookedLlc), snapTest(context, organisation, protocol));
      return or(hasType(protocol), inSnap);
    }
    default:
      if (protocol > maxEthernetLength) return hasType(protocol);
      return and(hasType(cookedLlc), compare(context, "llc", 0, size.byte, protocol));
  }
}

function loopbackTest(context: Context, protocol: number): Fragment {
  const family = (number: number): Fragment => {
    // NULL has the number in the byte order of the capturing machine, LOOP in network order.
    const isSwapped = context.linkType === "NULL" && !context.options.bigEndian;
    const value = isSwapped ? number << 24 : number;
    return compare(context, "link_header", 0, size.word, value);
  };
  if (protocol === etherType.ip) return family(familyIp);
  if (protocol !== etherType.ip6) return always(false);
  if (context.options.linuxExtensions) return family(familyIp6.linux);
  const bsd = family(familyIp6.bsd);
  return or(family(familyIp6.darwin), or(bsd, family(familyIp6.freeBsd)));
}

/** Both access points of an LLC header are `sap`. */
function llcTest(context: Context, sap: number): Fragment {
  return compare(context, "llc", 0, size.half, (sap << 8) | sap);
}

/** An LLC header with a SNAP header behind it. RFC 1042. */
function snapTest(context: Context, organisation: number, type: number): Fragment {
  const low = compare(context, "llc", 4, size.word, ((organisation & 0xffff) << 16) | type);
  const llc = (llcSap.snap << 24) | (llcSap.snap << 16) | (0x03 << 8) | (organisation >>> 16);
  return and(low, compare(context, "llc", 0, size.word, llc));
}
