import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { Socket } from "node:dgram";
import { networkInterfaces } from "node:os";
import { afterEach, expect, test, vi } from "vitest";
import { needing } from "../support/needing.ts";
import {
  cleanUp,
  onCleanUp,
  startRig,
  udpIo,
  udpSocket,
  udpUpstream,
  until,
  xdp,
  xdpAssembly,
} from "./rig.ts";

afterEach(cleanUp);

const pass = xdpAssembly("r0 = 2\nexit");

for (const { host, family } of [
  { host: "127.0.0.1", family: "IPv4" },
  { host: "::1", family: "IPv6" },
])
  for (const filters of [[], [pass]])
    test(`a datagram over ${family} goes to the upstream and its answer back, with ${filters.length} filters`, async () => {
      const upstream = await udpUpstream("echo ", host);
      const rig = await startRig("udp", {
        plan: { listen: { host, port: 0 } },
        upstreams: [upstream.address],
        ingress: filters,
        egress: filters,
      });
      const client = await udpSocket(host);
      client.send("hello", rig.address);
      const answer = await client.next();
      expect(answer.payload.toString()).toBe("echo hello");
      expect(answer.from).toMatchObject({ address: host, port: rig.address.port });
      expect(rig.packets("ingress")).toEqual({ pass: 1 });
      expect(rig.packets("egress")).toEqual({ pass: 1 });
      const headers = family === "IPv4" ? 42 : 62;
      expect(rig.counters.readBytes(0, "ingress", "pass")).toBe(headers + 5);
      expect(rig.counters.readBytes(0, "egress", "pass")).toBe(headers + 10);
    });

for (const bytes of [0, 1, 1472, 65_507])
  test(`a datagram of ${bytes} bytes comes through both ways`, async () => {
    const upstream = await udpUpstream();
    const rig = await startRig("udp", {
      upstreams: [upstream.address],
      ingress: [pass],
      egress: [pass],
    });
    const client = await udpSocket();
    const payload = randomBytes(bytes);
    client.send(payload, rig.address);
    expect((await client.next()).payload.equals(payload)).toBe(true);
  });

test("the first datagrams of a session arrive in order, none lost before its socket connects", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", { upstreams: [upstream.address], ingress: [pass] });
  const client = await udpSocket();
  for (let i = 0; i < 20; i++) client.send(`${i}`, rig.address);
  const answers: string[] = [];
  for (let i = 0; i < 20; i++) answers.push(await client.text());
  expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => `${i}`));
  expect(rig.packets("ingress")).toEqual({ pass: 20 });
});

test("each client has a session, and gets its own answers", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", { upstreams: [upstream.address] });
  const clients = await Promise.all([udpSocket(), udpSocket(), udpSocket()]);
  clients.forEach((client, i) => {
    client.send(`client ${i}`, rig.address);
  });
  for (const [i, client] of clients.entries()) expect(await client.text()).toBe(`client ${i}`);
  expect(rig.counters.readCell(0, "sessions")).toBe(3);
  expect(rig.counters.readCell(0, "sessions_total")).toBe(3);
});

test("at its cap a listener ends the session that was used least recently", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    plan: { maxSessions: 2 },
    upstreams: [upstream.address],
  });
  const [a, b, c] = await Promise.all([udpSocket(), udpSocket(), udpSocket()]);
  const exchange = async (client: typeof a): Promise<number> => {
    client.send("x", rig.address);
    await client.next();
    return (await upstream.next()).from.port;
  };
  const portOfA = await exchange(a);
  const portOfB = await exchange(b);
  expect(await exchange(a)).toBe(portOfA);
  await exchange(c);
  expect(rig.counters.readCell(0, "sessions")).toBe(2);
  expect(await exchange(a)).toBe(portOfA);
  expect(await exchange(b)).not.toBe(portOfB);
  expect(rig.counters.readCell(0, "sessions")).toBe(2);
  expect(rig.counters.readCell(0, "sessions_total")).toBe(4);
});

