import { afterEach, describe, expect, test } from "vitest";
import { CaptureReader, captureRingMemory } from "../../src/filter/capture-ring.ts";
import { flood, portMap } from "../support/flood.ts";
import {
  cleanUp,
  startRig,
  TcpClient,
  type TestFilter,
  tcpEcho,
  udpSocket,
  udpUpstream,
  until,
  xdp,
} from "./rig.ts";

afterEach(cleanUp);

/** The listener's number in the rig. */
const listener = 1000;

function toAll(
  type: "devmap" | "devmap_hash",
  ports: readonly number[],
  excludeIngress = false,
): TestFilter {
  return { type: "xdp", assembly: flood({ excludeIngress }), maps: [portMap(type, ports)] };
}

/** A UDP listener with an upstream at each of the ports 1, 2, …, and a client. */
async function startFlood(count: number, filters: readonly TestFilter[], plan = {}) {
  const upstreams = await Promise.all(
    Array.from({ length: count }, (_, i) => udpUpstream(`${i + 1}:`)),
  );
  const rig = await startRig("udp", {
    upstreams: upstreams.map(({ address }) => address),
    ports: upstreams.map((_, i) => ({ ifindex: i + 1, upstream: i })),
    ingress: filters,
    plan,
  });
  return { rig, upstreams, client: await udpSocket() };
}

for (const type of ["devmap", "devmap_hash"] as const)
  test(`a broadcast over a ${type} sends a datagram to each of its ports`, async () => {
    const { rig, upstreams, client } = await startFlood(4, [toAll(type, [1, 3, 4])]);
    client.send("hello", rig.address);
    const answers = [await client.text(), await client.text(), await client.text()];
    expect(answers.toSorted()).toEqual(["1:hello", "3:hello", "4:hello"]);
    expect(upstreams.map(({ received }) => received)).toEqual([1, 0, 1, 1]);
    expect(rig.packets("ingress")).toEqual({ redirect: 3 });
    expect(rig.packets("egress")).toEqual({ pass: 3 });
    expect(rig.counters.readCell(0, "sessions")).toBe(3);
  });

test("datagrams that come together are sent to all ports, each whole and in order", async () => {
  const { rig, upstreams, client } = await startFlood(3, [toAll("devmap", [1, 2, 3])]);
  const texts = Array.from({ length: 40 }, (_, i) => `${"x".repeat(i)}${i}`);
  for (const text of texts) client.send(text, rig.address);
  for (const upstream of upstreams)
    for (const text of texts) expect(await upstream.text()).toBe(text);
  await until(() => rig.packets("ingress").redirect === 120);
});

test("a broadcast sends what filters made of the datagram", async () => {
  const { rig, upstreams, client } = await startFlood(2, [
    xdp((frame) => {
      frame.write(42, Buffer.from("J"));
      frame.resize(frame.length - 1);
      // The UDP and IP lengths say so too; the checksums are the kernel's to make.
      frame.write(16, [0, 32]);
      frame.write(38, [0, 12]);
      return 2;
    }),
    toAll("devmap", [1, 2]),
  ]);
  client.send("hello", rig.address);
  expect([await upstreams[0]!.text(), await upstreams[1]!.text()]).toEqual(["Jell", "Jell"]);
});

test("with EXCLUDE_INGRESS the listener's own number is passed over; without, no port has it", async () => {
  const ports = [listener, 1];
  const without = await startFlood(1, [toAll("devmap", ports, true)]);
  without.client.send("hello", without.rig.address);
  expect(await without.client.text()).toBe("1:hello");
  expect(without.rig.packets("ingress")).toEqual({ redirect: 1 });
  const all = await startFlood(1, [toAll("devmap", ports)]);
  all.client.send("hello", all.rig.address);
  expect(await all.client.text()).toBe("1:hello");
  expect(all.rig.packets("ingress")).toEqual({ redirect: 1, drop: 1 });
  expect(all.rig.drops("ingress")).toEqual({ redirect_unknown_port: 1 });
});

for (const { name, ports, reason } of [
  { name: "an empty devmap", ports: [0], reason: "redirect_no_port" },
  { name: "a devmap of unknown ports", ports: [77], reason: "redirect_unknown_port" },
  { name: "a devmap with the listener alone", ports: [listener], reason: "redirect_no_port" },
])
  test(`a broadcast over ${name} drops the datagram: ${reason}`, async () => {
    const { rig, client } = await startFlood(1, [toAll("devmap", ports, true)]);
    client.send("hello", rig.address);
    await until(() => rig.drops("ingress")[reason] === 1);
    expect(rig.packets("ingress")).toEqual({ drop: 1 });
  });

