import { afterEach, describe, expect, test } from "vitest";
import { Random } from "../../packet/random.ts";
import { cleanUp, udpSocket, until } from "../rig.ts";
import {
  aws,
  hex,
  pass,
  peerOf,
  startBridge,
  startTunnel,
  udpFrame,
  under,
  vxlan,
} from "./tunnel-test-rig.ts";

afterEach(cleanUp);

describe("Bad input", () => {
  const frame = udpFrame("x");
  for (const { title, protocol, datagram, reason } of [
    {
      title: "nothing at all",
      protocol: "vxlan",
      datagram: new Uint8Array(0),
      reason: "tunnel_truncated",
    },
    {
      title: "half a header",
      protocol: "vxlan",
      datagram: vxlan.subarray(0, 5),
      reason: "tunnel_truncated",
    },
    {
      title: "flags without a VNI",
      protocol: "vxlan",
      datagram: under(hex("0000000000002a00"), frame),
      reason: "tunnel_bad_header",
    },
    {
      title: "another network",
      protocol: "vxlan",
      datagram: under(hex("0800000000002b00"), frame),
      reason: "tunnel_unknown_vni",
    },
    {
      title: "half an Ethernet header",
      protocol: "vxlan",
      datagram: under(vxlan, frame.subarray(0, 13)),
      reason: "frame_truncated",
    },
    {
      title: "half an IP header",
      protocol: "vxlan",
      datagram: under(vxlan, frame.subarray(0, 30)),
      reason: "frame_truncated",
    },
    {
      title: "an IP packet that claims more",
      protocol: "vxlan",
      datagram: under(vxlan, frame.subarray(0, 42)),
      reason: "frame_bad_length",
    },
    {
      title: "64 KiB of it",
      protocol: "vxlan",
      datagram: under(vxlan, udpFrame(65_400)),
      reason: "mtu_exceeded",
    },
    {
      title: "options beyond the packet",
      protocol: "geneve",
      datagram: hex("3f00655800002a00"),
      reason: "tunnel_truncated",
    },
    {
      title: "an option beyond the header",
      protocol: "geneve",
      datagram: under(hex("0100655800002a00 01080105"), frame),
      reason: "tunnel_bad_option",
    },
    {
      title: "a critical option",
      protocol: "geneve",
      datagram: under(hex("0140655800002a00 01088000"), frame),
      reason: "tunnel_critical_option",
    },
    {
      title: "a control packet",
      protocol: "geneve",
      datagram: under(hex("0080655800002a00"), frame),
      reason: "tunnel_control",
    },
    {
      title: "MPLS",
      protocol: "geneve",
      datagram: under(hex("0000884700002a00"), frame),
      reason: "tunnel_unknown_protocol",
    },
    {
      title: "IPv6 that is none",
      protocol: "geneve",
      datagram: under(hex("000086dd00002a00"), udpFrame(40).subarray(14)),
      reason: "frame_bad_header",
    },
  ] as const)
    test(`${title} over ${protocol} is dropped: ${reason}`, async () => {
      const { rig, left } = await startBridge({ ingress: [pass], vnis: [42] }, protocol);
      left.send(datagram, rig.address);
      await until(() => Object.keys(rig.drops("ingress")).length > 0);
      expect(rig.drops("ingress")).toEqual({ [reason]: 1 });
      expect(rig.packets("ingress")).toEqual({ drop: 1 });
    });

  test("a stranger's frames are dropped, on a peer's address and on others", async () => {
    const { rig } = await startBridge();
    for (const host of ["127.0.0.1", "127.0.0.9"])
      (await udpSocket(host)).send(under(vxlan, udpFrame("let me in")), rig.address);
    await until(() => rig.drops("ingress").tunnel_unknown_peer === 2);
  });

  test("a peer that is alone on its address may use any source port", async () => {
    const left = await peerOf("left", "127.0.0.2");
    const right = await peerOf("right", "127.0.0.3");
    const rig = await startTunnel("vxlan", { peers: [left.plan, right.plan] });
    (await udpSocket("127.0.0.2")).send(under(vxlan, udpFrame("flow")), rig.address);
    expect((await right.next()).payload.subarray(50).toString()).toBe("flow");
  });

  test("mutated datagrams are all counted, whatever they are", async () => {
    const { rig, left } = await startBridge({ ingress: [pass] }, "geneve");
    const random = new Random(10);
    const seeds = [
      under(aws, udpFrame("a").subarray(14)),
      under(hex("0000655800002a00"), udpFrame("b")),
    ];
    const total = 2000;
    for (let i = 0; i < total; i++) {
      const datagram = seeds[i % 2]!.slice(0, 1 + random.below(120));
      for (let changes = random.below(4); changes > 0; changes--)
        datagram[random.below(datagram.length)] = random.below(256);
      left.send(datagram, rig.address);
      if (i % 50 === 49)
        await until(
          () => Object.values(rig.packets("ingress")).reduce((a, b) => a + b, 0) === i + 1,
        );
    }
    expect(Object.keys(rig.drops("ingress")).length).toBeGreaterThan(4);
  });
});
