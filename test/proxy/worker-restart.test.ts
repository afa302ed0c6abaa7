import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { CaptureReader } from "../../src/filter/capture-ring.ts";
import { createMap } from "../../src/maps/create-map.ts";
import type { ProxyPlan } from "../../src/proxy/plan.ts";
import { type RunningProxy, startProxy } from "../../src/proxy/supervisor.ts";
import { instantiateRuntime } from "../../src/runtime/instantiate.ts";
import { MAP_LOCK } from "../../src/runtime/wasm/layout.ts";
import { orderOf } from "../filter/capture-order.ts";
import { mapSpec } from "../maps/open-map.ts";
import { echoUpstream, PlanBench, stopping } from "./plan-of.ts";
import { cleanUp, TcpClient, udpSocket, until, value } from "./rig.ts";

afterEach(cleanUp);

const pass = { assembly: "r0 = 2\nexit" };

/** The plan with a filter on a listener's ingress and none elsewhere. */
function crashing(plan: ProxyPlan): ProxyPlan {
  // Stands in for a bug: packet slots outside the arena. Whoever has to put a packet there dies.
  return { ...plan, workers: plan.workers.map((worker) => ({ ...worker, slots: 2 ** 30 })) };
}

interface Deaths {
  readonly restarts: { worker: number; cause: string }[];
  readonly given: { worker: number; cause: string }[];
}

async function start(plan: ProxyPlan) {
  const deaths: Deaths = { restarts: [], given: [] };
  const proxy = stopping(
    value(
      await startProxy(plan, {
        onFault: () => {},
        onWorkerRestart: (worker, cause) => deaths.restarts.push({ worker, cause }),
        onWorkerDied: (worker, cause) => deaths.given.push({ worker, cause }),
      }),
    ),
  );
  return { proxy, deaths };
}

/** Asks again until an echo comes: while a worker starts, datagrams meet nobody. */
async function echoed(address: { host: string; port: number }): Promise<void> {
  const client = await udpSocket();
  const timer = setInterval(() => client.send("again", address), 20);
  expect(await client.text()).toBe("again");
  clearInterval(timer);
}

/** Resolves when the only worker is up, and has done what it was told before. */
async function answers(proxy: RunningProxy): Promise<void> {
  while (!(await proxy.ask(0, { kind: "ping" })).ok) await delay(2);
}

test("a worker that dies is told with its cause and started again at once, maps and counts intact", async () => {
  const bench = new PlanBench();
  const plan = await bench.plan({
    upstreams: [await echoUpstream()],
    listeners: [
      { ingress: [0] },
      { ingress: [], name: "unfiltered" },
      { protocol: "tcp", ingress: [] },
    ],
    filters: [pass],
  });
  const runtime = instantiateRuntime(plan.runtime, bench.arena);
  const map = value(createMap(mapSpec("hash", 4, 4, 8), bench.arena, runtime, 1));
  const [filter] = plan.filters;
  const withMap = { ...filter!, program: { ...filter!.program, maps: [map] } };
  const { proxy, deaths } = await start(crashing({ ...plan, filters: [withMap] }));
  const [crash, unfiltered, tcp] = proxy.listeners.map(({ address }) => address);
  const stream = new TcpClient(tcp!);
  stream.write("x");
  await stream.bytes(1);
  await echoed(unfiltered!);
  const [counters] = bench.counters;
  const total = counters!.readCell(1, "sessions_total");
  // As if it died in the middle of an update.
  bench.arena.view.setUint32(map.descriptor + MAP_LOCK, 1, true);
  const client = await udpSocket();
  client.send("x", crash!);
  await echoed(unfiltered!);
  expect(deaths).toMatchObject({
    restarts: [{ worker: 0, cause: expect.stringMatching(/RangeError|RuntimeError/) }],
    given: [],
  });
  expect(bench.arena.view.getUint32(map.descriptor + MAP_LOCK, true)).toBe(0);
  // The kernel ends what the dead worker had open.
  await stream.over;
  expect(counters!.readCell(1, "sessions_total")).toBeGreaterThan(total);
  // Its sessions died with it.
  expect(counters!.readCell(2, "sessions")).toBe(0);
  expect(proxy.listeners.map(({ address }) => address)).toEqual([crash, unfiltered, tcp]);
});

