import { networkInterfaces } from "node:os";
import { formatAddress, parseAddress } from "../packet/address.ts";
import type { Address } from "./plan.ts";

/** `struct sockaddr_in` and `struct sockaddr_in6` on Linux, little endian: sys/socket.h. */
const AF_INET = 2;
const AF_INET6 = 10;
const ipv4 = { port: 2, address: 4, bytes: 16 } as const;
const ipv6 = { port: 2, address: 8, scope: 24, bytes: 28 } as const;

/** The socket address of an IP address in text, for a socket of `family`: IPv4 becomes IPv4-mapped on IPv6. */
export function encodeSocketName({ host, port }: Address, family: 4 | 6): Uint8Array {
  const address = parseAddress(host);
  if (address === undefined || (family === 4 && address.length !== 4))
    throw new RangeError(`${host} is no IPv${family} address`);
  const name = Buffer.alloc(family === 4 ? ipv4.bytes : ipv6.bytes);
  name.writeUInt16LE(family === 4 ? AF_INET : AF_INET6, 0);
  name.writeUInt16BE(port, ipv4.port);
  if (family === 4) name.set(address, ipv4.address);
  else if (address.length === 16) {
    name.set(address, ipv6.address);
    name.writeUInt32LE(scopeOf(host), ipv6.scope);
  } else {
    name.fill(0xff, ipv6.address + 10, ipv6.address + 12);
    name.set(address, ipv6.address + 12);
  }
  return name;
}

/** Address and port of a socket address at `at`, as node:dgram names them. */
export function decodeSocketName(bytes: Buffer, at: number): { address: string; port: number } {
  const port = bytes.readUInt16BE(at + ipv4.port);
  if (bytes.readUInt16LE(at) === AF_INET)
    return { address: formatAddress(bytes, at + ipv4.address, 4), port };
  const from = at + ipv6.address;
  const isMapped = mappedPrefix.equals(bytes.subarray(from, from + mappedPrefix.length));
  const text = isMapped
    ? `::ffff:${formatAddress(bytes, from + mappedPrefix.length, 4)}`
    : formatAddress(bytes, from, 16);
  const scope = bytes.readUInt32LE(at + ipv6.scope);
  return { address: scope === 0 ? text : `${text}%${interfaceOf(scope)}`, port };
}

/** Bytes of the socket address at `at`. */
export function socketNameBytes(bytes: Buffer, at: number): number {
  return bytes[at] === AF_INET ? ipv4.bytes : ipv6.bytes;
}

const mappedPrefix = Buffer.from("00000000000000000000ffff", "hex");

/** The number of the interface that a link-local address names (`fe80::1%eth0`); 0: none. */
function scopeOf(host: string): number {
  const [, scope] = host.split("%");
  if (scope === undefined) return 0;
  if (/^\d+$/.test(scope)) return Number(scope);
  const address = networkInterfaces()[scope]?.find(({ family }) => family === "IPv6");
  return address?.scopeid ?? 0;
}

/** Its name, or its number where it has no address that would tell. */
function interfaceOf(scope: number): string {
  for (const [name, addresses] of Object.entries(networkInterfaces()))
    if (addresses?.some(({ scopeid }) => scopeid === scope)) return name;
  return `${scope}`;
}
