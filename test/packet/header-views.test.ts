import { expect, test } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import type { DropReason } from "../../src/common/drop-reason.ts";
import { ArpView, arpOperations } from "../../src/packet/arp.ts";
import { EthernetView } from "../../src/packet/ethernet.ts";
import { IcmpView, icmpTypes } from "../../src/packet/icmp.ts";
import { Icmpv6View, icmpv6Types } from "../../src/packet/icmpv6.ts";
import { Ipv4View } from "../../src/packet/ipv4.ts";
import { Ipv6View } from "../../src/packet/ipv6.ts";
import { TcpView, tcpFlags } from "../../src/packet/tcp.ts";
import { UdpView } from "../../src/packet/udp.ts";
import { isVlanTag, VlanView } from "../../src/packet/vlan.ts";

interface View {
  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined;
}

interface Case {
  readonly name: string;
  readonly bytes: string;
  readonly drop: DropReason | undefined;
}

/**
 * Binds each case three bytes into an array whose other bytes are all ones, so that a view that
 * forgets `at` or looks beyond `end` gives another answer.
 */
function bound<V extends View>(view: V, hex: string): { view: V; drop: DropReason | undefined } {
  const header = parseHex(hex)!;
  const bytes = new Uint8Array(header.length + 40).fill(0xff);
  bytes.set(header, 3);
  return { view, drop: view.bind(bytes, 3, 3 + header.length) };
}

function cases(label: string, make: () => View, list: readonly Case[]): void {
  for (const { name, bytes, drop } of list)
    test(`${label} ${name}`, () => expect(bound(make(), bytes).drop).toBe(drop));
}

cases("EthernetView", () => new EthernetView(), [
  { name: "accepts a header alone", bytes: "ffffffffffff 0204c0000201 0800", drop: undefined },
  { name: "refuses 13 bytes", bytes: "ffffffffffff 0204c0000201 08", drop: "frame_truncated" },
  { name: "refuses no bytes", bytes: "", drop: "frame_truncated" },
]);

test("EthernetView reads addresses and type", () => {
  const { view } = bound(new EthernetView(), "010203040506 0204c0000201 86dd 60");
  expect(view.destinationAt).toBe(3);
  expect(view.sourceAt).toBe(9);
  expect(view.etherType).toBe(0x86dd);
  expect(view.payloadAt).toBe(17);
});

cases("VlanView", () => new VlanView(), [
  { name: "accepts a tag", bytes: "6064 0800", drop: undefined },
  { name: "refuses a cut tag", bytes: "6064 08", drop: "frame_truncated" },
]);

test("VlanView reads a tag", () => {
  const { view } = bound(new VlanView(), "b064 0800");
  expect(view.priority).toBe(5);
  expect(view.dropEligible).toBe(true);
  expect(view.identifier).toBe(100);
  expect(view.etherType).toBe(0x0800);
  expect(view.payloadAt).toBe(7);
  expect([0x8100, 0x88a8, 0x0800, 0x9100].map(isVlanTag)).toEqual([true, true, false, false]);
});

const arpRequest = "0001 0800 06 04 0001 0204c0000201 c0000201 000000000000 c0000202";

cases("ArpView", () => new ArpView(), [
  { name: "accepts a request", bytes: arpRequest, drop: undefined },
  { name: "refuses a cut fixed part", bytes: "0001 0800 06 04 00", drop: "frame_truncated" },
  { name: "refuses cut addresses", bytes: arpRequest.slice(0, -2), drop: "frame_truncated" },
  {
    name: "refuses IPv4 on Ethernet with other lengths than 6 and 4",
    bytes: `${arpRequest.replace("06 04", "06 03")}00`,
    drop: "frame_bad_header",
  },
  {
    name: "accepts other hardware with lengths of its own",
    bytes: "0007 0800 01 04 0001 fe c0000201 00 c0000202",
    drop: undefined,
  },
  {
    name: "refuses address lengths beyond the bytes",
    bytes: "0007 0800 ff ff 0001 fe c0000201 00 c0000202",
    drop: "frame_truncated",
  },
]);

