import { formatAddress, parseAddress, unmapAddress } from "../packet/address.ts";
import type { Endpoint } from "../packet/flow.ts";

/**
 * The PROXY protocol, versions 1 and 2: the first bytes of a connection, in which a proxy tells whose
 * connection it is (haproxy.org/download/2.8/doc/proxy-protocol.txt).
 */

/** Whose connection it is. Text addresses in canonical form, IPv4-mapped ones as IPv4. */
export interface ProxiedFlow {
  readonly source: Endpoint;
  readonly destination: Endpoint;
}

export type ProxyHeader =
  /** What is there may become a header. */
  | { readonly kind: "incomplete" }
  /** The connection does not begin with a header. */
  | { readonly kind: "absent" }
  | { readonly kind: "malformed"; readonly reason: string }
  /**
   * A header of `bytes` bytes. Without a flow the connection is the proxy's own (a health check), or
   * of a kind that it does not tell: its real addresses hold.
   */
  | { readonly kind: "present"; readonly bytes: number; readonly flow: ProxiedFlow | undefined };

/** The longest line of version 1, with its end: section 2.1. */
const maxLineBytes = 107;
/** What a header of version 2 may have, with all its TLVs; the format's own limit is 64 KiB. */
export const maxHeaderBytes = 4096;

const incomplete: ProxyHeader = { kind: "incomplete" };
const absent: ProxyHeader = { kind: "absent" };

const linePrefix = Buffer.from("PROXY ", "latin1");
const signature = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const fixedBytes = 16;
const command = { local: 0x20, proxy: 0x21 } as const;
const family = { tcp4: 0x11, tcp6: 0x21 } as const;
const addressBytes = { [family.tcp4]: 4, [family.tcp6]: 16 } as const;
const crcType = 0x03;

/** Reads the header that `data` begins with, whatever it holds. */
export function readProxyHeader(data: Uint8Array): ProxyHeader {
  if (beginsWith(data, signature))
    return data.length < signature.length ? incomplete : readBinary(data);
  if (beginsWith(data, linePrefix))
    return data.length < linePrefix.length ? incomplete : readLine(data);
  return absent;
}

/** Whether `data` begins as `prefix` does, as far as both go; of no data nothing is known. */
function beginsWith(data: Uint8Array, prefix: Uint8Array): boolean {
  const length = Math.min(data.length, prefix.length);
  for (let i = 0; i < length; i++) if (data[i] !== prefix[i]) return false;
  return true;
}

function malformed(reason: string): ProxyHeader {
  return { kind: "malformed", reason };
}

/** Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`. */
function readLine(data: Uint8Array): ProxyHeader {
  const searched = data.subarray(0, maxLineBytes);
  const end = searched.indexOf(0x0a);
  if (end < 0) return data.length < maxLineBytes ? incomplete : malformed("a line without an end");
  if (data[end - 1] !== 0x0d) return malformed("a line that does not end in CR LF");
  const line = Buffer.from(searched.subarray(0, end - 1)).toString("latin1");
  const bytes = end + 1;
  const [, protocol, ...rest] = line.split(" ");
  // What follows UNKNOWN is to be ignored.
  if (protocol === "UNKNOWN") return { kind: "present", bytes, flow: undefined };
  if (protocol !== "TCP4" && protocol !== "TCP6") return malformed("an unknown protocol");
  const [source, destination, sourcePort, destinationPort] = rest;
  if (rest.length !== 4) return malformed("a line without four addresses and ports");
  const size = protocol === "TCP4" ? 4 : 16;
  const from = textEndpoint(source!, sourcePort!, size);
  const to = textEndpoint(destination!, destinationPort!, size);
  if (from === undefined || to === undefined) return malformed("an unreadable address or port");
  return present(bytes, from, to);
}

function textEndpoint(host: string, port: string, size: 4 | 16): Endpoint | undefined {
  // A scope id is another machine's business.
  const address = host.includes("%") ? undefined : parseAddress(host);
  if (address?.length !== size || !/^(?:0|[1-9][0-9]{0,4})$/.test(port)) return undefined;
  const number = Number(port);
  return number > 0xffff ? undefined : { address: canonical(address), port: number };
}