test("a session without packets ends after its idle timeout", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    plan: { idleTimeoutMs: 30 },
    upstreams: [upstream.address],
  });
  const client = await udpSocket();
  client.send("x", rig.address);
  await client.next();
  expect(rig.counters.readCell(0, "sessions")).toBe(1);
  await until(() => rig.counters.readCell(0, "sessions") === 0);
  client.send("again", rig.address);
  expect(await client.text()).toBe("again");
  expect(rig.counters.readCell(0, "sessions_total")).toBe(2);
});

test("a dead upstream costs counted drops, and the listener goes on", async () => {
  const { port } = await udpSocket();
  await cleanUp();
  const rig = await startRig("udp", { upstreams: [{ host: "127.0.0.1", port }], ingress: [pass] });
  const client = await udpSocket();
  for (let i = 0; i < 3; i++) client.send("x", rig.address);
  await until(() => (rig.drops("ingress").upstream_unreachable ?? 0) > 0);
  await until(() => rig.counters.readCell(0, "sessions") === 0);
  expect(Object.keys(rig.drops("ingress"))).toEqual(["upstream_unreachable"]);
  const { pass: passed = 0, drop = 0 } = rig.packets("ingress");
  expect(passed + drop).toBe(3);

  const revived = await udpSocket("127.0.0.1", port);
  client.send("alive", rig.address);
  expect((await revived.next()).payload.toString()).toBe("alive");
});

test("an upstream that this machine may not connect to is upstream_error", async () => {
  // Without SO_BROADCAST the kernel refuses to connect: EACCES.
  const rig = await startRig("udp", { upstreams: [{ host: "255.255.255.255", port: 9 }] });
  const client = await udpSocket();
  client.send("x", rig.address);
  await until(() => rig.packets("ingress").drop === 1);
  expect(rig.drops("ingress")).toEqual({ upstream_error: 1 });
  expect(rig.counters.readCell(0, "sessions")).toBe(0);
});

test("on a wildcard socket a filter sees localAddress as the destination", async () => {
  const upstream = await udpUpstream();
  const frames: Uint8Array[] = [];
  const rig = await startRig("udp", {
    plan: { listen: { host: "0.0.0.0", port: 0 }, localAddress: "192.0.2.7" },
    upstreams: [upstream.address],
    ingress: [
      xdp((frame) => {
        frames.push(frame.bytes);
        return 2;
      }),
    ],
  });
  const client = await udpSocket();
  client.send("x", rig.address);
  await client.next();
  expect([...frames[0]!.subarray(26, 34)]).toEqual([127, 0, 0, 1, 192, 0, 2, 7]);
});

const hasIpv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === "::1"),
);
test.skipIf(!hasIpv6)("a dual-stack wildcard socket shows an IPv4 client as IPv4", async () => {
  const upstream = await udpUpstream();
  const frames: Uint8Array[] = [];
  const rig = await startRig("udp", {
    plan: { listen: { host: "::", port: 0 }, localAddress: "2001:db8::7" },
    upstreams: [upstream.address],
    ingress: [
      xdp((frame) => {
        frames.push(frame.bytes);
        return 2;
      }),
    ],
  });
  const [four, six] = [await udpSocket("127.0.0.1"), await udpSocket("::1")];
  four.send("four", { host: "127.0.0.1", port: rig.address.port });
  expect(await four.text()).toBe("four");
  six.send("six", { host: "::1", port: rig.address.port });
  expect(await six.text()).toBe("six");
  expect(frames.map((frame) => (frame[12]! << 8) | frame[13]!)).toEqual([0x0800, 0x86dd]);
  expect([...frames[0]!.subarray(26, 30)]).toEqual([127, 0, 0, 1]);
  expect((frames[1]![38]! << 8) | frames[1]![39]!).toBe(0x2001);
});

needing("root", "python3")(
  "a datagram from port 0 passes, and its answer is a counted drop",
  async () => {
    const upstream = await udpUpstream();
    const rig = await startRig("udp", { upstreams: [upstream.address] });
    // UDP header: source port 0, ours, length 9, no checksum; then one byte.
    const script = `import socket, struct
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
raw.sendto(struct.pack("!HHHHc", 0, ${rig.address.port}, 9, 0, b"x"), ("127.0.0.1", 0))`;
    expect(spawnSync("python3", ["-c", script], { encoding: "utf8" })).toMatchObject({
      status: 0,
      stderr: "",
    });
    await until(() => rig.packets("egress").drop === 1);
    expect(rig.packets("ingress")).toEqual({ pass: 1 });
    expect(rig.drops("egress")).toEqual({ send_failed: 1 });
  },
);

