import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type RunningProxy, startProxy } from "../../src/proxy/supervisor.ts";
import { echoUpstream, PlanBench, stopping } from "./plan-of.ts";
import { cleanUp, onCleanUp, udpSocket, until, value } from "./rig.ts";

/** Threads that were begun, and what those that are begun next run in place of a worker's code. */
const threads = vi.hoisted(() => ({ begun: 0, run: undefined as string | undefined }));

/** A worker that comes to a stop before its first turn. */
const stuck = "for (;;);";

vi.mock(import("node:worker_threads"), async (importOriginal) => {
  const original = await importOriginal();
  class OtherWorker extends original.Worker {
    constructor(...[file, options]: ConstructorParameters<typeof original.Worker>) {
      const { run } = threads;
      super(run === undefined ? file : new URL(`data:text/javascript,${run}`), options);
      threads.begun++;
    }
  }
  return { ...original, Worker: OtherWorker };
});

beforeEach(() => {
  threads.run = undefined;
});
afterEach(cleanUp);

/** What the process's own time comes to, without waiting for it. */
async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  vi.useRealTimers();
}

/** From here on timers wait for `pass`. */
function holdTimers(): void {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onCleanUp(() => vi.useRealTimers());
}

/** A proxy whose only worker has died, and is stuck as it is started again. */
async function startStuckAgain() {
  const bench = new PlanBench();
  const plan = await bench.plan({
    upstreams: [await echoUpstream()],
    listeners: [{ ingress: [0] }, { name: "unfiltered", ingress: [] }],
    filters: [{ assembly: "r0 = 2\nexit" }],
  });
  // Stands in for a bug: packet slots outside the arena. Whoever has to put a packet there dies.
  const crashing = { ...plan, workers: plan.workers.map((one) => ({ ...one, slots: 2 ** 30 })) };
  const causes: string[] = [];
  const warnings: string[] = [];
  const proxy = stopping(
    value(
      await startProxy(crashing, {
        onFault: () => {},
        onWorkerDied: () => {},
        onWorkerRestart: (_, cause) => {
          causes.push(cause);
          if (threads.run === stuck) holdTimers();
        },
        onWarning: (warning) => warnings.push(warning),
      }),
    ),
  );
  const begun = threads.begun;
  threads.run = stuck;
  (await udpSocket()).send("x", proxy.listeners[0]!.address);
  await until(() => causes.length === 1);
  await vi.waitUntil(() => threads.begun > begun);
  return { proxy, plan: crashing, causes, warnings };
}

/** Asks again until an echo comes: while a worker starts, datagrams meet nobody. */
async function echoed(proxy: RunningProxy): Promise<void> {
  const client = await udpSocket();
  const timer = setInterval(() => client.send("again", proxy.listeners[1]!.address), 20);
  expect(await client.text()).toBe("again");
  clearInterval(timer);
}

test("a worker that has not started within a minute is an error that says so", async () => {
  const bench = new PlanBench();
  const plan = await bench.plan({ upstreams: [await echoUpstream()], listeners: [{}] });
  const begun = threads.begun;
  threads.run = stuck;
  holdTimers();
  const starting = startProxy(plan, { onFault: () => {}, onWorkerDied: () => {} });
  await vi.waitUntil(() => threads.begun > begun);
  await pass(60_000);
  expect(await starting).toMatchObject({
    ok: false,
    error: { code: "WORKER_DIED", what: "died: worker_stuck: its start took it 60 s" },
  });
});

test("a worker that is stuck as it is started again is ended after a minute, and a plan waits no longer", async () => {
  const { proxy, plan, causes } = await startStuckAgain();
  const applied = proxy.apply(plan, { drainTimeoutMs: 0 });
  threads.run = undefined;
  await pass(60_000);
  expect(await applied).toMatchObject({ ok: false, error: [{ code: "PROXY_NOT_RUNNING" }] });
  expect(causes).toHaveLength(2);
  expect(causes[1]).toContain("worker_stuck: its start took it 60 s");
  await echoed(proxy);
  expect(await proxy.apply(plan, { drainTimeoutMs: 0 })).toMatchObject({ ok: true });
});

test("a stop waits a second for a worker that is stuck as it is started again", async () => {
  const { proxy, causes, warnings } = await startStuckAgain();
  const stopped = proxy.stop(60_000);
  await pass(1_000);
  expect(await stopped).toBe(0);
  expect(causes).toHaveLength(1);
  expect(warnings).toEqual([
    "worker 0 died as the proxy stopped: worker 0: died: worker_stuck: it had not started a second after the proxy was to stop",
  ]);
});

test("a worker that is stuck right behind its start, and has never answered, is ended and started again", async () => {
  const bench = new PlanBench();
  const plan = await bench.plan({ upstreams: [await echoUpstream()], listeners: [{}] });
  const ready = JSON.stringify({ kind: "ready", bound: [{ host: "127.0.0.1", port: 0 }] });
  threads.run = `import { parentPort } from "node:worker_threads"; parentPort.postMessage(${ready}); ${stuck}`;
  const causes: string[] = [];
  stopping(
    value(
      await startProxy(plan, {
        onFault: () => {},
        onWorkerDied: () => {},
        onWorkerRestart: (_, cause) => {
          threads.run = undefined;
          causes.push(cause);
        },
        watchMs: 500,
      }),
    ),
  );
  await until(() => causes.length > 0);
  expect(causes).toEqual(["worker_stuck: no turn of its event loop, and no packet, for 1.5 s"]);
});
