import { afterEach, describe, expect, test } from "vitest";
import { toHex } from "../../../src/common/bytes.ts";
import {
  CaptureReader,
  type CaptureRecord,
  captureRingMemory,
} from "../../../src/filter/capture-ring.ts";
import type { VerdictKind } from "../../../src/filter/verdict.ts";
import { Flow } from "../../../src/packet/flow.ts";
import { writeTcpFrame } from "../../../src/packet/synthesis.ts";
import { cleanUp, type Rig, udpUpstream, until, xdp } from "../rig.ts";
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

/** What a capture on the rig's listener records from now on. */
function capturing({ captures }: Rig, verdict?: VerdictKind): { next(): Promise<CaptureRecord> } {
  const ring = captureRingMemory(1 << 20);
  const reader = new CaptureReader(ring);
  captures.start({
    id: 1,
    rings: [ring],
    snapLength: 65_600,
    perSecond: 1000,
    listener: undefined,
    verdict,
    direction: undefined,
    filter: undefined,
    shadow: undefined,
    expression: undefined,
  });
  const next = async (): Promise<CaptureRecord> => {
    let record: CaptureRecord | undefined;
    await until(() => {
      record = reader.next();
      return record !== undefined;
    });
    return record!;
  };
  return { next };
}

describe("A capture of a tunnel shows", () => {
  test("the header that a frame came under, with both ends", async () => {
    const { rig, left } = await startBridge({ ingress: [pass] });
    const captured = capturing(rig);
    const frame = udpFrame("seen");
    const header = hex("8800000100002a00");
    left.send(under(header, frame), rig.address);
    const { tunnel, verdict, reason, entry } = await captured.next();
    expect({ verdict, reason }).toEqual({ verdict: "pass", reason: undefined });
    expect(toHex(entry.data)).toBe(toHex(frame));
    expect(tunnel).toEqual({
      protocol: "vxlan",
      peer: "left",
      vni: 42,
      far: { address: "127.0.0.1", port: left.port },
      own: { address: "127.0.0.1", port: rig.address.port },
      header,
    });
  });

  test("what came to a wildcard as what it was, and that no address of its own is known", async () => {
    const peer = await peerOf("left");
    const rig = await startTunnel("vxlan", {
      peers: [peer.plan],
      mode: "mirror",
      listen: { host: "::", port: 0 },
    });
    const captured = capturing(rig);
    peer.send(under(vxlan, udpFrame("x")), { host: "127.0.0.1", port: rig.address.port });
    expect((await captured.next()).tunnel).toMatchObject({
      far: { address: "127.0.0.1", port: peer.port },
      own: { address: "0.0.0.0", port: rig.address.port },
    });
  });

  test("a packet without an Ethernet header with one, and what an upstream answers with its way out", async () => {
    const upstream = await udpUpstream("re: ");
    const peer = await peerOf("lb");
    const rig = await startTunnel("geneve", {
      mode: "gwlb",
      ingress: [xdp((frame) => frame.redirectTo(9))],
      more: { upstreams: [upstream.address], ports: [{ ifindex: 9, upstream: 0 }] },
    });
    const captured = capturing(rig);
    const packet = udpFrame("ask").subarray(14);
    peer.send(under(aws, packet), rig.address);
    const asked = await captured.next();
    expect(asked).toMatchObject({ verdict: "redirect", ifindex: 9, direction: "ingress" });
    expect(toHex(asked.entry.data.subarray(12))).toBe(`0800${toHex(packet)}`);
    expect(toHex(asked.tunnel!.header)).toBe(toHex(aws));
    const answered = await captured.next();
    expect(answered).toMatchObject({
      direction: "egress",
      verdict: "pass",
      tunnel: {
        protocol: "geneve",
        peer: "any",
        far: { address: "127.0.0.1", port: rig.address.port },
        own: { address: "127.0.0.1", port: peer.port },
        header: aws,
      },
    });
  });

  for (const { name, count, bytes, verdict, reason } of [
    { name: "too long", count: 2, bytes: 1460, verdict: "pass", reason: "mtu_exceeded" },
    { name: "nowhere's", count: 3, bytes: 10, verdict: "pass", reason: "tunnel_no_destination" },
    { name: "no port's", count: 2, bytes: 9, verdict: "redirect", reason: "redirect_unknown_port" },
  ] as const)
    test(`that a frame was dropped after its verdict, to who asks for drops: ${name}`, async () => {
      const peers = await Promise.all(["a", "b", "c"].slice(0, count).map((peer) => peerOf(peer)));
      const filter = xdp((frame) => (frame.length === 42 + 9 ? frame.redirectTo(77) : 2));
      const rig = await startTunnel("vxlan", {
        peers: peers.map(({ plan }) => plan),
        ingress: [filter],
      });
      const captured = capturing(rig, "drop");
      // What goes its way is none.
      if (count === 2) peers[0]!.send(under(vxlan, udpFrame(100)), rig.address);
      peers[0]!.send(under(vxlan, udpFrame(bytes)), rig.address);
      expect(await captured.next()).toMatchObject({
        verdict,
        reason,
        filter: "filter0",
        entry: { length: 42 + bytes },
      });
    });

  test("no frame that went nowhere to who asks for what passed", async () => {
    const { rig, left } = await startBridge({ ingress: [pass] });
    const captured = capturing(rig, "pass");
    left.send(under(vxlan, udpFrame(1460)), rig.address);
    left.send(under(vxlan, udpFrame(20)), rig.address);
    expect((await captured.next()).entry.length).toBe(62);
    expect(rig.drops("ingress")).toEqual({ mtu_exceeded: 1 });
  });

  test("frames that were refused before any filter, where their header tells of one", async () => {
    const { rig, left, right } = await startBridge({ ingress: [pass], vnis: [42] });
    const stranger = await peerOf("stranger");
    const captured = capturing(rig);
    const tcp = new Flow(
      "tcp",
      { address: "10.0.0.1", port: 1000 },
      { address: "10.0.0.2", port: 80 },
    );
    const damaged = new Uint8Array(tcp.headerBytes + 9000);
    const segment = { sequence: 1, acknowledgement: 1, flags: 0x10, window: 9 };
    writeTcpFrame(damaged, 0, tcp, segment, 9000);
    damaged[5000]! ^= 1;
    const other = hex("0800000000000700");
    const frame = udpFrame("hello");
    for (const { from, datagram, reason, peer, bytes } of [
      { from: left, datagram: under(other, frame), reason: "tunnel_unknown_vni", peer: "left" },
      { from: right, datagram: under(vxlan, frame.slice(0, 30)), reason: "frame_truncated" },
      { from: left, datagram: under(vxlan, damaged), reason: "frame_bad_checksum", peer: "left" },
      {
        from: stranger,
        datagram: under(vxlan, frame),
        reason: "tunnel_unknown_peer",
        peer: undefined,
      },
      { from: left, datagram: vxlan, reason: "frame_truncated", peer: "left", bytes: 0 },
    ].map((one) => ({ peer: "right", bytes: one.datagram.length - 8, ...one }))) {
      from.send(datagram, rig.address);
      const record = await captured.next();
      expect(record).toMatchObject({ verdict: "drop", reason, filter: undefined });
      expect(record.tunnel?.peer).toBe(peer);
      expect(record.entry.length).toBe(bytes);
      expect(toHex(record.entry.data)).toBe(toHex(datagram.subarray(8)));
    }
    // No header, no frame.
    left.send(vxlan.subarray(0, 5), rig.address);
    left.send(under(vxlan, frame), rig.address);
    expect(await captured.next()).toMatchObject({ verdict: "pass", filter: "filter0" });
    expect(rig.drops("ingress").tunnel_truncated).toBe(1);
  });

  test("a short packet without an Ethernet header as what there is of it", async () => {
    const { rig, left } = await startBridge({ ingress: [pass] }, "geneve");
    const captured = capturing(rig);
    left.send(under(hex("0000080000002a00"), hex("4500")), rig.address);
    const { reason, entry } = await captured.next();
    expect(reason).toBe("frame_truncated");
    expect(toHex(entry.data.subarray(12))).toBe("08004500");
  });
});

test("frames of a flow that is captured come out as those of one that is not", async () => {
  const { rig, left, right } = await startBridge({ ingress: [pass] });
  const datagrams = [10, 600, 1400].map((bytes) => under(vxlan, udpFrame(bytes)));
  for (const isCaptured of [false, true]) {
    if (isCaptured) capturing(rig);
    for (const datagram of datagrams) left.send(datagram, rig.address);
    for (const datagram of datagrams)
      expect(toHex((await right.next()).payload)).toBe(toHex(datagram));
  }
});
