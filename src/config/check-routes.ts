import { isIP } from "node:net";
import type { ProblemList } from "./problem-list.ts";
import type { ReadableConfig, ReadableRoute } from "./readable-parts.ts";

/** Keys that only say how packets are forwarded. */
const forwardingKeys = ["port", "gateway", "mac", "sourceMac", "source"] as const;

/** Ports that exist, keys that belong together, addresses of one family. */
export function checkRoutes({ routes, ports }: ReadableConfig, problems: ProblemList): void {
  for (const [i, route] of routes.entries()) {
    if (route.action === "forward") {
      checkPort(route, i, ports, problems);
      checkFamilies(route, i, problems);
    } else if (route.action !== undefined)
      for (const key of forwardingKeys)
        if (route[key] !== undefined)
          problems.key(
            "CONFIG_CONFLICT",
            ["routes", i, key],
            `has no effect on a route of action ${route.action}`,
            "remove it",
          );
  }
}

function checkPort(
  { port, namesPort }: ReadableRoute,
  index: number,
  ports: ReadableConfig["ports"],
  problems: ProblemList,
): void {
  const path = ["routes", index];
  if (port === undefined) {
    if (!namesPort)
      problems.value("CONFIG_VALUE", path, "no port", "name the port that packets leave by");
  } else if (!ports.has(String(port)))
    problems.value(
      "CONFIG_REFERENCE",
      [...path, "port"],
      `no port ${port}`,
      ports.size === 0
        ? "add it under ports"
        : `add it under ports; there is ${[...ports.keys()].join(", ")}`,
    );
}

/** An IPv4 destination may have an IPv6 next hop (RFC 5549), not the other way round. */
function checkFamilies(route: ReadableRoute, index: number, problems: ProblemList): void {
  const { to, gateway, source } = route;
  if (to === undefined) return;
  const wrong = (key: string, address: string): void =>
    problems.value(
      "CONFIG_CONFLICT",
      ["routes", index, key],
      `${address} is IPv${isIP(address)}, and the route is for IPv${to.family}`,
      `write an IPv${to.family} address`,
    );
  if (gateway !== undefined && to.family === 6 && isIP(gateway) === 4) wrong("gateway", gateway);
  if (source !== undefined && isIP(source) !== to.family) wrong("source", source);
}