test("ArpView reads a request", () => {
  const { view } = bound(new ArpView(), arpRequest);
  expect(view.hardwareType).toBe(1);
  expect(view.protocolType).toBe(0x0800);
  expect(view.operation).toBe(arpOperations.request);
  expect([view.hardwareLength, view.protocolLength]).toEqual([6, 4]);
  expect(view.senderHardwareAt).toBe(3 + 8);
  expect(view.senderProtocolAt).toBe(3 + 14);
  expect(view.targetHardwareAt).toBe(3 + 18);
  expect(view.targetProtocolAt).toBe(3 + 24);
});

const ipv4Header = "45 00 001c 1234 4000 40 11 abcd c0000201 c6336407";
const udpHeader = "04d2 0035 0008 0000";

cases("Ipv4View", () => new Ipv4View(), [
  { name: "accepts a datagram", bytes: `${ipv4Header} ${udpHeader}`, drop: undefined },
  { name: "accepts padding behind", bytes: `${ipv4Header} ${udpHeader} 0000`, drop: undefined },
  { name: "refuses 19 bytes", bytes: ipv4Header.slice(0, -2), drop: "frame_truncated" },
  {
    name: "refuses version 6",
    bytes: `65${ipv4Header.slice(2)} ${udpHeader}`,
    drop: "frame_bad_header",
  },
  {
    name: "refuses a header length of 16",
    bytes: `44${ipv4Header.slice(2)} ${udpHeader}`,
    drop: "frame_bad_header",
  },
  {
    name: "refuses options beyond the bytes",
    bytes: `4f${ipv4Header.slice(2)} ${udpHeader}`,
    drop: "frame_truncated",
  },
  {
    name: "refuses a total length below the header's",
    bytes: `${ipv4Header.replace("001c", "0013")} ${udpHeader}`,
    drop: "frame_bad_length",
  },
  {
    name: "refuses a total length beyond the bytes",
    bytes: `${ipv4Header.replace("001c", "001d")} ${udpHeader}`,
    drop: "frame_bad_length",
  },
  {
    name: "refuses a total length of 0",
    bytes: `${ipv4Header.replace("001c", "0000")} ${udpHeader}`,
    drop: "frame_bad_length",
  },
  {
    name: "accepts no-operation and end options",
    bytes: `46 00 0018${ipv4Header.slice(10)} 01 01 00 ff`,
    drop: undefined,
  },
  {
    name: "refuses an option of length 1",
    bytes: `46 00 0018${ipv4Header.slice(10)} 07 01 00 00`,
    drop: "frame_bad_header",
  },
  {
    name: "refuses an option beyond the header",
    bytes: `46 00 0018${ipv4Header.slice(10)} 07 05 00 00`,
    drop: "frame_bad_header",
  },
  {
    name: "refuses an option without its length byte",
    bytes: `46 00 0018${ipv4Header.slice(10)} 01 01 01 07`,
    drop: "frame_bad_header",
  },
]);

test("Ipv4View reads a header", () => {
  const { view } = bound(new Ipv4View(), `${ipv4Header.replace("45 00", "45 b9")} ${udpHeader} 00`);
  expect(view.headerBytes).toBe(20);
  expect(view.typeOfService).toBe(0xb9);
  expect(view.totalLength).toBe(28);
  expect(view.identification).toBe(0x1234);
  expect(view.dontFragment).toBe(true);
  expect(view.moreFragments).toBe(false);
  expect(view.isFragment).toBe(false);
  expect(view.timeToLive).toBe(64);
  expect(view.protocol).toBe(17);
  expect(view.checksum).toBe(0xabcd);
  expect([view.sourceAt, view.destinationAt]).toEqual([3 + 12, 3 + 16]);
  expect([view.payloadAt, view.payloadEnd]).toEqual([3 + 20, 3 + 28]);
  expect(view.options().next()).toBe(false);
});

