/** Frames that come together, are judged where they lie, and are sent from there. */
import { afterEach, expect, test } from "vitest";
import { toHex, u16be } from "../../../src/common/bytes.ts";
import { Flow } from "../../../src/packet/flow.ts";
import { FrameView } from "../../../src/packet/frame-view.ts";
import { writeTcpFrame, writeUdpFrame } from "../../../src/packet/synthesis.ts";
import { cleanUp, type TestFilter, until, xdp } from "../rig.ts";
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

const stream = new Flow(
  "tcp",
  { address: "10.0.0.1", port: 1000 },
  { address: "10.0.0.2", port: 80 },
);

function tcpFrame(sequence: number, payloadBytes: number, mark = 120): Uint8Array {
  const frame = new Uint8Array(stream.headerBytes + payloadBytes).fill(mark);
  const segment = { sequence, acknowledgement: 1, flags: 0x10, window: 9 };
  writeTcpFrame(frame, 0, stream, segment, payloadBytes);
  return frame;
}

test("what comes together goes on in its order, whatever becomes of its neighbours", async () => {
  // By the last byte of the payload: d is dropped, g grows by three bytes.
  const filter = xdp((frame) => {
    const last = frame.bytes.at(-1);
    if (last === 0x64) return 1;
    if (last === 0x67) frame.resize(frame.length + 3);
    return 2;
  });
  const { rig, left, right } = await startBridge({ ingress: [filter], vnis: [42] });
  const rounds = 5;
  for (let i = 0; i < rounds; i++)
    for (const datagram of [
      under(vxlan, udpFrame("one")),
      under(vxlan, udpFrame("two, dropped d")),
      under(vxlan, udpFrame("three, which grows: g")),
      vxlan.subarray(0, 5),
      under(vxlan, udpFrame("four")),
      under(hex("0800000000000700"), udpFrame("of another network")),
      under(vxlan, tcpFrame(i * 4000, 4000)),
      under(vxlan, udpFrame("five")),
    ])
      left.send(datagram, rig.address);
  const view = new FrameView();
  const texts: string[] = [];
  let carried = 0;
  // Two flows, each in its order.
  while (texts.length < 4 * rounds || carried < 4000 * rounds) {
    const { payload } = await right.next();
    expect(toHex(payload.subarray(0, 8))).toBe(toHex(vxlan));
    expect(view.bind(payload, 8, payload.length)).toBe(undefined);
    if (view.protocol === 6) {
      expect(payload.readUInt32BE(view.transportOffset + 4)).toBe(carried);
      carried += view.payloadLength;
    } else texts.push(payload.subarray(50).toString());
  }
  const each = ["one", "three, which grows: g\0\0\0", "four", "five"];
  expect(texts).toEqual(Array.from({ length: rounds }, () => each).flat());
  expect(rig.drops("ingress")).toEqual({
    filter_drop: rounds,
    tunnel_truncated: rounds,
    tunnel_unknown_vni: rounds,
  });
  const segments = rig.packets("ingress").pass! - 4 * rounds;
  expect(segments % rounds).toBe(0);
  expect(rig.counters.readLaneFrames(1, "egress")).toBe(4 * rounds + segments);
});

test("more segments than a turn has room for arrive whole and in order", async () => {
  const { rig, left, right } = await startBridge({ ingress: [pass] });
  const bytes = 60_000;
  for (let i = 0; i < 4; i++) left.send(under(vxlan, tcpFrame(i * bytes, bytes, i)), rig.address);
  const view = new FrameView();
  for (let carried = 0; carried < 4 * bytes; carried += view.payloadLength) {
    const { payload } = await right.next();
    expect(view.bind(payload, 8, payload.length)).toBe(undefined);
    expect(payload.readUInt32BE(view.transportOffset + 4)).toBe(carried);
    const mark = Math.floor(carried / bytes);
    expect(payload.subarray(view.payloadOffset).every((byte) => byte === mark)).toBe(true);
  }
});

test("a super-frame with a wrong checksum is dropped, and a frame that need not be cut keeps its own", async () => {
  const { rig, left, right } = await startBridge({ ingress: [pass] });
  const damaged = tcpFrame(0, 9000);
  damaged[5000]! ^= 1;
  const small = tcpFrame(0, 900);
  small[500]! ^= 1;
  left.send(under(vxlan, damaged), rig.address);
  left.send(under(vxlan, small), rig.address);
  expect(toHex((await right.next()).payload)).toBe(toHex(under(vxlan, small)));
  expect(rig.drops("ingress")).toEqual({ frame_bad_checksum: 1 });
  expect(rig.packets("ingress")).toEqual({ drop: 1, pass: 1 });
});

/** bpf_xdp_adjust_meta, and ones written to the metadata: they lie where the tunnel's header did. */
const notes: TestFilter = {
  type: "xdp",
  assembly: `r6 = r1
r2 = -8
call 54
r1 = *(u32 *)(r6 + 8)
r2 = *(u32 *)(r6 + 0)
r3 = r1
r3 += 8
if r3 > r2 goto +2
*(u32 *)(r1 + 0) = -1
*(u32 *)(r1 + 4) = -1
r0 = 2
exit`,
};

