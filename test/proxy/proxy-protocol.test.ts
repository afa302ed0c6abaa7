import { expect, test } from "vitest";
import {
  maxHeaderBytes,
  type ProxiedFlow,
  readProxyHeader,
  writeProxyHeader,
} from "../../src/proxy/proxy-protocol.ts";
import { Random } from "../packet/random.ts";

const signature = "0d0a0d0a000d0a515549540a";
const flow4: ProxiedFlow = {
  source: { address: "192.0.2.1", port: 56324 },
  destination: { address: "198.51.100.7", port: 443 },
};
const flow6: ProxiedFlow = {
  source: { address: "2001:db8::1", port: 1 },
  destination: { address: "2001:db8::2", port: 65535 },
};
const v2of4 = `${signature}2111000cc0000201c6336407dc0401bb`;
const addresses4 = "c0000201c6336407dc0401bb";

const hex = (text: string): Uint8Array => Buffer.from(text, "hex");
const line = (text: string): Uint8Array => Buffer.from(text, "latin1");

const present: readonly (readonly [title: string, data: Uint8Array, flow?: ProxiedFlow])[] = [
  ["v1, TCP4", line("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"), flow4],
  ["v1, TCP6", line("PROXY TCP6 2001:db8::1 2001:DB8:0::2 1 65535\r\n"), flow6],
  [
    "v1, TCP6 with IPv4-mapped addresses, which are IPv4",
    line("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.7 56324 443\r\n"),
    flow4,
  ],
  ["v1, UNKNOWN", line("PROXY UNKNOWN\r\n")],
  ["v1, UNKNOWN with whatever follows", line("PROXY UNKNOWN ff:: x y\r\n")],
  [
    "v1 of the longest line there is",
    line(
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
    ),
    {
      source: { address: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", port: 65535 },
      destination: { address: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", port: 65535 },
    },
  ],
  ["v2, TCP over IPv4", hex(v2of4), flow4],
  [
    "v2, TCP over IPv6",
    hex(
      `${signature}2121002420010db800000000000000000000000120010db80000000000000000000000020001ffff`,
    ),
    flow6,
  ],
  ["v2, LOCAL", hex(`${signature}20000000`)],
  ["v2, LOCAL with whatever follows", hex(`${signature}20ff0003010203`)],
  ["v2, AF_UNSPEC", hex(`${signature}21000000`)],
  ["v2, a Unix socket", hex(`${signature}213100d8${"00".repeat(216)}`)],
  ["v2, UDP, which no TCP connection is", hex(`${signature}2112000c${addresses4}`)],
  ["v2 with TLVs", hex(`${signature}21110014${addresses4}0400010002000141`), flow4],
  [
    "v2 with a right checksum",
    withChecksum(`${signature}21110013${addresses4}03000400000000`),
    flow4,
  ],
];

for (const [title, data, flow] of present) {
  test(`read: ${title}`, () => {
    const more = Buffer.concat([data, line("GET / HTTP/1.1\r\n")]);
    for (const bytes of [data, more])
      expect(readProxyHeader(bytes)).toEqual({ kind: "present", bytes: data.length, flow });
  });

  test(`incomplete at every byte: ${title}`, () => {
    for (let length = 0; length < data.length; length++)
      expect(readProxyHeader(data.subarray(0, length)), `${length}`).toEqual({
        kind: "incomplete",
      });
  });
}

const malformed: readonly (readonly [title: string, data: Uint8Array, reason: string])[] = [
  ["no end within 107 bytes", line(`PROXY ${"x".repeat(101)}`), "a line without an end"],
  ["LF alone", line("PROXY UNKNOWN\n"), "a line that does not end in CR LF"],
  ["no protocol", line("PROXY \r\n"), "an unknown protocol"],
  ["UDP4", line("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"), "an unknown protocol"],
  ["a part missing", line("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"), fourParts()],
  ["a part too many", line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"), fourParts()],
  ["two spaces", line("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"), fourParts()],
  ["IPv6 as TCP4", line("PROXY TCP4 ::1 ::2 1 2\r\n"), unreadable()],
  ["IPv4 as TCP6", line("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"), unreadable()],
  ["a port beyond 65535", line("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"), unreadable()],
  ["a port with a zero in front", line("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"), unreadable()],
  ["a negative port", line("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n"), unreadable()],
  ["an address with a scope", line("PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n"), unreadable()],
  ["no address", line("PROXY TCP4 a b 1 2\r\n"), unreadable()],
  [
    "an IPv4-mapped address beside an IPv6 one",
    line("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n"),
    "addresses of two families",
  ],
  ["version 1 in the binary form", hex(`${signature}11110000`), "an unknown version or command"],
  ["an unknown command, seen early", hex(`${signature}22`), "an unknown version or command"],
  ["an unknown family", hex(`${signature}21410000`), "an unknown address family or transport"],
  ["an unknown transport", hex(`${signature}21130000`), "an unknown address family or transport"],
  [
    "too short for addresses",
    hex(`${signature}2111000b${"00".repeat(11)}`),
    "too short for its addresses",
  ],
  ["larger than is read", hex(`${signature}2111ffff`), `more than ${maxHeaderBytes} bytes`],
  [
    "a TLV beyond the header",
    hex(`${signature}21110010${addresses4}04000200`),
    "a TLV that goes beyond the header",
  ],
  [
    "a TLV cut in its length",
    hex(`${signature}2111000e${addresses4}0400`),
    "a TLV that goes beyond the header",
  ],
  ["a wrong checksum", hex(`${signature}21110013${addresses4}03000400000001`), "a wrong checksum"],
  [
    "a checksum of another size",
    hex(`${signature}21110010${addresses4}03000100`),
    "a checksum that is not 4 bytes long",
  ],
];

for (const [title, data, reason] of malformed)
  test(`malformed: ${title}`, () => {
    expect(readProxyHeader(data)).toEqual({ kind: "malformed", reason });
  });

test("what does not begin as a header is none", () => {
  for (const text of ["GET / HTTP/1.1\r\n", "proxy TCP4", "PROXX", "\r\n\r\n\r", "\0"])
    expect(readProxyHeader(line(text))).toEqual({ kind: "absent" });
});

for (const version of [1, 2] as const)
  test(`version ${version}: what is written is read again`, () => {
    for (const flow of [flow4, flow6]) {
      const header = writeProxyHeader(version, flow);
      expect(readProxyHeader(header)).toEqual({ kind: "present", bytes: header.length, flow });
    }
    const mapped = writeProxyHeader(version, {
      source: { address: "::ffff:192.0.2.1", port: 56324 },
      destination: { address: "198.51.100.7", port: 443 },
    });
    expect(readProxyHeader(mapped)).toMatchObject({ flow: flow4 });
  });

test("version 2 is written as the specification's example lays it out", () => {
  expect(Buffer.from(writeProxyHeader(2, flow4)).toString("hex")).toBe(v2of4);
  expect(Buffer.from(writeProxyHeader(1, flow4)).toString()).toBe(
    "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
  );
});

test("200,000 mutated headers end in an answer that stays within the data", () => {
  const random = new Random(9);
  const seeds = [...present, ...malformed].map(([, data]) => data);
  for (let i = 0; i < 200_000; i++) {
    const data = Uint8Array.from(seeds[random.below(seeds.length)]!);
    for (let n = random.below(4); n > 0; n--) data[random.below(data.length)] = random.below(256);
    const cut = data.subarray(0, random.below(data.length + 1));
    const header = readProxyHeader(cut);
    if (header.kind !== "present") continue;
    expect(header.bytes).toBeGreaterThan(0);
    expect(header.bytes).toBeLessThanOrEqual(cut.length);
  }
});

function fourParts(): string {
  return "a line without four addresses and ports";
}

function unreadable(): string {
  return "an unreadable address or port";
}

/** CRC32c by its table-free definition, computed here over the whole header with the field as 0. */
function withChecksum(text: string): Uint8Array {
  const header = hex(text);
  let crc = 0xffff_ffff;
  for (const byte of header)
    for (let bit = 0, value = crc ^ byte; bit < 8; bit++) {
      value = value & 1 ? (value >>> 1) ^ 0x82f6_3b78 : value >>> 1;
      crc = value;
    }
  new DataView(header.buffer, header.byteOffset).setUint32(header.length - 4, ~crc >>> 0);
  return header;
}
