import ipaddr from "ipaddr.js";
import { expect, test } from "vitest";
import { parseAddress } from "../../src/packet/address.ts";
import { formatPrefix, Prefix, parsePrefix } from "../../src/packet/prefix.ts";
import { Random } from "./random.ts";

function prefix(text: string): Prefix {
  const result = parsePrefix(text, "test");
  if (!result.ok) throw result.error;
  return result.value;
}

function holds(block: string, address: string): boolean {
  const bytes = parseAddress(address)!;
  return prefix(block).contains(bytes, 0, bytes.length === 4 ? 4 : 6);
}

for (const [block, address, expected] of [
  ["0.0.0.0/0", "203.0.113.9", true],
  ["0.0.0.0/0", "2001:db8::1", false],
  ["::/0", "2001:db8::1", true],
  ["::/0", "192.0.2.1", false],
  ["10.0.0.0/8", "10.255.255.255", true],
  ["10.0.0.0/8", "11.0.0.0", false],
  ["192.0.2.128/25", "192.0.2.128", true],
  ["192.0.2.128/25", "192.0.2.127", false],
  ["192.0.2.1", "192.0.2.1", true],
  ["192.0.2.1/32", "192.0.2.0", false],
  ["2001:db8::/33", "2001:db8:7fff::", true],
  ["2001:db8::/33", "2001:db8:8000::", false],
  ["2001:db8::1/128", "2001:db8::1", true],
  ["2001:db8::1", "2001:db8::3", false],
  ["::ffff:10.0.0.0/104", "10.9.9.9", true],
  ["::/95", "::1.2.3.4", true],
] as const)
  test(`Prefix ${block} ${expected ? "holds" : "does not hold"} ${address}`, () => {
    expect(holds(block, address)).toBe(expected);
  });

for (const [text, what, fix] of [
  ["10.0.0.1/8", /bits set beyond/, "write 10.0.0.0/8, or the address alone"],
  ["2001:db8::1/32", /bits set beyond/, "write 2001:db8::/32, or the address alone"],
  ["10.0.0.0/33", /"33" is no prefix length/, "write a number from 0 to 32"],
  ["::/129", /"129" is no prefix length/, "write a number from 0 to 128"],
  ["10.0.0.0/", /"" is no prefix length/, "write a number from 0 to 32"],
  ["10.0.0.0/08x", /no prefix length/, "write a number from 0 to 32"],
  ["10.0.0.0/-1", /no prefix length/, "write a number from 0 to 32"],
  ["010.0.0.0/8", /"010.0.0.0" is no IP address/, "write 192.0.2.0/24 or 2001:db8::/32"],
  ["fe80::%eth0/64", /"fe80::%eth0" is no IP address/, "write 192.0.2.0/24 or 2001:db8::/32"],
  ["", /"" is no IP address/, "write 192.0.2.0/24 or 2001:db8::/32"],
] as const)
  test(`parsePrefix refuses "${text}" and says what would be right`, () => {
    const result = parsePrefix(text, "weir.yaml:3:5");
    expect(result.ok).toBe(false);
    if (result.ok) return;
    expect(result.error.code).toBe("ADDRESS_BAD_PREFIX");
    expect(result.error.where).toBe("weir.yaml:3:5");
    expect(result.error.what).toMatch(what);
    expect(result.error.fix).toBe(fix);
  });

test("formatPrefix writes what parsePrefix reads", () => {
  for (const text of ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::/32", "::/0"])
    expect(formatPrefix(prefix(text))).toBe(text);
});

test("Prefix agrees with ipaddr.js on random blocks and addresses at any offset", () => {
  const random = new Random(4632);
  for (let i = 0; i < 2000; i++) {
    const size = i % 2 === 0 ? 4 : 16;
    const network = random.bytes(size);
    const length = random.below(size * 8 + 1);
    const bytes = random.bytes(size + 3);
    // Half of the addresses share the block's leading bits.
    const shared = random.below(2) === 0 ? length : random.below(length + 1);
    for (let bit = 0; bit < shared; bit++) {
      const mask = 0x80 >> (bit & 7);
      const byte = bytes[3 + (bit >> 3)]!;
      bytes[3 + (bit >> 3)] = (byte & ~mask) | (network[bit >> 3]! & mask);
    }
    const expected = ipaddr
      .fromByteArray(Array.from(bytes.subarray(3)))
      .match([ipaddr.fromByteArray(Array.from(network)), length] as never);
    expect(new Prefix(network, length).contains(bytes, 3, size === 4 ? 4 : 6)).toBe(expected);
  }
});

test("Prefix refuses a length that its address does not have", () => {
  for (const length of [-1, 33, 1.5])
    expect(() => new Prefix(new Uint8Array(4), length)).toThrow(RangeError);
});
