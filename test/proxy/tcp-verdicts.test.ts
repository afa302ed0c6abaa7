import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import {
  cleanUp,
  startRig,
  TcpClient,
  tcpEcho,
  tcpUpstream,
  until,
  xdp,
  xdpAssembly,
} from "./rig.ts";
import { flag, flags, hasData, isSyn, when } from "./tcp-frames.ts";

afterEach(cleanUp);

for (const { name, filter, reason } of [
  { name: "dropped", filter: xdpAssembly("r0 = 1\nexit"), reason: "filter_drop" },
  { name: "answered with XDP_TX", filter: xdpAssembly("r0 = 3\nexit"), reason: "not_routable" },
  {
    name: "redirected to no port",
    filter: xdp((frame) => frame.redirectTo(99)),
    reason: "redirect_unknown_port",
  },
])
  for (const { onDrop, sees } of [
    { onDrop: "reset" as const, sees: "ECONNRESET" },
    { onDrop: "close" as const, sees: "end" },
  ])
    test(`a SYN that is ${name} ends the connection as onDrop: ${onDrop} says`, async () => {
      let dialled = 0;
      const upstream = await tcpUpstream(() => dialled++);
      const rig = await startRig("tcp", {
        plan: { onDrop },
        upstreams: [upstream],
        ingress: [filter],
      });
      const client = new TcpClient(rig.address);
      expect(await client.over).toBe(sees);
      expect(rig.drops("ingress")).toEqual({ [reason]: 1 });
      expect(rig.packets("ingress")).toEqual({ drop: 1 });
      expect(rig.packets("egress")).toEqual({});
      expect(dialled).toBe(0);
      expect(rig.counters.readCell(0, "sessions")).toBe(0);
      expect(rig.counters.readCell(0, "sessions_total")).toBe(1);
    });

test("onDrop: ignore holds a refused connection unread until its idle timeout", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", {
    plan: { onDrop: "ignore", idleTimeoutMs: 40 },
    upstreams: [upstream],
    ingress: [when(isSyn, 1)],
  });
  const client = new TcpClient(rig.address);
  client.write("anyone?");
  await until(() => rig.counters.readCell(0, "sessions_total") === 1);
  expect(rig.counters.readCell(0, "sessions")).toBe(1);
  expect(await client.over).toBe("ECONNRESET");
  expect(client.received.length).toBe(0);
  expect(rig.counters.readCell(0, "sessions")).toBe(0);
  expect(rig.packets("ingress")).toEqual({ drop: 1 });
});

test("held connections count against maxSessions: the oldest makes room", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", {
    plan: { onDrop: "ignore", maxSessions: 2 },
    upstreams: [upstream],
    ingress: [when(isSyn, 1)],
  });
  const first = new TcpClient(rig.address);
  await until(() => rig.counters.readCell(0, "sessions_total") === 1);
  const second = new TcpClient(rig.address);
  await until(() => rig.counters.readCell(0, "sessions_total") === 2);
  const third = new TcpClient(rig.address);
  expect(await first.over).toBe("ECONNRESET");
  expect(rig.counters.readCell(0, "sessions")).toBe(2);
  expect([second.socket.destroyed, third.socket.destroyed]).toEqual([false, false]);
});

/** A filter that redirects whole connections, as one that goes by source address would. */
test("a redirected SYN dials the port's upstream, and later segments of a stateless filter agree", async () => {
  const usual = await tcpUpstream((socket) => socket.end("usual"));
  const other = await tcpUpstream((socket) => socket.pipe(socket));
  const rig = await startRig("tcp", {
    upstreams: [usual, other],
    ports: [{ ifindex: 5, upstream: 1 }],
    ingress: [xdpAssembly("r1 = 5\nr2 = 0\ncall 23\nexit")],
  });
  const client = new TcpClient(rig.address);
  client.socket.end("to the other");
  expect(await client.over).toBe("end");
  expect(client.received.toString()).toBe("to the other");
  await until(() => rig.counters.readCell(0, "sessions") === 0);
  expect(rig.packets("ingress")).toEqual({ redirect: 4 });
});

test("a segment redirected elsewhere after the SYN resets the connection: redirect_midstream", async () => {
  const closed: string[] = [];
  const usual = await tcpUpstream((socket) => {
    socket.resume();
    socket.on("error", (error: NodeJS.ErrnoException) => closed.push(error.code ?? ""));
  });
  const other = await tcpEcho();
  const rig = await startRig("tcp", {
    upstreams: [usual, other],
    ports: [{ ifindex: 5, upstream: 1 }],
    ingress: [xdp((frame) => (hasData(frame.bytes) ? frame.redirectTo(5) : 2))],
  });
  const client = new TcpClient(rig.address);
  client.write("move me");
  expect(await client.over).toBe("ECONNRESET");
  expect(rig.drops("ingress")).toEqual({ redirect_midstream: 1 });
  expect(rig.packets("ingress")).toEqual({ pass: 2, drop: 1 });
  await until(() => closed.length === 1);
  expect(closed).toEqual(["ECONNRESET"]);
});

test("a dropped data segment resets both sides", async () => {
  const closed: string[] = [];
  const upstream = await tcpUpstream((socket) => {
    socket.resume();
    socket.on("error", (error: NodeJS.ErrnoException) => closed.push(error.code ?? ""));
  });
  const rig = await startRig("tcp", { upstreams: [upstream], ingress: [when(hasData, 1)] });
  const client = new TcpClient(rig.address);
  client.write("x");
  expect(await client.over).toBe("ECONNRESET");
  await until(() => closed.length === 1);
  expect(closed).toEqual(["ECONNRESET"]);
  expect(rig.drops("ingress")).toEqual({ filter_drop: 1 });
  expect(rig.counters.readCell(0, "sessions")).toBe(0);
});

