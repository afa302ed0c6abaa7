import { expect, test } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import { maxPacketBytes } from "../../src/pcap/captured-packet.ts";
import { ClassicWriter } from "../../src/pcap/classic-writer.ts";
import { ascii, classicHeader, classicRecord, concat, readAll } from "./capture-bytes.ts";

/** Two packets as tcpdump -w writes them on a little-endian machine. */
const file = parseHex(`
  d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000
  78563412 a0860100 03000000 03000000 010203
  79563412 3f420f00 01000000 e8030000 ff`)!;

test("a classic capture is read field by field", () => {
  const { packets, error } = readAll(file);
  expect(error).toBeUndefined();
  expect(packets).toEqual([
    {
      index: 0,
      offset: 24,
      linkType: 1,
      interfaceId: 0,
      bigEndian: false,
      seconds: 0x12345678,
      nanoseconds: 100_000_000,
      originalLength: 3,
      data: Uint8Array.of(1, 2, 3),
      comments: [],
    },
    {
      index: 1,
      offset: 43,
      linkType: 1,
      interfaceId: 0,
      bigEndian: false,
      seconds: 0x12345679,
      nanoseconds: 999_999_000,
      originalLength: 1000,
      data: Uint8Array.of(255),
      comments: [],
    },
  ]);
});

test("writing what was read gives the same bytes", () => {
  const writer = new ClassicWriter(1, "microseconds");
  const written = [writer.header, ...readAll(file).packets.map((packet) => writer.record(packet))];
  expect(toHex(concat(...written))).toBe(toHex(file));
});

for (const big of [false, true])
  for (const [magic, fraction, nanoseconds] of [
    [0xa1b2c3d4, 123_456, 123_456_000],
    [0xa1b23c4d, 123_456_789, 123_456_789],
  ] as const)
    test(`magic ${magic.toString(16)}, ${big ? "big" : "little"} endian, is read`, () => {
      const { packets, error } = readAll(
        concat(
          classicHeader(big, { magic, linkType: 113 }),
          classicRecord(big, [4_000_000_000, fraction], ascii("abc"), { original: 70_000 }),
        ),
      );
      expect(error).toBeUndefined();
      expect(packets.length).toBe(1);
      expect(packets[0]).toMatchObject({
        linkType: 113,
        seconds: 4_000_000_000,
        nanoseconds,
        originalLength: 70_000,
        data: ascii("abc"),
      });
    });

test("a fraction beyond a second is carried into the seconds", () => {
  const record = classicRecord(false, [10, 2_500_000], ascii("a"));
  const { packets } = readAll(concat(classicHeader(false), record));
  expect(packets[0]).toMatchObject({ seconds: 12, nanoseconds: 500_000_000 });
});

test("the link type's upper bits are about check sequences, and no part of it", () => {
  const header = classicHeader(false, { linkType: 0x1400_0001 });
  const { packets } = readAll(concat(header, classicRecord(false, [0, 0], ascii("a"))));
  expect(packets[0]?.linkType).toBe(1);
});

test("a packet beyond the snap length is cut to it, as libpcap does", () => {
  const header = classicHeader(false, { snapLength: 2 });
  const { packets, error } = readAll(
    concat(
      header,
      classicRecord(false, [0, 0], ascii("abcd")),
      classicRecord(false, [0, 0], ascii("e")),
    ),
  );
  expect(error).toBeUndefined();
  expect(packets.map((packet) => packet.data)).toEqual([ascii("ab"), ascii("e")]);
});

for (const snapLength of [0, 0x8000_0000, 0xffff_ffff])
  test(`a snap length of ${snapLength} means no limit`, () => {
    const header = classicHeader(false, { snapLength });
    const { packets } = readAll(concat(header, classicRecord(false, [0, 0], ascii("abcd"))));
    expect(packets[0]?.data.length).toBe(4);
  });

for (const [version, first, second] of [
  [[2, 2], 9, 3],
  [[2, 3], 9, 3],
  [[2, 3], 3, 9],
  [[2, 4], 3, 9],
] as const)
  test(`version ${version.join(".")} with lengths ${first} and ${second} holds 3 of 9 bytes`, () => {
    const { packets, error } = readAll(
      concat(
        classicHeader(false, { version: [...version] }),
        classicRecord(false, [0, 0], ascii("abc"), { captured: first, original: second }),
      ),
    );
    expect(error).toBeUndefined();
    expect(packets[0]).toMatchObject({ originalLength: 9, data: ascii("abc") });
  });

test("a capture without packets is whole", () => {
  expect(readAll(classicHeader(true))).toEqual({ packets: [], error: undefined });
});