for (const [field, fragment, more, offset] of [
  ["0000", false, false, 0],
  ["4000", false, false, 0],
  ["8000", false, false, 0],
  ["2000", true, true, 0],
  ["0001", true, false, 8],
  ["3fff", true, true, 65_528],
] as const)
  test(`Ipv4View reads the fragment field ${field}`, () => {
    const { view } = bound(new Ipv4View(), `${ipv4Header.replace("4000", field)} ${udpHeader}`);
    expect(view.isFragment).toBe(fragment);
    expect(view.moreFragments).toBe(more);
    expect(view.fragmentOffset).toBe(offset);
  });

test("Ipv4View walks its options", () => {
  // No-operation, record route of 7 bytes, router alert, end; then bytes that are no option.
  const options = "01 07 07 04 0a000001 94 04 0000 00 09 09 09";
  const { view, drop } = bound(new Ipv4View(), `49 00 0024 ${ipv4Header.slice(11)} ${options}`);
  expect(drop).toBeUndefined();
  const walk = view.options();
  expect(walk.next()).toBe(true);
  expect([walk.kind, walk.dataAt, walk.dataBytes]).toEqual([7, 3 + 23, 5]);
  expect(walk.next()).toBe(true);
  expect([walk.kind, walk.dataAt, walk.dataBytes]).toEqual([0x94, 3 + 30, 2]);
  expect(walk.next()).toBe(false);
  expect(walk.next()).toBe(false);
  expect(walk.malformed).toBe(false);
});

const ipv6Addresses = "20010db8000000000000000000000001 20010db8000000000000000000000002";
function ipv6Packet(nextHeader: string, payload: string): string {
  const length = parseHex(payload)!.length.toString(16).padStart(4, "0");
  return `60000000 ${length} ${nextHeader} 40 ${ipv6Addresses} ${payload}`;
}

const sixteenOptions = (last: string): string =>
  `${"3c00010400000000 ".repeat(15)}${last}00010400000000`;

cases("Ipv6View", () => new Ipv6View(), [
  { name: "accepts a datagram", bytes: ipv6Packet("11", udpHeader), drop: undefined },
  { name: "accepts no payload", bytes: ipv6Packet("3b", ""), drop: undefined },
  { name: "refuses 39 bytes", bytes: ipv6Packet("3b", "").slice(0, -3), drop: "frame_truncated" },
  {
    name: "refuses version 4",
    bytes: ipv6Packet("11", udpHeader).replace("60000000", "40000000"),
    drop: "frame_bad_header",
  },
  {
    name: "refuses a payload length beyond the bytes",
    bytes: ipv6Packet("11", udpHeader).replace("0008 11", "0009 11"),
    drop: "frame_bad_length",
  },
  {
    name: "refuses a jumbogram",
    bytes: ipv6Packet("00", `11 00 c204 00000010 ${udpHeader}`).replace("0010 00", "0000 00"),
    drop: "frame_truncated",
  },
  {
    name: "refuses an extension header that is cut",
    bytes: ipv6Packet("3c", "11 00 0104 000000"),
    drop: "frame_truncated",
  },
  {
    name: "refuses an extension header longer than the packet",
    bytes: ipv6Packet("3c", "11 01 0104 00000000"),
    drop: "frame_truncated",
  },
  {
    name: "refuses an authentication header longer than the packet",
    bytes: ipv6Packet("33", "11 02 0000 00000001 00000002"),
    drop: "frame_truncated",
  },
  {
    name: "refuses hop-by-hop options that are not the first header",
    bytes: ipv6Packet("3c", `00 00 0104 00000000 11 00 0104 00000000 ${udpHeader}`),
    drop: "frame_bad_header",
  },
  {
    name: "accepts sixteen extension headers",
    bytes: ipv6Packet("3c", sixteenOptions("3b")),
    drop: undefined,
  },
  {
    name: "refuses seventeen extension headers",
    bytes: ipv6Packet("3c", `${sixteenOptions("3c")}3b00010400000000`),
    drop: "frame_too_deep",
  },
]);

