import { afterEach, describe, expect, test } from "vitest";
import { parseHex, toHex } from "../../../src/common/bytes.ts";
import { Flow } from "../../../src/packet/flow.ts";
import { writeUdpFrame } from "../../../src/packet/synthesis.ts";
import { cleanUp, type Rig, startRig, type TestFilter, udpSocket, until } from "../rig.ts";

afterEach(cleanUp);

const hex = (text: string): Uint8Array => parseHex(text)!;
const flow = new Flow(
  "udp",
  { address: "10.0.0.1", port: 1000 },
  { address: "10.0.0.2", port: 53 },
);
const frame = new Uint8Array(flow.headerBytes + 64);
writeUdpFrame(frame, 0, flow, 64);
/** Where the frame's payload begins: the test's programs write what they see there. */
const payloadAt = flow.headerBytes;

const vxlan42 = hex("0800000000002a00");
const geneve42 = hex("0000655800002a00");
const option = hex("0108010100000abc");

const tc = (assembly: string): TestFilter => ({ type: "tc", assembly });

/** bpf_skb_get_tunnel_key of the whole struct onto the stack, then 44 bytes of it to the payload. */
const showKey = (flags: number): TestFilter =>
  tc(`r6 = r1
r2 = r10
r2 += -48
r3 = 44
r4 = ${flags}
call 20
r7 = r0
r1 = r6
r2 = ${payloadAt}
r3 = r10
r3 += -48
r4 = 44
r5 = 0
call 9
r0 = r7
exit`);

/** Both options helpers: what came is shown, with its length behind it. */
const showOptions = tc(`r6 = r1
r2 = r10
r2 += -32
r3 = 24
call 29
*(u32 *)(r10 - 8) = r0
r1 = r6
r2 = ${payloadAt}
r3 = r10
r3 += -32
r4 = 28
r5 = 0
call 9
r0 = 0
exit`);

/** bpf_skb_set_tunnel_key with this id and IPv4 peer, with or without options, then \`end\`. */
function leaveBy(id: number, peer: number, options: string, end: string): TestFilter {
  const setOptions =
    options === ""
      ? ""
      : `r1 = ${Buffer.from(options, "hex").readUInt32LE(0)} ll
*(u32 *)(r10 - 64) = r1
r1 = ${Buffer.from(options, "hex").readUInt32LE(4)} ll
*(u32 *)(r10 - 60) = r1
r1 = r6
r2 = r10
r2 += -64
r3 = 8
call 30
`;
  return tc(`r6 = r1
*(u32 *)(r10 - 48) = ${id}
r1 = ${peer} ll
*(u32 *)(r10 - 44) = r1
r1 = r6
r2 = r10
r2 += -48
r3 = 8
r4 = 0
call 21
${setOptions}${end}
exit`);
}

interface Bridge {
  readonly protocol?: "vxlan" | "geneve";
  readonly vnis?: readonly number[];
  readonly filter: TestFilter;
  readonly hosts?: readonly string[];
  readonly listen?: string;
}

async function startBridge({ protocol = "vxlan", vnis = [], filter, ...rest }: Bridge) {
  const hosts = rest.hosts ?? ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
  const peers = await Promise.all(hosts.map((host) => udpSocket(host)));
  const rig: Rig = await startRig(protocol, {
    upstreams: [],
    ingress: [filter],
    ports: peers.map((_, i) => ({ ifindex: 5 + i, listener: 0, peer: i })),
    plan: {
      upstream: undefined,
      listen: { host: rest.listen ?? "127.0.0.1", port: 0 },
      tunnel: {
        mode: "bridge",
        vnis,
        peers: peers.map(({ port }, i) => ({
          name: `peer${i}`,
          address: { host: hosts[i]!, port },
        })),
        mtu: 1500,
        firstLane: 0,
      },
    },
  });
  return { rig, peers };
}

const under = (header: Uint8Array): Uint8Array => Buffer.concat([header, frame]);
const shown = (datagram: Uint8Array, header: number): string =>
  toHex(datagram.subarray(header + payloadAt, header + payloadAt + 44));

