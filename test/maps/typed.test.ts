import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import { formatTyped, parseTyped } from "../../src/maps/typed.ts";
import { sizeOfType } from "../../src/object/btf-types.ts";
import { btf, Types } from "./built-types.ts";

function parse(type: string, input: unknown) {
  const id = btf.id(type);
  return parseTyped(btf, id, sizeOfType(btf, id)!, input);
}

function bytesOf(type: string, input: unknown): string {
  const parsed = parse(type, input);
  if (!parsed.ok) throw parsed.error;
  return toHex(parsed.value);
}

describe("parseTyped reads", () => {
  for (const [type, input, hex] of [
    ["__u8", 255, "ff"],
    ["__u16", 0x1234, "3412"],
    ["__u32", "0x1234", "34120000"],
    ["__u32", " 17 ", "11000000"],
    ["__u32", true, "01000000"],
    ["__s32", -2, "feffffff"],
    ["__s32", "-0x10", "f0ffffff"],
    ["__u64", "18446744073709551615", "ffffffffffffffff"],
    ["__u64", 2n ** 63n, "0000000000000080"],
    ["counter", 5, "0500000000000000"],
    ["_Bool", true, "01"],
    ["_Bool", "false", "00"],
    ["_Bool", 1, "01"],
    ["double", 1.5, "000000000000f83f"],
    ["double", "1.5", "000000000000f83f"],
    ["action", "PASS", "02000000"],
    ["action", "NONE", "ffffffff"],
    ["action", 7, "07000000"],
    ["__be16", 53, "0035"],
    ["__be32", 1, "00000001"],
    ["__be32", "192.0.2.1", "c0000201"],
    ["__u32", "192.0.2.1", "c0000201"],
    ["__int128", "2001:db8::1", "20010db8000000000000000000000001"],
    ["char[8]", "eth0", "6574683000000000"],
    ["char[8]", "12345678", "3132333435363738"],
    ["char[8]", "0x61", "3078363100000000"],
    ["char[8]", "hex:6162000000000000", "6162000000000000"],
    ["__u8[4]", "192.0.2.1", "c0000201"],
    ["__u8[4]", [1, "0x2"], "01020000"],
    ["__u8[4]", "[1, 2, 3, 4]", "01020304"],
    ["__u8[4]", "0x0a0b0c0d", "0a0b0c0d"],
    ["__u8[6]", "02:00:5e:10:00:ff", "02005e1000ff"],
    ["__u8[16]", "::1", "00000000000000000000000000000001"],
    ["__u8[16]", "::ffff:192.0.2.1", "00000000000000000000ffffc0000201"],
    ["__be32[4]", "2001:db8::1", "20010db8000000000000000000000001"],
    ["__u16[3]", [1, 2, 3], "010002000300"],
    ["in6_addr", "2001:db8::1", "20010db8000000000000000000000001"],
    ["only", 7, "07000000"],
    ["only", { rule: 7 }, "07000000"],
    ["only", "0x00000007", "07000000"],
    ["flow", "0x0102030405060708090a0b0c", "0102030405060708090a0b0c"],
    ["only", "hex:01020304", "01020304"],
    ["ipv4_prefix", "203.0.113.0/24", "18000000cb007100"],
    ["ipv4_prefix", "203.0.113.9", "20000000cb007109"],
    ["ipv4_prefix", "0.0.0.0/0", "0000000000000000"],
    ["ipv4_prefix", { prefixlen: 8, address: "10.0.0.0" }, "080000000a000000"],
    ["ipv6_prefix", "2001:db8::/32", "2000000020010db8000000000000000000000000"],
    ["flow", { source: "192.0.2.1", port: 53, protocol: 17 }, "c00002010035110000000000"],
    ["flow", '{"port": 53, "number": 258}', "000000000035000002010000"],
    ["flow", "{port: 53, number: 258}", "000000000035000002010000"],
    ["flow", " { source: 192.0.2.1, protocol: 0x11 } # yes", "c00002010000110000000000"],
    ["flow", '{bytes: [1, "2"]}', "000000000000000001020000"],
    ["named", "{name: yyy.com}", "7979792e636f6d00"],
    ["named", '{"name": "yyy.com"}', "7979792e636f6d00"],
    ["named", '{name: "{a}"}', "7b617d0000000000"],
    ["named", "yyy.com", "7979792e636f6d00"],
    ["named", "[yyy]", "5b7979795d000000"],
    ["char[8]", "{a: b}", "7b613a20627d0000"],
    ["measure", "{ratio: 2, count: 18446744073709551615}", "0000000000000040ffffffffffffffff"],
    ["measure", '{"ratio": 2.5, "count": 3}', "00000000000004400300000000000000"],
    ["flow[2]", "[{}, {protocol: 6}]", "000000000000000000000000000000000000060000000000"],
    ["__u8[4]", `[${"1, ".repeat(3)}${" ".repeat(4096)}2]`, "01010102"],
    ["flow", { bytes: [1, 2] }, "000000000000000001020000"],
    ["flow", { number: 0x0201, bytes: [1, 2] }, "000000000000000001020000"],
    ["flow[2]", [{}, { protocol: 6 }], "000000000000000000000000000000000000060000000000"],
    ["bits", { low: 5, middle: -1, high: 33 }, "fd87"],
  ] as readonly (readonly [string, unknown, string])[])
    test(`${type} from ${JSON.stringify(input, (_, v) => (typeof v === "bigint" ? `${v}n` : v))}`, () => {
      expect(bytesOf(type, input)).toBe(hex);
    });
});

