import type { DropReason } from "../common/drop-reason.ts";

/** What the network says of a peer that is not there. connect(2), udp(7), and a dial that took too long. */
const unreachable: ReadonlySet<string | undefined> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETUNREACH",
  "ETIMEDOUT",
]);

/** Why packets to an upstream were lost: it is not there, or this machine could not reach out. */
export function upstreamDropReason(error: NodeJS.ErrnoException): DropReason {
  return unreachable.has(error.code) ? "upstream_unreachable" : "upstream_error";
}