test("onSegmentDrop: discard leaves the dropped bytes out, in either direction", async () => {
  const upstream = await tcpEcho();
  let data = 0;
  const rig = await startRig("tcp", {
    plan: { onSegmentDrop: "discard" },
    upstreams: [upstream],
    ingress: [
      xdp((frame) => {
        const bytes = frame.bytes;
        return hasData(bytes) && bytes[54] === "d".charCodeAt(0) ? 1 : 2;
      }),
    ],
    egress: [xdp((frame) => (hasData(frame.bytes) && data++ === 1 ? 1 : 2))],
  });
  const client = new TcpClient(rig.address);
  client.write("one ");
  await client.bytes(4);
  client.write("drop me ");
  client.write("lost coming back ");
  await until(() => rig.packets("egress").drop === 1);
  client.write("two");
  expect(await client.text(7)).toBe("one two");
  expect(rig.drops("ingress").filter_drop).toBe(1);
});

test("one dropped segment of many leaves exactly its bytes out", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", {
    plan: { onSegmentDrop: "discard" },
    upstreams: [upstream],
    ingress: [when((frame) => hasData(frame) && frame[54] === 2, 1)],
  });
  const client = new TcpClient(rig.address);
  // A segment each, if they are read together: the second begins with a 2.
  const content = Buffer.concat([1, 2, 3, 4].map((mark) => Buffer.alloc(1460, mark)));
  client.write(content);
  const expected = Buffer.concat([1, 3, 4].map((mark) => Buffer.alloc(1460, mark)));
  expect((await client.bytes(expected.length)).equals(expected)).toBe(true);
});

test("XDP_TX on data sends its bytes back to the client, and the upstream gets none of them", async () => {
  const got: Buffer[] = [];
  const upstream = await tcpUpstream((socket) => {
    socket.on("data", (chunk: Buffer) => got.push(chunk));
    socket.on("end", () => socket.end("|end"));
  });
  const rig = await startRig("tcp", {
    upstreams: [upstream],
    ingress: [when((frame) => hasData(frame) && frame[54] === "?".charCodeAt(0), 3)],
  });
  const client = new TcpClient(rig.address);
  client.write("?ping");
  expect(await client.text(5)).toBe("?ping");
  client.socket.end("for the upstream");
  expect(await client.over).toBe("end");
  expect(client.received.toString()).toBe("?ping|end");
  expect(Buffer.concat(got).toString()).toBe("for the upstream");
  expect(rig.packets("ingress")).toEqual({ pass: 4, tx: 1 });
});

test("a client that sends and never reads its XDP_TX answers is not read either", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", { upstreams: [upstream], ingress: [when(hasData, 3)] });
  const client = new TcpClient(rig.address);
  client.socket.pause();
  await once(client.socket, "connect");
  const total = 64 * 1024 * 1024;
  const content = Buffer.alloc(total, "t");
  client.socket.write(content);
  let before = -1;
  await until(() => {
    const now = rig.counters.readBytes(0, "ingress", "tx");
    const still = now === before && now > 0;
    before = now;
    return still;
  });
  expect(before).toBeLessThan(total);
  client.socket.resume();
  expect((await client.bytes(total)).equals(content)).toBe(true);
});

test("a dropped SYN-ACK refuses the client as a dropped SYN does", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", {
    upstreams: [upstream],
    egress: [xdpAssembly("r0 = 1\nexit")],
  });
  const client = new TcpClient(rig.address);
  expect(await client.over).toBe("ECONNRESET");
  expect(rig.drops("egress")).toEqual({ filter_drop: 1 });
  expect(rig.packets("ingress")).toEqual({ pass: 1 });
  expect(rig.counters.readCell(0, "sessions")).toBe(0);
});

test("a dropped ACK of the handshake is counted and harms nobody", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", {
    upstreams: [upstream],
    ingress: [when((frame) => flags(frame) === flag.ack && !hasData(frame), 1)],
  });
  const client = new TcpClient(rig.address);
  client.write("x");
  expect(await client.text(1)).toBe("x");
  expect(rig.drops("ingress")).toEqual({ filter_drop: 1 });
});

test("a dropped FIN resets the connection", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", {
    upstreams: [upstream],
    ingress: [when((frame) => (flags(frame) & flag.fin) !== 0, 1)],
  });
  const client = new TcpClient(rig.address);
  client.write("x");
  await client.bytes(1);
  client.socket.end();
  expect(await client.over).toBe("ECONNRESET");
  expect(rig.drops("ingress")).toEqual({ filter_drop: 1 });
});

test("a FIN left out by discard keeps the upstream open until it ends, then nothing is left", async () => {
  let served: Socket | undefined;
  const upstream = await tcpUpstream((socket) => {
    served = socket;
    socket.resume();
  });
  const rig = await startRig("tcp", {
    plan: { onSegmentDrop: "discard" },
    upstreams: [upstream],
    ingress: [when((frame) => (flags(frame) & flag.fin) !== 0, 1)],
  });
  const client = new TcpClient(rig.address);
  client.socket.end("x");
  await until(() => rig.drops("ingress").filter_drop === 1);
  expect(rig.counters.readCell(0, "sessions")).toBe(1);
  served?.end("bye");
  expect(await client.over).toBe("end");
  expect(client.received.toString()).toBe("bye");
  await until(() => rig.counters.readCell(0, "sessions") === 0);
});
