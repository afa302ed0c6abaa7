import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
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
import { flag, flags, isSyn, when } from "./tcp-frames.ts";

afterEach(cleanUp);

const pass = xdpAssembly("r0 = 2\nexit");

for (const { host, headers } of [
  { host: "127.0.0.1", headers: 54 },
  { host: "::1", headers: 74 },
])
  for (const filters of [[], [pass]])
    test(`a connection over ${host} carries bytes both ways and ends by FINs, with ${filters.length} filters`, async () => {
      const upstream = await tcpEcho(host);
      const rig = await startRig("tcp", {
        plan: { listen: { host, port: 0 } },
        upstreams: [upstream],
        ingress: filters,
        egress: filters,
      });
      const client = new TcpClient(rig.address);
      client.write("hello");
      expect(await client.text(5)).toBe("hello");
      expect(rig.counters.readCell(0, "sessions")).toBe(1);
      client.socket.end();
      expect(await client.over).toBe("end");
      await until(() => rig.counters.readCell(0, "sessions") === 0);
      // SYN, ACK, data, FIN; SYN-ACK, data, FIN.
      expect(rig.packets("ingress")).toEqual({ pass: 4 });
      expect(rig.packets("egress")).toEqual({ pass: 3 });
      expect(rig.counters.readBytes(0, "ingress", "pass")).toBe(4 * headers + 4 + 5);
      expect(rig.counters.readBytes(0, "egress", "pass")).toBe(3 * headers + 4 + 5);
      expect([rig.drops("ingress"), rig.drops("egress")]).toEqual([{}, {}]);
    });

for (const { name, ingress, egress } of [
  { name: "no filters", ingress: [], egress: [] },
  { name: "filters both ways", ingress: [pass], egress: [pass] },
  { name: "a filter on egress alone", ingress: [], egress: [pass] },
])
  test(`20 MB go up and come back unchanged, with ${name}`, async () => {
    const upstream = await tcpEcho();
    const rig = await startRig("tcp", { upstreams: [upstream], ingress, egress });
    const client = new TcpClient(rig.address);
    const content = randomBytes(20_000_000);
    client.socket.end(content);
    const received = await client.bytes(content.length);
    expect(sha256(received)).toBe(sha256(content));
    expect(await client.over).toBe("end");
    await until(() => rig.counters.readCell(0, "sessions") === 0);
    const bytes = rig.counters.readBytes(0, "ingress", "pass");
    const packets = rig.counters.readPackets(0, "ingress", "pass");
    // Every byte once, 54 bytes of headers a segment, 4 more for the SYN's option.
    expect(bytes).toBe(content.length + packets * 54 + 4);
    expect(packets).toBeGreaterThanOrEqual(Math.ceil(content.length / 1460) + 3);
  });

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

test("the client's half-close reaches the upstream, which may go on sending", async () => {
  const upstream = await tcpUpstream((socket) => {
    socket.resume();
    socket.on("end", () => {
      socket.write("last words ");
      setImmediate(() => socket.end("and more"));
    });
  });
  const rig = await startRig("tcp", { upstreams: [upstream], ingress: [pass], egress: [pass] });
  const client = new TcpClient(rig.address);
  client.socket.end("done");
  expect(await client.over).toBe("end");
  expect(client.received.toString()).toBe("last words and more");
});

for (const bytes of [100, 4 << 20])
  test(`a client that has ended, and reads late, gets ${bytes} bytes and a FIN`, async () => {
    const answer = randomBytes(bytes);
    const upstream = await tcpUpstream((socket) => {
      socket.resume();
      socket.on("end", () => socket.end(answer));
    });
    const rig = await startRig("tcp", { upstreams: [upstream] });
    const client = new TcpClient(rig.address);
    client.socket.pause();
    client.socket.end("last words");
    // All of it, or as much as the kernel and the proxy hold.
    await until(() => rig.counters.readBytes(0, "egress", "pass") >= Math.min(bytes, 200_000));
    client.socket.resume();
    expect(await client.over).toBe("end");
    expect(sha256(client.received)).toBe(sha256(answer));
    await until(() => rig.counters.readCell(0, "sessions") === 0);
    expect([rig.drops("ingress"), rig.drops("egress")]).toEqual([{}, {}]);
    // SYN, ACK, data and FIN; an RST would be one more.
    expect(rig.packets("ingress")).toEqual({ pass: 4 });
  });

