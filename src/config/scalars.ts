import { isIP } from "node:net";
import { isAbsolute } from "node:path";
import { err, ok, type Result } from "../common/result.ts";
import { parseAddress } from "../packet/address.ts";
import { maxArenaBytes } from "../runtime/arena.ts";

/** Why a text is not what it should be. Neither part names the place. */
export interface Wrong {
  readonly what: string;
  readonly fix: string;
}

/** A timer of the system waits no longer than this: 2³¹-1 ms, about 24 days. */
const maxDurationMs = 2_147_483_647;

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
export const durationPattern = "^[0-9]+(ms|s|m|h)$";

/** Milliseconds of `500ms`, `60s`, `5m`, `1h`: a whole number and a unit, above zero. */
export function parseDuration(text: string): Result<number, Wrong> {
  const match = /^(\d{1,15})(ms|s|m|h)$/.exec(text);
  if (match === null)
    return err({
      what: `${quote(text)} is not a duration`,
      fix: "write a whole number and a unit: 500ms, 60s, 5m or 1h",
    });
  const ms = Number(match[1]) * durationUnits[match[2]!]!;
  if (ms < 1) return err({ what: `${quote(text)} is no time at all`, fix: "write at least 1ms" });
  if (ms > maxDurationMs)
    return err({ what: `${quote(text)} is too long`, fix: "write at most 596h" });
  return ok(ms);
}

const sizeUnits: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
};
export const sizePattern = "^[0-9]+(B|KiB|MiB|GiB)$";

/** Bytes of `64KiB`, `512MiB`, `1GiB`: a whole number and a unit of powers of 1024. */
export function parseSize(text: string): Result<number, Wrong> {
  const match = /^(\d{1,15})(B|KiB|MiB|GiB)$/.exec(text);
  const bytes = match === null ? Number.NaN : Number(match[1]) * sizeUnits[match[2]!]!;
  if (!Number.isSafeInteger(bytes))
    return err({
      what: `${quote(text)} is not a size`,
      fix: "write a whole number and a unit: 64KiB, 512MiB or 1GiB",
    });
  return ok(bytes);
}

/** Least and most of `memory`: one packet at a time, and what 31-bit offsets reach. */
const memoryBounds = { least: 1_048_576, most: maxArenaBytes } as const;

/** `parseSize` for `memory`. */
export function parseMemorySize(text: string): Result<number, Wrong> {
  const size = parseSize(text);
  if (!size.ok || (size.value >= memoryBounds.least && size.value <= memoryBounds.most))
    return size;
  return err({
    what: `${quote(text)} is out of range`,
    fix: "write a size from 1MiB to 2047MiB",
  });
}

/** The size in the unit that people would write, rounded up: `65MiB`. */
export function formatSize(bytes: number): string {
  const unit = bytes >= sizeUnits.MiB! ? "MiB" : "KiB";
  return `${Math.ceil(bytes / sizeUnits[unit]!)}${unit}`;
}

/** A host and a port; `host` without the brackets of an IPv6 address. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/**
 * Where a socket listens: an IP address and a port, IPv6 in brackets. Port 0 lets the system choose
 * one. `:53` is refused: whether all addresses, and of which family, is meant must be written down.
 */
export function parseListenAddress(text: string): Result<HostPort, Wrong> {
  const parts = splitHostPort(text);
  if (parts === undefined || parts.port > 65_535) return err(notAnAddress(text, listenFix));
  if (parts.host === "")
    return err({
      what: `${quote(text)} names no address`,
      fix: `write "0.0.0.0:${parts.port}" for all IPv4 addresses, "[::]:${parts.port}" for IPv6, or "127.0.0.1:${parts.port}" for this machine only`,
    });
  if (parts.host === "*")
    return err({
      what: `${quote(text)} names no address`,
      fix: `write "0.0.0.0:${parts.port}" for all IPv4 addresses or "[::]:${parts.port}" for IPv6`,
    });
  if (isIP(parts.host) === 0 || parts.bracketed !== (isIP(parts.host) === 6))
    return err(notAnAddress(text, listenFix));
  return ok({ host: parts.host, port: parts.port });
}

/** Where a listener is bound; without a port at its protocol's own, which only tunnels have. */
export interface ListenerAddress {
  readonly host: string;
  readonly port: number | undefined;
}

/** An address as `parseListenAddress` takes it, or one without a port. */
export function parseListenerAddress(text: string): Result<ListenerAddress, Wrong> {
  if (!bareAddress.test(text)) return parseListenAddress(text);
  const address = parseListenAddress(`${text}:0`);
  if (!address.ok) return err(notAnAddress(text, listenFix));
  return ok({ host: address.value.host, port: undefined });
}

/** Where the control API listens: a Unix socket's path, or an address and port. */
export type AdminListen = { readonly path: string } | HostPort;

/** `unix:/run/weir/admin.sock`, an address and port as `parseListenAddress` takes them, or `off`. */
export function parseAdminListen(text: string): Result<AdminListen | "off", Wrong> {
  if (text === "off") return ok("off");
  if (text.startsWith("/"))
    return err({
      what: `${quote(text)} is no address`,
      fix: `write unix:${text} for a socket there`,
    });
  if (!text.startsWith("unix:")) return parseListenAddress(text);
  const path = text.slice("unix:".length);
  if (isAbsolute(path) && !path.includes("\0")) return ok({ path });
  return err({
    what: `${quote(text)} names no socket`,
    fix: "write unix: and an absolute path: unix:/run/weir/admin.sock",
  });
}

/** Letters, digits, hyphens and dots, as in /etc/hosts and container names. RFC 1123 §2.1, with underscores. */
const hostName =
  /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i;

