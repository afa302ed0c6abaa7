import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, expect, test, vi } from "vitest";
import { type AccessLine, AccessLog } from "../../src/proxy/access-log.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { PlanBench, silent, stopping } from "./plan-of.ts";
import {
  cleanUp,
  onCleanUp,
  type Rig,
  startRig,
  TcpClient,
  tcpEcho,
  tcpUpstream,
  udpSocket,
  udpUpstream,
  until,
  value,
  xdp,
} from "./rig.ts";

afterEach(cleanUp);

const all = { sessions: "all", sample: 0, drops: false } as const;
const drops = { sessions: "off", sample: 0, drops: true } as const;

/** XDP_DROP for frames that hold this text. */
const dropping = (text: string) =>
  xdp((frame) => (Buffer.from(frame.bytes).includes(text) ? 1 : 2));

async function lines(rig: Rig, count: number): Promise<readonly AccessLine[]> {
  await until(() => rig.accessLines().length >= count);
  return rig.accessLines();
}

test("a UDP session's start and end tell who, how much each way, by verdict, and why it ended", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    accessLog: all,
    plan: { idleTimeoutMs: 30 },
    ingress: [dropping("bad")],
  });
  const client = await udpSocket();
  client.send("four", rig.address);
  expect(await client.text()).toBe("four");
  client.send("bad", rig.address);
  await until(() => rig.drops("ingress").filter_drop === 1);
  const parties = {
    session: expect.stringMatching(/^0-[0-9a-z]+-1$/),
    listener: "test",
    protocol: "udp",
    client: `127.0.0.1:${client.port}`,
    upstream: `127.0.0.1:${upstream.port}`,
  };
  const headers = 14 + 20 + 8;
  expect(await lines(rig, 2)).toEqual([
    { kind: "start", ...parties },
    {
      kind: "end",
      ...parties,
      reason: "idle",
      durationMs: expect.any(Number),
      ingress: { packets: { pass: 1, drop: 1 }, bytes: 2 * headers + 7 },
      egress: { packets: { pass: 1 }, bytes: headers + 4 },
    },
  ]);
});

for (const { title, reason, act } of [
  {
    title: "both sides ended",
    reason: "closed",
    act: async (client: TcpClient) => {
      client.socket.end();
      await once(client.socket, "close");
    },
  },
  {
    title: "the client reset",
    reason: "client_reset",
    act: async (client: TcpClient) => void client.socket.resetAndDestroy(),
  },
  {
    title: "a filter dropped a segment",
    reason: "filter_drop",
    act: async (client: TcpClient) => client.write("bad"),
  },
  {
    title: "the listener stopped",
    reason: "shutting_down",
    act: async (_: TcpClient, rig: Rig) => rig.listener.stop(0),
  },
])
  test(`a TCP connection's end tells that ${title}`, async () => {
    const echo = await tcpEcho();
    const rig = await startRig("tcp", {
      upstreams: [echo],
      accessLog: all,
      ingress: [dropping("bad")],
    });
    const client = new TcpClient(rig.address);
    client.write("hello");
    await client.text(5);
    await act(client, rig);
    const [start, end] = await lines(rig, 2);
    expect(start).toMatchObject({ kind: "start", upstream: `127.0.0.1:${echo.port}` });
    expect(end).toMatchObject({ kind: "end", reason, protocol: "tcp" });
    // What metrics count is what the log tells.
    if (end?.kind !== "end") throw new Error("no end");
    expect(end.ingress.packets.pass).toBe(rig.counters.readPackets(0, "ingress", "pass"));
    expect(end.egress.packets.pass).toBe(rig.counters.readPackets(0, "egress", "pass"));
  });

test("a TCP connection that reaches no upstream has an end only, with the reason", async () => {
  const gone = await tcpUpstream(() => {});
  await new Promise((resolve) => gone.server.close(resolve));
  const rig = await startRig("tcp", { upstreams: [gone], accessLog: all });
  await new TcpClient(rig.address).over;
  expect(await lines(rig, 1)).toMatchObject([
    { kind: "end", upstream: undefined, reason: "upstream_unreachable" },
  ]);
});

test("drops are logged with client, direction and reason, with a session or without", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    accessLog: drops,
    ingress: [dropping("bad")],
    egress: [dropping("worse")],
  });
  const client = await udpSocket();
  for (const payload of ["bad", "good"]) client.send(payload, rig.address);
  expect(await client.text()).toBe("good");
  client.send("worse", rig.address);
  await until(() => rig.drops("egress").filter_drop === 1);
  const from = { kind: "drop", client: `127.0.0.1:${client.port}`, reason: "filter_drop" };
  expect(await lines(rig, 2)).toMatchObject([
    { ...from, direction: "ingress", upstream: undefined },
    { ...from, direction: "egress", upstream: `127.0.0.1:${upstream.port}` },
  ]);
});