test("a packet of no bytes is a packet", () => {
  const record = classicRecord(false, [1, 0], ascii(""), { original: 60 });
  const { packets, error } = readAll(concat(classicHeader(false), record));
  expect(error).toBeUndefined();
  expect(packets[0]).toMatchObject({ originalLength: 60, data: new Uint8Array(0) });
});

for (const [name, bytes, code, where, what] of [
  ["an empty file", ascii(""), "CAPTURE_EMPTY", 0, /empty/],
  ["three bytes", ascii("\xd4"), "CAPTURE_TRUNCATED", 0, /first four bytes/],
  ["text", ascii("#!/bin/sh\n"), "CAPTURE_FORMAT", 0, /neither pcap nor pcapng.*0x23212f62/],
  ["gzip", Uint8Array.of(0x1f, 0x8b, 8, 0), "CAPTURE_FORMAT", 0, /compressed.*decompress it/],
  ["zstd", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd), "CAPTURE_FORMAT", 0, /compressed/],
  ["snoop", ascii("snoop\0\0\0"), "CAPTURE_FORMAT", 0, /snoop/],
  [
    "Kuznetsov's modified pcap",
    classicHeader(false, { magic: 0xa1b2cd34 }),
    "CAPTURE_FORMAT",
    0,
    /modified pcap \(Kuznetsov/,
  ],
  [
    "Kuznetsov's modified pcap, big endian",
    classicHeader(true, { magic: 0xa1b2cd34 }),
    "CAPTURE_FORMAT",
    0,
    /Kuznetsov.*editcap/,
  ],
  [
    "Mesquita's modified pcap",
    classicHeader(false, { magic: 0xa1b234cd }),
    "CAPTURE_FORMAT",
    0,
    /Mesquita/,
  ],
  ["Navtel's", classicHeader(true, { magic: 0xa12b3c4d }), "CAPTURE_FORMAT", 0, /Navtel/],
  ["Ixia's", classicHeader(false, { magic: 0x1c0001ac }), "CAPTURE_FORMAT", 0, /Ixia/],
  ["version 1.2", classicHeader(false, { version: [1, 2] }), "CAPTURE_FORMAT", 4, /version 1\.2/],
  ["version 2.5", classicHeader(false, { version: [2, 5] }), "CAPTURE_FORMAT", 4, /version 2\.5/],
  [
    "a file that ends in its header",
    classicHeader(false).subarray(0, 20),
    "CAPTURE_TRUNCATED",
    0,
    /file header \(20 of 24 bytes\)/,
  ],
] as const)
  test(`${name} is refused by name`, () => {
    const { packets, error } = readAll(bytes);
    expect(packets).toEqual([]);
    expect(error?.code).toBe(code);
    expect(error?.offset).toBe(where);
    expect(error?.message).toMatch(what);
    expect(error?.where).toBe(`test.pcap, byte ${where}`);
  });

for (const [name, captured] of [
  ["one byte too long", maxPacketBytes + 1],
  ["of 64 MB", 64 * 1024 * 1024],
  ["of 4 GB", 0xffff_ffff],
] as const)
  test(`a packet ${name} is refused, after the packets before it`, () => {
    const { packets, error } = readAll(
      concat(file, classicRecord(false, [0, 0], ascii("abc"), { captured })),
    );
    expect(packets.length).toBe(2);
    expect(error?.code).toBe("CAPTURE_BAD_LENGTH");
    expect(error?.offset).toBe(file.length);
    expect(error?.what).toBe(`packet 2 claims ${captured} bytes; at most 262144 are read`);
  });

test("a packet of the greatest length is read and written", () => {
  const data = new Uint8Array(maxPacketBytes).fill(7);
  const writer = new ClassicWriter(1);
  const record = writer.record({ seconds: 1, nanoseconds: 2, originalLength: data.length, data });
  const { packets, error } = readAll(concat(writer.header, record));
  expect(error).toBeUndefined();
  expect(packets[0]?.data.length).toBe(maxPacketBytes);
  const tooLong = new Uint8Array(maxPacketBytes + 1);
  expect(() =>
    writer.record({ seconds: 1, nanoseconds: 2, originalLength: 1, data: tooLong }),
  ).toThrow(RangeError);
});

test("ClassicWriter keeps nanoseconds unless told otherwise", () => {
  const packet = { seconds: 7, nanoseconds: 123_456_789, originalLength: 1, data: ascii("a") };
  for (const [writer, nanoseconds] of [
    [new ClassicWriter(101), 123_456_789],
    [new ClassicWriter(101, "microseconds"), 123_456_000],
  ] as const) {
    const { packets } = readAll(concat(writer.header, writer.record(packet)));
    expect(packets[0]).toMatchObject({ linkType: 101, seconds: 7, nanoseconds });
  }
});
