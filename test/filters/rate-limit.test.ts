import { expect, test } from "vitest";
import { openFilter, tcpFrame, udpFrame, withExtensions } from "./filter-bench.ts";

const to = "198.51.100.1:53";
const to6 = "[2001:db8:ffff::1]:53";

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

test("rate-limit passes a burst, then drops until tokens have come back at the rate", async () => {
  const filter = await openFilter("rate-limit", {
    globals: { packets_per_second: 10, packet_burst: 3 },
  });
  const frame = udpFrame("192.0.2.1:1000", to, 20);
  const now = () => filter.judge(frame);
  expect(times(5, now)).toEqual(["pass", "pass", "pass", "drop", "drop"]);
  filter.pass(0.099);
  expect(now()).toBe("drop");
  filter.pass(0.001);
  expect(times(2, now)).toEqual(["pass", "drop"]);
  filter.pass(0.2);
  expect(times(3, now)).toEqual(["pass", "pass", "drop"]);
  // No longer wait gives more than the burst.
  filter.pass(3600);
  expect(times(4, now)).toEqual(["pass", "pass", "pass", "drop"]);
  expect(filter.entries("rate_limit_packets_total")).toEqual({ 0: 9, 1: 6, 2: 0 });
  expect(filter.entries("limited_sources")).toEqual({ "::ffff:c000:201": 6 });
});

test("rate-limit passes over any time the rate and one burst, and no packet more", async () => {
  const rate = 7;
  const filter = await openFilter("rate-limit", {
    globals: { packets_per_second: rate, packet_burst: 5 },
  });
  const frame = udpFrame("192.0.2.1:1000", to, 20);
  let passed = 0;
  const stepsASecond = 1000;
  for (let i = 0; i < 60 * stepsASecond; i++) {
    if (filter.judge(frame) === "pass") passed++;
    filter.pass(1 / stepsASecond);
  }
  // The burst at the start, and what 60 seconds bring in but for the last token, a step away.
  expect(passed).toBeGreaterThanOrEqual(5 + 60 * rate - 1);
  expect(passed).toBeLessThanOrEqual(5 + 60 * rate);
});

test("rate-limit counts bytes of whole frames, and a frame over the rest takes nothing", async () => {
  const filter = await openFilter("rate-limit", {
    globals: { packets_per_second: 0, bytes_per_second: 1000, byte_burst: 500 },
  });
  const sized = (bytes: number) => filter.judge(udpFrame("192.0.2.1:1000", to, bytes - 42));
  expect([sized(400), sized(101), sized(100), sized(42)]).toEqual(["pass", "drop", "pass", "drop"]);
  filter.pass(0.1);
  expect([sized(101), sized(100)]).toEqual(["drop", "pass"]);
  filter.pass(10);
  expect([sized(501), sized(500)]).toEqual(["drop", "pass"]);
  expect(filter.entries("rate_limit_packets_total")).toEqual({ 0: 4, 1: 0, 2: 4 });
});

test("rate-limit takes tokens from neither bucket where one is short of them", async () => {
  const filter = await openFilter("rate-limit", {
    globals: { packets_per_second: 1, packet_burst: 2, bytes_per_second: 1, byte_burst: 100 },
  });
  const sized = (bytes: number) => filter.judge(udpFrame("192.0.2.1:1000", to, bytes - 42));
  // Refused for its bytes: its packet token is still there for the next two.
  expect([sized(101), sized(50), sized(50), sized(42)]).toEqual(["drop", "pass", "pass", "drop"]);
  expect(filter.entries("rate_limit_packets_total")).toEqual({ 0: 2, 1: 1, 2: 1 });
});

