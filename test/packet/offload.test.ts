import { expect, test } from "vitest";
import { parseHex, putU16be, toHex, u16be, u32be } from "../../src/common/bytes.ts";
import { checksum, finishSum, partialSum, pseudoHeaderSum } from "../../src/packet/checksum.ts";
import { isSoundSegment, repairPartialChecksum } from "../../src/packet/checksum-repair.ts";
import { Flow } from "../../src/packet/flow.ts";
import { flowHash } from "../../src/packet/flow-hash.ts";
import { FrameView } from "../../src/packet/frame-view.ts";
import { maxPacketTooBigBytes, writePacketTooBig } from "../../src/packet/packet-too-big.ts";
import { writeTcpFrame, writeUdpFrame } from "../../src/packet/synthesis.ts";
import { TcpSegments } from "../../src/packet/tcp-segmentation.ts";
import { Random } from "./random.ts";

const ends = {
  4: [
    { address: "192.0.2.1", port: 40_000 },
    { address: "198.51.100.2", port: 443 },
  ],
  6: [
    { address: "2001:db8::1", port: 40_000 },
    { address: "2001:db8::2", port: 443 },
  ],
} as const;

/** A frame with right checksums; its payload counts up. */
function frameOf(
  protocol: "tcp" | "udp",
  family: 4 | 6,
  payloadBytes: number,
  flags = 0x10,
  sequence = 1000,
): Uint8Array {
  const [from, to] = ends[family];
  const flow = new Flow(protocol, from, to);
  const bytes = new Uint8Array(flow.headerBytes + payloadBytes);
  for (let i = 0; i < payloadBytes; i++) bytes[flow.headerBytes + i] = (i * 7) & 255;
  const segment = { sequence, acknowledgement: 7, flags, window: 512 };
  if (protocol === "udp") writeUdpFrame(bytes, 0, flow, payloadBytes);
  else writeTcpFrame(bytes, 0, flow, segment, payloadBytes);
  return bytes;
}

function bound(bytes: Uint8Array): FrameView {
  const view = new FrameView();
  const problem = view.bind(bytes, 0, bytes.length);
  if (problem !== undefined) throw new Error(problem);
  return view;
}

/** The checksum field of TCP or UDP, and its value as offloading leaves it. */
function partial(bytes: Uint8Array): { at: number; value: number } {
  const { protocol, transportOffset, sourceAt, version, payloadEnd } = bound(bytes);
  const length = payloadEnd - transportOffset;
  const sum = pseudoHeaderSum(bytes, sourceAt, version as 4 | 6, protocol, length);
  return { at: transportOffset + (protocol === 6 ? 16 : 6), value: ~finishSum(sum) & 0xffff };
}

for (const protocol of ["tcp", "udp"] as const)
  for (const family of [4, 6] as const) {
    test(`a partial ${protocol} checksum over IPv${family} is completed, a whole one left alone`, () => {
      for (const payloadBytes of [0, 1, 1400]) {
        const right = frameOf(protocol, family, payloadBytes);
        const frame = right.slice();
        expect(repairPartialChecksum(frame, bound(frame))).toBe(false);
        expect(frame).toEqual(right);
        const { at, value } = partial(frame);
        putU16be(frame, at, value);
        expect(repairPartialChecksum(frame, bound(frame))).toBe(true);
        expect(toHex(frame)).toBe(toHex(right));
      }
    });
  }

test("a wrong checksum stays wrong, and UDP without one stays without", () => {
  for (const value of [0, 0x1234]) {
    const frame = frameOf("udp", 4, 20);
    putU16be(frame, partial(frame).at, value);
    const before = frame.slice();
    expect(repairPartialChecksum(frame, bound(frame))).toBe(false);
    expect(frame).toEqual(before);
  }
});

