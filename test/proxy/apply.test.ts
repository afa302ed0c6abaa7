import { setImmediate } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { UserError } from "../../src/common/user-error.ts";
import { compilePlan } from "../../src/proxy/compile-plan.ts";
import { DataWorker } from "../../src/proxy/data-worker.ts";
import type { ProxyPlan } from "../../src/proxy/plan.ts";
import { needing } from "../support/needing.ts";
import { freePort } from "../support/processes.ts";
import { echoUpstream, PlanBench, running, silent } from "./plan-of.ts";
import {
  cleanUp,
  type Inbox,
  onCleanUp,
  TcpClient,
  tcpEcho,
  tcpUpstream,
  udpSocket,
  udpUpstream,
  until,
  value,
} from "./rig.ts";

afterEach(cleanUp);

const pass = { assembly: "r0 = 2\nexit" };
const drop = { assembly: "r0 = 1\nexit" };
/** Passes frames below 60 bytes: of TCP on IPv4 that is at most 5 bytes of data. */
const dropLong = {
  assembly:
    "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr3 -= r2\nr0 = 2\nif r3 < 60 goto +1\nr0 = 1\nexit",
};
const drain = { drainTimeoutMs: 10_000 };

test("a filter is swapped beneath a UDP session and a TCP connection that both live on", async () => {
  const bench = new PlanBench();
  const [udp, tcp] = [await udpUpstream("u:"), await tcpEcho()];
  const options = {
    upstreams: [
      { name: "udp", addresses: [udp.address] },
      { name: "tcp", addresses: [{ host: tcp.host, port: tcp.port }] },
    ],
    listeners: [{ protocol: "udp" as const }, { protocol: "tcp" as const, upstream: 1 }],
  };
  const proxy = await running(await bench.plan({ ...options, filters: [pass] }));
  const [toUdp, toTcp] = proxy.listeners.map(({ address }) => address);
  const client = await udpSocket();
  client.send("one", toUdp!);
  expect(await client.text()).toBe("u:one");
  const stream = new TcpClient(toTcp!);
  stream.write("first long enough");
  expect(await stream.text(17)).toBe("first long enough");

  value(await proxy.apply(await bench.plan({ ...options, filters: [dropLong] }), drain));
  expect(proxy.listeners.map(({ address }) => address)).toEqual([toUdp, toTcp]);
  client.send("two", toUdp!);
  expect(await client.text()).toBe("u:two");
  const [first, second] = [await udp.next(), await udp.next()];
  // The session's own socket.
  expect(second.from.port).toBe(first.from.port);
  stream.write("short");
  expect(await stream.text(22)).toBe("first long enoughshort");
  stream.write("and now too long");
  expect(await stream.over).toBe("ECONNRESET");
  const [counters] = bench.counters;
  expect(counters!.readCell(0, "sessions_total")).toBe(1);
  expect(counters!.readDrops(1, "ingress", "filter_drop")).toBe(1);
  expect(counters!.readPackets(0, "ingress", "pass")).toBe(2);
});

test("where a chain becomes empty or gets its first filter, connections follow", async () => {
  const bench = new PlanBench();
  const options = {
    upstreams: [await echoUpstream()],
    listeners: [{ protocol: "tcp" as const }],
  };
  const proxy = await running(await bench.plan(options));
  const stream = new TcpClient(proxy.listeners[0]!.address);
  stream.write("unseen and long");
  await stream.bytes(15);
  value(await proxy.apply(await bench.plan({ ...options, filters: [dropLong] }), drain));
  stream.write("short");
  expect(await stream.text(20)).toBe("unseen and longshort");
  value(await proxy.apply(await bench.plan(options), drain));
  stream.write("long again, and unseen");
  await stream.bytes(42);
});

test("a changed upstream gets the next datagram and connection; those that are open stay", async () => {
  const bench = new PlanBench();
  const [old, next] = [await udpUpstream("old:"), await udpUpstream("new:")];
  const [oldTcp, nextTcp] = await Promise.all(
    ["old:", "new:"].map((mark) =>
      tcpUpstream((socket) => socket.on("data", (data) => socket.write(mark + data))),
    ),
  );
  const listeners = [{}, { protocol: "tcp" as const, upstream: 1 }];
  const upstreams = (udp: typeof old, tcp: typeof oldTcp): ProxyPlan["upstreams"] => [
    { name: "udp", addresses: [udp.address] },
    { name: "tcp", addresses: [{ host: tcp!.host, port: tcp!.port }] },
  ];
  const proxy = await running(
    await bench.plan({ upstreams: upstreams(old, oldTcp), listeners, filters: [pass] }),
  );
  const [toUdp, toTcp] = proxy.listeners.map(({ address }) => address);
  const client = await udpSocket();
  client.send("a", toUdp!);
  expect(await client.text()).toBe("old:a");
  const stream = new TcpClient(toTcp!);
  stream.write("x");
  expect(await stream.text(5)).toBe("old:x");
  const plan = await bench.plan({
    upstreams: upstreams(next, nextTcp),
    listeners,
    filters: [pass],
  });
  value(await proxy.apply(plan, drain));
  for (const [payload, answer] of [
    ["b", "new:b"],
    ["c", "new:c"],
  ] as const) {
    client.send(payload, toUdp!);
    expect(await client.text()).toBe(answer);
  }
  expect(bench.counters[0]!.readCell(0, "sessions_total")).toBe(2);
  stream.write("y");
  expect(await stream.text(10)).toBe("old:xold:y");
  const another = new TcpClient(toTcp!);
  another.write("z");
  expect(await another.text(5)).toBe("new:z");
});

