import type { z } from "zod";
import type { Result } from "../common/result.ts";
import { type Route, routeActions } from "../engine/network.ts";
import { parseAddress, unmapAddress } from "../packet/address.ts";
import { parsePrefix } from "../packet/prefix.ts";
import { maxIfindex } from "./listener-schema.ts";
import { quote, type Wrong } from "./scalars.ts";
import { block, choice, ipAddress, textOf, wholeNumber } from "./schema-parts.ts";

/** Longest IP packet: RFC 791 §3.1. The shortest MTU that IP allows is 68. */
const maxPacketBytes = 65_535;
const minMtu = 68;

const prefix = textOf("a prefix of addresses", "192.0.2.0/24", (text) => {
  const parsed = parsePrefix(text, "route");
  if (parsed.ok) return parsed;
  const { what, fix } = parsed.error;
  return { ok: false, error: { what, fix: fix ?? "write 192.0.2.0/24 or 2001:db8::/32" } };
});

const mac = textOf("a hardware address", "02:00:00:00:00:01", parseMac);

function parseMac(text: string): Result<Uint8Array, Wrong> {
  if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text))
    return { ok: true, value: Uint8Array.from(text.split(":"), (hex) => Number.parseInt(hex, 16)) };
  return {
    ok: false,
    error: { what: `${quote(text)} is no hardware address`, fix: "write one as 02:00:00:00:00:01" },
  };
}

/** One route: what bpf_fib_lookup answers for addresses of a prefix. */
export const routeSchema = block({
  to: prefix.describe("The addresses it is for. The longest prefix that holds an address counts."),
  action: choice(routeActions)
    .default("forward")
    .describe("Forward, or what a lookup says instead."),
  port: wholeNumber(1, maxIfindex)
    .optional()
    .describe("The port (a number under ports) that such packets leave by. Needed to forward."),
  gateway: ipAddress
    .optional()
    .describe("The next hop. Without it: the destination itself is on the port's network."),
  mac: mac
    .optional()
    .describe("The next hop's hardware address. Without it: one derived from its IP address."),
  sourceMac: mac
    .optional()
    .describe("The port's hardware address. Without it: one derived from its number."),
  source: ipAddress
    .optional()
    .describe("The source address for packets of one's own (BPF_FIB_LOOKUP_SRC)."),
  metric: wholeNumber(0, 4_294_967_295)
    .default(0)
    .describe("Of two routes to one prefix the lower counts."),
  mtu: wholeNumber(minMtu, maxPacketBytes)
    .default(maxPacketBytes)
    .describe("Longest IP packet, in bytes."),
});

/** The route as helpers find it. References have been checked. */
export function routeOf(values: z.output<typeof routeSchema>): Route {
  const { to, action, port = 0, gateway, mac: destinationMac, sourceMac, source } = values;
  const address = (text: string | undefined): Uint8Array | undefined => {
    const parsed = text === undefined ? undefined : parseAddress(text);
    return parsed && unmapAddress(parsed);
  };
  return {
    to: to.address,
    length: to.length,
    action,
    ifindex: port,
    gateway: address(gateway),
    destinationMac,
    sourceMac,
    source: address(source),
    metric: values.metric,
    mtu: values.mtu,
  };
}
