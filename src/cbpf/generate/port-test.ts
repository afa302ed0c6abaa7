import type { Direction } from "../expression/ast.ts";
import { transportProtocols } from "../expression/names.ts";
import { jumpOp, opClass, size } from "../opcode.ts";
import type { Context } from "./context.ts";
import { etherType } from "./ether-types.ts";
import { and, type Fragment, not, or, test } from "./fragment.ts";
import { byDirection } from "./host-test.ts";
import { linkTypeTest } from "./link-type-test.ts";
import { atMost, compare, load } from "./load.ts";

/** A port, or all from `first` to `last`. */
export type Ports =
  | { readonly kind: "port"; readonly port: number }
  | { readonly kind: "range"; readonly first: number; readonly last: number };

/** Ports over one transport protocol (its IP protocol number), or over TCP, UDP and SCTP. */
export function portTest(
  context: Context,
  ports: Ports,
  protocol: number | undefined,
  direction: Direction,
): Fragment {
  const inIp = ip4PortTest(context, ports, protocol, direction);
  return or(ip6PortTest(context, ports, protocol, direction), inIp);
}

const portOffsets = { src: 0, dst: 2 } as const;

export function ip4PortTest(
  context: Context,
  ports: Ports,
  protocol: number | undefined,
  direction: Direction,
): Fragment {
  const over = (number: number): Fragment =>
    and(
      and(compare(context, "network", 9, size.byte, number), firstFragmentTest(context)),
      endsTest(context, "transport", ports, direction),
    );
  return and(linkTypeTest(context, etherType.ip), byProtocol(protocol, over));
}

/** Only where the transport header follows the IPv6 header at once, as in libpcap. */
export function ip6PortTest(
  context: Context,
  ports: Ports,
  protocol: number | undefined,
  direction: Direction,
): Fragment {
  const over = (number: number): Fragment =>
    and(
      compare(context, "network", 6, size.byte, number),
      endsTest(context, "transport6", ports, direction),
    );
  return and(linkTypeTest(context, etherType.ip6), byProtocol(protocol, over));
}

function byProtocol(protocol: number | undefined, over: (protocol: number) => Fragment): Fragment {
  if (protocol !== undefined) return over(protocol);
  const { tcp, udp, sctp } = transportProtocols;
  const tcpOrUdp = or(over(tcp), over(udp));
  return or(over(sctp), tcpOrUdp);
}

function endsTest(
  context: Context,
  base: "transport" | "transport6",
  ports: Ports,
  direction: Direction,
): Fragment {
  return byDirection(direction, (end) => {
    const offset = portOffsets[end];
    if (ports.kind === "port") return compare(context, base, offset, size.half, ports.port);
    const low = Math.min(ports.first, ports.last);
    const high = Math.max(ports.first, ports.last);
    const operation = jumpOp.ge;
    return and(
      compare(context, base, offset, size.half, low, { operation }),
      atMost(context, base, offset, size.half, high),
    );
  });
}

/** The fragment offset of an IPv4 packet is 0: the transport header is in it. */
export function firstFragmentTest(context: Context): Fragment {
  return not(test(load(context, "network", 6, size.half), opClass.jump | jumpOp.set, 0x1fff));
}