test("Ipv6View reads the fixed header", () => {
  const packet = ipv6Packet("11", `${udpHeader}`).replace("60000000", "6ab12345");
  const { view } = bound(new Ipv6View(), `${packet} 0000`);
  expect(view.trafficClass).toBe(0xab);
  expect(view.flowLabel).toBe(0x12345);
  expect(view.payloadLength).toBe(8);
  expect(view.hopLimit).toBe(64);
  expect(view.protocol).toBe(17);
  expect(view.extensionCount).toBe(0);
  expect(view.isFragment).toBe(false);
  expect([view.sourceAt, view.destinationAt]).toEqual([3 + 8, 3 + 24]);
  expect([view.payloadAt, view.payloadEnd]).toEqual([3 + 40, 3 + 48]);
});

test("Ipv6View walks every kind of extension header", () => {
  const chain = [
    "2b 00 0104 00000000", // hop-by-hop, then routing
    "3c 02 04 00 00000000 20010db8000000000000000000000003", // routing, then destination options
    "2c 00 0104 00000000", // destination options, then fragment
    "33 00 0000 0000002a", // an atomic fragment, then authentication
    "11 04 0000 00000001 00000002 0102030405060708090a0b0c", // authentication, then UDP
    udpHeader,
  ].join(" ");
  const { view, drop } = bound(new Ipv6View(), ipv6Packet("00", chain));
  expect(drop).toBeUndefined();
  expect(view.extensionCount).toBe(5);
  expect(view.protocol).toBe(17);
  expect(view.isFragment).toBe(false);
  expect(view.payloadEnd - view.payloadAt).toBe(8);
});

for (const [field, fragment, protocol, name] of [
  ["0000", false, 17, "an atomic fragment is a whole packet"],
  ["0006", false, 17, "the two reserved bits say nothing"],
  ["0001", true, 17, "a first fragment"],
  ["0008", true, 60, "a last fragment, behind which no header is read"],
  ["0009", true, 60, "a middle fragment, behind which no header is read"],
] as const)
  test(`Ipv6View reads the fragment field ${field}: ${name}`, () => {
    const next = protocol === 17 ? "11" : "3c";
    const { view, drop } = bound(
      new Ipv6View(),
      ipv6Packet("2c", `${next} 00 ${field} 0000002a 11 ff ffff ffffffff`),
    );
    expect(drop).toBeUndefined();
    expect(view.isFragment).toBe(fragment);
    expect(view.protocol).toBe(protocol);
    expect(view.payloadAt).toBe(3 + 48);
  });

cases("UdpView", () => new UdpView(), [
  { name: "accepts an empty payload", bytes: udpHeader, drop: undefined },
  { name: "accepts bytes behind its length", bytes: `${udpHeader} 0000`, drop: undefined },
  { name: "refuses seven bytes", bytes: "04d2 0035 0008 00", drop: "frame_truncated" },
  { name: "refuses a length below eight", bytes: "04d2 0035 0007 0000", drop: "frame_bad_length" },
  { name: "refuses a length of 0", bytes: "04d2 0035 0000 0000 00", drop: "frame_bad_length" },
  { name: "refuses a length beyond", bytes: "04d2 0035 0009 0000", drop: "frame_bad_length" },
]);

test("UdpView reads a header", () => {
  const { view } = bound(new UdpView(), "fffe 0035 000a beef 0102 03");
  expect(view.sourcePort).toBe(65_534);
  expect(view.destinationPort).toBe(53);
  expect(view.length).toBe(10);
  expect(view.checksum).toBe(0xbeef);
  expect([view.payloadAt, view.payloadEnd]).toEqual([3 + 8, 3 + 10]);
});

const tcpHeader = "c001 0050 fffffffe 80000001 50 18 ffff 1234 0007";

