import { expect, test } from "vitest";
import { openFilter, tcpFrame, udpFrame, withExtensions } from "./filter-bench.ts";

/** A list as a config has it: no rule shadows one that should be reached. */
const rules = [
  { action: "pass", protocol: "udp", destination_ports: { first: 53 } },
  {
    action: "drop",
    protocol: "tcp",
    source: "203.0.113.0/24",
    source6: "2001:db8:ba0::/44",
    destination_ports: { first: 443 },
  },
  { action: "pass", protocol: "tcp", destination_ports: { first: 443, last: 445 } },
  { action: "unused" },
  { action: "drop", protocol: "udp", source_ports: { first: 1, last: 1023 } },
  { action: "pass", source: "192.0.2.128/25" },
  { action: "pass", source6: "2001:db8:600d::1" },
  { action: "pass", protocol: 132 },
];
const byDefault = "64";

const web = "198.51.100.1:443";
const web6 = "[2001:db8:ffff::1]:443";

function otherProtocol(number: number, from: string): Buffer {
  const frame = udpFrame(from, "198.51.100.1:0", 20);
  frame[14 + 9] = number;
  return frame;
}

function laterFragment(frame: Buffer): Buffer {
  frame.writeUInt16BE(0x00b9, 20);
  return frame;
}

for (const { name, frame, rule } of [
  {
    name: "matches a protocol and a port",
    frame: udpFrame("192.0.2.1:5000", "198.51.100.1:53", 9),
    rule: "0",
  },
  {
    name: "does not match another protocol",
    frame: tcpFrame("192.0.2.1:5000", "198.51.100.1:53"),
    rule: byDefault,
  },
  {
    name: "does not match the next port",
    frame: udpFrame("192.0.2.1:5000", "198.51.100.1:54", 9),
    rule: byDefault,
  },
  { name: "matches a source prefix", frame: tcpFrame("203.0.113.0:5000", web), rule: "1" },
  {
    name: "matches a source prefix to its last address",
    frame: tcpFrame("203.0.113.255:1", web),
    rule: "1",
  },
  {
    name: "does not match beyond the source prefix",
    frame: tcpFrame("203.0.114.0:5000", web),
    rule: "2",
  },
  {
    name: "matches an IPv6 prefix within a word",
    frame: tcpFrame("[2001:db8:baf:1::1]:5000", web6),
    rule: "1",
  },
  {
    name: "does not match beyond an IPv6 prefix",
    frame: tcpFrame("[2001:db8:bc0::1]:5000", web6),
    rule: "2",
  },
  {
    name: "matches the first port of a range",
    frame: tcpFrame("192.0.2.1:1", "198.51.100.1:443"),
    rule: "2",
  },
  {
    name: "matches the last port of a range",
    frame: tcpFrame("192.0.2.1:1", "198.51.100.1:445"),
    rule: "2",
  },
  {
    name: "does not match below a range",
    frame: tcpFrame("192.0.2.1:1", "198.51.100.1:442"),
    rule: byDefault,
  },
  {
    name: "does not match above a range",
    frame: tcpFrame("192.0.2.1:1", "198.51.100.1:446"),
    rule: byDefault,
  },
  {
    name: "matches source ports",
    frame: udpFrame("192.0.2.1:1023", "198.51.100.1:99", 9),
    rule: "4",
  },
  {
    name: "lets the first of two rules that match decide",
    frame: udpFrame("192.0.2.1:1023", "198.51.100.1:53", 9),
    rule: "0",
  },
  {
    name: "goes on behind an unused rule",
    frame: udpFrame("192.0.2.200:9999", "198.51.100.1:99", 9),
    rule: "5",
  },
  {
    name: "keeps an IPv4 source from IPv6 packets",
    frame: udpFrame("[2001:db8::1]:9999", "[2001:db8::2]:99", 9),
    rule: byDefault,
  },
  {
    name: "matches one IPv6 address",
    frame: udpFrame("[2001:db8:600d::1]:9999", "[2001:db8::2]:99", 9),
    rule: "6",
  },
  {
    name: "does not match the IPv6 address beside it",
    frame: udpFrame("[2001:db8:600d::2]:9999", "[2001:db8::2]:99", 9),
    rule: byDefault,
  },
  { name: "takes protocols by number", frame: otherProtocol(132, "10.0.0.1:1"), rule: "7" },
  {
    name: "matches protocols without ports by source",
    frame: otherProtocol(1, "192.0.2.130:1"),
    rule: "5",
  },
  {
    name: "has no ports in a later fragment",
    frame: laterFragment(udpFrame("10.0.0.1:1", "198.51.100.1:53", 99)),
    rule: byDefault,
  },
  {
    name: "matches a later fragment by its source",
    frame: laterFragment(udpFrame("192.0.2.130:1", "198.51.100.1:53", 99)),
    rule: "5",
  },
  {
    name: "has no ports where the header is cut off",
    frame: udpFrame("10.0.0.1:1", "198.51.100.1:53", 9).subarray(0, 37),
    rule: byDefault,
  },
  {
    name: "finds the ports behind extension headers",
    frame: withExtensions(udpFrame("[2001:db8::1]:9", "[2001:db8::2]:53", 9), {
      number: 0,
      bytes: [0, 0, 1, 4, 0, 0, 0, 0],
    }),
    rule: "0",
  },
])
  test(`port-firewall ${name}`, async () => {
    for (const [default_action, otherwise] of [
      ["pass", "pass"],
      ["drop", "drop"],
    ] as const) {
      const filter = await openFilter("port-firewall", { globals: { rules, default_action } });
      const action = rules[Number(rule)]?.action ?? otherwise;
      expect(filter.judge(frame)).toBe(action);
      expect(filter.entries("matched")).toEqual({ [rule]: { packets: 1, bytes: frame.length } });
    }
  });

test("port-firewall without rules passes everything and counts it", async () => {
  const filter = await openFilter("port-firewall");
  const frame = udpFrame("192.0.2.1:1", "198.51.100.1:2", 58);
  expect([filter.judge(frame), filter.judge(frame)]).toEqual(["pass", "pass"]);
  expect(filter.entries("matched")).toEqual({ [byDefault]: { packets: 2, bytes: 200 } });
});

test("port-firewall matches by the last of its 64 rules", async () => {
  const list = Array.from({ length: 64 }, (_, i) => ({
    action: i === 63 ? "drop" : "pass",
    destination_ports: { first: i + 1 },
  }));
  const filter = await openFilter("port-firewall", { globals: { rules: list } });
  expect(filter.judge(udpFrame("192.0.2.1:1", "198.51.100.1:64", 0))).toBe("drop");
  expect(Object.keys(filter.entries("matched"))).toEqual(["63"]);
});

test("port-firewall matches no port by a range that ends before it begins", async () => {
  const filter = await openFilter("port-firewall", {
    globals: { rules: [{ action: "drop", destination_ports: { first: 100, last: 50 } }] },
  });
  for (const port of [49, 50, 75, 100, 101])
    expect(filter.judge(udpFrame("192.0.2.1:1", `198.51.100.1:${port}`, 0))).toBe("pass");
});

test("port-firewall passes what is not IP whatever the default is", async () => {
  const filter = await openFilter("port-firewall", { globals: { default_action: "drop" } });
  const arp = Buffer.from(`${"02".repeat(12)}0806${"00".repeat(28)}`, "hex");
  expect(filter.judge(arp)).toBe("pass");
  expect(filter.entries("matched")).toEqual({});
});
