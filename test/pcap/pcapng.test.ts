import { expect, test } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import { maxPacketBytes } from "../../src/pcap/captured-packet.ts";
import { PcapngWriter } from "../../src/pcap/pcapng-writer.ts";
import {
  ascii,
  BytesBuilder,
  block,
  concat,
  enhancedPacket,
  interfaceBlock,
  option,
  readAll,
  sectionHeader,
} from "./capture-bytes.ts";

const endOfOptions = new Uint8Array(4);

test("PcapngWriter writes these very bytes", () => {
  const writer = new PcapngWriter([{ linkType: 1, name: "left" }]);
  const record = writer.record({
    seconds: 1,
    nanoseconds: 500_000_000,
    originalLength: 60,
    data: Uint8Array.of(1, 2, 3, 4, 5),
    comments: ["drop"],
  });
  expect(toHex(concat(writer.header, record))).toBe(
    toHex(
      parseHex(`
        0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000
        01000000 28000000 0100 0000 00000400
          0200 0400 6c656674  0900 0100 09000000  0000 0000  28000000
        06000000 34000000 00000000 00000000 002f6859 05000000 3c000000
          0102030405000000  0100 0400 64726f70  0000 0000  34000000`)!,
    ),
  );
});

test("what PcapngWriter writes is read back", () => {
  const writer = new PcapngWriter([{ linkType: 1 }, { linkType: 101, name: "tunnel" }]);
  const records = [
    { seconds: 1_700_000_000, nanoseconds: 123_456_789, originalLength: 3, data: ascii("abc") },
    {
      interfaceId: 1,
      seconds: 4_294_967_296,
      nanoseconds: 999_999_999,
      originalLength: 1500,
      data: ascii("abcd"),
      comments: ["verdict: drop", "Grund: größer als 1 µs"],
    },
  ];
  const { packets, error } = readAll(
    concat(writer.header, ...records.map((record) => writer.record(record))),
  );
  expect(error).toBeUndefined();
  expect(packets.length).toBe(2);
  expect(packets[0]).toMatchObject({ ...records[0], linkType: 1, interfaceId: 0, comments: [] });
  expect(packets[1]).toMatchObject({ ...records[1], linkType: 101 });
});

test("PcapngWriter cuts a comment to what an option holds, between characters", () => {
  const writer = new PcapngWriter([{ linkType: 1 }]);
  const packet = { seconds: 0, nanoseconds: 0, originalLength: 1, data: ascii("a") };
  const record = writer.record({ ...packet, comments: ["€".repeat(30_000)] });
  const { packets, error } = readAll(concat(writer.header, record));
  expect(error).toBeUndefined();
  expect(packets[0]?.comments).toEqual(["€".repeat(21_845)]);
  const many = writer.record({ ...packet, comments: Array(100).fill("x".repeat(65_535)) });
  expect(readAll(concat(writer.header, many)).packets[0]?.comments.length).toBe(7);
});

test("PcapngWriter refuses packets that its reader would refuse", () => {
  const writer = new PcapngWriter([{ linkType: 1 }]);
  const packet = { seconds: 0, nanoseconds: 0, originalLength: 1, data: ascii("a") };
  expect(() => writer.record({ ...packet, interfaceId: 1 })).toThrow(/interface 1 of 1/);
  expect(() => writer.record({ ...packet, data: new Uint8Array(maxPacketBytes + 1) })).toThrow(
    RangeError,
  );
});

for (const big of [false, true])
  test(`sections, interfaces and all packet blocks are read, ${big ? "big" : "little"} endian first`, () => {
    const obsolete = new BytesBuilder(big).u16(1, 0xffff).u32(0, 2_000_001, 2, 9).raw(ascii("pb"));
    const simple = new BytesBuilder(big).u32(100).raw(ascii("simple"));
    const resolution = concat(option(big, 9, Uint8Array.of(3)), endOfOptions);
    const bytes = concat(
      sectionHeader(big),
      interfaceBlock(big, { linkType: 1, snapLength: 6 }),
      interfaceBlock(big, { linkType: 105, options: resolution }),
      block(big, 0x0000_0bad, ascii("custom block of any length")),
      enhancedPacket(big, 0, [0, 1_500_000], ascii("first")),
      block(big, 5, new Uint8Array(0)),
      enhancedPacket(big, 1, [1, 0], ascii("second"), { original: 60 }),
      block(big, 3, simple.build()),
      block(big, 2, obsolete.build()),
      // A new section: other byte order, and no interface of the first one.
      sectionHeader(!big, [1, 2]),
      interfaceBlock(!big, { linkType: 113 }),
      enhancedPacket(!big, 0, [0, 7], ascii("third")),
    );
    const { packets, error } = readAll(bytes);
    expect(error).toBeUndefined();
    const brief = packets.map((packet) => [
      packet.linkType,
      packet.interfaceId,
      packet.seconds,
      packet.nanoseconds,
      packet.originalLength,
      new TextDecoder().decode(packet.data),
    ]);
    expect(brief).toEqual([
      [1, 0, 1, 500_000_000, 5, "first"],
      [105, 1, 4_294_967, 296_000_000, 60, "second"],
      [1, 0, 0, 0, 100, "simple"],
      [105, 1, 2000, 1_000_000, 9, "pb"],
      [113, 0, 0, 7000, 5, "third"],
    ]);
    expect(packets.map((packet) => packet.index)).toEqual([0, 1, 2, 3, 4]);
    expect(bytes[packets[4]!.offset + (big ? 0 : 3)]).toBe(6);
  });