test("new listeners open, and one that is gone lets its connections end with the filters they had", async () => {
  const bench = new PlanBench();
  const upstreams = [await echoUpstream()];
  const proxy = await running(
    await bench.plan({
      upstreams,
      listeners: [{ name: "stays" }, { name: "goes", protocol: "tcp" }],
      filters: [pass],
    }),
  );
  const [stays, goes] = proxy.listeners.map(({ address }) => address);
  const stream = new TcpClient(goes!);
  stream.write("before");
  await stream.bytes(6);
  const { released } = value(
    await proxy.apply(
      await bench.plan({
        upstreams,
        listeners: [{ name: "comes", protocol: "tcp" }, { name: "stays" }],
        filters: [dropLong],
      }),
      drain,
    ),
  );
  let isReleased = false;
  void released.then(() => {
    isReleased = true;
  });
  expect(proxy.listeners.map(({ name }) => name)).toEqual(["comes", "stays"]);
  expect(proxy.listeners[1]!.address).toEqual(stays);
  expect(await new TcpClient(goes!).over).toBe("ECONNREFUSED");
  const fresh = new TcpClient(proxy.listeners[0]!.address);
  fresh.write("short");
  expect(await fresh.text(5)).toBe("short");
  stream.write("after, and rather long");
  await stream.bytes(28);
  expect(isReleased).toBe(false);
  stream.socket.end();
  expect(await stream.over).toBe("end");
  await released;
});

test("connections of a listener that is gone are reset when the time to drain is over", async () => {
  const bench = new PlanBench();
  const upstreams = [await echoUpstream()];
  const proxy = await running(await bench.plan({ upstreams, listeners: [{ protocol: "tcp" }] }));
  const stream = new TcpClient(proxy.listeners[0]!.address);
  stream.write("x");
  await stream.bytes(1);
  const next = await bench.plan({ upstreams, listeners: [{ name: "other" }] });
  const { released } = value(await proxy.apply(next, { drainTimeoutMs: 20 }));
  await released;
  expect(await stream.over).toBe("ECONNRESET");
});

test("a listener that goes on under another name and number takes its sessions along", async () => {
  const bench = new PlanBench();
  const listen = { host: "127.0.0.1", port: await freePort() };
  const upstreams = [await echoUpstream()];
  const proxy = await running(
    await bench.plan({ upstreams, listeners: [{ name: "old", listen }] }),
  );
  const client = await udpSocket();
  client.send("x", listen);
  await client.text();
  const [counters] = bench.counters;
  expect(counters!.readCell(0, "sessions")).toBe(1);
  value(
    await proxy.apply(
      await bench.plan({
        upstreams,
        listeners: [{ name: "other" }, { name: "new", listen }],
      }),
      drain,
    ),
  );
  expect([0, 1].map((index) => counters!.readCell(index, "sessions"))).toEqual([0, 1]);
  client.send("y", listen);
  expect(await client.text()).toBe("y");
  expect(counters!.readPackets(1, "ingress", "pass")).toBe(1);
  expect(counters!.readCell(1, "sessions_total")).toBe(0);
});

test("lowered maxSessions ends no session that is open: a new one ends that used longest ago", async () => {
  const bench = new PlanBench();
  const upstreams = [await echoUpstream()];
  const proxy = await running(await bench.plan({ upstreams, listeners: [{ maxSessions: 3 }] }));
  const echoed = async (client: Inbox): Promise<void> => {
    client.send("x", proxy.listeners[0]!.address);
    expect(await client.text()).toBe("x");
  };
  const clients: Inbox[] = [];
  for (let i = 0; i < 3; i++) {
    clients.push(await udpSocket());
    await echoed(clients[i]!);
  }
  const [counters] = bench.counters;
  const sessions = (): number[] =>
    (["sessions", "sessions_total", "sessions_evicted_total"] as const).map((cell) =>
      counters!.readCell(0, cell),
    );
  value(await proxy.apply(await bench.plan({ upstreams, listeners: [{ maxSessions: 1 }] }), drain));
  for (const client of clients) await echoed(client);
  expect(sessions()).toEqual([3, 3, 0]);
  await echoed(await udpSocket());
  expect(sessions()).toEqual([3, 4, 1]);
});

