import { tcpFrame, udpFrame, withExtensions } from "../filters/filter-bench.ts";

/** The loopback device's address: the kernel takes other unicast addresses for other hosts'. */
function toLoopback(frame: Buffer): Buffer {
  return Buffer.from(frame.fill(0, 0, 6));
}

function withTag(frame: Buffer, protocol: number, tci: number): Buffer {
  const tag = Buffer.alloc(4);
  tag.writeUInt16BE(protocol, 0);
  tag.writeUInt16BE(tci, 2);
  return Buffer.concat([frame.subarray(0, 12), tag, frame.subarray(12)]);
}

function withByte(frame: Buffer, at: number, value: number): Buffer {
  const changed = Buffer.from(frame);
  changed[at] = value;
  return changed;
}

const udp4 = toLoopback(udpFrame("192.0.2.1:4000", "198.51.100.1:53", "what is asked, and how"));
const udp6 = toLoopback(udpFrame("[2001:db8::1]:4000", "[2001:db8::2]:53", "what is asked"));
const tcp4 = toLoopback(tcpFrame("192.0.2.1:4000", "198.51.100.1:80", {}, 1400));

/** Frames of many kinds, of which the kernel's test run makes what it makes of frames here. */
export const packets: Readonly<Record<string, Uint8Array>> = {
  udp4,
  udp6,
  tcp4,
  "udp4 of no payload": toLoopback(udpFrame("192.0.2.1:4000", "198.51.100.1:53", "")),
  "udp4 with ECT(0)": withByte(udp4, 15, 2),
  "udp4 with ECT(1)": withByte(udp4, 15, 0xfd),
  "udp4 with CE": withByte(udp4, 15, 3),
  "udp6 with ECT(0)": withByte(udp6, 15, 0x20),
  "udp4 without a checksum": withByte(withByte(udp4, 40, 0), 41, 0),
  "udp6 behind extensions": withExtensions(udp6, { number: 0, bytes: [0, 0, 1, 4, 0, 0, 0, 0] }),
  "tagged udp4": withTag(udp4, 0x8100, 0x2005),
  "twice tagged udp4": withTag(withTag(udp4, 0x8100, 7), 0x88a8, 9),
  multicast: Buffer.concat([Buffer.of(1, 0, 0x5e, 0, 0, 1), udp4.subarray(6)]),
  "an ARP request": Buffer.concat([udp4.subarray(0, 12), Buffer.of(8, 6), Buffer.alloc(28, 1)]),
  "an 802.3 frame": Buffer.concat([udp4.subarray(0, 12), Buffer.of(0, 20), Buffer.alloc(20, 0x42)]),
  "a raw 802.3 frame": Buffer.concat([
    udp4.subarray(0, 12),
    Buffer.of(0, 20),
    Buffer.alloc(20, 255),
  ]),
};