for (const family of [4, 6] as const)
  test(`a TCP segment over IPv${family} is sound with a right or a partial checksum, with no other`, () => {
    const right = frameOf("tcp", family, 3000);
    const { at, value } = partial(right);
    const soundWith = (change: (frame: Uint8Array) => void): boolean => {
      const frame = right.slice();
      change(frame);
      return isSoundSegment(frame, bound(frame));
    };
    expect(soundWith(() => {})).toBe(true);
    expect(soundWith((frame) => putU16be(frame, at, value))).toBe(true);
    expect(soundWith((frame) => putU16be(frame, at, u16be(frame, at) ^ 1))).toBe(false);
    expect(soundWith((frame) => putU16be(frame, at, 0))).toBe(false);
    expect(soundWith((frame) => frame.set([frame[2000]! ^ 0x40], 2000))).toBe(false);
    // The time to live or the hop limit, which only IPv4's own checksum covers.
    expect(soundWith((frame) => frame.set([9], family === 4 ? 22 : 21))).toBe(family === 6);
  });

/** IPv4 header and TCP checksums are right, and lengths fit. */
function expectSound(frame: Uint8Array): FrameView {
  const view = bound(frame);
  const { networkOffset, transportOffset, payloadEnd, version, sourceAt } = view;
  expect(payloadEnd).toBe(frame.length);
  if (version === 4) expect(checksum(frame, networkOffset, networkOffset + 20)).toBe(0);
  const pseudoSum = pseudoHeaderSum(
    frame,
    sourceAt,
    version as 4 | 6,
    6,
    payloadEnd - transportOffset,
  );
  expect(finishSum(partialSum(frame, transportOffset, payloadEnd, pseudoSum))).toBe(0);
  return view;
}

function segmentsOf(frame: Uint8Array, maxBytes: number): Uint8Array[] {
  const segments = new TcpSegments();
  if (!segments.bind(frame, 0, bound(frame), maxBytes)) return [];
  const out = new Uint8Array(maxBytes + 8).fill(0xee);
  return Array.from({ length: segments.count }, (_, i) => {
    const length = segments.write(i, out, 3);
    expect(out.subarray(3 + length).every((byte) => byte === 0xee || length < maxBytes)).toBe(true);
    return out.slice(3, 3 + length);
  });
}

for (const family of [4, 6] as const)
  test(`a TCP super-frame over IPv${family} becomes the segments that a network card would send`, () => {
    // CWR, ACK, PSH, FIN, near the end of sequence numbers.
    const frame = frameOf("tcp", family, 30_001, 0x80 | 0x10 | 0x08 | 0x01, 0xffff_f000);
    const identification = family === 4 ? u16be(frame, 18) : 0;
    const parts = segmentsOf(frame, 1464);
    const headers = family === 4 ? 54 : 74;
    expect(parts.length).toBe(Math.ceil(30_001 / (1464 - headers)));
    const payload: number[] = [];
    for (const [i, part] of parts.entries()) {
      const last = i === parts.length - 1;
      expect(part.length).toBeLessThanOrEqual(1464);
      const view = expectSound(part);
      expect(u32be(part, view.transportOffset + 4)).toBe((0xffff_f000 + payload.length) >>> 0);
      expect(view.tcpFlags).toBe(0x10 | (i === 0 ? 0x80 : 0) | (last ? 0x09 : 0));
      if (family === 4) expect(u16be(part, 18)).toBe((identification + i) & 0xffff);
      payload.push(...part.subarray(view.payloadOffset));
    }
    expect(Uint8Array.from(payload)).toEqual(frame.slice(headers));
  });