for (const [name, resolution, high, low, seconds, nanoseconds] of [
  ["seconds", 0, 0, 5, 5, 0],
  ["milliseconds", 3, 0, 1_234, 1, 234_000_000],
  ["microseconds", 6, 0x5_0000, 1, 1_407_374_883, 553_281_000],
  ["nanoseconds", 9, 0x1797_9cfe, 0x3d85_cd15, 1_700_000_000, 123_456_789],
  ["picoseconds", 12, 0x0001_0000, 0, 281, 474_976_710],
  ["picoseconds, just below a second", 12, 0xffff_ff06, 0x01ec_6fff, 18_446_742, 999_999_999],
  ["10⁻¹⁹ seconds", 19, 0xffff_ffff, 0xffff_ffff, 1, 844_674_407],
  ["2⁻¹⁰ seconds", 0x8a, 0, 1025, 1, 976_562],
  ["2⁻³² seconds", 0xa0, 7, 0x8000_0000, 7, 500_000_000],
  ["2⁻⁶³ seconds", 0xbf, 0xc000_0000, 0, 1, 500_000_000],
] as const)
  test(`timestamps in ${name} are read exactly`, () => {
    const options = concat(option(false, 9, Uint8Array.of(resolution)), endOfOptions);
    const { packets, error } = readAll(
      concat(
        sectionHeader(false),
        interfaceBlock(false, { options }),
        enhancedPacket(false, 0, [high, low], ascii("a")),
      ),
    );
    expect(error).toBeUndefined();
    expect(packets[0]).toMatchObject({ seconds, nanoseconds });
  });

for (const big of [false, true])
  for (const offset of [1000, -1000])
    test(`if_tsoffset ${offset}, ${big ? "big" : "little"} endian, shifts the seconds`, () => {
      const value = new Uint8Array(8);
      new DataView(value.buffer).setBigInt64(0, BigInt(offset), !big);
      const options = concat(option(big, 14, value), endOfOptions);
      const { packets } = readAll(
        concat(
          sectionHeader(big),
          interfaceBlock(big, { options }),
          enhancedPacket(big, 0, [0, 5_000_001], ascii("a")),
        ),
      );
      expect(packets[0]).toMatchObject({ seconds: 5 + offset, nanoseconds: 1000 });
    });

test("comments are read among other options, and options need no end mark", () => {
  const options = concat(
    option(false, 2, Uint8Array.of(1, 0, 0, 0)),
    option(false, 1, ascii("one")),
    option(false, 0x8001, ascii("private")),
    option(false, 1, ascii("two")),
  );
  const { packets } = readAll(
    concat(
      sectionHeader(false),
      interfaceBlock(false),
      enhancedPacket(false, 0, [0, 0], ascii("abc"), { options }),
    ),
  );
  expect(packets[0]?.comments).toEqual(["one", "two"]);
});

const start = concat(sectionHeader(false), interfaceBlock(false));

function u32(...values: number[]): Uint8Array {
  return new BytesBuilder(false).u32(...values).build();
}

