import type { CaptureRow } from "../admin/replies.ts";
import { parseHex, putU16be, u16be } from "../common/bytes.ts";
import type { Direction } from "../filter/verdict.ts";
import { ethernet, etherTypes } from "../packet/ethernet.ts";
import { Flow } from "../packet/flow.ts";
import { setGeneveProtocol } from "../packet/geneve.ts";
import { writeUdpFrame } from "../packet/synthesis.ts";
import { udp } from "../packet/udp.ts";

type Tunnel = NonNullable<Exclude<CaptureRow, { lost: number }>["tunnel"]>;

interface Packet {
  /** Bytes that it had. */
  readonly originalLength: number;
  /** The first of them. */
  readonly data: Uint8Array;
}

/** What a UDP datagram over IPv4 holds at most. */
const maxDatagramBytes = 65_507;

/**
 * A tunnel's frame within the packet that it came in, or leaves in: Ethernet, IP and UDP headers with the
 * true addresses and ports, the tunnel's header as it came, then the frame, which loses the Ethernet
 * header again that it was shown with. What a socket does not tell is made up: MAC addresses, TTL,
 * identification; the UDP checksum is 0, which says that there is none (RFC 7348 §4.1, RFC 8926 §3.3).
 */
export function outerPacket(
  tunnel: Tunnel,
  direction: Direction,
  { originalLength, data }: Packet,
): Packet {
  const header = parseHex(tunnel.header)!;
  const isBare = tunnel.ether_type !== etherTypes.ethernetBridging;
  const skipped = isBare ? ethernet.headerBytes : 0;
  // A filter may have made the other IP of it.
  if (isBare && data.length >= skipped)
    setGeneveProtocol(header, 0, u16be(data, ethernet.etherType));
  const [far, own] = [endpointOf(tunnel.outer), endpointOf(tunnel.own)];
  const flow = direction === "ingress" ? new Flow("udp", far, own) : new Flow("udp", own, far);
  const headersBytes = flow.headerBytes + header.length;
  const inner = data.subarray(skipped);
  const bytes = new Uint8Array(headersBytes + inner.length);
  bytes.set(header, flow.headerBytes);
  bytes.set(inner, headersBytes);
  const datagramBytes = header.length + originalLength - skipped;
  // What a filter made longer than that was not sent.
  writeUdpFrame(bytes, 0, flow, Math.min(datagramBytes, maxDatagramBytes), 0);
  putU16be(bytes, flow.transportAt + udp.checksum, 0);
  return { originalLength: flow.headerBytes + datagramBytes, data: bytes };
}

/** Of `192.0.2.1:4789` or `[2001:db8::1]:4789`, as the control API writes it. */
function endpointOf(text: string): { address: string; port: number } {
  const colon = text.lastIndexOf(":");
  return {
    address: text.slice(0, colon).replace(/^\[|\]$/g, ""),
    port: Number(text.slice(colon + 1)),
  };
}