describe("parseTyped says what is wrong and what would be right", () => {
  for (const [type, input, message] of [
    ["__u8", 256, "VALUE_RANGE value: 256 does not fit __u8; write a whole number from 0 to 255"],
    [
      "__s32",
      "2147483648",
      "VALUE_RANGE value: 2147483648 does not fit __s32; write a whole number from -2147483648 to 2147483647",
    ],
    [
      "__u32",
      "ten",
      'VALUE_TYPE value: "ten" is no __u32; write a whole number from 0 to 4294967295, or an address such as 192.0.2.1',
    ],
    [
      "__u32",
      1.5,
      "VALUE_TYPE value: 1.5 is no __u32; write a whole number from 0 to 4294967295, or an address such as 192.0.2.1",
    ],
    [
      "__u64",
      2 ** 60,
      "VALUE_TYPE value: 1152921504606847000 is no exact number beyond 2⁵³; write it in quotes",
    ],
    [
      "__u32",
      "::1",
      'VALUE_TYPE value: "::1" is no __u32; write a whole number from 0 to 4294967295, or an address such as 192.0.2.1',
    ],
    ["__u8", null, "VALUE_TYPE value: null is no __u8; write a whole number from 0 to 255"],
    ["_Bool", "yes", 'VALUE_TYPE value: "yes" is no _Bool; write true or false'],
    ["_Bool", 2, "VALUE_RANGE value: 2 does not fit _Bool; write a whole number from 0 to 1"],
    [
      "action",
      "REJECT",
      'VALUE_TYPE value: "REJECT" is no enum action; write DROP, PASS, NONE, or a number',
    ],
    ["double", "fast", 'VALUE_TYPE value: "fast" is no double; write a number'],
    [
      "char[8]",
      "interface",
      'VALUE_RANGE value: "interface" has 9 bytes, and char[8] holds 8; write text of at most 8 bytes',
    ],
    [
      "char[8]",
      "hex:6162",
      "VALUE_RANGE value: 2 bytes for char[8], which has 8; write 16 hex digits",
    ],
    [
      "__u8[4]",
      [1, 2, 3, 4, 5],
      "VALUE_RANGE value: 5 values, and __u8[4] holds 4; write a list of at most 4 values of type __u8, or an address such as 192.0.2.1, or hex: and 8 hex digits",
    ],
    [
      "__u8[4]",
      [1, 999],
      "VALUE_RANGE value[1]: 999 does not fit __u8; write a whole number from 0 to 255",
    ],
    [
      "__u8[16]",
      "192.0.2.1",
      'VALUE_TYPE value: "192.0.2.1" is no __u8[16]; write a list of at most 16 values of type __u8, or an address such as 2001:db8::1, or hex: and 32 hex digits',
    ],
    [
      "in6_addr",
      "fe80::1%eth0",
      /^VALUE_TYPE value\.in6_u: "fe80::1%eth0" is no union \{…\}; write its members: u6_addr8, u6_addr32, or an address such as 2001:db8::1, or hex: and 32 hex digits$/,
    ],
    [
      "ipv4_prefix",
      "203.0.113.0/33",
      'VALUE_PREFIX value: "203.0.113.0/33" is longer than 32 bits; write a length from 0 to 32',
    ],
    [
      "ipv4_prefix",
      "203.0.113.1/24",
      'VALUE_PREFIX value: "203.0.113.1/24" has bits set beyond its length; write 203.0.113.0/24, or the address alone',
    ],
    [
      "ipv4_prefix",
      "2001:db8::/32",
      'VALUE_PREFIX value: "2001:db8::/32" is an IPv6 prefix, and the key holds 4 address bytes; write a prefix such as 203.0.113.0/24',
    ],
    [
      "ipv6_prefix",
      "everyone",
      'VALUE_PREFIX value: "everyone" is no address prefix; write a prefix such as 2001:db8::/32',
    ],
    [
      "ipv4_prefix",
      5,
      "VALUE_TYPE value: 5 is no struct ipv4_prefix; write a prefix such as 203.0.113.0/24",
    ],
    [
      "flow",
      { sport: 1 },
      'VALUE_MEMBER value: struct flow has no member "sport"; its members are source, port, protocol, padding, number, bytes',
    ],
    [
      "flow",
      { port: 70_000 },
      "VALUE_RANGE value.port: 70000 does not fit __be16; write a whole number from 0 to 65535",
    ],
    [
      "flow",
      { number: 1, bytes: [2] },
      'VALUE_MEMBER value: member "number" shares its bytes with another one that was given, and they differ; give one of them',
    ],
    [
      "flow",
      17,
      "VALUE_TYPE value: 17 is no struct flow; write its members: source, port, protocol, padding, number, bytes, or hex: and 24 hex digits",
    ],
    [
      "named",
      "{name: yyy.com",
      'VALUE_TYPE value: "{name: yyy.com" is not valid YAML: Flow map must end with a }; write its members as in YAML or JSON: { name: … }; text in them with a comma, a colon or a bracket in quotes',
    ],
    ["flow", '{"port": 1, "port": 2}', /"port\\": 2\}" is not valid YAML: Map keys must be unique/],
    ["flow", "{port: &p 1, number: *p}", /number: \*p\}" has an alias; write its members/],
    ["flow", "{port: !port 1}", /is not valid YAML: Unresolved tag/],
    ["flow", "{bytes: !!binary AgA=}", /is not valid YAML: Unresolved tag/],
    ["flow", "{port: 1}\n---\n{port: 2}", /is not valid YAML: .*multiple documents/],
    ["flow", "{ports: 1}", /struct flow has no member "ports"/],
    ["flow", "{__proto__: 1}", /struct flow has no member "__proto__"/],
    ["flow", `{port:${"[".repeat(4000)}`, /is nested deeper than 32 levels/],
    // Brackets that are text take nothing back from those that are none.
    ["flow", `{a: "${"}".repeat(990)}", b: ${"[".repeat(990)}`, /is nested deeper than 32 levels/],
    ["flow", `{ #${"}".repeat(990)}\n a: ${"[".repeat(990)}`, /is nested deeper than 32 levels/],
    ["flow", `{a}:\n${"- ".repeat(1900)}`, /is nested deeper than 32 levels/],
    ["flow", `{a: "${"[".repeat(40)}", ports: 1}`, /is no |has no member "a"/],
    ["flow", `{port: 1,${" ".repeat(4096)}}`, /is longer than 4096 characters, and no JSON/],
    ["flow", "[1, 2]", /"\[1, 2\]" is no struct flow; write its members/],
    ["__u8[4]", "[1, 2", /"\[1, 2" is not valid YAML: .*; write a list, as in YAML or JSON/],
    [
      "bits",
      { low: 8 },
      "VALUE_RANGE value.low: 8 does not fit __u16; write a whole number from 0 to 7",
    ],
    [
      "void *",
      1,
      "VALUE_TYPE value: a value of type void * has no meaning outside the program; leave it out",
    ],
  ] as readonly (readonly [string, unknown, string | RegExp])[])
    test(`${type} from ${JSON.stringify(input)}`, () => {
      const parsed = parse(type, input);
      const message_ = parsed.ok
        ? toHex(parsed.value)
        : `${parsed.error.code} ${parsed.error.message}`;
      if (typeof message === "string") expect(message_).toBe(message);
      else expect(message_).toMatch(message);
    });
});