test("VLAN tags, IPv4 options and TCP options are every segment's", () => {
  const plain = frameOf("tcp", 4, 5000);
  // Two tags, four bytes of IPv4 options, eight of TCP's.
  const frame = Uint8Array.from([
    ...plain.subarray(0, 12),
    ...parseHex("88a80007 81000008")!,
    ...plain.subarray(12, 34),
    ...parseHex("01010100")!,
    ...plain.subarray(34, 54),
    ...parseHex("0101080a 00000001")!,
    ...plain.subarray(54),
  ]);
  frame[22] = 0x46;
  putU16be(frame, 24, u16be(frame, 24) + 12);
  frame[22 + 24 + 12] = 7 << 4;
  const headers = 14 + 8 + 24 + 28;
  const parts = segmentsOf(frame, 1464);
  expect(parts.length).toBe(Math.ceil(5000 / (1464 - headers)));
  for (const [i, part] of parts.entries()) {
    const view = bound(part);
    expect(toHex(part.subarray(0, 22))).toBe(toHex(frame.subarray(0, 22)));
    expect(toHex(part.subarray(42, 46))).toBe("01010100");
    expect(toHex(part.subarray(66, 74))).toBe("0101080a00000001");
    expect(checksum(part, 22, 46)).toBe(0);
    const length = view.payloadEnd - view.transportOffset;
    const sum = pseudoHeaderSum(part, view.sourceAt, 4, 6, length);
    expect(finishSum(partialSum(part, view.transportOffset, view.payloadEnd, sum))).toBe(0);
    expect(u32be(part, view.transportOffset + 4)).toBe(1000 + i * (1464 - headers));
  }
});

test("SYN, RST, URG, fragments, UDP and crumbs are not segmented", () => {
  for (const flags of [0x02, 0x12, 0x14, 0x30])
    expect(segmentsOf(frameOf("tcp", 4, 3000, flags), 1464)).toEqual([]);
  expect(segmentsOf(frameOf("udp", 4, 3000), 1464)).toEqual([]);
  expect(segmentsOf(frameOf("tcp", 4, 3000), 54 + 63)).toEqual([]);
  expect(segmentsOf(frameOf("tcp", 4, 3000), 54 + 64).length).toBe(47);
  const fragment = frameOf("tcp", 4, 3000);
  putU16be(fragment, 20, 0x2000);
  expect(segmentsOf(fragment, 1464)).toEqual([]);
});

test("fragmentation needed (RFC 1191) quotes the packet, comes from its destination, and is sound", () => {
  const frame = frameOf("udp", 4, 1472);
  const out = new Uint8Array(maxPacketTooBigBytes);
  const length = writePacketTooBig(frame, 0, bound(frame), 1450, out, 0);
  expect(length).toBe(14 + 576);
  const view = new FrameView();
  expect(view.bind(out, 0, length)).toBe(undefined);
  expect([view.sourceAddress(), view.destinationAddress()]).toEqual(["198.51.100.2", "192.0.2.1"]);
  expect(toHex(out.subarray(0, 12))).toBe(
    toHex(frame.subarray(6, 12)) + toHex(frame.subarray(0, 6)),
  );
  expect([out[34], out[35], u16be(out, 40)]).toEqual([3, 4, 1450]);
  expect([checksum(out, 14, 34), checksum(out, 34, length)]).toEqual([0, 0]);
  expect(out.slice(42, length)).toEqual(frame.slice(14, 14 + 548));
});

test("packet too big (RFC 4443 §3.2) does the same over IPv6, and without an Ethernet header", () => {
  const frame = frameOf("tcp", 6, 1426);
  const out = new Uint8Array(maxPacketTooBigBytes);
  for (const [at, start] of [
    [0, 0],
    [14, 14],
  ] as const) {
    const length = writePacketTooBig(frame, at, bound(frame), 1430, out, 0);
    expect(length).toBe(14 - start + 1280);
    const ip = 14 - start;
    expect([out[ip + 40], out[ip + 41], u32be(out, ip + 44)]).toEqual([2, 0, 1430]);
    const sum = pseudoHeaderSum(out, ip + 8, 6, 58, 1240);
    expect(finishSum(partialSum(out, ip + 40, ip + 1280, sum))).toBe(0);
    expect(toHex(out.subarray(ip + 8, ip + 40))).toBe(
      toHex(frame.subarray(38, 54)) + toHex(frame.subarray(22, 38)),
    );
  }
});

