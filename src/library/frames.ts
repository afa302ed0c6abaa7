import { isIP } from "node:net";
import { UserError } from "../common/user-error.ts";
import { type Endpoint, Flow, sameFamily } from "../packet/flow.ts";
import {
  type TcpSegment,
  tcpHeaderBytes,
  writeTcpFrame,
  writeUdpFrame,
} from "../packet/synthesis.ts";
import { tcpFlags } from "../packet/tcp.ts";
import { checkOptions, type Kind, list, number, text, textOrBytes } from "./arguments.ts";

/** Flags of a TCP header. RFC 9293 §3.1. */
export type TcpFlag = keyof typeof tcpFlags;

/** Both ends of a packet, and what it carries. */
export interface UdpFrameParts {
  /** The sender: "192.0.2.1:4000" or "[2001:db8::1]:4000". */
  readonly from: string;
  /** The receiver, of the same family. */
  readonly to: string;
  /** Bytes, or text, which becomes UTF-8. Default: none. */
  readonly payload?: Uint8Array | string;
}

/** The same, and what a TCP header says besides. Numbers are unsigned. */
export interface TcpFrameParts extends UdpFrameParts {
  /** Default: `["ack"]`. */
  readonly flags?: readonly TcpFlag[];
  /** 32 bits. Default: 1. */
  readonly sequence?: number;
  /** 32 bits. Default: 0. */
  readonly acknowledgement?: number;
  /** 16 bits. Default: 65,535. */
  readonly window?: number;
  /** 16 bits. Adds the option; default: none. */
  readonly maximumSegmentSize?: number;
}

const udpParts: Readonly<Record<keyof UdpFrameParts, Kind>> = {
  from: text,
  to: text,
  payload: textOrBytes,
};
const tcpParts: Readonly<Record<keyof TcpFrameParts, Kind>> = {
  ...udpParts,
  flags: list,
  sequence: number,
  acknowledgement: number,
  window: number,
  maximumSegmentSize: number,
};

/** Most bytes an IPv4 packet has; of an IPv6 packet, those behind its header. */
const maxPacketBytes = 65_535;
const ethernetHeaderBytes = 14;
const ipv6HeaderBytes = 40;

/**
 * An Ethernet frame with a UDP datagram over IPv4 or IPv6: right lengths and checksums, TTL 64, MAC
 * addresses derived from the IP addresses, no padding. What a Weir listener hands its filters.
 * Throws a UserError with a code `FRAME_…` or `ARGUMENT_…` for parts that make no frame.
 */
export function udpFrame(parts: UdpFrameParts): Uint8Array {
  checkOptions("udpFrame", parts, udpParts);
  const flow = flowOf("udp", parts);
  const payload = bytesOf(parts.payload);
  checkLength(flow, flow.headerBytes + payload.length);
  const frame = new Uint8Array(flow.headerBytes + payload.length);
  frame.set(payload, flow.headerBytes);
  writeUdpFrame(frame, 0, flow, payload.length);
  return frame;
}

/** As `udpFrame`, with a TCP segment. */
export function tcpFrame(parts: TcpFrameParts): Uint8Array {
  checkOptions("tcpFrame", parts, tcpParts);
  const flow = flowOf("tcp", parts);
  const payload = bytesOf(parts.payload);
  const segment = segmentOf(parts);
  const headerBytes = tcpHeaderBytes(flow, segment);
  checkLength(flow, headerBytes + payload.length);
  const frame = new Uint8Array(headerBytes + payload.length);
  frame.set(payload, headerBytes);
  writeTcpFrame(frame, 0, flow, segment, payload.length);
  return frame;
}

function segmentOf(parts: TcpFrameParts): TcpSegment {
  const { sequence = 1, acknowledgement = 0, window = 0xffff, maximumSegmentSize } = parts;
  for (const [name, value, most] of [
    ["sequence", sequence, 0xffff_ffff],
    ["acknowledgement", acknowledgement, 0xffff_ffff],
    ["window", window, 0xffff],
    ["maximumSegmentSize", maximumSegmentSize ?? 0, 0xffff],
  ] as const)
    if (!Number.isInteger(value) || value < 0 || value > most)
      throw new UserError(
        "FRAME_NUMBER",
        `frame, ${name}`,
        `${value} does not fit its field`,
        `give a whole number from 0 to ${most}`,
      );
  let flags = 0;
  for (const flag of parts.flags ?? ["ack"]) {
    if (!Object.hasOwn(tcpFlags, flag))
      throw new UserError(
        "FRAME_FLAG",
        "frame, flags",
        `there is no TCP flag "${flag}"`,
        `name some of ${Object.keys(tcpFlags).join(", ")}`,
      );
    flags |= tcpFlags[flag];
  }
  const segment = { sequence, acknowledgement, flags, window };
  return maximumSegmentSize === undefined ? segment : { ...segment, maximumSegmentSize };
}

function flowOf(protocol: "udp" | "tcp", { from, to }: UdpFrameParts): Flow {
  const source = endpointOf("from", from);
  const destination = endpointOf("to", to);
  if (!sameFamily(source.address, destination.address))
    throw new UserError(
      "FRAME_FAMILY",
      "frame",
      `${source.address} and ${destination.address} are of two families`,
      "give two IPv4 or two IPv6 addresses",
    );
  return new Flow(protocol, source, destination);
}

function endpointOf(part: string, text: string): Endpoint {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const six = match?.[1];
  const address = six ?? match?.[2] ?? "";
  const port = Number(match?.[3]);
  if (isIP(address) !== (six === undefined ? 4 : 6) || port > 0xffff)
    throw new UserError(
      "FRAME_ENDPOINT",
      `frame, ${part}`,
      `"${text}" is no address and port`,
      'write "192.0.2.1:4000" or "[2001:db8::1]:4000"',
    );
  return { address, port };
}

function bytesOf(payload: Uint8Array | string = ""): Uint8Array {
  return typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
}

function checkLength(flow: Flow, frameBytes: number): void {
  const most = ethernetHeaderBytes + (flow.family === 4 ? 0 : ipv6HeaderBytes) + maxPacketBytes;
  if (frameBytes > most)
    throw new UserError(
      "FRAME_TOO_LONG",
      "frame, payload",
      `makes a frame of ${frameBytes} bytes`,
      `leave out ${frameBytes - most}: an IP packet cannot say that it is longer`,
    );
}
