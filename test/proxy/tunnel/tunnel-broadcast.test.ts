import { afterEach, describe, expect, test } from "vitest";
import { toHex } from "../../../src/common/bytes.ts";
import { flood, portMap } from "../../support/flood.ts";
import { cleanUp, type TestFilter, udpSocket, udpUpstream, until } from "../rig.ts";
import {
  peerOf,
  startTunnel,
  type TunnelOptions,
  udpFrame,
  under,
  vxlan,
} from "./tunnel-test-rig.ts";

afterEach(cleanUp);

function toAll(ports: readonly number[], excludeIngress = true): TestFilter {
  return {
    type: "xdp",
    assembly: flood({ excludeIngress }),
    maps: [portMap("devmap_hash", ports)],
  };
}

/** A bridge of three peers with the port numbers 1, 2 and 3, whose frames go to these ports. */
async function startHub(filter: TestFilter, options: TunnelOptions = {}) {
  const peers = [await peerOf("a"), await peerOf("b"), await peerOf("c")] as const;
  const { more, ...tunnel } = options;
  const rig = await startTunnel("vxlan", {
    peers: peers.map(({ plan }) => plan),
    ingress: [filter],
    ...tunnel,
    more: {
      ...more,
      ports: [
        ...peers.map((_, peer) => ({ ifindex: peer + 1, listener: 0, peer })),
        ...(more?.ports ?? []),
      ],
    },
  });
  return { rig, peers };
}

describe("A broadcast of a tunnel's frame", () => {
  test("goes to every peer but the one that it came from: a hub", async () => {
    const { rig, peers } = await startHub(toAll([1, 2, 3]));
    for (const [from, peer] of peers.entries()) {
      const datagram = under(vxlan, udpFrame(`from ${from}`));
      peer.send(datagram, rig.address);
      for (const [to, other] of peers.entries())
        if (to !== from) expect(toHex((await other.next()).payload)).toBe(toHex(datagram));
    }
    await until(() => rig.packets("ingress").redirect === 6);
    expect(rig.packets("ingress")).toEqual({ redirect: 6 });
    expect(peers.map(({ received }) => received)).toEqual([2, 2, 2]);
  });

  test("goes back too where the filter does not exclude its peer", async () => {
    const { rig, peers } = await startHub(toAll([1, 2, 3], false));
    const datagram = under(vxlan, udpFrame("everybody"));
    peers[1].send(datagram, rig.address);
    for (const peer of peers) expect(toHex((await peer.next()).payload)).toBe(toHex(datagram));
  });

  test("reaches peers and upstreams, whose answers come back to the host", async () => {
    const upstream = await udpUpstream("re: ");
    const { rig, peers } = await startHub(toAll([1, 2, 9]), {
      more: { upstreams: [upstream.address], ports: [{ ifindex: 9, upstream: 0 }] },
    });
    peers[0].send(under(vxlan, udpFrame("ask")), rig.address);
    expect((await peers[1].next()).payload.subarray(50).toString()).toBe("ask");
    expect((await peers[0].next()).payload.subarray(50).toString()).toBe("re: ask");
    expect(rig.packets("ingress")).toEqual({ redirect: 2 });
  });

  test("many together go to every peer, in order", async () => {
    const { rig, peers } = await startHub(toAll([1, 2, 3]));
    const texts = Array.from({ length: 40 }, (_, i) => `frame ${i}`);
    for (const text of texts) peers[0].send(under(vxlan, udpFrame(text)), rig.address);
    for (const peer of peers.slice(1))
      for (const text of texts)
        expect((await peer.next()).payload.subarray(50).toString()).toBe(text);
    await until(() => rig.packets("ingress").redirect === 80);
  });

  test("counts each port that it could not be sent to", async () => {
    const { rig, peers } = await startHub(toAll([1, 2, 77]));
    peers[0].send(under(vxlan, udpFrame("hello")), rig.address);
    await peers[1].next();
    await until(() => rig.packets("ingress").drop === 1);
    expect(rig.packets("ingress")).toEqual({ redirect: 1, drop: 1 });
    expect(rig.drops("ingress")).toEqual({ redirect_unknown_port: 1 });
  });

  test("that only its own peer could get is dropped", async () => {
    const { rig, peers } = await startHub(toAll([1]));
    peers[0].send(under(vxlan, udpFrame("alone")), rig.address);
    await until(() => rig.packets("ingress").drop === 1);
    expect(rig.drops("ingress")).toEqual({ redirect_no_port: 1 });
  });

  test("is dropped once by a mirror, which sends nothing", async () => {
    const rig = await startTunnel("vxlan", {
      mode: "mirror",
      ingress: [toAll([1, 2, 3])],
      more: {
        upstreams: [{ host: "127.0.0.1", port: 9 }],
        ports: [1, 2, 3].map((ifindex) => ({ ifindex, upstream: 0 })),
      },
    });
    const source = await udpSocket();
    source.send(under(vxlan, udpFrame("seen")), rig.address);
    await until(() => rig.packets("ingress").drop === 1);
    expect(rig.drops("ingress")).toEqual({ tunnel_mirror_only: 1 });
  });
});
