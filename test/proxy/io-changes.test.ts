import { afterEach, expect, test } from "vitest";
import { ioChanges, ioOf } from "../../src/proxy/io-changes.ts";
import type { DatagramIo, ListenerPlan } from "../../src/proxy/plan.ts";
import { echoUpstream, PlanBench, running } from "./plan-of.ts";
import { cleanUp, udpSocket } from "./rig.ts";

afterEach(cleanUp);

const other = (io: DatagramIo | undefined): DatagramIo => (io === "mmsg" ? "dgram" : "mmsg");

test("a reload that gives listeners another io is refused for each of them, and all goes on as it was", async () => {
  const bench = new PlanBench();
  const plan = await bench.plan({
    upstreams: [await echoUpstream()],
    listeners: [{ name: "a" }, { name: "b" }, { name: "c" }, { name: "t", protocol: "tcp" }],
  });
  const proxy = await running(plan);
  const { listeners } = proxy;
  expect(listeners.map(({ name, io }) => [name, io])).toEqual([
    ["a", plan.listeners[0]!.io],
    ["b", plan.listeners[1]!.io],
    ["c", plan.listeners[2]!.io],
    ["t", undefined],
  ]);
  const changed = plan.listeners.map((listener) =>
    listener.name === "b" ? listener : { ...listener, io: other(listener.io) },
  );
  const refused = await proxy.apply({ ...plan, listeners: changed }, { drainTimeoutMs: 100 });
  expect(refused).toMatchObject({
    ok: false,
    error: [
      { code: "RELOAD_NEEDS_RESTART", where: "listener a" },
      { code: "RELOAD_NEEDS_RESTART", where: "listener c" },
    ],
  });
  const client = await udpSocket();
  client.send("still", proxy.listeners[0]!.address);
  expect(await client.text()).toBe("still");
});

const named = (name: string, port: number, more: Partial<ListenerPlan>): ListenerPlan => ({
  name,
  protocol: "udp",
  listen: { host: "127.0.0.1", port },
  ifindex: 1000,
  upstream: 0,
  ingress: [],
  egress: [],
  idleTimeoutMs: 1000,
  maxSessions: 1,
  localAddress: "127.0.0.1",
  onDrop: "reset",
  onSegmentDrop: "reset",
  ...more,
});

for (const { title, before, next, refused } of [
  {
    title: "the io that it has without saying so is no change",
    before: named("a", 53, {}),
    next: named("a", 53, { io: "dgram" }),
    refused: [],
  },
  {
    title: "a listener under another name that takes the address takes its io too",
    before: named("a", 53, { io: "mmsg" }),
    next: named("b", 53, {}),
    refused: ["listener b: io mmsg stays for as long as the listener has its address"],
  },
  {
    title: "another address may have another io",
    before: named("a", 53, { io: "mmsg" }),
    next: named("a", 54, { io: "dgram" }),
    refused: [],
  },
  {
    title: "another protocol on the address is another listener",
    before: named("a", 53, { protocol: "vxlan", io: "mmsg" }),
    next: named("a", 53, { io: "dgram" }),
    refused: [],
  },
  {
    title: "a TCP listener has no io to change",
    before: named("a", 53, { protocol: "tcp", io: "dgram" }),
    next: named("a", 53, { protocol: "tcp", io: "mmsg" }),
    refused: [],
  },
])
  test(`${title}`, () => {
    expect(ioChanges([before], [next]).map(({ where, what }) => `${where}: ${what}`)).toEqual(
      refused,
    );
    expect(ioOf(next)).toBe(next.protocol === "tcp" ? undefined : (next.io ?? "dgram"));
  });