for (const { name, change } of [
  {
    name: "a packet that may be fragmented",
    change: (frame: Uint8Array) => putU16be(frame, 20, 0),
  },
  { name: "a later fragment", change: (frame: Uint8Array) => putU16be(frame, 20, 0x4001) },
  { name: "a packet to a group of hosts", change: (frame: Uint8Array) => frame.set([0xe0], 30) },
  { name: "a packet from nowhere", change: (frame: Uint8Array) => frame.set([0], 26) },
  { name: "a frame to a group of stations", change: (frame: Uint8Array) => frame.set([1], 0) },
  {
    name: "an ICMP error",
    change: (frame: Uint8Array) => {
      frame[23] = 1;
      frame[34] = 3;
    },
  },
])
  test(`no ICMP error answers ${name}`, () => {
    const frame = frameOf("tcp", 4, 1460);
    change(frame);
    const out = new Uint8Array(maxPacketTooBigBytes);
    expect(writePacketTooBig(frame, 0, bound(frame), 1400, out, 0)).toBe(0);
  });

test("a frame without IP is neither repaired, segmented nor answered, and still has a flow", () => {
  const arp = parseHex(
    "ffffffffffff 020000000001 0806 0001 0800 0604 0001 020000000001 c0000201 000000000000 c0000202",
  )!;
  const view = bound(arp);
  expect(repairPartialChecksum(arp, view)).toBe(false);
  expect(new TcpSegments().bind(arp, 0, view, 1400)).toBe(false);
  expect(writePacketTooBig(arp, 0, view, 1400, new Uint8Array(2000), 0)).toBe(0);
  const hash = flowHash(arp, 0, view);
  arp[11]!++;
  expect(flowHash(arp, 0, view)).not.toBe(hash);
});

test("flows have one hash each, whatever their packets hold, and spread over 16 sockets", () => {
  const counts = new Array<number>(16).fill(0);
  for (let port = 0; port < 4096; port++) {
    const [from, to] = ends[port % 2 === 0 ? 4 : 6];
    const flow = new Flow("udp", { ...from, port: 1024 + port }, to);
    const hashes = [10, 900].map((payloadBytes) => {
      const bytes = new Uint8Array(flow.headerBytes + payloadBytes).fill(payloadBytes);
      writeUdpFrame(bytes, 0, flow, payloadBytes);
      return flowHash(bytes, 0, bound(bytes));
    });
    expect(hashes[0]).toBe(hashes[1]);
    counts[hashes[0]! % 16]! += 1;
  }
  // 256 each; six standard deviations.
  for (const count of counts) expect(Math.abs(count - 256)).toBeLessThan(96);
});

test("mutated frames are repaired, cut and answered without a throw, within their bounds", () => {
  const random = new Random(6081);
  const seeds = [frameOf("tcp", 4, 3000), frameOf("tcp", 6, 3000), frameOf("udp", 4, 900)];
  const out = new Uint8Array(4000);
  const segments = new TcpSegments();
  const view = new FrameView();
  let [sound, cut, answered] = [0, 0, 0];
  for (let i = 0; i < 60_000; i++) {
    const frame = seeds[i % seeds.length]!.slice();
    for (let changes = random.below(4); changes > 0; changes--)
      frame[12 + random.below(62)] = random.below(256);
    if (view.bind(frame, 0, frame.length) !== undefined) continue;
    if (isSoundSegment(frame, view)) sound++;
    repairPartialChecksum(frame, view);
    flowHash(frame, 0, view);
    if (segments.bind(frame, 0, view, 200 + random.below(1300))) {
      cut++;
      expect(segments.count).toBeLessThan(60);
      for (let k = 0; k < segments.count; k++) segments.write(k, out, 0);
    }
    if (writePacketTooBig(frame, 0, view, 1400, out, 0) > 0) answered++;
  }
  expect(sound).toBeGreaterThan(5000);
  expect(cut).toBeGreaterThan(5000);
  expect(answered).toBeGreaterThan(5000);
});
