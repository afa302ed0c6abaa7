import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import type { AccessLine } from "../../src/proxy/access-log.ts";
import type { AccessLogPlan, ProxyProtocolPlan } from "../../src/proxy/plan.ts";
import { writeProxyHeader } from "../../src/proxy/proxy-protocol.ts";
import { cleanUp, type Rig, startRig, TcpClient, tcpEcho, tcpUpstream, until, xdp } from "./rig.ts";

afterEach(cleanUp);

const loopback = { host: "127.0.0.0", prefixLength: 8 };
const elsewhere = { host: "192.0.2.0", prefixLength: 24 };
const flow = {
  source: { address: "203.0.113.9", port: 4321 },
  destination: { address: "198.51.100.1", port: 443 },
};

/** A listener whose filter notes the addresses of each SYN. */
async function proxied(
  plan: Partial<ProxyProtocolPlan>,
  upstream?: Parameters<typeof startRig>[1]["upstreams"][number],
  accessLog: AccessLogPlan = { sessions: "off", sample: 0, drops: false },
): Promise<Rig & { seen: string[] }> {
  const seen: string[] = [];
  const rig = await startRig("tcp", {
    plan: { proxyProtocol: { accept: "off", send: "off", trust: [loopback], ...plan } },
    upstreams: [upstream ?? (await tcpEcho())],
    accessLog,
    ingress: [
      xdp((frame) => {
        const bytes = frame.bytes;
        const view = new DataView(bytes.buffer);
        if (view.getUint8(47) === 0x02)
          seen.push(
            `${bytes.slice(26, 30).join(".")}:${view.getUint16(34)} ${bytes.slice(30, 34).join(".")}:${view.getUint16(36)}`,
          );
        return 2;
      }),
    ],
  });
  return Object.assign(rig, { seen });
}

/** Lines of the access log, once there are so many. */
async function lines(rig: Rig, count: number): Promise<readonly AccessLine[]> {
  await until(() => rig.accessLines().length >= count);
  return rig.accessLines();
}

const asTold = "203.0.113.9:4321 198.51.100.1:443";