describe("A program in a tunnel", () => {
  test("reads network, sender and own address by bpf_skb_get_tunnel_key", async () => {
    const { rig, peers } = await startBridge({
      filter: showKey(16),
      hosts: ["127.0.0.3", "127.0.0.2"],
    });
    peers[0]!.send(under(vxlan42), rig.address);
    const { payload } = await peers[1]!.next();
    // 42, the sender in the host's order, no hop limit or class; the flag of a key; the listener.
    const rest = "00".repeat(12);
    expect(shown(payload, 8)).toBe(`2a0000000300007f${rest}0000000400000000${"0100007f"}${rest}`);
  });

  test("is told that the tunnel is of the other family", async () => {
    const { rig, peers } = await startBridge({
      filter: showKey(1),
      hosts: ["127.0.0.3", "127.0.0.2"],
    });
    peers[0]!.send(under(vxlan42), rig.address);
    // The helper's error is the program's verdict, which passes; the key is zeroed.
    expect(shown((await peers[1]!.next()).payload, 8)).toBe("00".repeat(44));
  });

  test("reads an IPv6 tunnel's addresses", async () => {
    const { rig, peers } = await startBridge({
      filter: showKey(1),
      hosts: ["::1", "::1"],
      listen: "::1",
    });
    peers[0]!.send(under(vxlan42), rig.address);
    const loopback = `${"00".repeat(15)}01`;
    expect(shown((await peers[1]!.next()).payload, 8)).toBe(
      `2a000000${loopback}0000000000000000${loopback}`,
    );
  });

  test("reads GENEVE options, and none where there are none", async () => {
    const { rig, peers } = await startBridge({
      protocol: "geneve",
      filter: showOptions,
      hosts: ["127.0.0.3", "127.0.0.2"],
    });
    const header = Buffer.concat([hex("0200655800002a00"), option]);
    peers[0]!.send(under(header), rig.address);
    const { payload } = await peers[1]!.next();
    expect(shown(payload, 16).slice(0, 56)).toBe(`${toHex(option)}${"00".repeat(16)}08000000`);
    peers[0]!.send(under(geneve42), rig.address);
    const { payload: second } = await peers[1]!.next();
    // -ENOENT
    expect(shown(second, 8).slice(0, 56)).toBe(`${"00".repeat(24)}feffffff`);
  });
});

describe("A program that sets a tunnel key", () => {
  test("redirects to a tunnel and leaves it to the key which peer gets the frame", async () => {
    const { rig, peers } = await startBridge({
      filter: leaveBy(7, 0x7f000003, "", "r1 = 6\nr2 = 0\ncall 23"),
    });
    peers[0]!.send(under(vxlan42), rig.address);
    expect(toHex((await peers[2]!.next()).payload)).toBe(toHex(under(hex("0800000000000700"))));
    expect(rig.packets("ingress")).toEqual({ redirect: 1 });
  });

  test("without an address keeps the peer that it redirects to", async () => {
    const { rig, peers } = await startBridge({
      filter: leaveBy(7, 0, "", "r1 = 6\nr2 = 0\ncall 23"),
      vnis: [42, 7],
    });
    peers[0]!.send(under(vxlan42), rig.address);
    expect(toHex((await peers[1]!.next()).payload.subarray(0, 8))).toBe("0800000000000700");
  });

  test("gives a GENEVE header its options", async () => {
    const { rig, peers } = await startBridge({
      protocol: "geneve",
      filter: leaveBy(7, 0, toHex(option), "r0 = 0"),
      hosts: ["127.0.0.3", "127.0.0.2"],
    });
    peers[0]!.send(under(geneve42), rig.address);
    expect(toHex((await peers[1]!.next()).payload)).toBe(
      toHex(under(Buffer.concat([hex("0200655800000700"), option]))),
    );
  });

  for (const { name, id, peer, vnis, reason } of [
    {
      name: "an address that is no peer's",
      id: 42,
      peer: 0x7f000009,
      vnis: [],
      reason: "destination_not_allowed",
    },
    {
      name: "a network that the tunnel does not take",
      id: 7,
      peer: 0,
      vnis: [42],
      reason: "tunnel_unknown_vni",
    },
  ] as const)
    test(`may not name ${name}`, async () => {
      const { rig, peers } = await startBridge({
        filter: leaveBy(id, peer, "", "r0 = 0"),
        vnis,
        hosts: ["127.0.0.3", "127.0.0.2"],
      });
      peers[0]!.send(under(vxlan42), rig.address);
      await until(() => rig.drops("ingress")[reason] === 1);
      expect(rig.packets("ingress")).toEqual({ drop: 1 });
    });
});
