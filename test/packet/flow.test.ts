import { expect, test } from "vitest";
import { checksum } from "../../src/packet/checksum.ts";
import { Flow, sameFamily } from "../../src/packet/flow.ts";
import { FrameView } from "../../src/packet/frame-view.ts";
import { Ipv4View } from "../../src/packet/ipv4.ts";
import { writeUdpFrame } from "../../src/packet/synthesis.ts";

for (const [protocol, source, destination, family, headerBytes] of [
  ["udp", "192.0.2.1", "198.51.100.7", 4, 42],
  ["tcp", "192.0.2.1", "198.51.100.7", 4, 54],
  ["udp", "2001:db8::1", "2001:db8::2", 6, 62],
  ["tcp", "2001:db8::1", "2001:db8::2", 6, 74],
  ["udp", "::ffff:192.0.2.1", "198.51.100.7", 4, 42],
  ["udp", "::ffff:192.0.2.1", "::ffff:198.51.100.7", 4, 42],
  ["tcp", "fe80::1%eth0", "fe80::2%3", 6, 74],
] as const)
  test(`Flow of ${protocol} from ${source} to ${destination} has ${headerBytes} bytes of headers`, () => {
    const flow = new Flow(
      protocol,
      { address: source, port: 1 },
      { address: destination, port: 65_535 },
    );
    expect(flow.family).toBe(family);
    expect(flow.headerBytes).toBe(headerBytes);
    expect([flow.sourcePort, flow.destinationPort]).toEqual([1, 65_535]);
  });

for (const [source, destination, message] of [
  [{ address: "192.0.2.1", port: 1 }, { address: "::1", port: 1 }, /two families/],
  [{ address: "localhost", port: 1 }, { address: "::1", port: 1 }, /"localhost" is no IP address/],
  [{ address: "192.0.2.1", port: 65_536 }, { address: "192.0.2.1", port: 1 }, /port 65536/],
  [{ address: "192.0.2.1", port: 1 }, { address: "192.0.2.1", port: -1 }, /port -1/],
  [{ address: "192.0.2.1", port: 1.5 }, { address: "192.0.2.1", port: 1 }, /port 1.5/],
] as const)
  test(`Flow refuses ${source.address}:${source.port} to ${destination.address}:${destination.port}`, () => {
    expect(() => new Flow("udp", source, destination)).toThrow(message);
    expect(() => new Flow("udp", source, destination)).toThrow(RangeError);
  });

for (const [a, b, same] of [
  ["192.0.2.1", "10.0.0.1", true],
  ["::1", "2001:db8::1", true],
  ["192.0.2.1", "::ffff:10.0.0.1", true],
  ["::ffff:10.0.0.1", "::1", false],
  ["192.0.2.1", "::1", false],
  ["fe80::1%eth0", "::1", true],
  ["nonsense", "nonsense", false],
] as const)
  test(`sameFamily of ${a} and ${b} is ${same}`, () => {
    expect(sameFamily(a, b)).toBe(same);
  });

test("Flow gives each IPv4 packet the next identification, and wraps around", () => {
  const flow = new Flow(
    "udp",
    { address: "192.0.2.1", port: 1 },
    { address: "192.0.2.2", port: 2 },
  );
  const bytes = new Uint8Array(42);
  const view = new Ipv4View();
  const seen = new Set<number>();
  let last = -1;
  for (let i = 0; i < 65_536; i++) {
    writeUdpFrame(bytes, 0, flow, 0);
    view.bind(bytes, 14, 42);
    if (checksum(bytes, 14, 34) !== 0) expect.fail(`packet ${i} has a wrong checksum`);
    const identification = view.identification;
    if (last >= 0 && identification !== ((last + 1) & 0xffff))
      expect(identification).toBe((last + 1) & 0xffff);
    last = identification;
    seen.add(identification);
  }
  expect(seen.size).toBe(65_536);
});

test("Flow of a mapped address writes plain IPv4", () => {
  const flow = new Flow(
    "udp",
    { address: "::ffff:192.0.2.1", port: 1 },
    { address: "198.51.100.7", port: 2 },
  );
  const bytes = new Uint8Array(42);
  const view = new FrameView();
  expect(view.bind(bytes, 0, writeUdpFrame(bytes, 0, flow, 0))).toBeUndefined();
  expect(view.sourceAddress()).toBe("192.0.2.1");
  expect(view.destinationAddress()).toBe("198.51.100.7");
});
