import { afterEach, expect, test } from "vitest";
import { cleanUp, startRig, udpSocket, udpUpstream, until, xdp, xdpAssembly } from "./rig.ts";

afterEach(cleanUp);

for (const { name, filter, kind, reason } of [
  { name: "XDP_DROP", filter: xdpAssembly("r0 = 1\nexit"), kind: "drop", reason: "filter_drop" },
  {
    name: "XDP_ABORTED",
    filter: xdpAssembly("r0 = 0\nexit"),
    kind: "aborted",
    reason: "filter_aborted",
  },
  {
    name: "a return value XDP does not know",
    filter: xdpAssembly("r0 = 77\nexit"),
    kind: "aborted",
    reason: "filter_aborted",
  },
  {
    name: "an access outside the packet",
    filter: xdpAssembly("r1 = *(u32 *)(r1 + 4)\nr0 = *(u8 *)(r1 + 0)\nr0 = 2\nexit"),
    kind: "aborted",
    reason: "filter_aborted",
  },
  {
    name: "a loop without end",
    filter: xdpAssembly("r0 = 2\nloop: goto loop\nexit"),
    kind: "aborted",
    reason: "budget_exceeded",
  },
  {
    name: "a redirect to a number no port has",
    filter: xdp((frame) => frame.redirectTo(99)),
    kind: "drop",
    reason: "redirect_unknown_port",
  },
])
  test(`${name} ends a datagram as ${reason}`, async () => {
    const upstream = await udpUpstream();
    const rig = await startRig("udp", { upstreams: [upstream.address], ingress: [filter] });
    const client = await udpSocket();
    client.send("x", rig.address);
    await until(() => rig.packets("ingress")[kind] === 1);
    expect(rig.packets("ingress")).toEqual({ [kind]: 1 });
    expect(rig.drops("ingress")).toEqual({ [reason]: 1 });
    expect(upstream.received).toBe(0);
    expect(rig.counters.readCell(0, "sessions")).toBe(0);
  });

test("a fault is reported with filter, program, instruction and cause", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ingress: [xdpAssembly("r0 = 0\nr0 = *(u64 *)(r0 + 0)\nexit")],
  });
  const client = await udpSocket();
  for (let i = 0; i < 5; i++) client.send("x", rig.address);
  await until(() => rig.packets("ingress").aborted === 5);
  expect(rig.faults).toMatchObject([
    { filter: "filter0", program: "test_program", slot: 1, suppressed: 0 },
  ]);
  expect(rig.faults[0]?.message).toMatch(/\S/);
});

test("a chain's first filter that does not pass decides", async () => {
  const seen: string[] = [];
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ingress: [
      xdp(() => {
        seen.push("first");
        return 2;
      }),
      xdp(() => {
        seen.push("second");
        return 1;
      }),
      xdp(() => {
        seen.push("third");
        return 2;
      }),
    ],
  });
  const client = await udpSocket();
  client.send("x", rig.address);
  await until(() => rig.packets("ingress").drop === 1);
  expect(seen).toEqual(["first", "second"]);
});

test("an egress chain drops replies, and the client gets none", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    egress: [xdp((frame) => (frame.bytes[42] === "n".charCodeAt(0) ? 1 : 2))],
  });
  const client = await udpSocket();
  client.send("no", rig.address);
  client.send("yes", rig.address);
  expect(await client.text()).toBe("yes");
  expect(rig.drops("egress")).toEqual({ filter_drop: 1 });
  expect(rig.packets("egress")).toEqual({ drop: 1, pass: 1 });
});

for (const { name, filter } of [
  { name: "XDP_TX", filter: xdpAssembly("r0 = 3\nexit") },
  { name: "a redirect", filter: xdp((frame) => frame.redirectTo(2)) },
])
  test(`${name} on egress goes nowhere: not_routable`, async () => {
    const upstream = await udpUpstream();
    const rig = await startRig("udp", {
      upstreams: [upstream.address],
      ports: [{ ifindex: 2, upstream: 0 }],
      egress: [filter],
    });
    const client = await udpSocket();
    client.send("x", rig.address);
    await until(() => rig.packets("egress").drop === 1);
    expect(rig.drops("egress")).toEqual({ not_routable: 1 });
    expect(client.received).toBe(0);
  });

test("XDP_TX answers the client with the frame's payload, and opens no session", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ingress: [
      xdp((frame) => {
        frame.write(42, Buffer.from("PONG"));
        return 3;
      }),
    ],
  });
  const client = await udpSocket();
  client.send("ping!", rig.address);
  expect(await client.text()).toBe("PONG!");
  expect(rig.packets("ingress")).toEqual({ tx: 1 });
  expect(upstream.received).toBe(0);
  expect(rig.counters.readCell(0, "sessions_total")).toBe(0);
});

test("a redirect goes to its port's upstream, and the answer comes back from the listener", async () => {
  const [usual, other] = [await udpUpstream("usual "), await udpUpstream("other ")];
  const rig = await startRig("udp", {
    upstreams: [usual.address, other.address],
    ports: [{ ifindex: 7, upstream: 1 }],
    ingress: [xdp((frame) => (frame.bytes[42] === "r".charCodeAt(0) ? frame.redirectTo(7) : 2))],
  });
  const client = await udpSocket();
  client.send("redirected", rig.address);
  const answer = await client.next();
  expect(answer.payload.toString()).toBe("other redirected");
  expect(answer.from.port).toBe(rig.address.port);
  client.send("passed", rig.address);
  expect(await client.text()).toBe("usual passed");
  expect(rig.packets("ingress")).toEqual({ redirect: 1, pass: 1 });
  expect(rig.counters.readCell(0, "sessions")).toBe(2);
});

test("bpf_redirect in a program leads to the port it names", async () => {
  const [usual, other] = [await udpUpstream("usual "), await udpUpstream("other ")];
  const rig = await startRig("udp", {
    upstreams: [usual.address, other.address],
    ports: [{ ifindex: 7, upstream: 1 }],
    ingress: [xdpAssembly("r1 = 7\nr2 = 0\ncall 23\nexit")],
  });
  const client = await udpSocket();
  client.send("x", rig.address);
  expect(await client.text()).toBe("other x");
});

for (const { keep, arrives } of [
  { keep: 0xffff_ffff, arrives: "0123456789" },
  { keep: 52, arrives: "0123456789" },
  { keep: 47, arrives: "01234" },
  { keep: 42, arrives: "" },
  { keep: 1, arrives: "" },
])
  test(`a socket filter that returns ${keep} lets "${arrives}" through`, async () => {
    const upstream = await udpUpstream();
    const rig = await startRig("udp", {
      upstreams: [upstream.address],
      ingress: [{ type: "socket", assembly: `w0 = ${keep | 0}\nexit` }],
    });
    const client = await udpSocket();
    client.send("0123456789", rig.address);
    expect(await client.text()).toBe(arrives);
    expect(rig.packets("ingress")).toEqual({ pass: 1 });
  });
