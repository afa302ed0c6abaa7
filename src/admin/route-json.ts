import { z } from "zod";
import { parseHex, toHex } from "../common/bytes.ts";
import { type Route, routeActions } from "../engine/network.ts";

const hex = z.string().transform((text, context) => {
  const bytes = parseHex(text);
  if (bytes !== undefined) return bytes;
  context.addIssue({ code: "custom", message: "expected bytes in hex" });
  return z.NEVER;
});

/** A route of the config in force as JSON has it: addresses as bytes in hex. */
export const routeJson = z.object({
  to: hex,
  length: z.int(),
  action: z.enum(routeActions),
  ifindex: z.int(),
  gateway: hex.optional(),
  destination_mac: hex.optional(),
  source_mac: hex.optional(),
  source: hex.optional(),
  metric: z.int(),
  mtu: z.int(),
});

export function encodeRoute(route: Route): z.input<typeof routeJson> {
  const { to, length, action, ifindex, gateway, destinationMac, sourceMac, source } = route;
  const { metric, mtu } = route;
  return {
    to: toHex(to),
    length,
    action,
    ifindex,
    ...(gateway && { gateway: toHex(gateway) }),
    ...(destinationMac && { destination_mac: toHex(destinationMac) }),
    ...(sourceMac && { source_mac: toHex(sourceMac) }),
    ...(source && { source: toHex(source) }),
    metric,
    mtu,
  };
}

export function decodeRoute(json: z.output<typeof routeJson>): Route {
  const { destination_mac: destinationMac, source_mac: sourceMac, gateway, source, ...rest } = json;
  return { ...rest, gateway, source, destinationMac, sourceMac };
}