cases("TcpView", () => new TcpView(), [
  { name: "accepts a header alone", bytes: tcpHeader, drop: undefined },
  { name: "refuses 19 bytes", bytes: tcpHeader.slice(0, -2), drop: "frame_truncated" },
  {
    name: "refuses a data offset of 16",
    bytes: tcpHeader.replace("50 18", "40 18"),
    drop: "frame_bad_header",
  },
  {
    name: "refuses options beyond the bytes",
    bytes: `${tcpHeader.replace("50 18", "60 18")} 010101`,
    drop: "frame_truncated",
  },
  {
    name: "accepts malformed options, as receivers do",
    bytes: `${tcpHeader.replace("50 18", "60 18")} 02ff0000`,
    drop: undefined,
  },
]);

test("TcpView reads a header", () => {
  const { view } = bound(new TcpView(), `${tcpHeader} aabb`);
  expect(view.sourcePort).toBe(0xc001);
  expect(view.destinationPort).toBe(80);
  expect(view.sequence).toBe(0xfffffffe);
  expect(view.acknowledgement).toBe(0x80000001);
  expect(view.headerBytes).toBe(20);
  expect(view.flags).toBe(tcpFlags.psh | tcpFlags.ack);
  expect(view.window).toBe(0xffff);
  expect(view.checksum).toBe(0x1234);
  expect(view.urgentPointer).toBe(7);
  expect(view.payloadAt).toBe(3 + 20);
});

test("TcpView walks the options of a Linux SYN", () => {
  const options = "020405b4 0402 080a 00000001 00000000 01 030307";
  const { view, drop } = bound(new TcpView(), `${tcpHeader.replace("50 18", "a0 02")} ${options}`);
  expect(drop).toBeUndefined();
  const found: number[][] = [];
  const walk = view.options();
  while (walk.next()) found.push([walk.kind, walk.dataBytes]);
  expect(found).toEqual([
    [2, 2],
    [4, 0],
    [8, 8],
    [3, 1],
  ]);
  expect(walk.malformed).toBe(false);
});

test("TcpView walks up to an option that cannot be", () => {
  const { view } = bound(
    new TcpView(),
    `${tcpHeader.replace("50 18", "70 02")} 0402 0209 00000000`,
  );
  const walk = view.options();
  expect(walk.next()).toBe(true);
  expect(walk.kind).toBe(4);
  expect(walk.next()).toBe(false);
  expect(walk.malformed).toBe(true);
});

cases("IcmpView", () => new IcmpView(), [
  { name: "accepts an echo request", bytes: "08 00 1234 0001 0002", drop: undefined },
  { name: "refuses seven bytes", bytes: "08 00 1234 0001 00", drop: "frame_truncated" },
]);

test("IcmpView reads an echo request and an error message", () => {
  const echo = bound(new IcmpView(), "08 00 1234 abcd 0002 ff").view;
  expect([echo.type, echo.code, echo.checksum]).toEqual([icmpTypes.echoRequest, 0, 0x1234]);
  expect([echo.identifier, echo.sequence]).toEqual([0xabcd, 2]);
  expect(echo.quotesPacket).toBe(false);
  expect(echo.payloadAt).toBe(11);
  const tooBig = bound(new IcmpView(), "03 04 0000 0000 05dc").view;
  expect(tooBig.quotesPacket).toBe(true);
  expect(tooBig.rest).toBe(1500);
});

test("Icmpv6View tells error messages by their type", () => {
  const tooBig = bound(new Icmpv6View(), "02 00 0000 00000500").view;
  expect(tooBig.type).toBe(icmpv6Types.packetTooBig);
  expect(tooBig.quotesPacket).toBe(true);
  expect(tooBig.rest).toBe(1280);
  expect(bound(new Icmpv6View(), "87 00 0000 00000000").view.quotesPacket).toBe(false);
  expect(bound(new Icmpv6View(), "87 00 0000 000000").drop).toBe("frame_truncated");
});

test("a view that is bound again reads the new bytes only", () => {
  const view = new UdpView();
  const first = parseHex("0001 0002 0008 0000")!;
  const second = parseHex("ffff 0003 0004 0008 0000")!;
  view.bind(first, 0, 8);
  expect(view.bind(second, 2, 10)).toBeUndefined();
  expect([view.sourcePort, view.destinationPort]).toEqual([3, 4]);
  expect(toHex(first)).toBe("0001000200080000");
});
