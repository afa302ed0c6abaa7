import { expect, test } from "vitest";
import { formatTrace, type TraceArgument } from "../../src/engine/helpers/trace-format.ts";

const memory = new Map<number, Uint8Array>([
  [0x10000, new TextEncoder().encode("hello\0behind")],
  [0x20000, Uint8Array.of(192, 0, 2, 1)],
  [0x30000, Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)],
  [0x40000, Uint8Array.of(27, 91, 50, 74, 0)],
  [0x50000, new Uint8Array(4096).fill(65)],
]);

function words(value: bigint): TraceArgument {
  return {
    low: Number(BigInt.asIntN(32, value)),
    high: Number(BigInt.asIntN(32, value >> 32n)),
  };
}

function format(text: string, ...values: bigint[]): string | undefined {
  const line = formatTrace(text, values.map(words), (low, high, index) =>
    high === 0 ? memory.get(low)?.[index] : undefined,
  );
  return line?.text;
}

/** Expected texts are those of printf(3) but for pointers and addresses: lib/vsprintf.c. */
for (const { text, values = [], want } of [
  { text: "plain", want: "plain" },
  { text: "100%%", want: "100%" },
  { text: "%d", values: [-5n], want: "-5" },
  { text: "%i", values: [0xffff_ffff_0000_0007n], want: "7" },
  { text: "%d", values: [0x8000_0000n], want: "-2147483648" },
  { text: "%u", values: [-1n], want: "4294967295" },
  { text: "%ld", values: [-1n], want: "-1" },
  { text: "%lld", values: [-(2n ** 63n)], want: "-9223372036854775808" },
  { text: "%llu", values: [-1n], want: "18446744073709551615" },
  { text: "%x", values: [0x1_dead_beefn], want: "deadbeef" },
  { text: "%llx", values: [0x1_dead_beefn], want: "1deadbeef" },
  { text: "%X", values: [0xabcn], want: "ABC" },
  { text: "%08x", values: [0xabcn], want: "00000abc" },
  { text: "%8d|", values: [-42n], want: "     -42|" },
  { text: "%08d|", values: [-42n], want: "-0000042|" },
  { text: "%-8d|", values: [-42n], want: "-42     |" },
  { text: "%+d % d", values: [1n, 2n], want: "+1  2" },
  { text: "%c%c", values: [72n, 0x169n], want: "Hi" },
  { text: "%c", values: [27n], want: "?" },
  { text: "%s!", values: [0x10000n], want: "hello!" },
  { text: "%8s|", values: [0x10000n], want: "   hello|" },
  { text: "%08s|", values: [0x10000n], want: "   hello|" },
  { text: "%s|", values: [0x99999n], want: "|" },
  { text: "%s|", values: [0x1_0001_0000n], want: "|" },
  { text: "%s", values: [0x40000n], want: "?[2J" },
  { text: "%p", values: [0x10000n], want: "0000000000010000" },
  { text: "%px", values: [-1n], want: "ffffffffffffffff" },
  { text: "%pS", values: [0x10n], want: "0x10" },
  { text: "%pI4", values: [0x20000n], want: "192.0.2.1" },
  { text: "%pi4", values: [0x20000n], want: "192.000.002.001" },
  { text: "%pI4", values: [0n], want: "0.0.0.0" },
  { text: "%pI6", values: [0x30000n], want: "2001:0db8:0000:0000:0000:0000:0000:0001" },
  { text: "%pi6", values: [0x30000n], want: "20010db8000000000000000000000001" },
])
  test(`formats ${JSON.stringify(text)} of ${values.join(", ") || "nothing"}`, () => {
    expect(format(text, ...values, 0n, 0n)).toBe(want);
  });

for (const text of [
  "%",
  "%q",
  "%.3d",
  "%#x",
  "%lf",
  "%f",
  "%sx",
  "%pX",
  "%p4",
  "%pI5",
  "%n",
  "%hd",
  "a\x01b",
  "%s\xe9",
  "%d%d%d%d",
  "%*d",
  "%5",
  "%lll",
])
  test(`refuses ${JSON.stringify(text)}, as the kernel does`, () => {
    expect(format(text, 1n, 2n, 3n)).toBeUndefined();
  });

test("cuts a line to a trace buffer and gives the length it would have", () => {
  const line = formatTrace(
    "%999999d|%s",
    [words(7n), words(0x50000n)],
    (low, _, i) => memory.get(low)?.[i],
  );
  expect(line?.text).toHaveLength(1023);
  expect(line?.length).toBe(999_999 + 1 + 511);
});

test("bounds a width of any number of digits", () => {
  const line = formatTrace(`%${"9".repeat(14)}d`, [words(7n)], () => undefined);
  expect(line?.text).toHaveLength(1023);
  expect(line?.length).toBe(2 ** 23 - 1);
});
