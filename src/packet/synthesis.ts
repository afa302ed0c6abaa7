import { putU16be, putU32be } from "../common/bytes.ts";
import { finishSum, partialSum } from "./checksum.ts";
import { ethernet } from "./ethernet.ts";
import type { Flow } from "./flow.ts";
import { ipv4 } from "./ipv4.ts";
import { ipv6 } from "./ipv6.ts";
import { tcp, tcpOptions } from "./tcp.ts";
import { udp } from "./udp.ts";

/** What a TCP header says besides addresses and ports. */
export interface TcpSegment {
  /** 0 to 2³²-1. */
  readonly sequence: number;
  /** 0 to 2³²-1; 0 where the ACK flag is not set. */
  readonly acknowledgement: number;
  /** The flag byte: `tcpFlags` of tcp.ts. */
  readonly flags: number;
  /** As the header has it, without scaling. */
  readonly window: number;
  /** A SYN's MSS option; the header is 4 bytes longer with it. */
  readonly maximumSegmentSize?: number | undefined;
}

const mssOptionBytes = 4;

/**
 * Writes Ethernet, IP and UDP headers at `at`, in front of a payload that already lies at
 * `at + flow.headerBytes`. Returns the frame's length. Frames are as a sender's own capture shows
 * them: not padded to Ethernet's 60 bytes, no frame check sequence.
 *
 * `payloadSum` is the payload's partial sum where the caller has it: the runtime's is the fastest.
 * A checksum that comes out as 0 is sent as 0xffff (RFC 768), on IPv4 too.
 * Throws a RangeError where the IP length field cannot hold the packet: a bug of the caller.
 */
export function writeUdpFrame(
  bytes: Uint8Array,
  at: number,
  flow: Flow,
  payloadBytes: number,
  payloadSum?: number,
): number {
  const datagramBytes = udp.headerBytes + payloadBytes;
  writeNetwork(bytes, at, flow, datagramBytes);
  const header = at + flow.transportAt;
  const payload = header + udp.headerBytes;
  putU16be(bytes, header + udp.length, datagramBytes);
  const sum = payloadSum ?? partialSum(bytes, payload, payload + payloadBytes);
  const checksum = finishSum(flow.transportSum + 2 * datagramBytes + sum);
  putU16be(bytes, header + udp.checksum, checksum === 0 ? 0xffff : checksum);
  return flow.headerBytes + payloadBytes;
}

/**
 * Bytes from the Ethernet header to the payload in a frame of `segment`: `flow.headerBytes`, and
 * 4 more where it carries an MSS option.
 */
export function tcpHeaderBytes(flow: Pick<Flow, "headerBytes">, segment: TcpSegment): number {
  return flow.headerBytes + (segment.maximumSegmentSize === undefined ? 0 : mssOptionBytes);
}

/**
 * As `writeUdpFrame`, for a TCP segment: the payload lies at `at + tcpHeaderBytes(flow, segment)`.
 */
export function writeTcpFrame(
  bytes: Uint8Array,
  at: number,
  flow: Flow,
  segment: TcpSegment,
  payloadBytes: number,
  payloadSum?: number,
): number {
  const headerBytes = tcpHeaderBytes(flow, segment);
  const segmentBytes = headerBytes - flow.transportAt + payloadBytes;
  writeNetwork(bytes, at, flow, segmentBytes);
  const header = at + flow.transportAt;
  putU32be(bytes, header + tcp.sequence, segment.sequence);
  putU32be(bytes, header + tcp.acknowledgement, segment.acknowledgement);
  bytes[header + tcp.flags] = segment.flags;
  putU16be(bytes, header + tcp.window, segment.window);
  if (segment.maximumSegmentSize !== undefined) {
    const option = header + tcp.headerBytes;
    bytes[header + tcp.dataOffset] = ((tcp.headerBytes + mssOptionBytes) / 4) << 4;
    bytes[option] = tcpOptions.maximumSegmentSize;
    bytes[option + 1] = mssOptionBytes;
    putU16be(bytes, option + 2, segment.maximumSegmentSize);
  }
  // The ports are in the flow's sum already; the checksum field is still the template's zero.
  const payload = at + headerBytes;
  const sum = partialSum(
    bytes,
    header + tcp.sequence,
    payload,
    flow.transportSum + segmentBytes + (payloadSum ?? 0),
  );
  const rest = payloadSum === undefined ? partialSum(bytes, payload, payload + payloadBytes) : 0;
  putU16be(bytes, header + tcp.checksum, finishSum(sum + rest));
  return headerBytes + payloadBytes;
}

/** Copies the flow's template to `at` and completes its IP header. */
function writeNetwork(bytes: Uint8Array, at: number, flow: Flow, transportBytes: number): void {
  const template = flow.template;
  for (let i = 0; i < template.length; i++) bytes[at + i] = template[i] as number;
  const header = at + ethernet.headerBytes;
  if (flow.family === 6) {
    checkLength(transportBytes);
    putU16be(bytes, header + ipv6.payloadLength, transportBytes);
    return;
  }
  const totalBytes = ipv4.headerBytes + transportBytes;
  checkLength(totalBytes);
  const identification = flow.nextIdentification();
  putU16be(bytes, header + ipv4.totalLength, totalBytes);
  putU16be(bytes, header + ipv4.identification, identification);
  putU16be(bytes, header + ipv4.checksum, finishSum(flow.networkSum + totalBytes + identification));
}

function checkLength(bytes: number): void {
  if (!(bytes <= 0xffff)) throw new RangeError(`an IP packet of ${bytes} bytes`);
}
