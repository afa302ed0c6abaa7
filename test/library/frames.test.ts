import { expect, test } from "vitest";
import { tcpFrame, udpFrame } from "../../src/index.ts";
import { checksum, finishSum, partialSum, pseudoHeaderSum } from "../../src/packet/checksum.ts";

const four = { from: "192.0.2.1:4000", to: "198.51.100.1:53" };
const six = { from: "[2001:db8::1]:4000", to: "[2001:db8::2]:53" };

test("udpFrame makes a datagram over IPv4 with right addresses, ports, lengths and checksums", () => {
  const frame = Buffer.from(udpFrame({ ...four, payload: "hello" }));
  expect(frame.length).toBe(14 + 20 + 8 + 5);
  expect(frame.readUInt16BE(12)).toBe(0x0800);
  expect(frame.readUInt16BE(16)).toBe(33);
  expect([...frame.subarray(26, 34)]).toEqual([192, 0, 2, 1, 198, 51, 100, 1]);
  expect([frame.readUInt16BE(34), frame.readUInt16BE(36)]).toEqual([4000, 53]);
  expect(frame.readUInt16BE(38)).toBe(13);
  expect(frame.subarray(42).toString()).toBe("hello");
  expect(checksum(frame, 14, 34)).toBe(0);
  expect(finishSum(partialSum(frame, 34, 47, pseudoHeaderSum(frame, 26, 4, 17, 13)))).toBe(0);
});

test("tcpFrame makes a segment over IPv6 with what its parts say", () => {
  const frame = Buffer.from(
    tcpFrame({
      ...six,
      flags: ["syn", "ack"],
      sequence: 0xffff_ffff,
      acknowledgement: 7,
      window: 9,
      maximumSegmentSize: 1440,
      payload: Uint8Array.of(1, 2, 3),
    }),
  );
  expect(frame.length).toBe(14 + 40 + 24 + 3);
  expect(frame.readUInt16BE(12)).toBe(0x86dd);
  expect([frame.readUInt32BE(58), frame.readUInt32BE(62)]).toEqual([0xffff_ffff, 7]);
  expect([frame[66], frame[67], frame.readUInt16BE(68)]).toEqual([0x60, 0x12, 9]);
  expect([...frame.subarray(74)]).toEqual([2, 4, 1440 >> 8, 1440 & 255, 1, 2, 3]);
  expect(finishSum(partialSum(frame, 54, 81, pseudoHeaderSum(frame, 22, 6, 6, 27)))).toBe(0);
});

for (const { name, make, code } of [
  { name: "a name instead of an address", make: () => udpFrame({ ...four, to: "localhost:53" }) },
  { name: "an address without a port", make: () => udpFrame({ ...four, to: "192.0.2.1" }) },
  { name: "a port beyond 65535", make: () => udpFrame({ ...four, to: "192.0.2.1:65536" }) },
  { name: "an IPv4 address in brackets", make: () => udpFrame({ ...four, to: "[192.0.2.1]:53" }) },
  {
    name: "two families",
    make: () => udpFrame({ from: four.from, to: six.to }),
    code: "FRAME_FAMILY",
  },
  {
    name: "more payload than IPv4 carries",
    make: () => udpFrame({ ...four, payload: new Uint8Array(65_508) }),
    code: "FRAME_TOO_LONG",
  },
  {
    name: "a sequence number of 33 bits",
    make: () => tcpFrame({ ...four, sequence: 2 ** 32 }),
    code: "FRAME_NUMBER",
  },
  {
    name: "a flag that there is not",
    make: () => tcpFrame({ ...four, flags: ["constructor" as "syn"] }),
    code: "FRAME_FLAG",
  },
])
  test(`a frame of ${name} is refused by a UserError`, () => {
    expect(make).toThrow(
      expect.objectContaining({ name: "UserError", code: code ?? "FRAME_ENDPOINT" }),
    );
  });

test("the longest payloads that IPv4 and IPv6 carry make frames", () => {
  expect(udpFrame({ ...four, payload: new Uint8Array(65_507) }).length).toBe(65_549);
  expect(udpFrame({ ...six, payload: new Uint8Array(65_527) }).length).toBe(65_589);
});
