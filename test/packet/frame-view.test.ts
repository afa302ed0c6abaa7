import { expect, test } from "vitest";
import { parseHex } from "../../src/common/bytes.ts";
import type { DropReason } from "../../src/common/drop-reason.ts";
import { Flow } from "../../src/packet/flow.ts";
import { FrameView } from "../../src/packet/frame-view.ts";
import { writeTcpFrame, writeUdpFrame } from "../../src/packet/synthesis.ts";
import { tcpFlags } from "../../src/packet/tcp.ts";

const macs = "0204c6336407 0204c0000201";
const ipv4Udp = "45000020 12344000 4011abcd c0000201 c6336407 04d2 0035 000c 0000 61626364";
const ipv6Addresses = "20010db8000000000000000000000001 20010db8000000000000000000000002";
const ipv6Udp = `60000000 000c 11 40 ${ipv6Addresses} 04d2 0035 000c 0000 61626364`;

function bind(hex: string): { view: FrameView; drop: DropReason | undefined; frame: Uint8Array } {
  const frame = parseHex(hex)!;
  const bytes = new Uint8Array(frame.length + 60).fill(0xff);
  bytes.set(frame, 7);
  const view = new FrameView();
  return { view, drop: view.bind(bytes, 7, 7 + frame.length), frame: bytes };
}

test("FrameView reads UDP over IPv4", () => {
  const { view, drop } = bind(`${macs} 0800 ${ipv4Udp} 0000 (padding)`.replace(/\(.*\)/, ""));
  expect(drop).toBeUndefined();
  expect(view.etherType).toBe(0x0800);
  expect(view.vlanCount).toBe(0);
  expect(view.version).toBe(4);
  expect(view.protocol).toBe(17);
  expect(view.isFragment).toBe(false);
  expect(view.sourceAddress()).toBe("192.0.2.1");
  expect(view.destinationAddress()).toBe("198.51.100.7");
  expect([view.sourcePort, view.destinationPort]).toEqual([1234, 53]);
  expect([view.sourceAt, view.destinationAt]).toEqual([7 + 26, 7 + 30]);
  expect([view.transportOffset, view.payloadOffset, view.payloadLength]).toEqual([41, 49, 4]);
  expect(view.tcpFlags).toBe(0);
  expect(view.routable).toBe(true);
});

test("FrameView reads UDP over IPv6 behind extension headers", () => {
  const { view, drop } = bind(
    `${macs} 86dd 60000000 0014 3c 40 ${ipv6Addresses} 1100010400000000 04d2 0035 000c 0000 61626364`,
  );
  expect(drop).toBeUndefined();
  expect(view.version).toBe(6);
  expect(view.protocol).toBe(17);
  expect(view.sourceAddress()).toBe("2001:db8::1");
  expect(view.destinationAddress()).toBe("2001:db8::2");
  expect([view.sourcePort, view.destinationPort]).toEqual([1234, 53]);
  expect([view.payloadOffset, view.payloadLength]).toEqual([7 + 14 + 40 + 8 + 8, 4]);
  expect(view.routable).toBe(true);
});

test("FrameView reads through nested VLAN tags, and a socket cannot carry them", () => {
  const { view, drop } = bind(`${macs} 88a8 0064 8100 0065 0800 ${ipv4Udp}`);
  expect(drop).toBeUndefined();
  expect(view.vlanCount).toBe(2);
  expect(view.etherType).toBe(0x0800);
  expect([view.sourcePort, view.payloadLength]).toEqual([1234, 4]);
  expect(view.routable).toBe(false);
});

test("FrameView reads TCP with options", () => {
  const tcp = "c001 0050 00000001 00000002 60 19 ffff 0000 0000 020405b4 6162";
  const { view, drop } = bind(`${macs} 0800 4500002e 00004000 40060000 c0000201 c6336407 ${tcp}`);
  expect(drop).toBeUndefined();
  expect(view.protocol).toBe(6);
  expect(view.tcpFlags).toBe(tcpFlags.fin | tcpFlags.psh | tcpFlags.ack);
  expect([view.sourcePort, view.destinationPort, view.payloadLength]).toEqual([0xc001, 80, 2]);
});

for (const [name, hex, fields] of [
  [
    "ARP",
    `${macs} 0806 0001080006040001 0204c0000201c0000201 000000000000c0000202`,
    { etherType: 0x0806, version: 0, protocol: 0, payloadLength: 28 },
  ],
  [
    "an 802.3 frame with a length for a type",
    `${macs} 0003 424203`,
    { etherType: 3, version: 0, payloadLength: 3 },
  ],
  [
    "an IPv4 fragment, whose transport is not read",
    `${macs} 0800 ${ipv4Udp.replace("4000", "2000")}`,
    { version: 4, protocol: 17, isFragment: true, sourcePort: 0, payloadLength: 12 },
  ],
  [
    "an IPv6 fragment, whose transport is not read",
    `${macs} 86dd 60000000 0010 2c 40 ${ipv6Addresses} 1100000800000001 ffff ffff ffff ffff`,
    { version: 6, protocol: 17, isFragment: true, sourcePort: 0, payloadLength: 8 },
  ],
  [
    "ICMP",
    `${macs} 0800 4500001e 00004000 40010000 c0000201 c6336407 0800000000010001 6162`,
    { version: 4, protocol: 1, sourcePort: 0, payloadLength: 2 },
  ],
  [
    "ICMPv6",
    `${macs} 86dd 60000000 0009 3a 40 ${ipv6Addresses} 8000000000010001 61`,
    { version: 6, protocol: 58, payloadLength: 1 },
  ],
  [
    "SCTP, behind whose IP header all is payload",
    `${macs} 0800 45000018 00004000 40840000 c0000201 c6336407 01020304`,
    { version: 4, protocol: 132, payloadLength: 4 },
  ],
  [
    "IPv4 in IPv4: encapsulated",
    `${macs} 0800 45000034 00004000 40040000 c0000201 c6336407 ${ipv4Udp}`,
    { version: 4, protocol: 4, sourcePort: 0, payloadLength: 32 },
  ],
  [
    "ICMP's number in IPv6, which means nothing there",
    `${macs} 86dd 60000000 0004 01 40 ${ipv6Addresses} 01020304`,
    { version: 6, protocol: 1, payloadLength: 4 },
  ],
  [
    "ICMPv6's number in IPv4, which means nothing there",
    `${macs} 0800 45000018 00004000 403a0000 c0000201 c6336407 01020304`,
    { version: 4, protocol: 58, payloadLength: 4 },
  ],
] as const)
  test(`FrameView binds ${name}, which no socket carries`, () => {
    const { view, drop } = bind(hex);
    expect(drop).toBeUndefined();
    expect(view).toMatchObject(fields);
    expect(view.routable).toBe(false);
  });

