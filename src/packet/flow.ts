import { randomInt } from "node:crypto";
import { putU16be } from "../common/bytes.ts";
import { type AddressBytes, deriveMac, parseAddress, unmapAddress } from "./address.ts";
import { partialSum } from "./checksum.ts";
import { ethernet, etherTypes } from "./ethernet.ts";
import { ipProtocols } from "./ip-protocol.ts";
import { ipv4, ipv4DontFragment } from "./ipv4.ts";
import { ipv6 } from "./ipv6.ts";
import { tcp } from "./tcp.ts";
import { udp } from "./udp.ts";

/** A transport address as sockets give it: the address in text, the port 0 to 65,535. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** TTL and hop limit of synthetic frames: what Linux sends by default. */
const hopLimit = 64;

/** Bytes from the Ethernet header to the payload of a UDP frame. */
export const udpHeaderBytes = {
  4: ethernet.headerBytes + ipv4.headerBytes + udp.headerBytes,
  6: ethernet.headerBytes + ipv6.headerBytes + udp.headerBytes,
} as const;

/** What a TCP frame of either family begins with, as in a flow of it: no options. */
export const tcpHeaders = {
  4: { headerBytes: ethernet.headerBytes + ipv4.headerBytes + tcp.headerBytes },
  6: { headerBytes: ethernet.headerBytes + ipv6.headerBytes + tcp.headerBytes },
} as const;

/**
 * One direction of a session: everything about its frames that stays the same, prepared once.
 * `synthesis.ts` copies the template and adds lengths, checksums and sequence numbers.
 *
 * Addresses may be IPv4-mapped (`::ffff:192.0.2.1`, which becomes IPv4) and have a scope id
 * (`%eth0`, which is left out). Throws a RangeError for what is no address or port, and where the
 * two ends are not of one family after mapping (`sameFamily` tells beforehand): both are bugs of
 * the caller.
 */
export class Flow {
  readonly protocol: "udp" | "tcp";
  readonly family: 4 | 6;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Bytes from the Ethernet header to the payload: 42 or 62 for UDP, 54 or 74 for TCP. */
  readonly headerBytes: number;
  /** Bytes from the Ethernet header to the transport header: 34 or 54. */
  readonly transportAt: number;
  /** The headers with lengths, identification, sequence numbers and checksums zero. */
  readonly template: Uint8Array;
  /** Partial sum of the template's IPv4 header; 0 for IPv6, which has no header checksum. */
  readonly networkSum: number;
  /** Partial sum of the pseudo-header without its length, and the two ports. */
  readonly transportSum: number;
  #identification: number;

  constructor(protocol: "udp" | "tcp", source: Endpoint, destination: Endpoint) {
    const from = addressOf(source);
    const to = addressOf(destination);
    if (from.length !== to.length)
      throw new RangeError(`${source.address} and ${destination.address} are of two families`);
    this.protocol = protocol;
    this.family = from.length === 4 ? 4 : 6;
    this.sourcePort = source.port;
    this.destinationPort = destination.port;
    const networkBytes = this.family === 4 ? ipv4.headerBytes : ipv6.headerBytes;
    this.transportAt = ethernet.headerBytes + networkBytes;
    this.headerBytes = this.transportAt + (protocol === "udp" ? udp.headerBytes : tcp.headerBytes);
    this.template = new Uint8Array(this.headerBytes);
    this.template.set(deriveMac(to), ethernet.destination);
    this.template.set(deriveMac(from), ethernet.source);
    const number = protocol === "udp" ? ipProtocols.udp : ipProtocols.tcp;
    const sourceAt =
      this.family === 4
        ? writeIpv4(this.template, number, from, to)
        : writeIpv6(this.template, number, from, to);
    putU16be(this.template, this.transportAt, source.port);
    putU16be(this.template, this.transportAt + 2, destination.port);
    if (protocol === "tcp")
      this.template[this.transportAt + tcp.dataOffset] = (tcp.headerBytes / 4) << 4;
    this.networkSum =
      this.family === 4 ? partialSum(this.template, ethernet.headerBytes, this.transportAt) : 0;
    this.transportSum = partialSum(this.template, sourceAt, this.transportAt + 4, number);
    this.#identification = randomInt(0x10000);
  }

  /** The IPv4 identification of the next packet: a running number from a random start. */
  nextIdentification(): number {
    this.#identification = (this.#identification + 1) & 0xffff;
    return this.#identification;
  }
}

/** Whether two addresses are of one family once IPv4-mapped ones count as IPv4. */
export function sameFamily(a: string, b: string): boolean {
  const first = parseAddress(a);
  const second = parseAddress(b);
  if (first === undefined || second === undefined) return false;
  return unmapAddress(first).length === unmapAddress(second).length;
}

function addressOf(endpoint: Endpoint): AddressBytes {
  const bytes = parseAddress(endpoint.address);
  if (bytes === undefined) throw new RangeError(`"${endpoint.address}" is no IP address`);
  if (!Number.isInteger(endpoint.port) || endpoint.port < 0 || endpoint.port > 0xffff)
    throw new RangeError(`port ${endpoint.port} of ${endpoint.address} is outside 0 to 65535`);
  return unmapAddress(bytes);
}

/** Returns where the source address is: both addresses and the ports follow it without a gap. */
function writeIpv4(
  frame: Uint8Array,
  protocol: number,
  from: AddressBytes,
  to: AddressBytes,
): number {
  const at = ethernet.headerBytes;
  putU16be(frame, ethernet.etherType, etherTypes.ipv4);
  frame[at + ipv4.versionAndLength] = 0x45;
  putU16be(frame, at + ipv4.fragment, ipv4DontFragment);
  frame[at + ipv4.timeToLive] = hopLimit;
  frame[at + ipv4.protocol] = protocol;
  frame.set(from, at + ipv4.source);
  frame.set(to, at + ipv4.destination);
  return at + ipv4.source;
}

function writeIpv6(
  frame: Uint8Array,
  protocol: number,
  from: AddressBytes,
  to: AddressBytes,
): number {
  const at = ethernet.headerBytes;
  putU16be(frame, ethernet.etherType, etherTypes.ipv6);
  frame[at + ipv6.version] = 0x60;
  frame[at + ipv6.nextHeader] = protocol;
  frame[at + ipv6.hopLimit] = hopLimit;
  frame.set(from, at + ipv6.source);
  frame.set(to, at + ipv6.destination);
  return at + ipv6.source;
}