for (const [name, bytes, code, offset, what] of [
  [
    "a section without byte-order magic",
    u32(0x0a0d0d0a, 28, 0x12345678, 1, 0, 0, 28),
    "CAPTURE_FORMAT",
    0,
    /byte-order magic/,
  ],
  ["version 2.0", sectionHeader(false, [2, 0]), "CAPTURE_FORMAT", 0, /version 2\.0/],
  ["version 1.1", sectionHeader(true, [1, 1]), "CAPTURE_FORMAT", 0, /version 1\.1/],
  [
    "a section header that is too short",
    u32(0x0a0d0d0a, 16, 0x1a2b3c4d, 16),
    "CAPTURE_BAD_LENGTH",
    0,
    /section header of 16 bytes/,
  ],
  ["a block of 8 bytes", concat(start, u32(6, 8)), "CAPTURE_BAD_LENGTH", 48, /block of 8 bytes/],
  ["a block of 0 bytes", concat(start, u32(5, 0)), "CAPTURE_BAD_LENGTH", 48, /block of 0 bytes/],
  [
    "a length that is no multiple of four",
    concat(start, u32(6, 33)),
    "CAPTURE_BAD_LENGTH",
    48,
    /block of 33 bytes/,
  ],
  [
    "a packet block of 64 MB",
    concat(start, u32(6, 64 * 1024 * 1024)),
    "CAPTURE_BAD_LENGTH",
    48,
    /type 6 claims 67108864 bytes; at most 1048576/,
  ],
  [
    "two lengths that differ",
    concat(start, u32(3, 16, 0, 20)),
    "CAPTURE_BAD_LENGTH",
    48,
    /16 in front, 20 behind/,
  ],
  [
    "two lengths that differ around a skipped block",
    concat(start, u32(77, 16, 0, 20)),
    "CAPTURE_BAD_LENGTH",
    60,
    /16 in front, 20 behind/,
  ],
  [
    "an interface that is not there",
    concat(start, enhancedPacket(false, 1, [0, 0], ascii("a"))),
    "CAPTURE_BAD_BLOCK",
    48,
    /packet 0 is of interface 1; the section has 1/,
  ],
  [
    "a simple packet without interface",
    concat(sectionHeader(false), block(false, 3, u32(0))),
    "CAPTURE_BAD_BLOCK",
    28,
    /no interface/,
  ],
  [
    "a packet longer than its block",
    concat(start, enhancedPacket(false, 0, [0, 0], ascii("abcd"), { captured: 5 })),
    "CAPTURE_BAD_LENGTH",
    48,
    /packet 0 claims 5 bytes; its block has room for 4/,
  ],
  [
    "a packet of 4 GB",
    concat(start, enhancedPacket(false, 0, [0, 0], ascii("abcd"), { captured: 0xffff_ffff })),
    "CAPTURE_BAD_LENGTH",
    48,
    /packet 0 claims 4294967295 bytes/,
  ],
  [
    "a packet beyond the limit in a block that holds it",
    concat(start, enhancedPacket(false, 0, [0, 0], new Uint8Array(maxPacketBytes + 1))),
    "CAPTURE_BAD_LENGTH",
    48,
    /packet 0 claims 262145 bytes/,
  ],
  [
    "a simple packet longer than its block",
    concat(start, block(false, 3, u32(5, 0))),
    "CAPTURE_BAD_LENGTH",
    48,
    /packet 0 claims 5 bytes; its block has room for 4/,
  ],
  [
    "a packet block without its fields",
    concat(start, block(false, 6, u32(0, 0, 0, 0))),
    "CAPTURE_BAD_LENGTH",
    48,
    /without its fields/,
  ],
  [
    "time in units of 10⁻²⁰ seconds",
    concat(
      sectionHeader(false),
      interfaceBlock(false, { options: option(false, 9, Uint8Array.of(20)) }),
    ),
    "CAPTURE_BAD_BLOCK",
    28,
    /interface 0 counts time in units of 10 to the power of -20 seconds/,
  ],
  [
    "time in units of 2⁻⁶⁴ seconds",
    concat(
      sectionHeader(false),
      interfaceBlock(false, { options: option(false, 9, Uint8Array.of(0xc0)) }),
    ),
    "CAPTURE_BAD_BLOCK",
    28,
    /interface 0 counts time in units of 2 to the power of -64 seconds/,
  ],
  [
    "an interface block without its fields",
    concat(sectionHeader(false), block(false, 1, u32(1))),
    "CAPTURE_BAD_LENGTH",
    28,
    /interface block without its fields/,
  ],
] as const)
  test(`${name} is refused, with the byte where it is`, () => {
    const { packets, error } = readAll(bytes);
    expect(packets).toEqual([]);
    expect(error?.code).toBe(code);
    expect(error?.what).toMatch(what);
    expect(error?.offset).toBe(offset);
  });

test("an option longer than its block ends the options, and not the capture", () => {
  const beyond = Uint8Array.of(1, 0, 9, 0);
  const { packets, error } = readAll(
    concat(
      sectionHeader(false),
      interfaceBlock(false, { options: concat(option(false, 9, Uint8Array.of(3)), beyond) }),
      enhancedPacket(false, 0, [0, 1500], ascii("abcd"), {
        options: concat(option(false, 1, ascii("kept")), beyond),
      }),
      enhancedPacket(false, 0, [0, 2000], ascii("efgh")),
    ),
  );
  expect(error).toBeUndefined();
  expect(packets).toMatchObject([
    { seconds: 1, nanoseconds: 500_000_000, comments: ["kept"] },
    { seconds: 2, nanoseconds: 0, comments: [] },
  ]);
});

test("a section may have 65,536 interfaces, and not one more", () => {
  const one = interfaceBlock(false);
  const many = new Uint8Array(one.length * 65_536);
  for (let i = 0; i < 65_536; i++) many.set(one, i * one.length);
  const packet = enhancedPacket(false, 65_535, [0, 0], ascii("a"));
  const whole = readAll(concat(sectionHeader(false), many, packet));
  expect(whole.error).toBeUndefined();
  expect(whole.packets[0]?.interfaceId).toBe(65_535);
  const { error } = readAll(concat(sectionHeader(false), many, one));
  expect([error?.code, error?.offset]).toEqual(["CAPTURE_BAD_BLOCK", 28 + many.length]);
});
