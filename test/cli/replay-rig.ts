import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";
import type { CapturedPacket } from "../../src/pcap/captured-packet.ts";
import { PcapngWriter } from "../../src/pcap/pcapng-writer.ts";
import { readCaptureBytes } from "../../src/pcap/read-capture.ts";
import { temporaryFolder } from "../support/processes.ts";
import { inProcess } from "./in-process.ts";

/** Of the test file that this is imported into. */
export const folder = temporaryFolder();
afterAll(() => folder.remove());

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));

export const config = folder.write(
  "weir.yaml",
  `version: 1
upstreams:
  app: { addresses: ["app.invalid:53"] }
  honeypot: { addresses: ["192.0.2.99:53"] }
ports: { 3: honeypot, 5: wire.east, 6: other.north }
filters:
  blocklist:
    object: ${filters}blocklist.o
    program: xdp_blocklist
    maps: { blocked: { entries: [ { key: 203.0.113.0/24, value: 7 } ] } }
    metrics:
      counters:
        - name: blocked_packets_total
          help: Packets dropped, by rule
          labels: [ { name: rule, size: 4, decoders: [ { name: uint } ] } ]
  dns: { expression: "udp port 53", engine: jit }
  slow:
    object: ${filters}rate-limit.o
    program: xdp_rate_limit
    globals: { packets_per_second: 1, packet_burst: 1 }
  aside: { bytecode: "r1 = 3\\nr2 = 0\\ncall 23\\nexit" }
  nowhere: { bytecode: "r1 = 4\\nr2 = 0\\ncall 23\\nexit" }
  east: { bytecode: "r1 = 5\\nr2 = 0\\ncall 23\\nexit" }
  north: { bytecode: "r1 = 6\\nr2 = 0\\ncall 23\\nexit" }
  back: { bytecode: "r0 = 3\\nexit" }
  short: { bytecode: "2\\n48 0 0 0\\n6 0 0 50\\n" }
  none: { bytecode: "r0 = 1\\nexit" }
  elsewhere: { bytecode: "ENDING" }
  inward: { expression: "inbound" }
  outward: { expression: "outbound" }
  next: { expression: "host 10.0.0.1", shadow: true }
listeners:
  - { name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app, ingress: [dns, blocklist], egress: [dns] }
  - { name: limited, protocol: udp, listen: "127.0.0.1:5301", upstream: app, ingress: [slow] }
  - { name: aside, protocol: udp, listen: "127.0.0.1:5302", upstream: app, ingress: [aside], egress: [back] }
  - { name: nowhere, protocol: udp, listen: "127.0.0.1:5303", upstream: app, ingress: [nowhere] }
  - { name: back, protocol: udp, listen: "127.0.0.1:5304", upstream: app, ingress: [back] }
  - { name: short, protocol: udp, listen: "127.0.0.1:5305", upstream: app, ingress: [short] }
  - { name: none, protocol: tcp, listen: "127.0.0.1:5306", upstream: app, ingress: [none] }
  - { name: open, protocol: udp, listen: "127.0.0.1:5307", upstream: app }
  - { name: elsewhere, protocol: udp, listen: "127.0.0.1:5308", upstream: app, ingress: [elsewhere] }
  - { name: ways, protocol: udp, listen: "127.0.0.1:5309", upstream: app, ingress: [inward], egress: [outward] }
  - { name: tried, protocol: udp, listen: "127.0.0.1:5310", upstream: app, ingress: [next, dns] }
  - { name: no-tunnel, protocol: udp, listen: "127.0.0.1:5311", upstream: app, ingress: [east] }
  - { name: wire, protocol: vxlan, listen: "127.0.0.1:5312", peers: { east: 192.0.2.1, west: 192.0.2.2 }, ingress: [north], egress: [east] }
  - { name: other, protocol: geneve, listen: "127.0.0.1:5313", peers: { north: 192.0.2.3, south: 192.0.2.4 }, ingress: [nowhere] }
  - { name: aside-wire, protocol: vxlan, listen: "127.0.0.1:5314", peers: { a: 192.0.2.5, b: 192.0.2.6 }, ingress: [aside], egress: [elsewhere] }
  - { name: rewritten, protocol: vxlan, listen: "127.0.0.1:5315", peers: { a: 192.0.2.5, b: 192.0.2.6 }, ingress: [elsewhere] }
  - { name: tap, protocol: vxlan, mode: mirror, listen: "127.0.0.1:5316", ingress: [east] }
`.replaceAll(
    "ENDING",
    // The last byte of the destination: 10.0.0.2 becomes 10.0.0.9.
    "r2 = *(u32 *)(r1 + 0)\\nr3 = *(u32 *)(r1 + 4)\\nr4 = r2\\nr4 += 42\\nif r4 > r3 goto +2\\nr5 = 9\\n*(u8 *)(r2 + 33) = r5\\nr0 = 2\\nexit",
  ),
);

/** A datagram to 10.0.0.2, from its IPv4 header on. */
export function datagram(source: string, port: number): Buffer {
  const packet = Buffer.from(
    "4500002000000000401100000a0000010a0000021234000000 0c000061626364".replace(" ", ""),
    "hex",
  );
  for (const [i, part] of source.split(".").entries()) packet[12 + i] = Number(part);
  packet.writeUInt16BE(port, 22);
  return packet;
}

export function frame(source: string, port: number): Buffer {
  return Buffer.concat([
    Buffer.from("02005e00000102005e0000020800", "hex"),
    datagram(source, port),
  ]);
}

export interface Given {
  readonly data: Buffer;
  readonly seconds?: number;
  readonly linkType?: number;
  readonly comments?: readonly string[];
}

export function captureFile(name: string, packets: readonly Given[]): string {
  const types = [...new Set(packets.map(({ linkType = 1 }) => linkType))];
  const writer = new PcapngWriter(types.map((linkType) => ({ linkType })));
  const records = packets.map(({ data, seconds = 1_700_000_000, linkType = 1, comments = [] }) =>
    writer.record({
      seconds,
      nanoseconds: 5,
      originalLength: data.length,
      data,
      comments,
      interfaceId: types.indexOf(linkType),
    }),
  );
  const file = `${folder.path}/${name}`;
  writeFileSync(file, Buffer.concat([writer.header, ...records]));
  return file;
}

export function packetsOf(file: string): CapturedPacket[] {
  return [...readCaptureBytes(readFileSync(file))];
}

export async function replay(file: string, listener: string, ...more: string[]) {
  return inProcess(["replay", file, "-c", config, "--listener", listener, ...more]);
}

export async function verdictsOf(file: string, listener: string, ...more: string[]) {
  const { code, stdout, stderr } = await replay(file, listener, "--json", ...more);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  const { verdicts } = JSON.parse(stdout) as { verdicts: Record<string, unknown>[] };
  return verdicts.map(({ verdict, filter, reason, port, packets }) =>
    [verdict, filter, reason ?? port ?? "", packets].join(" "),
  );
}

export const three = captureFile("three.pcapng", [
  { data: frame("10.0.0.1", 53), comments: ["as it came"] },
  { data: frame("203.0.113.9", 53) },
  { data: frame("10.0.0.1", 80), seconds: 1_700_000_002 },
]);