/** Version 2: signature, version and command, family, length of what follows, addresses, TLVs. */
function readBinary(data: Uint8Array): ProxyHeader {
  if (data.length < fixedBytes) {
    const versionAndCommand = data[12];
    return versionAndCommand === undefined || isCommand(versionAndCommand)
      ? incomplete
      : malformed("an unknown version or command");
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const versionAndCommand = view.getUint8(12);
  if (!isCommand(versionAndCommand)) return malformed("an unknown version or command");
  const bytes = fixedBytes + view.getUint16(14);
  if (bytes > maxHeaderBytes) return malformed(`more than ${maxHeaderBytes} bytes`);
  if (data.length < bytes) return incomplete;
  // The receiver of LOCAL takes nothing from the rest, whatever that is.
  if (versionAndCommand === command.local) return { kind: "present", bytes, flow: undefined };
  const kind = view.getUint8(13);
  if (kind !== family.tcp4 && kind !== family.tcp6) {
    // AF_UNSPEC and sockets that are no TCP: valid, and of no address that filters could see.
    const known = (kind & 0xf0) <= 0x30 && (kind & 0x0f) <= 2;
    return known
      ? { kind: "present", bytes, flow: undefined }
      : malformed("an unknown address family or transport");
  }
  const size = addressBytes[kind];
  const portsAt = fixedBytes + 2 * size;
  const tlvsAt = portsAt + 4;
  if (tlvsAt > bytes) return malformed("too short for its addresses");
  const problem = tlvProblem(data.subarray(0, bytes), tlvsAt);
  if (problem !== undefined) return malformed(problem);
  const endpoint = (address: number, port: number): Endpoint => ({
    address: canonical(data.subarray(address, address + size)),
    port: view.getUint16(port),
  });
  return present(bytes, endpoint(fixedBytes, portsAt), endpoint(fixedBytes + size, portsAt + 2));
}

/** A frame has one family: an IPv4-mapped address beside an IPv6 one can be shown in none. */
function present(bytes: number, source: Endpoint, destination: Endpoint): ProxyHeader {
  if (source.address.includes(":") !== destination.address.includes(":"))
    return malformed("addresses of two families");
  return { kind: "present", bytes, flow: { source, destination } };
}

function isCommand(versionAndCommand: number): boolean {
  return versionAndCommand === command.local || versionAndCommand === command.proxy;
}

/** TLVs must fill the header; a checksum among them must be right. Others mean nothing here. */
function tlvProblem(header: Uint8Array, from: number): string | undefined {
  let at = from;
  while (at < header.length) {
    const length = at + 3 > header.length ? 0 : (header[at + 1]! << 8) | header[at + 2]!;
    const next = at + 3 + length;
    if (next > header.length) return "a TLV that goes beyond the header";
    if (header[at] === crcType) {
      if (length !== 4) return "a checksum that is not 4 bytes long";
      const told = new DataView(header.buffer, header.byteOffset).getUint32(at + 3);
      const zeroed = header.slice();
      zeroed.fill(0, at + 3, next);
      if (crc32c(zeroed) !== told) return "a wrong checksum";
    }
    at = next;
  }
  return undefined;
}

/** CRC32c (Castagnoli), bit by bit: headers are short and checksums in them rare. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  }
  return ~crc >>> 0;
}

function canonical(address: Uint8Array): string {
  const plain = unmapAddress(address);
  return formatAddress(plain, 0, plain.length === 4 ? 4 : 16);
}

/** The header that tells an upstream whose connection it gets. */
export function writeProxyHeader(version: 1 | 2, { source, destination }: ProxiedFlow): Uint8Array {
  const from = addressOf(source);
  const to = addressOf(destination);
  const both4 = from.length === 4 && to.length === 4;
  if (version === 1) {
    // Both addresses are of one family: IPv4 beside IPv6 is written IPv4-mapped.
    const host = (address: Uint8Array): string =>
      both4 || address.length === 16
        ? formatAddress(address, 0, address.length as 4 | 16)
        : `::ffff:${formatAddress(address, 0, 4)}`;
    const line = `PROXY ${both4 ? "TCP4" : "TCP6"} ${host(from)} ${host(to)} ${source.port} ${destination.port}\r\n`;
    return Buffer.from(line, "latin1");
  }
  const size = both4 ? 4 : 16;
  const header = new Uint8Array(fixedBytes + 2 * size + 4);
  const view = new DataView(header.buffer);
  header.set(signature);
  header[12] = command.proxy;
  header[13] = both4 ? family.tcp4 : family.tcp6;
  view.setUint16(14, header.length - fixedBytes);
  header.set(widened(from, size), fixedBytes);
  header.set(widened(to, size), fixedBytes + size);
  view.setUint16(fixedBytes + 2 * size, source.port);
  view.setUint16(fixedBytes + 2 * size + 2, destination.port);
  return header;
}

/** The header of a connection that is the proxy's own: UNKNOWN (section 2.1), LOCAL (section 2.2). */
export function writeOwnHeader(version: 1 | 2): Uint8Array {
  if (version === 1) return Buffer.from("PROXY UNKNOWN\r\n", "latin1");
  const header = new Uint8Array(fixedBytes);
  header.set(signature);
  header[12] = command.local;
  return header;
}

function addressOf({ address }: Endpoint): Uint8Array {
  const parsed = parseAddress(address.replace(/%.*$/, ""));
  if (parsed === undefined) throw new RangeError(`${address} is no IP address`);
  return unmapAddress(parsed);
}

/** RFC 4291 section 2.5.5.2. */
function widened(address: Uint8Array, size: 4 | 16): Uint8Array {
  if (address.length === size) return address;
  const wide = new Uint8Array(16);
  wide.fill(0xff, 10, 12);
  wide.set(address, 12);
  return wide;
}
