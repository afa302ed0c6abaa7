import { expect, test } from "vitest";
import { tcpFlags } from "../../src/packet/tcp.ts";
import { openFilter, tcpFrame, udpFrame, withExtensions } from "./filter-bench.ts";

const from = "192.0.2.1:1000";
const to = "198.51.100.1:53";
const from6 = "[2001:db8::1]:1000";
const to6 = "[2001:db8::2]:53";

const limits = [
  { key: "udp", value: { min: 12, max: 512 } },
  { key: "tcp", value: { min: 10, max: 1000 } },
  { key: "icmp", value: { max: 64 } },
];

/** An IPv4 packet of another protocol, without a payload that means anything. */
function otherProtocol(number: number, bytes: number): Buffer {
  const frame = udpFrame(from, to, bytes - 8);
  frame[14 + 9] = number;
  return frame;
}

function changed(frame: Buffer, change: (frame: Buffer) => void): Buffer {
  change(frame);
  return frame;
}

const key = (protocol: string, reason: string) => JSON.stringify({ protocol, reason });

for (const { name, frame, refused } of [
  {
    name: "drops a datagram one byte too short",
    frame: udpFrame(from, to, 11),
    refused: key("udp", "too_short"),
  },
  { name: "passes the shortest datagram", frame: udpFrame(from, to, 12) },
  { name: "passes the longest datagram", frame: udpFrame(from, to, 512) },
  {
    name: "drops a datagram one byte too long",
    frame: udpFrame(from, to, 513),
    refused: key("udp", "too_long"),
  },
  {
    name: "drops an empty datagram",
    frame: udpFrame(from, to, 0),
    refused: key("udp", "too_short"),
  },
  {
    name: "drops a long datagram over IPv6",
    frame: udpFrame(from6, to6, 513),
    refused: key("udp", "too_long"),
  },
  {
    name: "looks behind extension headers",
    frame: withExtensions(udpFrame(from6, to6, 513), {
      number: 0,
      bytes: [0, 1, ...Array(14).fill(0)],
    }),
    refused: key("udp", "too_long"),
  },
  {
    name: "does not count extension headers as payload",
    frame: withExtensions(udpFrame(from6, to6, 512), {
      number: 43,
      bytes: [0, 1, ...Array(14).fill(0)],
    }),
  },
  {
    name: "drops a segment with too few bytes",
    frame: tcpFrame(from, to, {}, 9),
    refused: key("tcp", "too_short"),
  },
  { name: "passes the shortest segment", frame: tcpFrame(from, to, {}, 10) },
  { name: "passes the longest segment", frame: tcpFrame(from, to, {}, 1000) },
  {
    name: "drops a segment with too many bytes",
    frame: tcpFrame(from6, to6, {}, 1001),
    refused: key("tcp", "too_long"),
  },
  {
    name: "passes a SYN, whose options are no payload",
    frame: tcpFrame(from, to, { flags: tcpFlags.syn }),
  },
  { name: "passes a segment without payload", frame: tcpFrame(from, to, { flags: tcpFlags.ack }) },
  {
    name: "takes TCP options for header",
    frame: changed(tcpFrame(from, to, {}, 1004), (frame) => {
      frame[14 + 20 + 12] = 6 << 4;
    }),
  },
  {
    name: "does not take Ethernet padding for payload",
    frame: Buffer.concat([tcpFrame(from, to, { flags: tcpFlags.ack }), Buffer.alloc(6)]),
  },
  {
    name: "limits a protocol by what follows IP",
    frame: otherProtocol(1, 65),
    refused: key("icmp", "too_long"),
  },
  { name: "has no minimum where none is set", frame: otherProtocol(1, 8) },
  { name: "passes protocols without limits", frame: otherProtocol(47, 1400) },
  {
    name: "drops a datagram whose length is less than its header's",
    frame: changed(udpFrame(from, to, 20), (frame) => frame.writeUInt16BE(7, 38)),
    refused: key("udp", "malformed"),
  },
  {
    name: "drops a segment whose header is longer than its packet",
    frame: changed(tcpFrame(from, to, {}, 0), (frame) => {
      frame[14 + 20 + 12] = 15 << 4;
    }),
    refused: key("tcp", "malformed"),
  },
  {
    name: "drops a cut off UDP header",
    frame: udpFrame(from, to, 20).subarray(0, 41),
    refused: key("udp", "malformed"),
  },
  {
    name: "judges a first fragment by the whole datagram's length",
    frame: changed(udpFrame(from, to, 100), (frame) => {
      frame.writeUInt16BE(0x2000, 20);
      frame.writeUInt16BE(8 + 4000, 38);
    }),
    refused: key("udp", "too_long"),
  },
  {
    name: "passes later fragments",
    frame: changed(udpFrame(from, to, 1000), (frame) => frame.writeUInt16BE(0x00b9, 20)),
  },
  { name: "passes what is not IP", frame: Buffer.alloc(1000) },
] as { name: string; frame: Buffer; refused?: string }[])
  test(`size-limit ${name}`, async () => {
    const filter = await openFilter("size-limit", { maps: { limits } });
    expect(filter.judge(frame)).toBe(refused === undefined ? "pass" : "drop");
    expect(filter.entries("size_limited_packets_total")).toEqual(
      refused === undefined ? {} : { [refused]: 1 },
    );
  });

test("size-limit passes everything while nothing is limited", async () => {
  const filter = await openFilter("size-limit");
  expect(filter.judge(udpFrame(from, to, 0))).toBe("pass");
  expect(filter.judge(udpFrame(from, to, 60000))).toBe("pass");
});

test("size-limit only counts where default_action is 2", async () => {
  const filter = await openFilter("size-limit", {
    maps: { limits },
    globals: { default_action: 2 },
  });
  expect(filter.judge(udpFrame(from, to, 0))).toBe("pass");
  expect(filter.entries("size_limited_packets_total")).toEqual({ [key("udp", "too_short")]: 1 });
});
