import { expect, test } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import { finishSum, partialSum, pseudoHeaderSum } from "../../src/packet/checksum.ts";
import { EthernetView } from "../../src/packet/ethernet.ts";
import { Flow } from "../../src/packet/flow.ts";
import { FrameView } from "../../src/packet/frame-view.ts";
import { Ipv4View } from "../../src/packet/ipv4.ts";
import { Ipv6View } from "../../src/packet/ipv6.ts";
import {
  type TcpSegment,
  tcpHeaderBytes,
  writeTcpFrame,
  writeUdpFrame,
} from "../../src/packet/synthesis.ts";
import { TcpView, tcpFlags } from "../../src/packet/tcp.ts";
import { UdpView } from "../../src/packet/udp.ts";
import { Random } from "./random.ts";

const ends = {
  4: [
    { address: "192.0.2.1", port: 40_000 },
    { address: "198.51.100.7", port: 53 },
  ],
  6: [
    { address: "2001:db8::1", port: 40_000 },
    { address: "2001:db8:ffff::7", port: 53 },
  ],
} as const;

function flowOf(protocol: "udp" | "tcp", family: 4 | 6): Flow {
  return new Flow(protocol, ends[family][0], ends[family][1]);
}

/** What the receiver of a right packet finds: both sums finish as 0. */
function expectRightChecksums(frame: Uint8Array, flow: Flow): void {
  const number = flow.protocol === "udp" ? 17 : 6;
  const addresses = flow.family === 4 ? 14 + 12 : 14 + 8;
  const transportBytes = frame.length - flow.transportAt;
  if (flow.family === 4) expect(finishSum(partialSum(frame, 14, 34))).toBe(0);
  const pseudo = pseudoHeaderSum(frame, addresses, flow.family, number, transportBytes);
  expect(finishSum(partialSum(frame, flow.transportAt, frame.length, pseudo))).toBe(0);
}

test("writeUdpFrame writes these very bytes", () => {
  // A DNS query for "a." as tcpdump shows it; only the identification differs from run to run.
  const payload = "0001 0100 0001 0000 0000 0000 0161 00 0001 0001";
  const expected = parseHex(
    `0204c6336407 0204c0000201 0800
     45 00 002f 0000 4000 40 11 0000 c0000201 c6336407
     9c40 0035 001b 72a3 ${payload}`,
  )!;
  const flow = flowOf("udp", 4);
  const bytes = new Uint8Array(100);
  bytes.set(parseHex(payload)!, 10 + flow.headerBytes);
  const length = writeUdpFrame(bytes, 10, flow, parseHex(payload)!.length);
  const frame = bytes.slice(10, 10 + length);
  expectRightChecksums(frame, flow);
  frame.fill(0, 18, 20);
  frame.fill(0, 24, 26);
  expect(toHex(frame)).toBe(toHex(expected));
  expect(bytes[9]).toBe(0);
});

test("writeTcpFrame writes these very bytes for an IPv6 SYN", () => {
  const expected = `0206ba8f7008 02066e5b04f4 86dd
    60000000 0018 06 40 20010db8000000000000000000000001 20010db8ffff00000000000000000007
    9c40 0035 fffffffe 00000000 60 02 ffff a04c 0000 020405a0`;
  const bytes = new Uint8Array(100).fill(0xee);
  const segment: TcpSegment = {
    sequence: 0xfffffffe,
    acknowledgement: 0,
    flags: tcpFlags.syn,
    window: 0xffff,
    maximumSegmentSize: 1440,
  };
  const length = writeTcpFrame(bytes, 0, flowOf("tcp", 6), segment, 0);
  const frame = bytes.slice(0, length);
  expectRightChecksums(frame, flowOf("tcp", 6));
  expect(toHex(frame)).toBe(toHex(parseHex(expected)!));
  expect(bytes[length]).toBe(0xee);
});

for (const family of [4, 6] as const)
  test(`writeUdpFrame over IPv${family} is right for every size and place of payload`, () => {
    const random = new Random(768 + family);
    const flow = flowOf("udp", family);
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
    const bytes = new Uint8Array(memory.buffer);
    const view = new FrameView();
    const sizes = [0, 1, 2, 3, 64, 511, 1400, 1472, family === 4 ? 65_507 : 65_527];
    for (let i = 0; i < 200; i++) sizes.push(random.below(1500));
    for (const size of sizes) {
      const at = random.below(64);
      const payload = random.bytes(size);
      bytes.set(random.bytes(flow.headerBytes), at);
      bytes.set(payload, at + flow.headerBytes);
      const length = writeUdpFrame(bytes, at, flow, size);
      expect(length).toBe(flow.headerBytes + size);
      expect(view.bind(bytes, at, at + length)).toBeUndefined();
      expect(view.routable).toBe(true);
      expect(view.payloadOffset).toBe(at + flow.headerBytes);
      expect(view.payloadLength).toBe(size);
      expect(view.hasSourceOf(flow) && view.hasDestinationOf(flow)).toBe(true);
      expect(Buffer.compare(bytes.slice(view.payloadOffset, at + length), payload)).toBe(0);
      expectRightChecksums(bytes.slice(at, at + length), flow);
    }
  });