/** Where packets go: an IP address or a host name, and a port from 1 up. */
export function parseUpstreamAddress(text: string): Result<HostPort, Wrong> {
  const parts = splitHostPort(text);
  if (parts === undefined || parts.port > 65_535) return err(notAnAddress(text, upstreamFix));
  const { host, port, bracketed } = parts;
  if (port === 0)
    return err({ what: `${quote(text)} has port 0`, fix: "write the port that answers" });
  const family = isIP(host);
  if (host === "0.0.0.0" || (family === 6 && /^[0:.]+$/.test(host)))
    return err({
      what: `${quote(text)} is no address to send to`,
      fix: "write the address that answers, such as 127.0.0.1",
    });
  // Digits and dots that are no address would be looked up as a name, and some resolvers read them
  // as octal.
  const name = family === 0 && !/^[\d.]+$/.test(host) && hostName.test(host);
  if ((family === 0 && !name) || bracketed !== (family === 6))
    return err(notAnAddress(text, upstreamFix));
  return ok({ host, port });
}

/** Where a tunnel's peer is; without a port at its protocol's own. */
export interface PeerAddress {
  readonly host: string;
  readonly port: number | undefined;
}

/**
 * A tunnel's peer: an IP address, and a port from 1 up if it is an unusual one. IPv6 goes without
 * brackets where no port can be meant.
 */
export function parsePeerAddress(text: string): Result<PeerAddress, Wrong> {
  const given = isBareIpv6(text) ? `[${text}]` : text;
  const bare = bareAddress.test(given);
  const address = parseUpstreamAddress(bare ? `${given}:1` : given);
  if (address.ok && isIP(address.value.host) !== 0)
    return ok(bare ? { host: address.value.host, port: undefined } : address.value);
  return err({
    what: `${quote(text)} is not the address of a peer`,
    fix: 'write an IP address, with a port if it is not the usual one: "192.0.2.1", "192.0.2.1:4789" or "[2001:db8::1]"',
  });
}

/** Addresses under a prefix, at one port or (without `port`) at any. */
export interface AddressRange {
  readonly host: string;
  readonly prefixLength: number;
  readonly port?: number;
}

/** `192.0.2.0/24`, `192.0.2.0/24:53`, `2001:db8::/32:53`, `192.0.2.1:53`, `[2001:db8::1]:53`. */
export function parseAddressRange(text: string): Result<AddressRange, Wrong> {
  const wrong = err({
    what: `${quote(text)} is not a range of addresses`,
    fix: "write a CIDR, and a port if only that one is meant: 192.0.2.0/24, 192.0.2.0/24:53 or 2001:db8::/32:53",
  });
  const match =
    /^\[?(?<host>[^\]/]*)\]?\/(?<length>\d{1,3})(?::(?<port>\d{1,5}))?$/.exec(text) ??
    /^\[(?<host>[^\]/]*)\](?::(?<port>\d{1,5}))?$/.exec(text) ??
    /^(?<host>[^:/]*)(?::(?<port>\d{1,5}))?$/.exec(text) ??
    /^(?<host>[^/[\]]*)$/.exec(text);
  const { host = "", length, port } = match?.groups ?? {};
  const address = isIP(host) === 0 || host.includes("%") ? undefined : parseAddress(host);
  if (address === undefined) return wrong;
  const bits = address.length * 8;
  const prefixLength = length === undefined ? bits : Number(length);
  if (prefixLength > bits || (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)))
    return wrong;
  const beyond = address.some(
    (byte, i) => (byte & (0xff >> Math.min(8, Math.max(0, prefixLength - i * 8)))) !== 0,
  );
  if (beyond)
    return err({
      what: `${quote(text)} has address bits beyond its prefix of ${prefixLength}`,
      fix: "set them to zero, or write a longer prefix",
    });
  return ok({ host, prefixLength, ...(port === undefined ? {} : { port: Number(port) }) });
}

function splitHostPort(
  text: string,
): { host: string; port: number; bracketed: boolean } | undefined {
  const match = /^(?:\[([^\]]*)\]|([^[\]:]*)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const bracketed = match[1] !== undefined;
  return { host: match[1] ?? match[2]!, port: Number(match[3]), bracketed };
}

/**
 * An IPv6 address whose last number can be no port, since what is before it is no address: `fd01::2`, not
 * `fd01::1:4789`.
 */
function isBareIpv6(text: string): boolean {
  const colon = text.lastIndexOf(":");
  return (
    isIP(text) === 6 && (isIP(text.slice(0, colon)) === 0 || !/^\d+$/.test(text.slice(colon + 1)))
  );
}

/** What has no port: no colon but those of an IPv6 address in brackets. */
const bareAddress = /^(?:\[[^\]]*\]|[^[\]:]+)$/;

const listenFix =
  'write an IP address and a port from 0 to 65535: "127.0.0.1:5300" or "[::1]:5300"';
const upstreamFix =
  'write an address or a name, and a port from 1 to 65535: "127.0.0.1:5353", "[::1]:5353" or "app:5353"';

function notAnAddress(text: string, fix: string): Wrong {
  const bare = /^([0-9a-f:]*:[0-9a-f:.]*):(\d{1,5})$/i.exec(text);
  if (bare !== null && isIP(bare[1]!) === 6)
    return { what: `${quote(text)} is ambiguous`, fix: `write "[${bare[1]}]:${bare[2]}"` };
  return { what: `${quote(text)} is not an address and port`, fix };
}

/** A value in messages: quoted, and cut where it is long. */
export function quote(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}…`;
}