test("the upstream's half-close reaches the client, which may go on sending", async () => {
  const got: Buffer[] = [];
  const upstream = await tcpUpstream((socket) => {
    socket.end("bye");
    socket.on("data", (chunk: Buffer) => got.push(chunk));
  });
  const rig = await startRig("tcp", { upstreams: [upstream], ingress: [pass], egress: [pass] });
  const client = new TcpClient(rig.address);
  expect(await client.over).toBe("end");
  client.socket.end("still here");
  await until(() => rig.counters.readCell(0, "sessions") === 0);
  expect(Buffer.concat(got).toString()).toBe("still here");
});

for (const filters of [[], [pass]])
  test(`a client that does not read stops the upstream, with ${filters.length} filters`, async () => {
    let written = 0;
    let blocked = false;
    const chunk = Buffer.alloc(65_536, "a");
    const total = 64 * 1024 * 1024;
    const upstream = await tcpUpstream((socket) => {
      const fill = (): void => {
        blocked = false;
        while (written < total) {
          written += chunk.length;
          if (!socket.write(chunk)) {
            blocked = true;
            return;
          }
        }
        socket.end();
      };
      socket.on("drain", fill);
      fill();
    });
    const rig = await startRig("tcp", { upstreams: [upstream], egress: filters });
    const client = new TcpClient(rig.address);
    client.socket.pause();
    await once(client.socket, "connect");
    // What went in stops growing: the kernel's buffers on both sides are full, ours hold little.
    let before = -1;
    await until(() => {
      const now = rig.counters.readBytes(0, "egress", "pass");
      const still = now === before && now > 0 && blocked;
      before = now;
      return still;
    });
    expect(written).toBeLessThan(total);
    const kernelBuffers = 16 * 1024 * 1024;
    expect(before).toBeLessThan(kernelBuffers);
    client.socket.resume();
    expect(await client.over).toBe("end");
    expect(client.received.length).toBe(total);
  });

test("at its cap a listener resets the connection that was used least recently", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", { plan: { maxSessions: 2 }, upstreams: [upstream] });
  const [a, b] = [new TcpClient(rig.address), new TcpClient(rig.address)];
  a.write("a");
  await a.bytes(1);
  b.write("b");
  await b.bytes(1);
  a.write("a");
  await a.bytes(2);
  const c = new TcpClient(rig.address);
  expect(await b.over).toBe("ECONNRESET");
  c.write("c");
  expect(await c.text(1)).toBe("c");
  a.write("a");
  expect(await a.text(3)).toBe("aaa");
});

test("an idle connection is reset after its timeout", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", { plan: { idleTimeoutMs: 40 }, upstreams: [upstream] });
  const client = new TcpClient(rig.address);
  client.write("x");
  // Its answer may not come in time where the machine is busy.
  expect(await client.over).toBe("ECONNRESET");
  await until(() => rig.counters.readCell(0, "sessions") === 0);
});

test("a dead upstream resets the client, and drops the SYN as upstream_unreachable", async () => {
  const upstream = await tcpUpstream(() => {});
  await new Promise((resolve) => upstream.server.close(resolve));
  const seen: number[] = [];
  const rig = await startRig("tcp", {
    upstreams: [upstream],
    egress: [
      xdp((frame) => {
        seen.push(flags(frame.bytes));
        return 2;
      }),
    ],
  });
  const client = new TcpClient(rig.address);
  expect(await client.over).toBe("ECONNRESET");
  expect(rig.packets("ingress")).toEqual({ drop: 1 });
  expect(rig.drops("ingress")).toEqual({ upstream_unreachable: 1 });
  expect(seen).toEqual([flag.rst | flag.ack]);
});

test("an upstream's next address is dialled where one is dead", async () => {
  const dead = await tcpUpstream(() => {});
  await new Promise((resolve) => dead.server.close(resolve));
  const alive = await tcpEcho();
  const rig = await startRig("tcp", { upstreams: [{ name: "two", addresses: [dead, alive] }] });
  for (let i = 0; i < 4; i++) {
    const client = new TcpClient(rig.address);
    client.socket.end("x");
    expect(await client.over).toBe("end");
    expect(client.received.toString()).toBe("x");
  }
  expect(rig.drops("ingress")).toEqual({});
});

