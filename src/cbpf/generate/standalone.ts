import { ancillary } from "../ancillary.ts";
import { statement } from "../block.ts";
import type { ByteOperator, LlcFrame, Protocol } from "../expression/ast.ts";
import { aluOp, code, jumpOp, opClass, size } from "../opcode.ts";
import type { Context } from "./context.ts";
import { loadAncillary } from "./encapsulation.ts";
import { etherType, maxEthernetLength } from "./ether-types.ts";
import { and, type Fragment, not, or, test } from "./fragment.ts";
import { geneveEthernetTest, macTest } from "./host-test.ts";
import { linkTypeTest } from "./link-type-test.ts";
import { atMost, compare, load } from "./load.ts";

const broadcastMac = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff);

export function broadcastTest(context: Context, protocol: Protocol): Fragment {
  if (protocol === "default" || protocol === "link") return macTest(context, broadcastMac, "dst");
  if (protocol !== "ip")
    return context.refuse(
      "EXPRESSION_MEANING",
      `${protocol} has no broadcast addresses`,
      "use ether or ip",
    );
  const { netmask } = context.options;
  if (netmask === undefined)
    return context.refuse(
      "EXPRESSION_MEANING",
      "the netmask is not known, so ip broadcast cannot be told",
      "give the netmask, or name the addresses: dst host 192.0.2.255",
    );
  const mask = ~netmask >>> 0;
  const isIp = linkTypeTest(context, etherType.ip);
  const allZeros = compare(context, "network", 16, size.word, 0, { mask });
  return and(isIp, or(allZeros, compare(context, "network", 16, size.word, mask, { mask })));
}

export function multicastTest(context: Context, protocol: Protocol): Fragment {
  switch (protocol) {
    case "default":
    case "link": {
      if (context.linkType !== "EN10MB") break;
      const group = load(context, "link_header", 0, size.byte);
      const isGroup = test(group, code.jumpSet, 1);
      const hasHeader = geneveEthernetTest(context);
      return hasHeader === undefined ? isGroup : and(hasHeader, isGroup);
    }
    case "ip": {
      const isIp = linkTypeTest(context, etherType.ip);
      const operation = jumpOp.ge;
      return and(isIp, compare(context, "network", 16, size.byte, 224, { operation }));
    }
    case "ip6": {
      const isIp6 = linkTypeTest(context, etherType.ip6);
      return and(isIp6, compare(context, "network", 24, size.byte, 255));
    }
  }
  return context.refuse(
    "EXPRESSION_MEANING",
    protocol === "default" || protocol === "link"
      ? `${context.linkType} frames have no multicast addresses`
      : `${protocol} has no multicast addresses`,
    "use ip or ip6",
  );
}

/** `less` is at most, `greater` at least. */
export function lengthTest(relation: "less" | "greater", bytes: number): Fragment {
  const statements = [statement(code.loadLength)];
  if (relation === "greater") return test(statements, code.jumpGreaterOrEqual, bytes);
  return not(test(statements, code.jumpGreater, bytes));
}

/** `byte 12 = 8`. With `&` and `|`: whether the result is other than zero. */
export function byteTest(
  context: Context,
  offset: number,
  operator: ByteOperator,
  value: number,
): Fragment {
  switch (operator) {
    case "=":
      return compare(context, "link_header", offset, size.byte, value);
    case ">":
      return compare(context, "link_header", offset, size.byte, value, { operation: jumpOp.gt });
    case "<":
      return not(
        compare(context, "link_header", offset, size.byte, value, { operation: jumpOp.ge }),
      );
    case "&":
    case "|": {
      // Libpcap forgets the load here, and so combines with whatever a test before has left.
      const operation = operator === "&" ? aluOp.and : aluOp.or;
      const statements = load(context, "link_header", offset, size.byte);
      statements.push(statement(opClass.alu | operation, value));
      return not(test(statements, code.jumpEqual, 0));
    }
  }
}

/** PACKET_OUTGOING of linux/if_packet.h, which the cooked headers use too. */
const outgoing = 4;

export function directionTest(context: Context, outbound: boolean): Fragment {
  let isOutgoing: Fragment;
  if (context.linkType === "LINUX_SLL")
    isOutgoing = compare(context, "link_header", 0, size.half, outgoing);
  else if (context.linkType === "LINUX_SLL2")
    isOutgoing = compare(context, "link_header", 10, size.byte, outgoing);
  else if (context.options.linuxExtensions)
    isOutgoing = test([loadAncillary(ancillary.packetType, size.half)], code.jumpEqual, outgoing);
  else
    return context.refuse(
      "EXPRESSION_LINK_TYPE",
      `${context.linkType} frames do not tell their direction`,
      "LINUX_SLL and LINUX_SLL2 do, and packets in a listener's chain",
    );
  return outbound ? isOutgoing : not(isOutgoing);
}

export function ifindexTest(context: Context, index: number): Fragment {
  if (context.linkType === "LINUX_SLL2")
    return compare(context, "link_header", 4, size.word, index);
  if (context.options.linuxExtensions)
    return test([loadAncillary(ancillary.ifindex, size.word)], code.jumpEqual, index);
  return context.refuse(
    "EXPRESSION_LINK_TYPE",
    `${context.linkType} frames do not tell their interface`,
    "LINUX_SLL2 does, and in a listener's chain it is the listener's number",
  );
}

/** The control field of IEEE 802.2: its offset behind the access points, and masks of its types. */
const controlOffset = 2;
const controlMask = { supervisory_type: 0x0f, unnumbered_type: 0xef } as const;

export function llcTest(context: Context, frame: LlcFrame): Fragment {
  if (context.linkType !== "EN10MB")
    return context.refuse("EXPRESSION_LINK_TYPE", `${context.linkType} frames have no LLC header`);
  const hasLength = atMost(context, "link_type", 0, size.half, maxEthernetLength);
  const isNovell = compare(context, "llc", 0, size.half, 0xffff);
  const isLlc = and(hasLength, not(isNovell));
  const control = (value: number, mask: number): Fragment =>
    compare(context, "llc", controlOffset, size.byte, value, { mask });
  switch (frame.kind) {
    case "any":
      return isLlc;
    case "information": {
      const statements = load(context, "llc", controlOffset, size.byte);
      return and(isLlc, not(test(statements, code.jumpSet, 0x01)));
    }
    case "supervisory":
      return and(isLlc, control(0x01, 0x03));
    case "unnumbered":
      return and(isLlc, control(0x03, 0x03));
    case "supervisory_type":
    case "unnumbered_type":
      return and(isLlc, control(frame.value, controlMask[frame.kind]));
  }
}