for (const version of [1, 2] as const) {
  const header = writeProxyHeader(version, flow);

  test(`v${version}: filters see the original client, and what follows the header goes up`, async () => {
    const rig = await proxied({ accept: "required" });
    const client = new TcpClient(rig.address);
    client.write(Buffer.concat([header, Buffer.from("hello")]));
    expect(await client.text(5)).toBe("hello");
    expect(rig.seen).toEqual([asTold]);
  });

  test(`v${version}: 4 MB behind a header go up and come back, to a client that reads late`, async () => {
    const rig = await proxied({ accept: "required" });
    const client = new TcpClient(rig.address);
    const content = randomBytes(4 << 20);
    client.socket.pause();
    client.write(header);
    client.socket.end(content);
    await until(() => rig.counters.readPackets(0, "egress", "pass") > 100);
    client.socket.resume();
    expect((await client.bytes(content.length)).equals(content)).toBe(true);
    expect(await client.over).toBe("end");
    expect(rig.seen).toEqual([asTold]);
  });

  test(`v${version}: a header may come a byte at a time`, async () => {
    const rig = await proxied({ accept: "required" });
    const client = new TcpClient(rig.address);
    client.socket.setNoDelay(true);
    for (const byte of header) {
      client.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.write("hello");
    expect(await client.text(5)).toBe("hello");
    expect(rig.seen).toEqual([asTold]);
  });

  test(`v${version}: the upstream is told whose connection it is, before the first byte`, async () => {
    const got: Buffer[] = [];
    const upstream = await tcpUpstream((socket) =>
      socket.on("data", (chunk: Buffer) => got.push(chunk)),
    );
    const rig = await proxied({ accept: "required", send: version === 1 ? "v1" : "v2" }, upstream);
    const client = new TcpClient(rig.address);
    client.write(Buffer.concat([writeProxyHeader(1, flow), Buffer.from("hello")]));
    await until(() => Buffer.concat(got).toString("latin1").endsWith("hello"));
    expect(Buffer.concat(got)).toEqual(Buffer.concat([header, Buffer.from("hello")]));
    // The header is no packet: SYN, ACK and five bytes.
    expect(rig.packets("ingress")).toEqual({ pass: 3 });
  });
}

test("a client that is not trusted is refused where a header is required, whatever it sends", async () => {
  const rig = await proxied({ accept: "required", trust: [elsewhere] });
  const client = new TcpClient(rig.address);
  client.socket.on("connect", () => client.write(writeProxyHeader(1, flow)));
  expect(await client.over).toBe("ECONNRESET");
  expect(rig.counters.readReceiveErrors(0, "proxy_untrusted")).toBe(1);
  expect(rig.seen).toEqual([]);
});

test("a header of a client that is not trusted is data where headers are optional", async () => {
  const rig = await proxied({ accept: "optional", trust: [elsewhere] });
  const client = new TcpClient(rig.address);
  const header = writeProxyHeader(1, flow);
  client.write(header);
  expect(await client.bytes(header.length)).toEqual(header);
  expect(rig.seen[0]).toMatch(/^127\.0\.0\.1:/);
});

for (const { accept, errors } of [
  { accept: "optional", errors: 0 },
  { accept: "required", errors: 1 },
] as const)
  test(`a trusted client that says nothing and goes is ${errors} errors where a header is ${accept}`, async () => {
    const rig = await proxied({ accept });
    const client = new TcpClient(rig.address);
    client.socket.end();
    await client.over;
    // Connections are taken in the order they come: whatever the first was, it is counted.
    const next = new TcpClient(rig.address);
    next.write("PROXY nonsense\r\n");
    await next.over;
    expect(rig.counters.readReceiveErrors(0, "proxy_header")).toBe(errors + 1);
  });

test("a trusted client that ends without a byte still gets the server's word, where a header is optional", async () => {
  const heard: string[] = [];
  const upstream = await tcpUpstream((socket) =>
    socket
      .on("data", (chunk: Buffer) => heard.push(chunk.toString()))
      .on("end", () => socket.end("welcome")),
  );
  const rig = await proxied({ accept: "optional" }, upstream);
  const client = new TcpClient(rig.address);
  client.socket.end();
  expect(await client.over).toBe("end");
  expect(client.received.toString()).toBe("welcome");
  expect(heard).toEqual([]);
  expect(rig.seen).toHaveLength(1);
  expect(rig.seen[0]).toMatch(/^127\.0\.0\.1:/);
  await until(() => rig.counters.readCell(0, "sessions") === 0);
  expect(rig.counters.readReceiveErrors(0, "proxy_header")).toBe(0);
  // SYN, ACK and FIN; then SYN-ACK, what it says, and its FIN.
  expect(rig.packets("ingress")).toEqual({ pass: 3 });
  expect(rig.packets("egress")).toEqual({ pass: 3 });
});

test("a trusted client that breaks off without a byte is no session, where a header is optional", async () => {
  const rig = await proxied({ accept: "optional" });
  const client = new TcpClient(rig.address);
  client.socket.on("connect", () => client.socket.resetAndDestroy());
  const next = new TcpClient(rig.address);
  next.write("hello");
  await next.text(5);
  expect(rig.counters.readCell(0, "sessions_total")).toBe(1);
  expect(rig.counters.readReceiveErrors(0, "proxy_header")).toBe(0);
});

test("a trusted client may leave an optional header out", async () => {
  const rig = await proxied({ accept: "optional" });
  const client = new TcpClient(rig.address);
  client.write("PROXIMITY");
  expect(await client.text(9)).toBe("PROXIMITY");
  expect(rig.seen[0]).toMatch(/^127\.0\.0\.1:/);
});

test("the proxy's own connection, LOCAL, has its real addresses", async () => {
  const rig = await proxied({ accept: "required" });
  const client = new TcpClient(rig.address);
  client.write(Buffer.from("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0hello", "latin1"));
  expect(await client.text(5)).toBe("hello");
  expect(rig.seen[0]).toMatch(/^127\.0\.0\.1:/);
});

const drops = { sessions: "off", sample: 0, drops: true } as const;

const refused: readonly (readonly [what: string, data: string, detail: string])[] = [
  ["no header at all", "GET / HTTP/1.1\r\n", "no header"],
  ["a malformed line", "PROXY TCP4 1 2 3 4\r\n", "an unreadable address or port"],
  ["a line without an end", `PROXY ${"x".repeat(500)}`, "a line without an end"],
  [
    "a header cut short by FIN",
    "PROXY TCP4 192.0.2.1",
    "20 bytes of a header when the client ended",
  ],
];

for (const [what, data, detail] of refused)
  test(`a trusted client is reset, counted and told of for ${what}`, async () => {
    const rig = await proxied({ accept: "required" }, undefined, drops);
    const client = new TcpClient(rig.address);
    client.socket.end(Buffer.from(data, "latin1"));
    expect(await client.over).toBe("ECONNRESET");
    expect(rig.counters.readReceiveErrors(0, "proxy_header")).toBe(1);
    expect(rig.counters.readCell(0, "sessions_total")).toBe(0);
    expect(await lines(rig, 1)).toMatchObject([{ reason: "proxy_header", detail }]);
  });

for (const { reason, trust, detail } of [
  { reason: "proxy_header", trust: [loopback], detail: "an unreadable address or port" },
  { reason: "proxy_untrusted", trust: [elsewhere], detail: undefined },
] as const)
  test(`a connection refused for ${reason} is logged with the drops, by its peer's address`, async () => {
    const rig = await proxied({ accept: "required", trust }, undefined, drops);
    const client = new TcpClient(rig.address);
    client.write("PROXY TCP4 1 2 3 4\r\n");
    await client.over;
    expect(await lines(rig, 1)).toEqual([
      {
        kind: "refused",
        listener: expect.any(String),
        protocol: "tcp",
        client: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        reason,
        ...(detail && { detail }),
      },
    ]);
  });

test("lines of a session name the proxy that told its client, and none where nobody did", async () => {
  const all = { sessions: "all", sample: 0, drops: false } as const;
  const rig = await proxied({ accept: "optional" }, undefined, all);
  const told = new TcpClient(rig.address);
  told.write(Buffer.concat([writeProxyHeader(2, flow), Buffer.from("hello")]));
  expect(await told.text(5)).toBe("hello");
  const via = `127.0.0.1:${told.socket.localPort}`;
  told.socket.end();
  const own = { client: "203.0.113.9:4321", via };
  expect(await lines(rig, 2)).toMatchObject([
    { kind: "start", ...own },
    { kind: "end", ...own },
  ]);
  const direct = new TcpClient(rig.address);
  direct.write("hello");
  expect(await direct.text(5)).toBe("hello");
  const [, , start] = await lines(rig, 3);
  expect(start).toMatchObject({ kind: "start", client: `127.0.0.1:${direct.socket.localPort}` });
  expect(start).not.toHaveProperty("via");
});

test("connections that send no header make room for others at maxSessions, and are counted", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", {
    plan: {
      maxSessions: 10,
      proxyProtocol: { accept: "required", send: "off", trust: [loopback] },
    },
    upstreams: [upstream],
  });
  const silent = Array.from({ length: 50 }, () => new TcpClient(rig.address));
  await Promise.all(silent.map(({ socket }) => once(socket, "connect")));
  await until(() => rig.counters.readReceiveErrors(0, "proxy_header") === 40);
  const client = new TcpClient(rig.address);
  client.write(Buffer.concat([writeProxyHeader(2, flow), Buffer.from("hello")]));
  expect(await client.text(5)).toBe("hello");
});

test("stopping ends connections whose header has not come", async () => {
  const rig = await proxied({ accept: "required" });
  const client = new TcpClient(rig.address);
  await once(client.socket, "connect");
  const asked = new TcpClient(rig.address);
  asked.write(Buffer.concat([writeProxyHeader(2, flow), Buffer.from("x")]));
  await asked.text(1);
  asked.socket.destroy();
  await rig.listener.stop(1000);
  expect(await client.over).toBe("ECONNRESET");
});
