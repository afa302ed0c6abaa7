import { expect, test } from "vitest";
import { tcpFlags } from "../../src/packet/tcp.ts";
import { openFilter, tcpFrame, udpFrame, withExtensions } from "./filter-bench.ts";

const to = "198.51.100.1:443";
const to6 = "[2001:db8:ffff::1]:443";
const { syn, ack, rst, fin } = tcpFlags;

test("syn-guard lets a source open its burst, then connections at the rate", async () => {
  const filter = await openFilter("syn-guard", {
    globals: { connections_per_second: 2, burst: 3 },
  });
  const open = () => filter.judge(tcpFrame("192.0.2.1:1000", to, { flags: syn }));
  expect([open(), open(), open(), open()]).toEqual(["pass", "pass", "pass", "drop"]);
  filter.pass(0.499);
  expect(open()).toBe("drop");
  filter.pass(0.001);
  expect([open(), open()]).toEqual(["pass", "drop"]);
  expect(filter.entries("syn_guard_connections_total")).toEqual({ 0: 4, 1: 3 });
});

for (const { name, frame } of [
  { name: "acknowledgements", frame: tcpFrame("192.0.2.1:1", to, { flags: ack }) },
  { name: "data", frame: tcpFrame("192.0.2.1:1", to, { flags: ack }, 100) },
  { name: "SYN-ACKs", frame: tcpFrame("192.0.2.1:1", to, { flags: syn | ack }) },
  { name: "resets", frame: tcpFrame("192.0.2.1:1", to, { flags: rst }) },
  { name: "FINs", frame: tcpFrame("192.0.2.1:1", to, { flags: fin | ack }) },
  { name: "UDP", frame: udpFrame("192.0.2.1:1", to, 100) },
  {
    name: "a TCP header that is cut off",
    frame: tcpFrame("192.0.2.1:1", to, { flags: syn }).subarray(0, 53),
  },
  { name: "a frame without a network header", frame: Buffer.alloc(14) },
])
  test(`syn-guard passes ${name} without asking who sends them`, async () => {
    const filter = await openFilter("syn-guard", {
      globals: { connections_per_second: 1, burst: 0 },
    });
    expect(filter.judge(frame)).toBe("pass");
    expect(filter.entries("syn_guard_connections_total")).toEqual({ 0: 0, 1: 0 });
    expect(filter.judge(tcpFrame("192.0.2.1:1", to, { flags: syn }))).toBe("drop");
  });

test("syn-guard counts by source prefix in both families, extension headers or not", async () => {
  const filter = await openFilter("syn-guard", {
    globals: {
      connections_per_second: 1,
      burst: 1,
      ipv4_prefix_length: 24,
      ipv6_prefix_length: 48,
    },
  });
  const open = (from: string) =>
    filter.judge(tcpFrame(from, from.startsWith("[") ? to6 : to, { flags: syn }));
  expect(["192.0.2.1:1", "192.0.2.9:2", "192.0.3.1:1"].map(open)).toEqual(["pass", "drop", "pass"]);
  expect(["[2001:db8:1::1]:1", "[2001:db8:1:ff::1]:1"].map(open)).toEqual(["pass", "drop"]);
  const hidden = withExtensions(
    tcpFrame("[2001:db8:1::2]:1", to6, { flags: syn }),
    { number: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
    { number: 44, bytes: [0, 0, 0, 1, 0, 0, 0, 9] },
  );
  expect(filter.judge(hidden)).toBe("drop");
});

test("syn-guard with a rate of 0 counts and limits nothing", async () => {
  const filter = await openFilter("syn-guard", {
    globals: { connections_per_second: 0, burst: 0 },
  });
  for (let i = 0; i < 100; i++)
    expect(filter.judge(tcpFrame("192.0.2.1:1", to, { flags: syn }))).toBe("pass");
  expect(filter.entries("syn_guard_connections_total")).toEqual({ 0: 100, 1: 0 });
});
