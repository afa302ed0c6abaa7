import { isIPv4 } from "node:net";
import { networkInterfaces } from "node:os";
import { parseAddress, unmapAddress } from "../packet/address.ts";

/** The address of this machine that a client probably sent to: first non-internal, else loopback. */
export function defaultLocalAddress(family: 4 | 6): string {
  for (const addresses of Object.values(networkInterfaces()))
    for (const { address, family: name, internal, scopeid } of addresses ?? [])
      if (!internal && name === `IPv${family}` && !scopeid) return address;
  return family === 4 ? "127.0.0.1" : "::1";
}

/** Family of an address in text, IPv4-mapped IPv6 being IPv4; undefined for what is no address. */
export function addressFamily(text: string): 4 | 6 | undefined {
  if (isIPv4(text)) return 4;
  const bytes = parseAddress(text);
  if (bytes === undefined) return undefined;
  return unmapAddress(bytes).length === 4 ? 4 : 6;
}

/** Bound to all addresses: `0.0.0.0` or `::`, however written. */
export function isWildcard(host: string): boolean {
  return parseAddress(host)?.every((byte) => byte === 0) ?? false;
}