// In batches a socket is connected at once.
if (udpIo === "dgram")
  test("datagrams that wait for the upstream socket are bounded, and counted when they are given up", async () => {
    // A connect that never ends stands in for a slow one.
    const connect = vi.spyOn(Socket.prototype, "connect").mockImplementation(() => {});
    onCleanUp(() => connect.mockRestore());
    const rig = await startRig("udp", { upstreams: [{ host: "127.0.0.1", port: 9 }] });
    const client = await udpSocket();
    for (let i = 0; i < 100; i++) client.send("x", rig.address);
    await until(() => rig.packets("ingress").drop === 36);
    expect(rig.drops("ingress")).toEqual({ send_queue_full: 36 });
    await rig.listener.stop(0);
    expect(rig.drops("ingress")).toEqual({ send_queue_full: 36, shutting_down: 64 });
    expect(rig.packets("ingress")).toEqual({ drop: 100 });
  });

// For batches: send-queue.test.ts.
if (udpIo === "dgram")
  test("where the kernel takes no more, datagrams are dropped and not kept without bound", async () => {
    const upstream = await udpUpstream();
    const rig = await startRig("udp", { upstreams: [upstream.address] });
    const client = await udpSocket();
    const queue = vi.spyOn(Socket.prototype, "getSendQueueSize").mockReturnValue(1024 * 1024 + 1);
    onCleanUp(() => queue.mockRestore());
    // Fewer bytes than may wait are sent without a look at what does.
    const large = Buffer.alloc(64_000);
    const unasked = Math.ceil((1024 * 1024 + 1) / large.length);
    for (let i = 0; i < unasked; i++) {
      client.send(large, rig.address);
      expect((await client.next()).payload.length).toBe(large.length);
    }
    expect(queue).not.toHaveBeenCalled();
    client.send("x", rig.address);
    await until(() => rig.packets("ingress").drop === 1);
    expect(rig.drops("ingress")).toEqual({ send_queue_full: 1 });
    expect(rig.drops("egress")).toEqual({});
  });

test("an IPv6 datagram too long for IPv4 is dropped on its way to an IPv4 upstream", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    plan: { listen: { host: "::1", port: 0 } },
    upstreams: [upstream.address],
    ingress: [pass],
  });
  const client = await udpSocket("::1");
  client.send(Buffer.alloc(65_527), rig.address);
  await until(() => rig.packets("ingress").drop === 1);
  expect(rig.drops("ingress")).toEqual({ frame_too_large: 1 });
  client.send(Buffer.alloc(65_507, 1), rig.address);
  expect((await client.next()).payload.length).toBe(65_507);
});

// Batches come in slots of their own.
if (udpIo === "dgram")
  test("a worker whose slots are all in use drops the packet: no_packet_slot", async () => {
    const rig = await startRig("udp", {
      upstreams: [{ host: "127.0.0.1", port: 9 }],
      ingress: [pass],
      slots: 0,
    });
    const client = await udpSocket();
    client.send("x", rig.address);
    await until(() => rig.packets("ingress").drop === 1);
    expect(rig.drops("ingress")).toEqual({ no_packet_slot: 1 });
  });

test("stop closes the socket and every session", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", { upstreams: [upstream.address] });
  const client = await udpSocket();
  client.send("x", rig.address);
  await client.next();
  await rig.listener.stop(0);
  expect(rig.counters.readCell(0, "sessions")).toBe(0);
  const again = await udpSocket("127.0.0.1", rig.address.port);
  expect(again.port).toBe(rig.address.port);
});

test("an address in use is a named error with a remedy", async () => {
  const holder = await udpSocket();
  const upstream = await udpUpstream();
  await expect(
    startRig("udp", {
      plan: { listen: { host: "127.0.0.1", port: holder.port } },
      upstreams: [upstream.address],
    }),
  ).rejects.toThrow(/listener test: cannot listen on udp 127\.0\.0\.1:\d+: .*EADDRINUSE.*; stop/);
});