test("a filter's metadata in front of a frame leaves the tunnel's header as it was", async () => {
  const { rig, left, right } = await startBridge({ ingress: [notes] });
  const small = under(vxlan, udpFrame("small"));
  for (let i = 0; i < 3; i++) left.send(small, rig.address);
  left.send(under(vxlan, tcpFrame(1, 4000)), rig.address);
  for (let i = 0; i < 3; i++) expect(toHex((await right.next()).payload)).toBe(toHex(small));
  for (let i = 0; i < 3; i++)
    expect(toHex((await right.next()).payload.subarray(0, 8))).toBe(toHex(vxlan));
});

/** bpf_xdp_adjust_head by -200, and zeros over all that is new. */
const grow200: TestFilter = {
  type: "xdp",
  assembly: `r6 = r1
r2 = -200
call 44
r1 = *(u32 *)(r6 + 0)
r2 = *(u32 *)(r6 + 4)
r3 = r1
r3 += 200
if r3 > r2 goto +4
r4 = r1
*(u64 *)(r4 + 0) = 0
r4 += 8
if r4 < r3 goto -3
r0 = 2
exit`,
};

for (const optionWords of [0, 5, 62])
  test(`a frame that grows in front keeps its GENEVE header with ${optionWords} words of options`, async () => {
    const { rig, left, right } = await startBridge({ ingress: [grow200] }, "geneve");
    const header = new Uint8Array(8 + optionWords * 4);
    header.set(hex("0000655800002a00"));
    header[0] = optionWords;
    if (optionWords > 0) {
      // Two options, so that none is longer than 124 bytes of data.
      const first = Math.floor((optionWords - 2) / 2);
      const second = optionWords - 2 - first;
      header.set([0x01, 0x32, 1, first], 8);
      header.fill(0xa1, 12, 12 + first * 4);
      header.set([0x01, 0x32, 2, second], 12 + first * 4);
      header.fill(0xa2, 16 + first * 4);
    }
    const frame = udpFrame("behind");
    for (let i = 0; i < 3; i++) left.send(under(header, frame), rig.address);
    for (let i = 0; i < 3; i++) {
      const { payload } = await right.next();
      expect(toHex(payload)).toBe(toHex(under(header, under(new Uint8Array(200), frame))));
    }
    expect(rig.drops("ingress")).toEqual({});
  });

test("a sender whose packet became too long is quoted what it sent, not what a filter made of it", async () => {
  const filter = xdp((frame) => {
    frame.write(42, [0x21]);
    frame.resize(frame.length + 20);
    return 2;
  });
  const { rig, left, right } = await startBridge({ ingress: [filter] });
  left.send(under(vxlan, udpFrame("how much is added")), rig.address);
  await right.next();
  const asked = udpFrame(1410);
  left.send(under(vxlan, asked), rig.address);
  const { payload } = await left.next();
  const view = new FrameView();
  expect(view.bind(payload, 8, payload.length)).toBe(undefined);
  // 1,450 would fit without the 20 that the filter adds.
  expect([view.protocol, u16be(payload, view.transportOffset + 6)]).toEqual([1, 1430]);
  const quote = payload.subarray(view.payloadOffset, view.payloadEnd);
  expect(toHex(quote)).toBe(toHex(asked.subarray(14, 14 + quote.length)));
  expect(rig.drops("ingress")).toEqual({ mtu_exceeded: 1 });
});

test("a peer's frames are counted as sent when the system took them, and not before", async () => {
  const left = await peerOf("left");
  // Nobody may send there who has not asked for it: SO_BROADCAST, socket(7).
  const nobody = { name: "nobody", address: { host: "255.255.255.255", port: 4789 } };
  const rig = await startTunnel("vxlan", { peers: [left.plan, nobody], ingress: [pass] });
  for (let i = 0; i < 3; i++) left.send(under(vxlan, udpFrame("x")), rig.address);
  await until(() => rig.drops("ingress").upstream_error === 3);
  expect(rig.counters.readLaneFrames(0, "ingress")).toBe(3);
  expect(rig.counters.readLaneFrames(1, "egress")).toBe(0);
});

test("a checksum that offloading left partial is completed in each of the frames that come together", async () => {
  const { rig, left, right } = await startBridge({ ingress: [pass] });
  const flow = new Flow(
    "udp",
    { address: "10.0.0.1", port: 1000 },
    { address: "10.0.0.2", port: 53 },
  );
  const frames = [3, 4, 1000].map((bytes) => {
    const frame = new Uint8Array(flow.headerBytes + bytes).fill(7);
    writeUdpFrame(frame, 0, flow, bytes);
    return frame;
  });
  for (const frame of frames) {
    const partial = frame.slice();
    const sum = 0x0a00 + 1 + 0x0a00 + 2 + 17 + (frame.length - 34);
    partial.set([sum >> 8, sum & 255], 40);
    left.send(under(vxlan, partial), rig.address);
  }
  for (const frame of frames)
    expect(toHex((await right.next()).payload.subarray(8))).toBe(toHex(frame));
});