describe("without BTF, parseTyped", () => {
  for (const { name, size, input, result } of [
    { name: "reads a number", size: 4, input: 258, result: "02010000" },
    { name: "reads a negative number", size: 2, input: -1, result: "ffff" },
    { name: "reads 0x text as a number", size: 4, input: "0x0102", result: "02010000" },
    { name: "reads hex:", size: 4, input: "hex:01020304", result: "01020304" },
    {
      name: "reads 0x text as bytes where no number fits",
      size: 3,
      input: "0x010203",
      result: "010203",
    },
    {
      name: "reads an IPv4 prefix for 8 bytes",
      size: 8,
      input: "10.0.0.0/8",
      result: "080000000a000000",
    },
    {
      name: "reads an IPv6 prefix for 20 bytes",
      size: 20,
      input: "2001:db8::/32",
      result: "2000000020010db8000000000000000000000000",
    },
    {
      name: "refuses text",
      size: 4,
      input: "ten",
      result:
        'VALUE_TYPE value: "ten" is no value of 4 bytes, and the object has no BTF type for it; write a whole number from -2147483648 to 4294967295, or hex: and 8 hex digits',
    },
    {
      name: "refuses a number that does not fit",
      size: 1,
      input: 256,
      result:
        "VALUE_RANGE value: 256 is no value of 1 bytes, and the object has no BTF type for it; write a whole number from -128 to 255, or hex: and 2 hex digits",
    },
    {
      name: "refuses a number for odd sizes",
      size: 6,
      input: 1,
      result:
        "VALUE_TYPE value: 1 is no value of 6 bytes, and the object has no BTF type for it; write hex: and 12 hex digits",
    },
    {
      name: "refuses hex of another length",
      size: 6,
      input: "hex:01",
      result:
        'VALUE_RANGE value: "hex:01" is no value of 6 bytes, and the object has no BTF type for it; write hex: and 12 hex digits',
    },
    {
      name: "refuses a prefix of the other family",
      size: 8,
      input: "2001:db8::/32",
      result:
        'VALUE_PREFIX value: "2001:db8::/32" is an IPv6 prefix, and the key holds 4 address bytes; write a prefix such as 203.0.113.0/24',
    },
  ])
    test(name, () => {
      const parsed = parseTyped(undefined, undefined, size, input);
      expect(parsed.ok ? toHex(parsed.value) : `${parsed.error.code} ${parsed.error.message}`).toBe(
        result,
      );
    });

  test("goes by the size where a type has another one", () => {
    const parsed = parseTyped(btf, btf.id("__u32"), 8, "hex:0102030405060708");
    expect(parsed.ok && toHex(parsed.value)).toBe("0102030405060708");
  });
});

