import { afterEach, expect, test } from "vitest";
import { createMap } from "../../src/maps/create-map.ts";
import type { ProxyPlan } from "../../src/proxy/plan.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { instantiateRuntime } from "../../src/runtime/instantiate.ts";
import { MAP_LOCK } from "../../src/runtime/wasm/layout.ts";
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
