/**
 * Writes examples/captures/dns.pcapng, the capture of the README's commands: queries to a name
 * server and some other packets, all made up. Addresses are those that are kept for documentation,
 * RFC 5737 and RFC 3849; times and all else are the same in each run.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { putU16be } from "../src/common/bytes.ts";
import { checksum } from "../src/packet/checksum.ts";
import { ethernet } from "../src/packet/ethernet.ts";
import { Flow } from "../src/packet/flow.ts";
import { ipv4 } from "../src/packet/ipv4.ts";
import { writeTcpFrame, writeUdpFrame } from "../src/packet/synthesis.ts";
import { tcpFlags } from "../src/packet/tcp.ts";
import { PcapngWriter } from "../src/pcap/pcapng-writer.ts";

export const exampleCapture = fileURLToPath(
  new URL("../examples/captures/dns.pcapng", import.meta.url),
);

/** 2023-11-14 22:13:20 UTC. */
const startSeconds = 1_700_000_000;

interface Example {
  readonly milliseconds: number;
  readonly from: string;
  readonly port: number;
  readonly protocol?: "tcp" | "udp";
}

const server = { 4: "10.0.0.2", 6: "2001:db8::2" } as const;

const examples: readonly Example[] = [
  { milliseconds: 0, from: "198.51.100.7", port: 53 },
  { milliseconds: 12, from: "192.0.2.9", port: 53 },
  { milliseconds: 340, from: "203.0.113.5", port: 53 },
  { milliseconds: 341, from: "198.51.100.7", port: 80, protocol: "tcp" },
  { milliseconds: 900, from: "2001:db8::7", port: 53 },
  { milliseconds: 1250, from: "203.0.113.77", port: 53 },
  { milliseconds: 1600, from: "198.51.100.8", port: 123 },
  { milliseconds: 2000, from: "198.51.100.8", port: 53 },
];

export function exampleCaptureBytes(): Uint8Array {
  const writer = new PcapngWriter([{ linkType: 1 }]);
  const records = examples.map((example, i) => {
    const data = frameOf(example, i);
    return writer.record({
      seconds: startSeconds + Math.floor(example.milliseconds / 1000),
      nanoseconds: (example.milliseconds % 1000) * 1_000_000,
      originalLength: data.length,
      data,
    });
  });
  return Buffer.concat([writer.header, ...records]);
}

function frameOf({ from, port, protocol = "udp" }: Example, i: number): Uint8Array {
  const to = from.includes(":") ? server[6] : server[4];
  const source = { address: from, port: 40_001 + i };
  const flow = new Flow(protocol, source, { address: to, port });
  const bytes = new Uint8Array(256);
  let length: number;
  if (protocol === "tcp") {
    const segment = { sequence: 1, acknowledgement: 0, flags: tcpFlags.syn, window: 64_240 };
    length = writeTcpFrame(bytes, 0, flow, segment, 0);
  } else {
    const payload = port === 53 ? dnsQuery(i, "example.org") : ntpRequest();
    bytes.set(payload, flow.headerBytes);
    length = writeUdpFrame(bytes, 0, flow, payload.length);
  }
  if (flow.family === 4) setIdentification(bytes, i);
  return bytes.subarray(0, length);
}

/** A flow begins with a random identification, and each run gives the same file. */
function setIdentification(bytes: Uint8Array, identification: number): void {
  const at = ethernet.headerBytes;
  putU16be(bytes, at + ipv4.identification, identification);
  putU16be(bytes, at + ipv4.checksum, 0);
  putU16be(bytes, at + ipv4.checksum, checksum(bytes, at, at + ipv4.headerBytes));
}

/** A question for an IPv4 address. RFC 1035 §4.1. */
function dnsQuery(id: number, name: string): Uint8Array {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Uint8Array.from([0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

/** A client's packet of NTP, version 4. RFC 5905 §7.3. */
function ntpRequest(): Uint8Array {
  const bytes = new Uint8Array(48);
  bytes[0] = 0x23;
  return bytes;
}

if (import.meta.main) {
  mkdirSync(dirname(exampleCapture), { recursive: true });
  writeFileSync(exampleCapture, exampleCaptureBytes());
}