for (const workers of [1, 2])
  needing(workers > 1 ? "linux" : "node")(
    `with ${workers} workers a plan that cannot be carried out changes nothing`,
    async () => {
      const bench = new PlanBench(workers);
      const upstreams = [await echoUpstream()];
      const proxy = await running(
        await bench.plan({ upstreams, listeners: [{}], filters: [pass] }),
      );
      const taken = await udpSocket();
      const port = await freePort();
      const before = proxy.listeners;
      const refusals = [
        {
          plan: await bench.plan({
            upstreams,
            listeners: [{}],
            filters: [{ assembly: "r0 = 0\nexit", type: "raw" }],
          }),
          error: { code: "FILTER_RAW" },
        },
        {
          plan: await bench.plan({
            upstreams,
            listeners: [
              {},
              { name: "free", listen: { host: "127.0.0.1", port } },
              { name: "taken", listen: { host: "127.0.0.1", port: taken.port } },
            ],
            filters: [drop],
          }),
          error: { code: "LISTEN_FAILED", where: "listener taken" },
        },
      ];
      for (const { plan, error } of refusals)
        expect(await proxy.apply(plan, drain)).toMatchObject({ ok: false, error: [error] });
      const refused = new UserError("TEST", "here", "no");
      const plan = await bench.plan({
        upstreams,
        listeners: [{}, { name: "free", listen: { host: "127.0.0.1", port } }],
        filters: [drop],
      });
      expect(
        await proxy.apply(plan, {
          ...drain,
          beforeCommit: async () => ({ ok: false, error: [refused] }),
        }),
      ).toEqual({ ok: false, error: [refused] });
      expect(proxy.listeners).toEqual(before);
      const client = await udpSocket();
      client.send("still", proxy.listeners[0]!.address);
      expect(await client.text()).toBe("still");
      // The socket that was bound for the refused plan is closed again.
      expect((await udpSocket("127.0.0.1", port)).port).toBe(port);
      // And what was refused once can be right the next time.
      value(
        await proxy.apply(
          await bench.plan({ upstreams, listeners: [{}], filters: [dropLong] }),
          drain,
        ),
      );
    },
  );

test("plans are applied one after another, and none once the proxy stops", async () => {
  const bench = new PlanBench();
  const upstreams = [await echoUpstream()];
  const proxy = await running(await bench.plan({ upstreams, listeners: [{}], filters: [pass] }));
  const order: number[] = [];
  const plans = await Promise.all(
    [0, 1, 2].map(() => bench.plan({ upstreams, listeners: [{}], filters: [drop] })),
  );
  const results = await Promise.all(
    plans.map((plan, number) =>
      proxy.apply(plan, {
        ...drain,
        beforeCommit: async () => {
          order.push(number);
          return { ok: true, value: undefined };
        },
      }),
    ),
  );
  expect(results.map(({ ok }) => ok)).toEqual([true, true, true]);
  expect(order).toEqual([0, 1, 2]);
  const stopped = proxy.stop(0);
  const late = await proxy.apply(await bench.plan({ upstreams, listeners: [{}] }), drain);
  expect(late).toMatchObject({ ok: false, error: [{ code: "PROXY_NOT_RUNNING" }] });
  await stopped;
});

needing("linux")("two workers swap both, and keep the port that the system chose", async () => {
  const bench = new PlanBench(2);
  const upstreams = [await echoUpstream()];
  const proxy = await running(await bench.plan({ upstreams, listeners: [{}], filters: [drop] }));
  const { address } = proxy.listeners[0]!;
  value(
    await proxy.apply(await bench.plan({ upstreams, listeners: [{}], filters: [pass] }), drain),
  );
  expect(proxy.listeners[0]!.address).toEqual(address);
  for (let i = 0; i < 16; i++) {
    const client = await udpSocket();
    client.send("x", address);
    expect(await client.text()).toBe("x");
  }
});

test("what comes to a listener of a plan that is not in force yet meets nobody", async () => {
  const bench = new PlanBench();
  const upstreams = [await echoUpstream()];
  const plan = await bench.plan({ upstreams, listeners: [{}, { protocol: "tcp" }] });
  const compiled = value(await compilePlan(plan, 0));
  const worker = new DataWorker(compiled, 0, {
    ...silent,
    onAccess: () => {},
    onCrowded: () => {},
    onTrace: () => {},
  });
  onCleanUp(() => worker.stop(0));
  const [udp, tcp] = value(await worker.prepare(compiled));
  const client = await udpSocket();
  client.send("too early", udp!);
  expect(await new TcpClient(tcp!).over).toBe("ECONNRESET");
  // In batches, datagrams are read as their turn ends.
  for (let turn = 0; turn < 2; turn++) await setImmediate();
  await worker.commit(0);
  client.send("in force", udp!);
  expect(await client.text()).toBe("in force");
  const [counters] = bench.counters;
  expect(counters!.readPackets(0, "ingress", "pass")).toBe(1);
  expect(counters!.readCell(1, "sessions_total")).toBe(0);
  await until(() => counters!.readCell(0, "sessions") === 1);
});