for (const { name, globals, frames, verdicts, limited } of [
  {
    name: "keeps IPv4 addresses apart by default",
    globals: {},
    frames: ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.1:2"],
    verdicts: ["pass", "pass", "drop"],
    limited: { "::ffff:c000:201": 1 },
  },
  {
    name: "takes an IPv4 prefix for one source",
    globals: { ipv4_prefix_length: 23 },
    frames: ["192.0.2.1:1", "192.0.3.200:1", "192.0.4.1:1"],
    verdicts: ["pass", "drop", "pass"],
    limited: { "::ffff:c000:200": 1 },
  },
  {
    name: "takes the whole of IPv4 for one source with a prefix length of 0",
    globals: { ipv4_prefix_length: 0 },
    frames: ["192.0.2.1:1", "203.0.113.9:1", "[2001:db8::1]:1"],
    verdicts: ["pass", "drop", "pass"],
    limited: { "::ffff:0:0": 1 },
  },
  {
    name: "takes an IPv6 /64 for one source by default",
    globals: {},
    frames: ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"],
    verdicts: ["pass", "drop", "pass"],
    limited: { "2001:db8::": 1 },
  },
  {
    name: "takes IPv6 prefixes that end within a word",
    globals: { ipv6_prefix_length: 44 },
    frames: ["[2001:db8:a0::1]:1", "[2001:db8:af:1::1]:1", "[2001:db8:b0::1]:1"],
    verdicts: ["pass", "drop", "pass"],
    limited: { "2001:db8:a0::": 1 },
  },
  {
    name: "keeps IPv6 addresses apart with a prefix length of 128",
    globals: { ipv6_prefix_length: 128 },
    frames: ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::2]:2"],
    verdicts: ["pass", "pass", "drop"],
    limited: { "2001:db8::2": 1 },
  },
  {
    name: "passes what is over the limit and counts it where default_action is 2",
    globals: { default_action: 2 },
    frames: ["192.0.2.1:1", "192.0.2.1:1", "192.0.2.1:1"],
    verdicts: ["pass", "pass", "pass"],
    limited: { "::ffff:c000:201": 2 },
  },
])
  test(`rate-limit ${name}`, async () => {
    const filter = await openFilter("rate-limit", {
      globals: { packets_per_second: 1, packet_burst: 1, ...globals },
    });
    expect(
      frames.map((from) => filter.judge(udpFrame(from, from.startsWith("[") ? to6 : to, 10))),
    ).toEqual(verdicts);
    expect(filter.entries("limited_sources")).toEqual(limited);
  });

test("rate-limit counts TCP, UDP and what lies behind extension headers as one source's", async () => {
  const filter = await openFilter("rate-limit", {
    globals: { packets_per_second: 1, packet_burst: 2 },
  });
  const from = "[2001:db8::1]:1";
  const hopByHop = { number: 0, bytes: [0, 0, 1, 4, 0, 0, 0, 0] };
  expect([
    filter.judge(tcpFrame(from, to6)),
    filter.judge(withExtensions(udpFrame(from, to6, 10), hopByHop)),
    filter.judge(udpFrame(from, to6, 10)),
  ]).toEqual(["pass", "pass", "drop"]);
});

test("rate-limit passes what is not IP, and frames that end within a header, uncounted", async () => {
  const filter = await openFilter("rate-limit", {
    globals: { packets_per_second: 1, packet_burst: 0 },
  });
  const arp = Buffer.from(`${"02".repeat(12)}0806${"00".repeat(28)}`, "hex");
  const whole = udpFrame("192.0.2.1:1", to, 10);
  for (const frame of [arp, whole.subarray(0, 14), whole.subarray(0, 33)])
    expect(filter.judge(frame)).toBe("pass");
  expect(filter.judge(whole)).toBe("drop");
  expect(filter.entries("rate_limit_packets_total")).toEqual({ 0: 0, 1: 1, 2: 0 });
});

test("rate-limit forgets the least recently seen of more sources than it can hold", async () => {
  const filter = await openFilter("rate-limit", {
    globals: { packets_per_second: 1, packet_burst: 1 },
  });
  const frame = udpFrame("10.0.0.0:1", to, 0);
  const judgeFrom = (n: number) => {
    frame.writeUInt32BE(0x0a000000 + n, 26);
    return filter.judge(frame);
  };
  const sources = 70_000;
  expect(new Set(times(sources, judgeFrom))).toEqual(new Set(["pass"]));
  expect(judgeFrom(sources - 1)).toBe("drop");
  expect(judgeFrom(0)).toBe("pass");
  expect(Object.keys(filter.entries("sources")).length).toBeLessThanOrEqual(65536);
});
