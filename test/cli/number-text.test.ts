import { expect, test } from "vitest";
import { bytesText, countOf, durationText } from "../../src/cli/number-text.ts";

for (const { text, expected } of [
  { text: countOf(1, "packet"), expected: "1 packet" },
  { text: countOf(1_234_567, "packet"), expected: "1,234,567 packets" },
  { text: bytesText(0), expected: "0 bytes" },
  { text: bytesText(1), expected: "1 byte" },
  { text: bytesText(999), expected: "999 bytes" },
  { text: bytesText(1000), expected: "1.0 kB" },
  { text: bytesText(999_949), expected: "999.9 kB" },
  { text: bytesText(999_950), expected: "1.0 MB" },
  { text: bytesText(2.5e18), expected: "2500.0 PB" },
  { text: durationText(0.0004), expected: "0 ms" },
  { text: durationText(0.9994), expected: "999 ms" },
  { text: durationText(12.34), expected: "12.3 s" },
  { text: durationText(59.96), expected: "1 min 0 s" },
  { text: durationText(3599.6), expected: "1 h 0 min" },
  { text: durationText(100 * 3600), expected: "4 days 4 h" },
])
  test(`people read ${expected}`, () => {
    expect(text).toBe(expected);
  });