test("a broadcast reaches 32 ports, and says so of those beyond", async () => {
  const upstream = await udpUpstream();
  const numbers = Array.from({ length: 33 }, (_, i) => i + 1);
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ports: numbers.map((ifindex) => ({ ifindex, upstream: 0 })),
    ingress: [toAll("devmap", numbers)],
  });
  const client = await udpSocket();
  client.send("hello", rig.address);
  await until(() => upstream.received === 32 && rig.packets("ingress").drop === 1);
  expect(rig.packets("ingress")).toEqual({ redirect: 32, drop: 1 });
  expect(rig.drops("ingress")).toEqual({ redirect_port_limit: 1 });
});

test("what one port cannot take, the others get", async () => {
  const { rig, client } = await startFlood(3, [toAll("devmap", [1, 2, 3])], {
    maxSessionsPerSource: 2,
  });
  client.send("hello", rig.address);
  expect([await client.text(), await client.text()].toSorted()).toEqual(["1:hello", "2:hello"]);
  expect(rig.packets("ingress")).toEqual({ redirect: 2, drop: 1 });
  expect(rig.drops("ingress")).toEqual({ source_limit: 1 });
});

test("replies are not broadcast: they go to the client alone", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ports: [{ ifindex: 1, upstream: 0 }],
    egress: [toAll("devmap", [1])],
  });
  const client = await udpSocket();
  client.send("hello", rig.address);
  await until(() => rig.drops("egress").not_routable === 1);
  expect(upstream.received).toBe(1);
});

test("a capture shows the ports that a broadcast went to", async () => {
  const { rig, client } = await startFlood(2, [toAll("devmap", [2, 1])]);
  const memory = captureRingMemory(1 << 16);
  rig.captures.start({
    id: 1,
    rings: [memory],
    snapLength: 256,
    perSecond: 1000,
    listener: undefined,
    verdict: "redirect",
    direction: undefined,
    filter: undefined,
    shadow: undefined,
    expression: undefined,
  });
  client.send("hello", rig.address);
  await client.text();
  expect(new CaptureReader(memory).next()).toMatchObject({
    verdict: "redirect",
    filter: "filter0",
    ifindex: undefined,
    ports: [2, 1],
  });
});

describe("A TCP connection", () => {
  test("goes to one upstream: a SYN to all ports is refused, not_routable", async () => {
    const [app, other] = [await tcpEcho(), await tcpEcho()];
    const rig = await startRig("tcp", {
      upstreams: [app, other],
      ports: [{ ifindex: 1, upstream: 1 }],
      ingress: [toAll("devmap", [1])],
    });
    const client = new TcpClient(rig.address);
    expect(await client.over).toBe("ECONNRESET");
    expect(rig.drops("ingress")).toEqual({ not_routable: 1 });
    expect(rig.packets("ingress")).toEqual({ drop: 1 });
  });

  test("is reset by a later segment to all ports", async () => {
    const app = await tcpEcho();
    // To all ports if the frame is longer than a SYN or an ACK.
    const assembly = `r2 = *(u32 *)(r1 + 4)
      r3 = *(u32 *)(r1 + 0)
      r2 -= r3
      r0 = 2
      if r2 < 80 goto out
      ${flood().replace("exit", "")}
      out: exit`;
    const rig = await startRig("tcp", {
      upstreams: [app],
      ports: [{ ifindex: 1, upstream: 0 }],
      ingress: [{ type: "xdp", assembly, maps: [portMap("devmap", [1])] }],
    });
    const client = new TcpClient(rig.address);
    client.write("x".repeat(100));
    expect(await client.over).toBe("ECONNRESET");
    expect(rig.drops("ingress")).toMatchObject({ not_routable: 1 });
  });
});

test("a broadcast to more ports than there may be sessions reaches each, or is counted as dropped", async () => {
  const { rig, upstreams, client } = await startFlood(4, [toAll("devmap", [1, 2, 3, 4])], {
    maxSessions: 2,
  });
  const rounds = 20;
  for (let i = 0; i < rounds; i++) client.send(`${i}`, rig.address);
  const ended = (): number =>
    (rig.packets("ingress").redirect ?? 0) + (rig.packets("ingress").drop ?? 0);
  await until(() => ended() === 4 * rounds);
  expect(rig.counters.readCell(0, "sessions")).toBe(2);
  const { redirect = 0, drop = 0 } = rig.packets("ingress");
  expect(rig.drops("ingress")).toEqual(drop === 0 ? {} : { session_limit: drop });
  await until(() => upstreams.reduce((sum, { received }) => sum + received, 0) === redirect);
});
