/** Frames that one tunnel redirects to another's peer, where one has `io: mmsg` and the other not. */
import { afterEach, describe, expect, test } from "vitest";
import { parseHex } from "../../../src/common/bytes.ts";
import { Flow } from "../../../src/packet/flow.ts";
import { writeTcpFrame, writeUdpFrame } from "../../../src/packet/synthesis.ts";
import type { DatagramIo, TunnelPlan } from "../../../src/proxy/plan.ts";
import { socketCallsProblem } from "../../../src/proxy/socket-calls.ts";

process.env.WEIR_TEST_IO = "mmsg";
const problem = await socketCallsProblem();
const { PlanBench, running } = await import("../plan-of.ts");
const { cleanUp, udpSocket } = await import("../rig.ts");

afterEach(cleanUp);

const vxlan = parseHex("0800000000002a00")!;
const ends = [
  { address: "10.0.0.1", port: 1000 },
  { address: "10.0.0.2", port: 53 },
] as const;
const udp = new Flow("udp", ...ends);
const tcp = new Flow("tcp", ...ends);

function tunnelOf(...ports: number[]): TunnelPlan {
  const peers = ports.map((port, i) => ({ name: `p${i}`, address: { host: "127.0.0.1", port } }));
  return { mode: "bridge", vnis: [], peers, mtu: 1500, firstLane: 0 };
}

/** A tunnel that redirects all that comes from the first inbox to the second, by another's socket. */
async function stageOf(io: DatagramIo, other: DatagramIo) {
  const [from, to] = [await udpSocket(), await udpSocket()];
  // Every tunnel has two peers; the discard port's never sends.
  const proxy = await running(
    await new PlanBench().plan({
      upstreams: [],
      ports: [{ ifindex: 7, listener: 1, peer: 0 }],
      filters: [{ assembly: "r1 = 7\nr2 = 0\ncall 23\nexit" }],
      listeners: [
        { protocol: "vxlan", upstream: undefined, tunnel: tunnelOf(from.port, 9), io },
        { protocol: "vxlan", upstream: undefined, tunnel: tunnelOf(to.port, 9), io: other },
      ],
    }),
  );
  return { from, to, address: proxy.listeners[0]!.address };
}

for (const [io, other] of [
  ["dgram", "mmsg"],
  ["mmsg", "dgram"],
] as const)
  describe.skipIf(problem !== undefined)(`from io: ${io} to io: ${other}`, () => {
    test("frames that come together go on as they came", async () => {
      const { from, to, address } = await stageOf(io, other);
      for (let i = 0; i < 100; i++) {
        const datagram = new Uint8Array(vxlan.length + udp.headerBytes + 200).fill(i);
        datagram.set(vxlan);
        writeUdpFrame(datagram, vxlan.length, udp, 200);
        from.send(datagram, address);
      }
      for (let i = 0; i < 100; i++) {
        const { payload } = await to.next();
        expect(payload.subarray(vxlan.length + udp.headerBytes)).toEqual(Buffer.alloc(200, i));
      }
    });

    test("a super-frame arrives as its segments, in order", async () => {
      const { from, to, address } = await stageOf(io, other);
      const bytes = 60_000;
      const datagram = new Uint8Array(vxlan.length + tcp.headerBytes + bytes);
      const content = datagram.subarray(vxlan.length + tcp.headerBytes);
      for (let i = 0; i < bytes; i++) content[i] = (i * 31) >>> 4;
      datagram.set(vxlan);
      const segment = { sequence: 1, acknowledgement: 1, flags: 0x18, window: 9 };
      writeTcpFrame(datagram, vxlan.length, tcp, segment, bytes);
      from.send(datagram, address);
      const received: Buffer[] = [];
      for (let length = 0; length < bytes; length += received.at(-1)!.length) {
        const { payload } = await to.next();
        expect(payload.length).toBeLessThanOrEqual(1472);
        received.push(payload.subarray(vxlan.length + tcp.headerBytes));
      }
      expect(Buffer.concat(received).equals(content)).toBe(true);
    });
  });
