import type { BoundListener } from "../proxy/supervisor.ts";
import { hostPort } from "./host-port.ts";

/**
 * Commands to try against a proxy that is up, ready to be pasted. `blockedSource` is a loopback
 * address that its filters drop, if there is one.
 */
export function hints(
  listeners: readonly BoundListener[],
  blockedSource: string | undefined,
  metrics: { readonly host: string; readonly port: number } | undefined,
): string {
  const lines: [command: string, comment: string][] = [];
  for (const { name, protocol, address } of listeners) {
    // What speaks to a tunnel is no one-line command.
    if (protocol !== "udp" && protocol !== "tcp") continue;
    const flags = protocol === "udp" ? "-u -w1" : "-N";
    const target = `${reachable(address.host)} ${address.port}`;
    lines.push([`echo hello | nc ${flags} ${target}`, `${name}, over ${protocol.toUpperCase()}`]);
    if (blockedSource !== undefined && reachable(address.host).startsWith("127."))
      lines.push([
        `echo hello | nc ${flags} -s ${blockedSource} ${target}`,
        "from a blocked source: dropped, counted",
      ]);
  }
  if (metrics !== undefined)
    lines.push([
      `curl -s http://${hostPort(reachable(metrics.host), metrics.port)}/metrics`,
      "what was counted",
    ]);
  const width = Math.max(...lines.map(([command]) => command.length));
  const shown = lines.map(([command, comment]) => `  ${command.padEnd(width)}  # ${comment}\n`);
  return `\nTry, in another terminal:\n\n${shown.join("")}\nCtrl-C ends it.\n\n`;
}

/** An address that a client on this machine can use for one that a server is bound to. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}