test("the third death in ten seconds is the last, and stop still resolves", async () => {
  const bench = new PlanBench();
  const plan = await bench.plan({
    upstreams: [await echoUpstream()],
    listeners: [{ ingress: [0] }, { ingress: [], name: "unfiltered" }],
    filters: [pass],
  });
  const { proxy, deaths } = await start(crashing(plan));
  const [crash, unfiltered] = proxy.listeners.map(({ address }) => address);
  const client = await udpSocket();
  for (let death = 1; death < 3; death++) {
    client.send("x", crash!);
    await until(() => deaths.restarts.length === death);
    await echoed(unfiltered!);
  }
  client.send("x", crash!);
  await until(() => deaths.given.length > 0);
  expect(deaths.restarts).toHaveLength(2);
  const refused = await proxy.apply(plan, { drainTimeoutMs: 0 });
  expect(refused).toMatchObject({ ok: false, error: [{ code: "PROXY_NOT_RUNNING" }] });
  await proxy.stop(0);
  expect(deaths.given).toHaveLength(1);
});

test("a worker that dies while it prepares a plan refuses it, and starts again with the plan in force", async () => {
  const bench = new PlanBench();
  const upstreams = [await echoUpstream()];
  const plan = await bench.plan({ upstreams, listeners: [{}] });
  const { proxy, deaths } = await start(plan);
  const { address } = proxy.listeners[0]!;
  // Stands in for a bug: a name for an address, which loading never lets through.
  const broken = await bench.plan({
    upstreams: [{ name: "app", addresses: [{ host: "a-name", port: 1 }] }],
    listeners: [{}],
  });
  expect(await proxy.apply(broken, { drainTimeoutMs: 0 })).toMatchObject({
    ok: false,
    error: [{ code: "WORKER_DIED", what: expect.stringContaining("a-name is no IP address") }],
  });
  await echoed(address);
  expect(deaths).toMatchObject({ restarts: [{ worker: 0 }], given: [] });
});

/** A proxy whose worker dies by `die`, and captures of all its packets. `died` resolves when it is down. */
async function startMortal() {
  const bench = new PlanBench();
  const plan = await bench.plan({
    upstreams: [await echoUpstream()],
    listeners: [{}],
    filters: [pass],
  });
  const { promise: died, resolve } = Promise.withResolvers<void>();
  const proxy = stopping(
    value(
      await startProxy(plan, {
        onFault: () => {},
        onWorkerRestart: () => resolve(),
        onWorkerDied: (_, cause) => {
          throw new Error(cause);
        },
      }),
    ),
  );
  // Stands in for a bug: a name for an address, which loading never lets through.
  const broken = await bench.plan({
    upstreams: [{ name: "app", addresses: [{ host: "a-name", port: 1 }] }],
    listeners: [{}],
  });
  const die = async (): Promise<void> => {
    void proxy.apply(broken, { drainTimeoutMs: 0 });
    await died;
  };
  const order = orderOf();
  return { proxy, die, order, reader: new CaptureReader(order.rings[0]!) };
}

// After some turns its programs are compiled, and the thread has been told of captures by then.
for (const turns of [0, 20])
  test(`a capture that begins ${turns} turns after a worker died has its packets once it is back`, async () => {
    const { proxy, die, order, reader } = await startMortal();
    await die();
    for (let i = 0; i < turns; i++) await nextTurn();
    const asked = await proxy.ask(0, { kind: "start_capture", order });
    expect(asked).toMatchObject({ ok: false, error: { code: "WORKER_DIED" } });
    await answers(proxy);
    await echoed(proxy.listeners[0]!.address);
    expect(reader.next()).toMatchObject({ listener: "listener0", verdict: "pass" });
  });

test("a capture that ends while a worker starts again is over there too", async () => {
  const { proxy, die, order, reader } = await startMortal();
  value(await proxy.ask(0, { kind: "start_capture", order }));
  await die();
  for (let i = 0; i < 20; i++) await nextTurn();
  const stopped = await proxy.ask(0, { kind: "stop_capture", id: order.id });
  expect(stopped).toMatchObject({ ok: false, error: { code: "WORKER_DIED" } });
  await answers(proxy);
  while (reader.next() !== undefined);
  await echoed(proxy.listeners[0]!.address);
  expect(reader.next()).toBeUndefined();
});
