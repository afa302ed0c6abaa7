import ipaddr from "ipaddr.js";
import { expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import {
  deriveMac,
  familyOf,
  formatAddress,
  parseAddress,
  unmapAddress,
} from "../../src/packet/address.ts";
import { Random } from "./random.ts";

for (const [text, hex] of [
  ["0.0.0.0", "00000000"],
  ["255.255.255.255", "ffffffff"],
  ["192.0.2.17", "c0000211"],
  ["::", "00000000000000000000000000000000"],
  ["::1", "00000000000000000000000000000001"],
  ["1::", "00010000000000000000000000000000"],
  ["2001:DB8::a", "20010db800000000000000000000000a"],
  ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
  ["1:2:3:4:5:6:7::", "00010002000300040005000600070000"],
  ["::2:3:4:5:6:7:8", "00000002000300040005000600070008"],
  ["64:ff9b::192.0.2.1", "0064ff9b0000000000000000c0000201"],
  ["1:2:3:4:5:6:192.0.2.1", "000100020003000400050006c0000201"],
  ["::ffff:127.0.0.1", "00000000000000000000ffff7f000001"],
  ["fe80::1%eth0", "fe800000000000000000000000000001"],
  ["fe80::1%3", "fe800000000000000000000000000001"],
] as const)
  test(`parseAddress reads ${text}`, () => {
    expect(toHex(parseAddress(text)!)).toBe(hex);
  });

for (const text of [
  "",
  "localhost",
  "010.0.0.1",
  "1.2.3",
  "1.2.3.256",
  "1.2.3.4.5",
  "0x7f.0.0.1",
  " 1.2.3.4",
  "1.2.3.4%eth0",
  "1.2.3.4/8",
  ":",
  ":::",
  "1::2::3",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "12345::",
  "::1.2.3",
  "[::1]",
])
  test(`parseAddress finds no address in "${text}"`, () => {
    expect(parseAddress(text)).toBeUndefined();
  });

test("parseAddress reads random addresses in any notation as ipaddr.js does", () => {
  const random = new Random(4291);
  for (let i = 0; i < 2000; i++) {
    const bytes = random.bytes(i % 4 === 0 ? 4 : 16);
    for (let zero = random.below(12); zero > 0; zero--) bytes[random.below(bytes.length)] = 0;
    const address = ipaddr.fromByteArray(Array.from(bytes));
    for (const text of [address.toString(), address.toNormalizedString()])
      expect(toHex(parseAddress(text)!)).toBe(toHex(bytes));
    const length = bytes.length === 4 ? 4 : 16;
    const formatted = formatAddress(bytes, 0, length);
    expect(toHex(parseAddress(formatted)!)).toBe(toHex(bytes));
  }
});

for (const [hex, text] of [
  ["c0000211", "192.0.2.17"],
  ["20010db8000000000000000000000001", "2001:db8::1"],
  ["20010db8000000010001000100010001", "2001:db8:0:1:1:1:1:1"],
  ["00000000000000000000000000000000", "::"],
  ["20010db8000000000001000000000001", "2001:db8::1:0:0:1"],
] as const)
  test(`formatAddress writes ${text}, as RFC 5952 has it`, () => {
    const bytes = Buffer.from(`ff${hex}ff`, "hex");
    expect(formatAddress(bytes, 1, hex.length === 8 ? 4 : 16)).toBe(text);
  });

test("unmapAddress makes IPv4 of IPv4-mapped addresses only", () => {
  for (const [text, hex] of [
    ["::ffff:192.0.2.1", "c0000201"],
    ["192.0.2.1", "c0000201"],
    ["::192.0.2.1", "000000000000000000000000c0000201"],
    ["::fffe:192.0.2.1", "00000000000000000000fffec0000201"],
    ["1::ffff:192.0.2.1", "00010000000000000000ffffc0000201"],
  ] as const)
    expect(toHex(unmapAddress(parseAddress(text)!))).toBe(hex);
});

test("deriveMac is locally administered, unicast, stable, and tells addresses apart", () => {
  const seen = new Set<string>();
  const addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "::1", "fe80::1"];
  for (const text of addresses) {
    const mac = deriveMac(parseAddress(text)!);
    expect(mac.length).toBe(6);
    expect(mac[0]! & 0b11).toBe(0b10);
    expect(deriveMac(parseAddress(text)!)).toEqual(mac);
    seen.add(toHex(mac));
  }
  expect(seen.size).toBe(addresses.length);
  expect(toHex(deriveMac(parseAddress("192.0.2.1")!))).toBe("0204c0000201");
});

test("familyOf tells IPv4, mapped or not, from IPv6, and throws for what is neither", () => {
  const families = ["192.0.2.1", "::ffff:192.0.2.1", "::", "fe80::1%eth0"].map(familyOf);
  expect(families).toEqual([4, 4, 6, 6]);
  expect(() => familyOf("localhost")).toThrow(RangeError);
});