test("writeUdpFrame sends a checksum of 0 as 0xffff: 0 means there is none", () => {
  for (const family of [4, 6] as const) {
    const flow = flowOf("udp", family);
    const bytes = new Uint8Array(flow.headerBytes + 2);
    writeUdpFrame(bytes, 0, flow, 2);
    // Two payload bytes that bring the sum to all ones: the checksum over zeros, added to itself.
    const checksum = bytes.subarray(flow.headerBytes - 2, flow.headerBytes);
    bytes.set(checksum, flow.headerBytes);
    writeUdpFrame(bytes, 0, flow, 2);
    expect(toHex(checksum)).toBe("ffff");
    expectRightChecksums(bytes, flow);
  }
});

for (const family of [4, 6] as const)
  test(`writeTcpFrame over IPv${family} is read back as it was meant`, () => {
    const random = new Random(9293 + family);
    const flow = flowOf("tcp", family);
    const bytes = new Uint8Array(new SharedArrayBuffer(4096));
    const view = new FrameView();
    const tcp = new TcpView();
    for (let i = 0; i < 300; i++) {
      const size = random.below(1461);
      const withOption = random.below(3) === 0;
      const segment: TcpSegment = {
        sequence: random.below(2 ** 32),
        acknowledgement: random.below(2 ** 32),
        flags: random.below(256),
        window: random.below(65_536),
        maximumSegmentSize: withOption ? 1460 : undefined,
      };
      const at = random.below(64);
      const headerBytes = tcpHeaderBytes(flow, segment);
      expect(headerBytes).toBe(flow.headerBytes + (withOption ? 4 : 0));
      const payload = random.bytes(size);
      bytes.set(payload, at + headerBytes);
      const length = writeTcpFrame(bytes, at, flow, segment, size);
      expect(length).toBe(headerBytes + size);
      expect(view.bind(bytes, at, at + length)).toBeUndefined();
      expect([view.payloadOffset, view.payloadLength]).toEqual([at + headerBytes, size]);
      expect(view.tcpFlags).toBe(segment.flags);
      expect(Buffer.compare(bytes.slice(at + headerBytes, at + length), payload)).toBe(0);
      expect(tcp.bind(bytes, view.transportOffset, at + length)).toBeUndefined();
      expect(tcp.sequence).toBe(segment.sequence);
      expect(tcp.acknowledgement).toBe(segment.acknowledgement);
      expect(tcp.window).toBe(segment.window);
      const options = tcp.options();
      expect(options.next()).toBe(withOption);
      if (withOption) expect([options.kind, options.dataBytes]).toEqual([2, 2]);
      expectRightChecksums(bytes.slice(at, at + length), flow);
    }
  });

test("synthetic headers say what is promised: TTL 64, DF, derived MACs", () => {
  const bytes = new Uint8Array(200);
  const ipv4 = new Ipv4View();
  const ipv6 = new Ipv6View();
  const ethernet = new EthernetView();
  const udp = new UdpView();
  const flow = flowOf("udp", 4);
  const length = writeUdpFrame(bytes, 0, flow, 5);
  ethernet.bind(bytes, 0, length);
  expect(toHex(bytes.subarray(ethernet.sourceAt, ethernet.sourceAt + 6))).toBe("0204c0000201");
  expect(toHex(bytes.subarray(0, 6))).toBe("0204c6336407");
  expect(ipv4.bind(bytes, 14, length)).toBeUndefined();
  expect([ipv4.timeToLive, ipv4.dontFragment, ipv4.typeOfService]).toEqual([64, true, 0]);
  expect(udp.bind(bytes, 34, length)).toBeUndefined();
  expect(udp.length).toBe(13);
  const sixLength = writeUdpFrame(bytes, 0, flowOf("udp", 6), 5);
  expect(ipv6.bind(bytes, 14, sixLength)).toBeUndefined();
  expect([ipv6.hopLimit, ipv6.flowLabel, ipv6.trafficClass]).toEqual([64, 0, 0]);
});

test("writing a packet that IP's length field cannot hold is a bug, and throws", () => {
  const bytes = new Uint8Array(70_000);
  expect(() => writeUdpFrame(bytes, 0, flowOf("udp", 4), 65_508)).toThrow(RangeError);
  expect(() => writeUdpFrame(bytes, 0, flowOf("udp", 6), 65_528)).toThrow(RangeError);
  expect(() => writeUdpFrame(bytes, 0, flowOf("udp", 6), Number.NaN)).toThrow(RangeError);
});