test("drops that a reload begins to log are told of sessions and connections that are open by then, too", async () => {
  const bench = new PlanBench();
  // It echoes, until the test takes it away.
  const upstream = createSocket("udp4").bind(0, "127.0.0.1");
  let isUp = true;
  onCleanUp(() => void (isUp && upstream.close()));
  upstream.on("message", (bytes, { port }) => upstream.send(bytes, port, "127.0.0.1"));
  await once(upstream, "listening");
  const tcp = await tcpEcho();
  const options = {
    upstreams: [
      { name: "udp", addresses: [{ host: "127.0.0.1", port: upstream.address().port }] },
      { name: "tcp", addresses: [{ host: tcp.host, port: tcp.port }] },
    ],
    // Frames of 70 bytes and more.
    filters: [
      {
        assembly:
          "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr3 -= r2\nr0 = 2\nif r3 < 70 goto +1\nr0 = 1\nexit",
      },
    ],
    listeners: [
      { ingress: [], egress: [0] },
      { protocol: "tcp" as const, upstream: 1, ingress: [], egress: [0] },
    ],
  };
  const told: AccessLine[] = [];
  const onAccess = (lines: readonly AccessLine[]): void => void told.push(...lines);
  const proxy = stopping(
    value(await startProxy(await bench.plan(options), { ...silent, onAccess })),
  );
  const [toUdp, toTcp] = proxy.listeners.map(({ address }) => address);
  const long = "x".repeat(40);
  const client = await udpSocket();
  client.send("first", toUdp!);
  expect(await client.text()).toBe("first");
  client.send(long, toUdp!);
  const [counters] = bench.counters;
  await until(() => counters!.readDrops(0, "egress", "filter_drop") === 1);
  const stream = new TcpClient(toTcp!);
  stream.write("short");
  await stream.bytes(5);

  const next = { ...(await bench.plan(options)), accessLog: drops };
  value(await proxy.apply(next, { drainTimeoutMs: 1000 }));
  client.send(long, toUdp!);
  stream.write(long);
  expect(await stream.over).toBe("ECONNRESET");
  await until(() => told.length === 2);
  isUp = false;
  upstream.close();
  await once(upstream, "close");
  client.send("nobody is there", toUdp!);
  await until(() => told.length === 3);
  const session = { kind: "drop", client: `127.0.0.1:${client.port}`, listener: "listener0" };
  const byListener = (protocol: string) =>
    told.filter((line) => "protocol" in line && line.protocol === protocol);
  expect(byListener("udp")).toEqual([
    expect.objectContaining({ ...session, direction: "egress", reason: "filter_drop" }),
    expect.objectContaining({ ...session, direction: "ingress", reason: "upstream_unreachable" }),
  ]);
  expect(byListener("tcp")).toEqual([
    expect.objectContaining({
      kind: "drop",
      direction: "egress",
      reason: "filter_drop",
      upstream: `127.0.0.1:${tcp.port}`,
    }),
  ]);
});

test("nothing is told, and packets meet the listener's own tallies, where the log is off", async () => {
  const rig = await startRig("udp", {
    upstreams: [(await udpUpstream()).address],
    ingress: [dropping("bad")],
    plan: { idleTimeoutMs: 20 },
  });
  const client = await udpSocket();
  for (const payload of ["bad", "good"]) client.send(payload, rig.address);
  await client.text();
  await until(() => rig.counters.readCell(0, "sessions") === 0);
  expect(rig.accessLines()).toEqual([]);
});

test("sampled logs about that share of the sessions", () => {
  const log = new AccessLog(
    0,
    () => {},
    () => 0,
  );
  log.follow({ sessions: "sampled", sample: 0.25, drops: false });
  const chosen = Array.from({ length: 10_000 }, () => log.choose()).filter(Boolean).length;
  // Binomial: 2,500 expected, 43 the standard deviation.
  expect(Math.abs(chosen - 2_500)).toBeLessThan(300);
});

test("drop lines are at most 100 a second, and what is left out is counted and told", () => {
  const told: AccessLine[] = [];
  let nowMs = 0;
  const log = new AccessLog(
    0,
    (lines) => told.push(...lines),
    () => nowMs,
  );
  log.follow(drops);
  const drop = {
    kind: "drop",
    listener: "a",
    protocol: "udp",
    client: "192.0.2.1:1",
    upstream: undefined,
    direction: "ingress",
    reason: "filter_drop",
  } as const;
  for (let i = 0; i < 1_000; i++) log.tell(drop);
  nowMs = 1_000;
  log.tell(drop);
  log.flush();
  expect(told).toHaveLength(102);
  expect(told.slice(-2)).toEqual([{ kind: "left_out", of: "drops", lines: 900 }, drop]);

  // No line follows: it is told all the same, after a while or as the log ends.
  vi.useFakeTimers();
  try {
    for (let i = 0; i < 150; i++) log.tell(drop);
    log.flush();
    expect(told.slice(-2)).toEqual([drop, { kind: "left_out", of: "drops", lines: 51 }]);
    for (let i = 0; i < 7; i++) log.tell(drop);
    vi.advanceTimersByTime(1_000);
    expect(told.at(-1)).toEqual({ kind: "left_out", of: "drops", lines: 7 });
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});