test("an upstream that resets resets the client, and the filter sees its RST", async () => {
  const seen: number[] = [];
  const upstream = await tcpUpstream((socket) =>
    socket.once("data", () => socket.resetAndDestroy()),
  );
  const rig = await startRig("tcp", {
    upstreams: [upstream],
    egress: [
      xdp((frame) => {
        seen.push(flags(frame.bytes));
        return 2;
      }),
    ],
  });
  const client = new TcpClient(rig.address);
  client.write("x");
  expect(await client.over).toBe("ECONNRESET");
  expect(seen).toEqual([flag.syn | flag.ack, flag.rst | flag.ack]);
});

test("a client that resets resets the upstream, and the filter sees its RST", async () => {
  const seen: number[] = [];
  const failed: string[] = [];
  let served: Socket | undefined;
  const upstream = await tcpUpstream((socket) => {
    served = socket;
    socket.on("error", (error: NodeJS.ErrnoException) => failed.push(error.code ?? ""));
    socket.pipe(socket);
  });
  const rig = await startRig("tcp", {
    upstreams: [upstream],
    ingress: [
      xdp((frame) => {
        seen.push(flags(frame.bytes));
        return 2;
      }),
    ],
  });
  const client = new TcpClient(rig.address);
  client.write("x");
  await client.bytes(1);
  client.socket.resetAndDestroy();
  await until(() => served?.destroyed === true);
  expect(failed).toEqual(["ECONNRESET"]);
  expect(seen).toEqual([flag.syn, flag.ack, flag.ack | flag.psh, flag.rst | flag.ack]);
  expect(rig.counters.readCell(0, "sessions")).toBe(0);
});

test("stop lets a running connection end within its time", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", { upstreams: [upstream] });
  const client = new TcpClient(rig.address);
  client.write("before");
  await client.bytes(6);
  const stopped = rig.listener.stop(20_000);
  const late = new TcpClient(rig.address);
  expect(await late.over).toBe("ECONNREFUSED");
  client.socket.end(" after");
  expect(await client.over).toBe("end");
  expect(client.received.toString()).toBe("before after");
  await stopped;
  expect(rig.counters.readCell(0, "sessions")).toBe(0);
});

test("stop resets what has not ended when its time is over, and held connections at once", async () => {
  const upstream = await tcpEcho();
  let syns = 0;
  const rig = await startRig("tcp", {
    plan: { onDrop: "ignore" },
    upstreams: [upstream],
    ingress: [when((frame) => isSyn(frame) && syns++ > 0, 1)],
  });
  const running = new TcpClient(rig.address);
  running.write("x");
  await running.bytes(1);
  const held = new TcpClient(rig.address);
  await until(() => rig.counters.readCell(0, "sessions") === 2);
  const stopped = rig.listener.stop(50);
  expect(await held.over).toBe("ECONNRESET");
  expect(await running.over).toBe("ECONNRESET");
  await stopped;
  expect(rig.counters.readCell(0, "sessions")).toBe(0);
});

test("a client that resets before it is taken is no session, and counted by that", async () => {
  const rig = await startRig("tcp", { upstreams: [await tcpEcho()] });
  const { host, port } = rig.address;
  const probes = `
    const { connect } = require("node:net");
    for (let i = 0; i < 20; i++) {
      const socket = connect(${port}, "${host}", () => socket.resetAndDestroy());
    }`;
  // The listener is of this thread, which takes no connection until the other process is over.
  expect(spawnSync(process.execPath, ["-e", probes]).status).toBe(0);
  await until(() => rig.counters.readReceiveErrors(0, "client_reset") === 20);
  expect(rig.counters.readReceiveErrors(0, "socket_error")).toBe(0);
  expect(rig.counters.readCell(0, "sessions_total")).toBe(0);
});

test("an address in use is a named error with a remedy", async () => {
  const upstream = await tcpEcho();
  await expect(
    startRig("tcp", { plan: { listen: upstream }, upstreams: [upstream] }),
  ).rejects.toThrow(/listener test: cannot listen on tcp 127\.0\.0\.1:\d+: .*EADDRINUSE.*; stop/);
});