for (const [name, hex, reason] of [
  ["13 bytes", macs, "frame_truncated"],
  ["a tag that is cut", `${macs} 8100 0064 08`, "frame_truncated"],
  ["nine tags", `${macs} ${"81000064".repeat(9)}0800`, "frame_too_deep"],
  ["an IPv4 EtherType with IPv6 behind", `${macs} 0800 ${ipv6Udp}`, "frame_bad_header"],
  [
    "an IPv6 EtherType with IPv4 behind",
    `${macs} 86dd ${ipv4Udp}${"00".repeat(20)}`,
    "frame_bad_header",
  ],
  ["an IPv4 packet that is cut", `${macs} 0800 ${ipv4Udp.slice(0, -2)}`, "frame_bad_length"],
  ["an IPv6 packet that is cut", `${macs} 86dd ${ipv6Udp.slice(0, -2)}`, "frame_bad_length"],
  [
    "a UDP length beyond IP's",
    `${macs} 0800 ${ipv4Udp.replace("000c", "000d")}`,
    "frame_bad_length",
  ],
  [
    "a TCP header that does not fit",
    `${macs} 0800 ${ipv4Udp.replace("4011", "4006")}`,
    "frame_truncated",
  ],
  [
    "an ICMP header that does not fit",
    `${macs} 0800 45000018 00004000 40010000 c0000201 c6336407 08000000`,
    "frame_truncated",
  ],
] as const)
  test(`FrameView refuses ${name}: ${reason}`, () => {
    expect(bind(hex).drop).toBe(reason);
  });

test("FrameView forgets the frame before", () => {
  const tcp = "c001 0050 00000001 00000002 50 18 ffff 0000 0000";
  const { view, drop } = bind(
    `${macs} 8100 0064 0800 45000028 00004000 40060000 c0000201 c6336407 ${tcp}`,
  );
  expect([drop, view.vlanCount, view.tcpFlags]).toEqual([undefined, 1, 0x18]);
  const arp = parseHex(`${macs} 0806 0001080006040001 0204c0000201c0000201 000000000000c0000202`)!;
  expect(view.bind(arp, 0, arp.length)).toBeUndefined();
  expect(view).toMatchObject({
    etherType: 0x0806,
    vlanCount: 0,
    version: 0,
    protocol: 0,
    sourcePort: 0,
    destinationPort: 0,
    sourceAt: 0,
    destinationAt: 0,
    tcpFlags: 0,
    isFragment: false,
    transportOffset: 14,
    payloadOffset: 14,
  });
});

for (const [source, destination, other] of [
  ["192.0.2.1", "198.51.100.7", "192.0.2.3"],
  ["2001:db8::1", "2001:db8::2", "2001:db8::3"],
] as const)
  test(`FrameView tells whether ends are a flow's, from ${source}`, () => {
    const from = { address: source, port: 1234 };
    const to = { address: destination, port: 53 };
    const flow = new Flow("udp", from, to);
    const bytes = new Uint8Array(200);
    const length = writeUdpFrame(bytes, 9, flow, 20);
    const view = new FrameView();
    view.bind(bytes, 9, 9 + length);
    expect([view.hasSourceOf(flow), view.hasDestinationOf(flow)]).toEqual([true, true]);
    const reverse = new Flow("udp", to, from);
    expect([view.hasSourceOf(reverse), view.hasDestinationOf(reverse)]).toEqual([false, false]);
    const elsewhere = new Flow("udp", { address: other, port: 1234 }, { address: other, port: 53 });
    expect([view.hasSourceOf(elsewhere), view.hasDestinationOf(elsewhere)]).toEqual([false, false]);
    const ports = new Flow("udp", { ...from, port: 1235 }, { ...to, port: 54 });
    expect([view.hasSourceOf(ports), view.hasDestinationOf(ports)]).toEqual([false, false]);
  });

test("FrameView tells addresses of two families apart", () => {
  const flow = new Flow("tcp", { address: "0.0.0.0", port: 1 }, { address: "0.0.0.0", port: 2 });
  const six = new Flow("tcp", { address: "::", port: 1 }, { address: "::", port: 2 });
  const bytes = new Uint8Array(200);
  const segment = { sequence: 1, acknowledgement: 0, flags: tcpFlags.syn, window: 1 };
  const view = new FrameView();
  view.bind(bytes, 0, writeTcpFrame(bytes, 0, six, segment, 0));
  expect([view.hasSourceOf(flow), view.hasDestinationOf(flow)]).toEqual([false, false]);
  expect([view.hasSourceOf(six), view.hasDestinationOf(six)]).toEqual([true, true]);
});
