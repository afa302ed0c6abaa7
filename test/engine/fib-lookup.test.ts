import { expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { linkProgram } from "../../src/engine/link.ts";
import { loopbackOnly, type Network, type Route, RouteTable } from "../../src/engine/network.ts";
import { parseAddress } from "../../src/packet/address.ts";
import { EngineBench, spec, unwrap } from "./engine-bench.ts";

/** struct bpf_fib_lookup on the stack comes from the packet, and goes back into it afterwards. */
const lookup = (flags: number, size = 64) => `
  r6 = r1
  r7 = *(u32 *)(r1 + 0)
  r8 = *(u32 *)(r1 + 4)
  r2 = r7
  r2 += 64
  r0 = 99
  if r2 > r8 goto out
  ${copy("r7", 0, "r10", -64)}
  r1 = r6
  r2 = r10
  r2 += -64
  r3 = ${size}
  r4 = ${flags}
  call 69
  ${copy("r10", -64, "r7", 0)}
out:
  exit`;

function copy(from: string, fromAt: number, to: string, toAt: number): string {
  return Array.from(
    { length: 8 },
    (_, i) => `r9 = *(u64 *)(${from} + ${fromAt + 8 * i})\n*(u64 *)(${to} + ${toAt + 8 * i}) = r9`,
  )
    .join("\n")
    .replaceAll("+ -", "- ");
}

const base: Omit<Route, "to" | "length"> = {
  action: "forward",
  ifindex: 2,
  gateway: undefined,
  destinationMac: undefined,
  sourceMac: undefined,
  source: undefined,
  metric: 0,
  mtu: 1500,
};
const to = (text: string, length: number) => ({ to: parseAddress(text)!, length });

const routes = new RouteTable([
  { ...base, ...to("10.0.0.0", 8), metric: 5 },
  { ...base, ...to("10.0.0.0", 8), metric: 9, ifindex: 99 },
  {
    ...base,
    ...to("10.1.0.0", 16),
    gateway: parseAddress("192.0.2.1")!,
    destinationMac: Uint8Array.of(2, 0, 0, 0, 0, 1),
    sourceMac: Uint8Array.of(2, 0, 0, 0, 0, 2),
    source: parseAddress("192.0.2.9")!,
    ifindex: 3,
  },
  { ...base, ...to("10.2.0.0", 16), action: "blackhole", ifindex: 0 },
  { ...base, ...to("10.3.0.0", 16), action: "unreachable", ifindex: 0 },
  { ...base, ...to("10.4.0.0", 16), action: "prohibit", ifindex: 0 },
  { ...base, ...to("10.5.0.0", 16), gateway: parseAddress("2001:db8::9")! },
  { ...base, ...to("2001:db8::", 32), metric: 7 },
]);
const network: Network = {
  ...loopbackOnly,
  routeTo: (bytes, at, family, by) => routes.find(bytes, at, family, by),
};

/** struct bpf_fib_lookup: family, length, ifindex and destination. */
function parameters(
  destination: string,
  { family = destination.includes(":") ? 10 : 2, length = 0, ifindex = 1 } = {},
): Uint8Array {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  bytes[0] = family;
  view.setUint16(6, length, true);
  view.setUint32(8, ifindex, true);
  bytes.set(parseAddress(destination)!, 32);
  bytes.fill(0xee, 48);
  return bytes;
}

function described(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const family = bytes[0]!;
  return {
    family,
    mtu: view.getUint16(6, true),
    ifindex: view.getUint32(8, true),
    metric: view.getUint32(12, true),
    source: toHex(bytes.subarray(16, 20)),
    destination: toHex(bytes.subarray(32, family === 2 ? 36 : 48)),
    vlan: toHex(bytes.subarray(48, 52)),
    macs: `${toHex(bytes.subarray(52, 58))} ${toHex(bytes.subarray(58, 64))}`,
  };
}

const untouched = "eeeeeeeeeeee eeeeeeeeeeee";
const found = { family: 2, mtu: 1500, ifindex: 2, metric: 5, vlan: "00000000" };

for (const [label, engine] of Object.entries({ interpreter, jit })) {
  const bench = new EngineBench(engine);
  const run = (type: "xdp" | "tc", bytes: Uint8Array, flags = 0, size = 64) => {
    const program = unwrap(
      linkProgram(spec(lookup(flags, size).replace(...offsets(type))), [], type),
    );
    const executable = unwrap(engine(program, { ...bench.context, network }));
    const { r0, data, fault } = bench.run(executable, bytes);
    expect(fault).toBeUndefined();
    return { returned: Number(BigInt.asIntN(64, r0)), ...described(data) };
  };

  test(`${label}: fib_lookup fills in the way to an address on the port's own network`, () => {
    expect(run("xdp", parameters("10.9.8.7"))).toMatchObject({
      ...found,
      returned: 0,
      destination: "0a090807",
      // Both derived: from the port's number, and from the destination.
      macs: "020400000002 02040a090807",
    });
  });

  test(`${label}: fib_lookup names the next hop, and the hardware addresses that a route has`, () => {
    expect(run("tc", parameters("10.1.8.7"))).toMatchObject({
      returned: 0,
      ifindex: 3,
      destination: "c0000201",
      macs: "020000000002 020000000001",
    });
  });

  for (const { does, destination, options, flags, expected } of [
    { does: "finds a blackhole", destination: "10.2.0.1", expected: { returned: 1 } },
    { does: "finds an unreachable", destination: "10.3.0.1", expected: { returned: 2 } },
    { does: "finds a prohibition", destination: "10.4.0.1", expected: { returned: 3 } },
    { does: "finds no route", destination: "11.0.0.1", expected: { returned: 4, macs: untouched } },
    {
      does: "refuses a family",
      destination: "10.0.0.1",
      options: { family: 3 },
      expected: { returned: -97 },
    },
    {
      does: "refuses a device",
      destination: "10.0.0.1",
      options: { ifindex: 7 },
      expected: { returned: -19 },
    },
    { does: "refuses a flag", destination: "10.0.0.1", flags: 64, expected: { returned: -22 } },
    {
      does: "says that a packet is too long",
      destination: "10.9.0.1",
      options: { length: 1501 },
      expected: { returned: 8, mtu: 1500, ifindex: 1 },
    },
    {
      does: "leaves hardware addresses out where it is told to",
      destination: "10.9.0.1",
      flags: 4,
      expected: { ...found, returned: 0, macs: untouched },
    },
    {
      does: "gives a source address",
      destination: "10.1.0.1",
      flags: 16,
      expected: { returned: 0, source: "c0000209" },
    },
    {
      does: "says that a route has no source address",
      destination: "10.9.0.1",
      flags: 16,
      expected: { returned: 9 },
    },
    {
      does: "goes by an IPv6 next hop to an IPv4 address",
      destination: "10.5.0.1",
      expected: { returned: 0, family: 10, destination: "20010db8000000000000000000000009" },
    },
    {
      does: "finds the way to an IPv6 address",
      destination: "2001:db8::5",
      expected: { returned: 0, metric: 7, destination: "20010db8000000000000000000000005" },
    },
  ])
    for (const type of ["xdp", "tc"] as const)
      test(`${label}: fib_lookup of ${type} ${does}`, () => {
        expect(run(type, parameters(destination, options), flags)).toMatchObject(expected);
      });

  test(`${label}: fib_lookup takes no parameters that are too short`, () => {
    expect(run("xdp", parameters("10.9.8.7"), 0, 63).returned).toBe(-22);
  });

  test(`${label}: fib_lookup of a tc program holds the packet itself against the MTU`, () => {
    // With an Ethernet header, and room for a VLAN tag.
    const long = new Uint8Array(1519);
    long.set(parameters("10.9.8.7"));
    expect(run("tc", long).returned).toBe(8);
    expect(run("tc", long.subarray(0, 1518)).returned).toBe(0);
  });
}

/** The context's packet pointers, which xdp_md and __sk_buff have in different places. */
function offsets(type: "xdp" | "tc"): [RegExp, (text: string) => string] {
  const moved = (text: string) =>
    text.replace("r1 + 0)", "r1 + 76)").replace("r1 + 4)", "r1 + 80)");
  return [/^.*$/s, type === "xdp" ? (text) => text : moved];
}
