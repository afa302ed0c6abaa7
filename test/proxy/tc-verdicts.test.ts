import { afterEach, expect, test } from "vitest";
import type { JudgingType } from "../../src/filter/verdict-of.ts";
import { freePort } from "../support/processes.ts";
import { cleanUp, startRig, type TestFilter, udpSocket, udpUpstream, until } from "./rig.ts";

afterEach(cleanUp);

function program(type: JudgingType, assembly: string): TestFilter {
  return { type, assembly };
}

const shot = 2;

for (const { type, returned, kind } of [
  { type: "tc", returned: shot, kind: "drop" },
  { type: "tc", returned: 4, kind: "drop" },
  { type: "tcx", returned: shot, kind: "drop" },
  { type: "action", returned: shot, kind: "drop" },
  { type: "cgroup_skb", returned: 0, kind: "drop" },
  { type: "tc", returned: 0, kind: "pass" },
  { type: "tc", returned: -1, kind: "pass" },
  { type: "tcx", returned: 4, kind: "pass" },
  { type: "cgroup_skb", returned: 1, kind: "pass" },
] as const)
  test(`${returned} of a ${type} program is a ${kind} of a datagram`, async () => {
    const upstream = await udpUpstream();
    const rig = await startRig("udp", {
      upstreams: [upstream.address],
      ingress: [program(type, `r0 = ${returned}\nexit`)],
    });
    const client = await udpSocket();
    client.send("x", rig.address);
    await until(() => rig.packets("ingress")[kind] === 1);
    expect(rig.packets("ingress")).toEqual({ [kind]: 1 });
    expect(rig.drops("ingress")).toEqual(kind === "drop" ? { filter_drop: 1 } : {});
  });

test("a tc program's redirect sends a datagram to its port", async () => {
  const [app, other] = [await udpUpstream("app:"), await udpUpstream("other:")];
  const rig = await startRig("udp", {
    upstreams: [app.address, other.address],
    ports: [{ ifindex: 5, upstream: 1 }],
    ingress: [program("tc", `r1 = 5\nr2 = 0\ncall 23\nexit`)],
  });
  const client = await udpSocket();
  client.send("hello", rig.address);
  expect(await client.text()).toBe("other:hello");
  expect(app.received).toBe(0);
});

/** Sends a copy to port 5 `count` times, and passes the packet if the last went well. */
const copying = (count: number) =>
  program(
    "tc",
    `r6 = r1
     r7 = ${count}
   again:
     r1 = r6
     r2 = 5
     r3 = 0
     call 13
     r7 += -1
     if r7 != 0 goto again
     if r0 == 0 goto out
     r0 = 2
   out:
     exit`,
  );

test("clone_redirect sends copies to a port, and the packet goes on", async () => {
  const [app, other] = [await udpUpstream("app:"), await udpUpstream("other:")];
  const rig = await startRig("udp", {
    upstreams: [app.address, other.address],
    ports: [{ ifindex: 5, upstream: 1 }],
    ingress: [copying(16)],
  });
  const client = await udpSocket();
  client.send("hello", rig.address);
  const texts: string[] = [];
  for (let i = 0; i < 17; i++) texts.push(await client.text());
  expect(texts.toSorted()).toEqual(["app:hello", ...Array(16).fill("other:hello")]);
  expect(rig.packets("ingress")).toEqual({ pass: 1, redirect: 16 });
});

test("the seventeenth copy of a packet is refused", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ports: [{ ifindex: 5, upstream: 0 }],
    ingress: [copying(17)],
  });
  const client = await udpSocket();
  client.send("hello", rig.address);
  await until(() => rig.packets("ingress").drop === 1 && upstream.received === 16);
  expect(rig.drops("ingress")).toEqual({ filter_drop: 1 });
});

test("a copy to a number that no port has is refused", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", { upstreams: [upstream.address], ingress: [copying(1)] });
  const client = await udpSocket();
  client.send("hello", rig.address);
  await until(() => rig.packets("ingress").drop === 1);
  expect(upstream.received).toBe(0);
});

test("replies are not copied: they go to the client alone", async () => {
  const upstream = await udpUpstream("app:");
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ports: [{ ifindex: 5, upstream: 0 }],
    egress: [copying(1)],
  });
  const client = await udpSocket();
  client.send("hello", rig.address);
  await until(() => rig.packets("egress").drop === 1);
  expect(upstream.received).toBe(1);
});

test("a datagram that got a VLAN tag is not one that a socket carries", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ingress: [program("tc", `r2 = 129\nr3 = 5\ncall 18\nr0 = 0\nexit`)],
  });
  const client = await udpSocket();
  client.send("hello", rig.address);
  await until(() => rig.packets("ingress").drop === 1);
  expect(rig.drops("ingress")).toEqual({ not_routable: 1 });
  expect(upstream.received).toBe(0);
});

test("what a tc program marks on a packet, the next one in the chain finds", async () => {
  const upstream = await udpUpstream("app:");
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ingress: [
      program("tc", `*(u32 *)(r1 + 8) = 77\nr0 = 0\nexit`),
      program("tc", `r0 = *(u32 *)(r1 + 8)\nif r0 == 77 goto out\nr0 = 2\nexit\nout: r0 = 0\nexit`),
    ],
  });
  const client = await udpSocket();
  client.send("one", rig.address);
  expect(await client.text()).toBe("app:one");
});

test("a cgroup_skb program sees the listener as its own side in both directions", async () => {
  const upstream = await udpUpstream("app:");
  // local_port is the listener's, remote_port the client's.
  const sees = (listener: number, client: number) =>
    program(
      "cgroup_skb",
      `r0 = 0
       r2 = *(u32 *)(r1 + 136)
       if r2 != ${listener} goto out
       r2 = *(u32 *)(r1 + 132)
       r2 = be32 r2
       if r2 != ${client} goto out
       r2 = *(u32 *)(r1 + 88)
       if r2 != 2 goto out
       r2 = *(u32 *)(r1 + 76)
       r3 = *(u32 *)(r1 + 80)
       r4 = r2
       r4 += 20
       if r4 > r3 goto out
       r2 = *(u8 *)(r2 + 0)
       if r2 != 69 goto out
       r0 = 1
     out:
       exit`,
    );
  const client = await udpSocket();
  const listenerPort = await freePort();
  const filter = sees(listenerPort, client.port);
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ingress: [filter],
    egress: [filter],
    plan: { listen: { host: "127.0.0.1", port: listenerPort } },
  });
  client.send("hello", rig.address);
  expect(await client.text()).toBe("app:hello");
});

/** Passes what has this packet type: 0 came in, 4 goes out. linux/if_packet.h. */
const ofPacketType = (type: JudgingType, wanted: number): TestFilter =>
  program(
    type,
    `r2 = *(u32 *)(r1 + 4)
     r0 = ${type === "tc" ? 2 : 0}
     if r2 != ${wanted} goto out
     r0 = ${type === "tc" ? 0 : 0xffff}
   out:
     exit`,
  );

test("a socket filter is told that a reply goes out, and tc programs around it are not", async () => {
  const upstream = await udpUpstream("app:");
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ingress: [ofPacketType("tc", 0), ofPacketType("socket", 0), ofPacketType("tc", 0)],
    egress: [ofPacketType("tc", 0), ofPacketType("socket", 4), ofPacketType("tc", 0)],
  });
  const client = await udpSocket();
  client.send("hello", rig.address);
  expect(await client.text()).toBe("app:hello");
  expect(rig.packets("egress")).toEqual({ pass: 1 });
});