describe("formatTyped writes", () => {
  for (const [type, hex, value] of [
    ["__u32", "ffffffff", 4294967295],
    ["__s32", "ffffffff", -1],
    ["__u64", "ffffffffffff1f00", 9007199254740991],
    ["__u64", "0000000000002000", "9007199254740992"],
    ["_Bool", "01", true],
    ["action", "01000000", "DROP"],
    ["action", "09000000", 9],
    ["double", "000000000000f83f", 1.5],
    ["double", "000000000000f07f", "hex:000000000000f07f"],
    ["void *", "0001000000000000", "0x100"],
    ["__be16", "0035", 53],
    ["__be32", "c0000201", "192.0.2.1"],
    ["__u8[4]", "c0000201", [192, 0, 2, 1]],
    ["char[8]", "6574683000000000", "eth0"],
    ["char[8]", "3132333435363738", "12345678"],
    ["char[8]", "6500683000000000", "hex:6500683000000000"],
    ["char[8]", "ff00000000000000", "hex:ff00000000000000"],
    ["in6_addr", "20010db8000000000000000000000001", "2001:db8::1"],
    ["ipv4_prefix", "18000000cb007100", "203.0.113.0/24"],
    ["ipv4_prefix", "18000000cb007101", { prefixlen: 24, address: "203.0.113.1" }],
    ["ipv4_prefix", "99000000cb007101", { prefixlen: 153, address: "203.0.113.1" }],
    ["ipv6_prefix", "2000000020010db8000000000000000000000000", "2001:db8::/32"],
    [
      "flow",
      "c00002010035110001020000",
      {
        source: "192.0.2.1",
        port: 53,
        protocol: 17,
        padding: 0,
        number: 513,
        bytes: [1, 2, 0, 0],
      },
    ],
    ["bits", "fd87", { low: 5, middle: -1, high: 33 }],
  ] as readonly (readonly [string, string, unknown])[])
    test(`${type} ${hex}`, () => {
      expect(formatTyped(btf, btf.id(type), parseHex(hex)!)).toEqual(value);
    });

  test("numbers and hex without BTF", () => {
    expect(formatTyped(undefined, undefined, Uint8Array.of(2, 1))).toBe(258);
    expect(formatTyped(undefined, undefined, new Uint8Array(8).fill(255))).toBe(
      "18446744073709551615",
    );
    expect(formatTyped(undefined, undefined, Uint8Array.of(1, 2, 3))).toBe("hex:010203");
    expect(formatTyped(btf, btf.id("__u32"), Uint8Array.of(1, 2, 3))).toBe("hex:010203");
  });

  test("what is too large to take apart as hex", () => {
    const large = new Types();
    large.int("__u8", 1);
    const id = large.array("__u8[70000]", "__u8", 70_000);
    expect(formatTyped(large, id, new Uint8Array(70_000))).toBe(`hex:${"00".repeat(70_000)}`);
  });

  test("unions that double at each level in bounded time", () => {
    const nested = new Types();
    nested.int("u0", 4);
    for (let i = 1; i <= 40; i++)
      nested.union(`u${i}`, [
        ["a", `u${i - 1}`],
        ["b", `u${i - 1}`],
      ]);
    const text = JSON.stringify(formatTyped(nested, nested.id("u40"), new Uint8Array(4)));
    expect(text.length).toBeLessThan(10_000_000);
    expect(text).toContain("hex:00000000");
  });

  test("members named like parts of JavaScript's objects", () => {
    const odd = new Types();
    odd.int("__u8", 1);
    odd.struct("odd", [
      ["__proto__", "__u8"],
      ["constructor", "__u8"],
    ]);
    const value = formatTyped(odd, odd.id("odd"), Uint8Array.of(1, 2));
    expect(JSON.stringify(value)).toBe('{"__proto__":1,"constructor":2}');
    const parsed = parseTyped(odd, odd.id("odd"), 2, JSON.parse(JSON.stringify(value)));
    expect(parsed.ok && toHex(parsed.value)).toBe("0102");
  });
});

