import fc from "fast-check";
import { expect, test } from "vitest";
import {
  compileLabel,
  decodeLabels,
  maxLabelLength,
} from "../../src/metrics/decoders/compile-label.ts";
import { skip } from "../../src/metrics/decoders/decoder.ts";
import type { DecoderSpec } from "../../src/metrics/map-metric-spec.ts";
import { bytes } from "./fixtures.ts";

const operations = { "1": "read", "2": "write" };
const staticMap = { name: "static_map", static_map: operations, allow_unknown: false } as const;

function decode(input: Uint8Array, decoders: readonly DecoderSpec[]): string | typeof skip {
  const label = compileLabel({ name: "l", size: input.length, padding: 0, decoders });
  if (!label.ok) throw new Error(JSON.stringify(label.error));
  return label.value.decode(input);
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

for (const { name, input, decoders, value } of [
  { name: "uint reads one byte", input: bytes("ff"), decoders: [{ name: "uint" }], value: "255" },
  {
    name: "uint reads two bytes, low first",
    input: bytes("0102"),
    decoders: [{ name: "uint" }],
    value: "513",
  },
  {
    name: "uint reads four bytes as unsigned",
    input: bytes("feffffff"),
    decoders: [{ name: "uint" }],
    value: "4294967294",
  },
  {
    name: "uint reads eight bytes exactly",
    input: bytes("ffffffffffffffff"),
    decoders: [{ name: "uint" }],
    value: "18446744073709551615",
  },
  {
    name: "uint_be reads two bytes in network order",
    input: bytes("0035"),
    decoders: [{ name: "uint_be" }],
    value: "53",
  },
  {
    name: "uint_be reads eight bytes exactly",
    input: bytes("80000000000000ff"),
    decoders: [{ name: "uint_be" }],
    value: "9223372036854776063",
  },
  {
    name: "int reads one byte as signed",
    input: bytes("fe"),
    decoders: [{ name: "int" }],
    value: "-2",
  },
  {
    name: "int reads eight bytes exactly",
    input: bytes("0100000000000080"),
    decoders: [{ name: "int" }],
    value: "-9223372036854775807",
  },
  {
    name: "inet_ip reads IPv4 in network order",
    input: bytes("01020304"),
    decoders: [{ name: "inet_ip" }],
    value: "1.2.3.4",
  },
  {
    name: "inet_ip shortens IPv6 as RFC 5952 does",
    input: bytes("2400cb000004102400000000a29efd8f"),
    decoders: [{ name: "inet_ip" }],
    value: "2400:cb00:4:1024::a29e:fd8f",
  },
  {
    name: "inet_ip keeps a single zero group",
    input: bytes("20010db8000000010001000100010001"),
    decoders: [{ name: "inet_ip" }],
    value: "2001:db8:0:1:1:1:1:1",
  },
  {
    name: "inet_ip prints an IPv4-mapped address as IPv4",
    input: bytes("00000000000000000000ffff0a000001"),
    decoders: [{ name: "inet_ip" }],
    value: "10.0.0.1",
  },
  {
    name: "inet_ip prints the unspecified IPv6 address",
    input: new Uint8Array(16),
    decoders: [{ name: "inet_ip" }],
    value: "::",
  },
  {
    name: "string ends at the first NUL",
    input: text("bananas\0peel\0"),
    decoders: [{ name: "string" }],
    value: "bananas",
  },
  {
    name: "string takes all bytes where there is no NUL",
    input: text("full"),
    decoders: [{ name: "string" }],
    value: "full",
  },
  {
    name: "string makes invalid UTF-8 safe",
    input: bytes("61ff62c3"),
    decoders: [{ name: "string" }],
    value: "a\ufffdb\ufffd",
  },
  {
    name: "string makes control characters safe and keeps tab and line feed",
    input: bytes("010941 0a7f"),
    decoders: [{ name: "string" }],
    value: "\ufffd\tA\n\ufffd",
  },
  {
    name: "hex writes two digits a byte",
    input: bytes("00abff"),
    decoders: [{ name: "hex" }],
    value: "00abff",
  },
  {
    name: "dname reads a name in wire form",
    input: text("\x07example\x03com\0\0\0"),
    decoders: [{ name: "dname" }],
    value: "example.com",
  },
  {
    name: "dname reads a name after string took its end away",
    input: text("\x07example\x03com\0\0\0"),
    decoders: [{ name: "string" }, { name: "dname" }],
    value: "example.com",
  },
  {
    name: "dname writes the root as a dot",
    input: text("\0"),
    decoders: [{ name: "dname" }],
    value: ".",
  },
  {
    name: "dname passes on what is no name",
    input: text("\x09short"),
    decoders: [{ name: "dname" }],
    value: "\tshort",
  },
  {
    name: "static_map replaces what it knows",
    input: bytes("02000000"),
    decoders: [{ name: "uint" }, staticMap],
    value: "write",
  },
  {
    name: "static_map marks what it does not know",
    input: bytes("03000000"),
    decoders: [{ name: "uint" }, staticMap],
    value: "unknown:3",
  },
  {
    name: "static_map keeps what it does not know with allow_unknown",
    input: bytes("03000000"),
    decoders: [{ name: "uint" }, { ...staticMap, allow_unknown: true }],
    value: "3",
  },
  {
    name: "static_map collapses what it does not know into one value",
    input: bytes("03000000"),
    decoders: [{ name: "uint" }, { ...staticMap, unknown: "other" }],
    value: "other",
  },
  {
    name: "static_map knows only its own keys",
    input: text("constructor"),
    decoders: [staticMap],
    value: "unknown:constructor",
  },
  {
    name: "regexp gives the whole match without a group",
    input: text("systemd-journal\0"),
    decoders: [{ name: "string" }, { name: "regexp", regexps: ["^syslog", "^systemd"] }],
    value: "systemd",
  },
  {
    name: "regexp gives its group",
    input: text("cpu-17-idle"),
    decoders: [{ name: "regexp", regexps: ["cpu-([0-9]+)"] }],
    value: "17",
  },
  {
    name: "regexp leaves the series out where nothing matches",
    input: text("sshd"),
    decoders: [{ name: "regexp", regexps: ["^systemd"] }],
    value: skip,
  },
  {
    name: "regexp collapses what does not match into one value",
    input: text("sshd"),
    decoders: [{ name: "regexp", regexps: ["^systemd"], unknown: "other" }],
    value: "other",
  },
] satisfies readonly {
  name: string;
  input: Uint8Array;
  decoders: readonly DecoderSpec[];
  value: string | typeof skip;
}[])
  test(`decoder ${name}`, () => expect(decode(input, decoders)).toBe(value));

for (const { name, size, decoders, path, what } of [
  {
    name: "uint of three bytes",
    size: 3,
    decoders: [{ name: "uint" }],
    path: ["decoders", 0],
    what: 'label "l", decoder uint: cannot read 3 bytes',
  },
  {
    name: "inet_ip of eight bytes",
    size: 8,
    decoders: [{ name: "inet_ip" }],
    path: ["decoders", 0],
    what: 'label "l", decoder inet_ip: cannot read 8 bytes',
  },
  {
    name: "uint of another decoder's text",
    size: 4,
    decoders: [{ name: "string" }, { name: "uint" }],
    path: ["decoders", 1],
    what: "label \"l\", decoder uint: reads the key's bytes, not another decoder's text",
  },
  {
    name: "hex longer than a label",
    size: 200,
    decoders: [{ name: "hex" }],
    path: ["decoders", 0],
    what: 'label "l", decoder hex: 200 bytes make 400 digits, and a label has at most 256',
  },
  {
    name: "no decoder",
    size: 4,
    decoders: [],
    path: ["decoders"],
    what: 'label "l" has no decoder',
  },
  {
    name: "two capture groups",
    size: 4,
    decoders: [{ name: "string" }, { name: "regexp", regexps: ["a", "(b)(c)"] }],
    path: ["decoders", 1, "regexps", 1],
    what: 'label "l", decoder regexp: regexp "(b)(c)" has 2 capture groups',
  },
] satisfies readonly {
  name: string;
  size: number;
  decoders: readonly DecoderSpec[];
  path: readonly (string | number)[];
  what: string;
}[])
  test(`a label with ${name} is refused by name and place`, () => {
    const label = compileLabel({ name: "l", size, padding: 0, decoders });
    expect(label).toMatchObject({ ok: false, error: [{ path, what }] });
  });

test("every fault of a label's decoders is told at once", () => {
  const decoders = [
    { name: "uint" },
    { name: "inet_ip" },
    { name: "regexp", regexps: ["("] },
  ] as const;
  const label = compileLabel({ name: "l", size: 3, padding: 0, decoders });
  expect(!label.ok && label.error.map(({ path }) => path)).toEqual([
    ["decoders", 0],
    ["decoders", 1],
    ["decoders", 2, "regexps", 0],
  ]);
});

test("labels carve a key in order and skip padding", () => {
  const labels = [
    { name: "a", size: 1, padding: 3, decoders: [{ name: "uint" }] },
    { name: "b", size: 4, padding: 0, decoders: [{ name: "inet_ip" }] },
  ] as const;
  const compiled = labels.map((label) => {
    const result = compileLabel(label);
    if (!result.ok) throw new Error(JSON.stringify(result.error));
    return result.value;
  });
  expect(decodeLabels(compiled, bytes("07 ffffff 0a000001"))).toEqual(["7", "10.0.0.1"]);
});

test("decoders take any bytes without throwing, and their labels are bounded text", () => {
  const chain = fc.array(
    fc.constantFrom<DecoderSpec>(
      { name: "uint" },
      { name: "inet_ip" },
      { name: "string" },
      { name: "hex" },
      { name: "dname" },
      staticMap,
      { ...staticMap, allow_unknown: true },
      { name: "regexp", regexps: ["[a-f]+", "(.)$"], unknown: "none" },
    ),
    { minLength: 1, maxLength: 8 },
  );
  let compiled = 0;
  fc.assert(
    fc.property(chain, fc.uint8Array({ minLength: 1, maxLength: 256 }), (decoders, input) => {
      const label = compileLabel({ name: "l", size: input.length, padding: 0, decoders });
      if (!label.ok) return;
      compiled++;
      const value = label.value.decode(input) as string;
      expect(value.length).toBeLessThanOrEqual(maxLabelLength);
      expect(value.isWellFormed()).toBe(true);
      expect(value).not.toMatch(/[^\P{Cc}\t\n\u0080-\u009f]/u);
    }),
    { seed: 20_240_611, numRuns: 3_000 },
  );
  expect(compiled).toBeGreaterThan(500);
});
