import { afterEach, describe, expect, test } from "vitest";
import { putU16be, toHex, u16be } from "../../../src/common/bytes.ts";
import { Flow } from "../../../src/packet/flow.ts";
import { FrameView } from "../../../src/packet/frame-view.ts";
import { writeTcpFrame } from "../../../src/packet/synthesis.ts";
import { cleanUp, udpUpstream, until, xdp } from "../rig.ts";
import {
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

describe("A bridge", () => {
  test("sends what comes from one peer to the other, byte for byte, both ways", async () => {
    const { rig, left, right } = await startBridge({ ingress: [pass], vnis: [7, 42] });
    const datagram = under(vxlan, udpFrame("there"));
    left.send(datagram, rig.address);
    expect(toHex((await right.next()).payload)).toBe(toHex(datagram));
    // Reserved bits are the sender's business.
    const back = under(hex("8800000100002a00"), udpFrame("back"));
    right.send(back, rig.address);
    expect(toHex((await left.next()).payload)).toBe(toHex(back));
    expect(rig.packets("ingress")).toEqual({ pass: 2 });
    // Lane of left and VNI 42: the second.
    expect(rig.counters.readLaneFrames(1, "ingress")).toBe(1);
    expect(rig.counters.readLaneFrames(1, "egress")).toBe(1);
    expect(rig.counters.readLaneBytes(3, "egress")).toBe(datagram.length - 8);
    expect(rig.counters.readLaneFrames(0, "ingress")).toBe(0);
  });

  test("sends a flow from one source port, and flows from several", async () => {
    const { rig, left, right } = await startBridge();
    const ports = new Set<number>();
    for (let client = 0; client < 64; client++) {
      const frame = udpFrame("x");
      frame[29] = client;
      left.send(under(vxlan, frame), rig.address);
      left.send(under(vxlan, frame), rig.address);
      const first = (await right.next()).from.port;
      expect((await right.next()).from.port).toBe(first);
      ports.add(first);
    }
    expect(ports.size).toBeGreaterThan(8);
    expect(ports.size).toBeLessThanOrEqual(16);
    expect(ports.has(rig.address.port)).toBe(false);
  });

  test("completes checksums before filters see them, and sends them on so", async () => {
    const seen: number[] = [];
    const filter = xdp((frame) => {
      seen.push(u16be(frame.bytes, 40));
      return 2;
    });
    const { rig, left, right } = await startBridge({ ingress: [filter] });
    const frame = udpFrame("checked");
    const right1 = u16be(frame, 40);
    // 10.0.0.1, 10.0.0.2, UDP, 15 bytes: the pseudo-header's sum.
    putU16be(frame, 40, 0x0a00 + 1 + 0x0a00 + 2 + 17 + 15);
    left.send(under(vxlan, frame), rig.address);
    expect(u16be((await right.next()).payload, 8 + 40)).toBe(right1);
    expect(seen).toEqual([right1]);
  });

  test("drops, answers and sends on as the filter left it", async () => {
    const filter = xdp((frame) => {
      const [what] = frame.bytes.slice(42);
      if (what === 0x64) return 1;
      frame.write(42, [0x41]);
      frame.resize(frame.length + 3);
      return what === 0x74 ? 3 : 2;
    });
    const { rig, left, right } = await startBridge({ ingress: [filter] });
    left.send(under(vxlan, udpFrame("drop")), rig.address);
    left.send(under(vxlan, udpFrame("tx")), rig.address);
    left.send(under(vxlan, udpFrame("pass")), rig.address);
    const tx = (await left.next()).payload;
    expect([tx.subarray(0, 8).toString("hex"), tx.subarray(50).toString()]).toEqual([
      toHex(vxlan),
      "Ax\0\0\0",
    ]);
    expect((await right.next()).payload.subarray(50).toString()).toBe("Aass\0\0\0");
    expect(rig.packets("ingress")).toEqual({ drop: 1, tx: 1, pass: 1 });
    expect(rig.drops("ingress")).toEqual({ filter_drop: 1 });
  });

  test("sends a frame with the new headers that an encapsulating filter put in front", async () => {
    const { rig, left, right } = await startBridge({
      // bpf_xdp_adjust_head by -20, then a mark in the first byte.
      ingress: [
        {
          type: "xdp",
          assembly:
            "r6 = r1\nr2 = -20\ncall 44\nr1 = *(u32 *)(r6 + 0)\nr2 = *(u32 *)(r6 + 4)\nr3 = r1\nr3 += 1\nif r3 > r2 goto +1\n*(u8 *)(r1 + 0) = 69\nr0 = 2\nexit",
        },
      ],
    });
    const frame = udpFrame("inside");
    left.send(under(vxlan, frame), rig.address);
    const { payload } = await right.next();
    expect(payload.length).toBe(8 + 20 + frame.length);
    expect([toHex(payload.subarray(0, 8)), payload[8]]).toEqual([toHex(vxlan), 69]);
    expect(toHex(payload.subarray(28))).toBe(toHex(frame));
  });

  test("cuts frames where a socket filter asks for it, down to an Ethernet header", async () => {
    const lengths = [20, 3];
    const { rig, left, right } = await startBridge({
      ingress: [{ type: "socket", run: () => lengths.shift()! }],
    });
    for (const length of [20, 14]) {
      left.send(under(vxlan, udpFrame("cut me")), rig.address);
      expect((await right.next()).payload.length).toBe(8 + length);
    }
  });

  test("shows a filter the number of the peer that a frame came from, and redirects to others", async () => {
    const peers = [await peerOf("a"), await peerOf("b"), await peerOf("c")];
    const rig = await startTunnel("vxlan", {
      peers: peers.map(({ plan }) => plan),
      ingress: [
        { type: "xdp", assembly: "r1 = *(u32 *)(r1 + 12)\nr1 += 1\nr2 = 0\ncall 23\nexit" },
      ],
      more: {
        ports: [
          { ifindex: 5, listener: 0, peer: 0 },
          { ifindex: 6, listener: 0, peer: 2 },
        ],
      },
    });
    const datagram = under(vxlan, udpFrame("from a"));
    peers[0]!.send(datagram, rig.address);
    expect(toHex((await peers[2]!.next()).payload)).toBe(toHex(datagram));
    // b is no port: its frames show the listener's number, and 1001 leads nowhere.
    peers[1]!.send(datagram, rig.address);
    await until(() => rig.drops("ingress").redirect_unknown_port === 1);
    expect(rig.packets("ingress")).toEqual({ redirect: 1, drop: 1 });
  });

  test("of three peers passes nothing by itself", async () => {
    const peers = [await peerOf("a"), await peerOf("b"), await peerOf("c")];
    const rig = await startTunnel("vxlan", { peers: peers.map(({ plan }) => plan) });
    peers[0]!.send(under(vxlan, udpFrame("where to?")), rig.address);
    await until(() => rig.drops("ingress").tunnel_no_destination === 1);
  });

  test("segments TCP super-frames, each judged alone, and leaves room for what filters add", async () => {
    let judged = 0;
    const grow = xdp((frame) => {
      judged++;
      frame.resize(frame.length + 20);
      return 2;
    });
    const { rig, left, right } = await startBridge({ ingress: [grow] });
    const stream = new Flow(
      "tcp",
      { address: "10.0.0.1", port: 1000 },
      { address: "10.0.0.2", port: 80 },
    );
    const super1 = new Uint8Array(54 + 9000);
    writeTcpFrame(
      super1,
      0,
      stream,
      { sequence: 5, acknowledgement: 1, flags: 0x18, window: 9 },
      9000,
    );
    left.send(under(vxlan, udpFrame("grows by 20")), rig.address);
    await right.next();
    left.send(under(vxlan, super1), rig.address);
    const view = new FrameView();
    let carried = 0;
    while (carried < 9000) {
      const { payload } = await right.next();
      // 1,500 less IP and UDP.
      expect(payload.length).toBeLessThanOrEqual(1472);
      expect(view.bind(payload, 8, payload.length)).toBe(undefined);
      carried += view.payloadLength;
    }
    expect(carried).toBe(9000);
    expect(judged).toBe(1 + Math.ceil(9000 / (1472 - 8 - 54 - 20)));
    expect(rig.drops("ingress")).toEqual({});
  });

  test("tells the sender of a packet that is too long, a hundred times a second at most", async () => {
    const { rig, left } = await startBridge();
    const datagram = under(vxlan, udpFrame(1460));
    for (let i = 0; i < 300; i++) left.send(datagram, rig.address);
    const { payload } = await left.next();
    const view = new FrameView();
    expect(view.bind(payload, 8, payload.length)).toBe(undefined);
    expect([view.protocol, u16be(payload, view.transportOffset + 6)]).toEqual([1, 1450]);
    await until(() => rig.drops("ingress").mtu_exceeded === 300);
    expect(rig.counters.readLaneFrames(0, "egress")).toBeGreaterThanOrEqual(100);
    expect(rig.counters.readLaneFrames(0, "egress")).toBeLessThanOrEqual(200);
  });

  test("sends datagrams to an upstream, and its answers back as frames of the host that was asked", async () => {
    const upstream = await udpUpstream("re: ");
    const seen: string[] = [];
    const { rig, left } = await startBridge({
      ingress: [xdp((frame) => frame.redirectTo(9))],
      egress: [
        xdp((frame) => {
          seen.push(Buffer.from(frame.bytes.slice(42)).toString());
          return 2;
        }),
      ],
      more: { upstreams: [upstream.address], ports: [{ ifindex: 9, upstream: 0 }] },
    });
    for (const text of ["one", "two"]) {
      const asked = udpFrame(text);
      left.send(under(vxlan, asked), rig.address);
      const { payload } = await left.next();
      const view = new FrameView();
      expect(view.bind(payload, 8, payload.length)).toBe(undefined);
      expect(payload.subarray(view.payloadOffset).toString()).toBe(`re: ${text}`);
      expect([
        view.sourceAddress(),
        view.sourcePort,
        view.destinationAddress(),
        view.destinationPort,
      ]).toEqual(["10.0.0.2", 53, "10.0.0.1", 1000]);
      expect(toHex(payload.subarray(8, 20))).toBe(
        toHex(asked.subarray(6, 12)) + toHex(asked.subarray(0, 6)),
      );
      expect(toHex(payload.subarray(0, 8))).toBe(toHex(vxlan));
    }
    expect(seen).toEqual(["re: one", "re: two"]);
    expect(rig.packets("ingress")).toEqual({ redirect: 2 });
    expect(rig.packets("egress")).toEqual({ pass: 2 });
    expect(rig.counters.readCell(0, "sessions")).toBe(1);
    const tcp = new Flow("tcp", { address: "10.0.0.1", port: 1 }, { address: "10.0.0.2", port: 2 });
    const segment = new Uint8Array(54);
    writeTcpFrame(segment, 0, tcp, { sequence: 5, acknowledgement: 1, flags: 2, window: 9 }, 0);
    left.send(under(vxlan, segment), rig.address);
    await until(() => rig.drops("ingress").not_routable === 1);
  });
});