describe("what formatTyped writes, parseTyped reads back", () => {
  const names = [
    "__u8 __u16 __u32 __u64 __s32 __int128 __be16 __be32 counter double action char[8] __u8[4]",
    "__u8[6] __u8[16] __u16[3] __be32[4] in6_addr only ipv4_prefix ipv6_prefix flow flow[2] bits",
  ].flatMap((line) => line.split(" "));
  for (const name of names)
    test(name, () => {
      const id = btf.id(name);
      const size = sizeOfType(btf, id)!;
      fc.assert(
        fc.property(fc.uint8Array({ minLength: size, maxLength: size }), (bytes) => {
          const value = JSON.parse(JSON.stringify(formatTyped(btf, id, bytes)));
          const parsed = parseTyped(btf, id, size, value);
          if (!parsed.ok) throw parsed.error;
          expect(toHex(parsed.value)).toBe(toHex(bytes));
        }),
        { seed: 20, numRuns: 300 },
      );
    });
});

test("parseTyped answers any input for any type, and never throws", () => {
  const ids = [...btf.types.keys()];
  fc.assert(
    fc.property(fc.constantFrom(...ids), fc.anything({ withBigInt: true }), (id, input) => {
      const size = sizeOfType(btf, id) ?? 0;
      const parsed = parseTyped(btf, id, size, input);
      if (parsed.ok) expect(parsed.value.length).toBe(size);
      else expect(parsed.error.what).not.toBe("");
    }),
    { seed: 7, numRuns: 5000 },
  );
});
