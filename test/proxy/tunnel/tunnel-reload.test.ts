import { afterEach, expect, test } from "vitest";
import { parseHex, toHex } from "../../../src/common/bytes.ts";
import { Flow } from "../../../src/packet/flow.ts";
import { writeUdpFrame } from "../../../src/packet/synthesis.ts";
import type { ProxyPlan, TunnelPlan } from "../../../src/proxy/plan.ts";
import type { RunningProxy } from "../../../src/proxy/supervisor.ts";
import { echoUpstream, PlanBench, running } from "../plan-of.ts";
import { cleanUp, type Inbox, udpSocket, value } from "../rig.ts";

afterEach(cleanUp);

const vxlan = parseHex("0800000000002a00")!;
const flow = new Flow(
  "udp",
  { address: "10.0.0.1", port: 1000 },
  { address: "10.0.0.2", port: 53 },
);

/** UDP from a host behind a peer, under network 42. */
function datagram(payload: string): Uint8Array {
  const bytes = new Uint8Array(vxlan.length + flow.headerBytes + payload.length);
  bytes.set(vxlan);
  bytes.set(Buffer.from(payload), vxlan.length + flow.headerBytes);
  writeUdpFrame(bytes, vxlan.length, flow, payload.length);
  return bytes;
}

/** A bridge whose filter redirects all frames to an upstream that echoes. */
class Stage {
  readonly bench = new PlanBench();
  proxy!: RunningProxy;
  /** The first. */
  plan!: ProxyPlan;
  #upstreams!: Parameters<PlanBench["plan"]>[0]["upstreams"];

  static async start(peers: Record<string, Inbox>): Promise<Stage> {
    const stage = new Stage();
    stage.#upstreams = [await echoUpstream()];
    stage.plan = await stage.#plan(peers, [42]);
    stage.proxy = await running(stage.plan);
    return stage;
  }

  async apply(peers: Record<string, Inbox>, vnis: readonly number[]): Promise<void> {
    const plan = await this.#plan(peers, vnis);
    value(await this.proxy.apply(plan, { drainTimeoutMs: 100 }));
  }

  #plan(peers: Record<string, Inbox>, vnis: readonly number[]) {
    const tunnel: TunnelPlan = {
      mode: "bridge",
      vnis,
      peers: Object.entries(peers).map(([name, { port }]) => ({
        name,
        address: { host: "127.0.0.1", port },
      })),
      mtu: 1500,
      firstLane: 0,
    };
    return this.bench.plan({
      upstreams: this.#upstreams,
      ports: [{ ifindex: 7, upstream: 0 }],
      filters: [{ assembly: "r1 = 7\nr2 = 0\ncall 23\nexit" }],
      listeners: [{ protocol: "vxlan", upstream: undefined, tunnel }],
    });
  }

  async echoed(peer: Inbox, text: string): Promise<void> {
    peer.send(datagram(text), this.proxy.listeners[0]!.address);
    const { payload } = await peer.next();
    expect(toHex(payload.subarray(0, vxlan.length))).toBe(toHex(vxlan));
    expect(payload.subarray(vxlan.length + flow.headerBytes).toString()).toBe(text);
  }

  get sessions(): [now: number, ever: number] {
    const [counters] = this.bench.counters;
    return [counters!.readCell(0, "sessions"), counters!.readCell(0, "sessions_total")];
  }
}

test("sessions of a peer that stays live on, though its place in the list is another", async () => {
  const [east, west, north] = [await udpSocket(), await udpSocket(), await udpSocket()];
  const stage = await Stage.start({ east, west });
  await stage.echoed(east, "before");
  expect(stage.sessions).toEqual([1, 1]);
  await stage.apply({ north, east }, [42, 7]);
  await stage.echoed(east, "after");
  expect(stage.sessions).toEqual([1, 1]);
});

for (const { name, peers, vnis, kept } of [
  { name: "a peer that is gone", peers: ["north", "west"], vnis: [42], kept: 1 },
  { name: "a network that is gone", peers: ["east", "west"], vnis: [7], kept: 0 },
] as const)
  test(`sessions of ${name} end with the reload`, async () => {
    const inboxes = { east: await udpSocket(), west: await udpSocket(), north: await udpSocket() };
    const { east, west } = inboxes;
    const stage = await Stage.start({ east, west });
    await stage.echoed(east, "east");
    await stage.echoed(west, "west");
    expect(stage.sessions).toEqual([2, 2]);
    await stage.apply(Object.fromEntries(peers.map((peer) => [peer, inboxes[peer]])), vnis);
    expect(stage.sessions).toEqual([kept, 2]);
    if (kept === 1) await stage.echoed(west, "still");
    expect(stage.sessions).toEqual([kept, 2]);
  });

test("another io is refused for as long as the tunnel has its address", async () => {
  const { proxy, plan } = await Stage.start({ east: await udpSocket(), west: await udpSocket() });
  const [listener] = plan.listeners;
  const io = listener!.io === "mmsg" ? "dgram" : "mmsg";
  expect(
    await proxy.apply({ ...plan, listeners: [{ ...listener!, io }] }, { drainTimeoutMs: 100 }),
  ).toMatchObject({
    ok: false,
    error: [{ code: "RELOAD_NEEDS_RESTART", what: expect.stringContaining("stays") }],
  });
});
