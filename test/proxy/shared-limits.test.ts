import { afterEach, expect } from "vitest";
import type { Counters, ListenerCell } from "../../src/filter/counters.ts";
import type { ListenerPlan, ProxyPlan } from "../../src/proxy/plan.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { needing } from "../support/needing.ts";
import { echoUpstream, PlanBench, running, silent, stopping } from "./plan-of.ts";
import { cleanUp, TcpClient, udpSocket, until, value } from "./rig.ts";

afterEach(cleanUp);

const workers = 2;
/** So many clients come to both workers: that one gets them all happens once in a million runs. */
const clients = 21;

function sum(counters: readonly Counters[], cell: ListenerCell): number {
  return counters.reduce((all, worker) => all + worker.readCell(0, cell), 0);
}

function refusedSources(counters: readonly Counters[]): number {
  return counters.reduce((all, worker) => all + worker.readDrops(0, "ingress", "source_limit"), 0);
}

async function bench(listener: Partial<ListenerPlan>) {
  const made = new PlanBench(workers);
  const upstreams = [await echoUpstream()];
  const planOf = (changed: Partial<ListenerPlan>): Promise<ProxyPlan> =>
    made.plan({ upstreams, listeners: [{ ...listener, ...changed }] });
  return { counters: made.counters, planOf };
}

for (const maxSessions of [1, 5])
  needing("linux")(
    `two workers hold maxSessions ${maxSessions} together, and every new client is served`,
    async () => {
      const { counters, planOf } = await bench({ maxSessions });
      const proxy = await running(await planOf({}));
      for (let i = 0; i < clients; i++) {
        const client = await udpSocket();
        client.send("x", proxy.listeners[0]!.address);
        expect(await client.text()).toBe("x");
      }
      await until(() => sum(counters, "sessions") === maxSessions);
      expect(sum(counters, "sessions_total")).toBe(clients);
      expect(sum(counters, "sessions_evicted_total")).toBe(clients - maxSessions);
    },
  );

needing("linux")("a client is not refused room that another worker does not use", async () => {
  const { counters, planOf } = await bench({ maxSessions: clients });
  const proxy = await running(await planOf({}));
  for (let i = 0; i < clients; i++) {
    const client = await udpSocket();
    client.send("x", proxy.listeners[0]!.address);
    await client.text();
  }
  expect(sum(counters, "sessions")).toBe(clients);
  expect(sum(counters, "sessions_evicted_total")).toBe(0);
});

needing("linux")(
  "under a lowered maxSessions what is there goes on, and new clients take its place",
  async () => {
    const { counters, planOf } = await bench({
      maxSessions: clients,
      maxSessionsPerSource: clients,
    });
    const proxy = await running(await planOf({}));
    const { address } = proxy.listeners[0]!;
    const come = async (): Promise<void> => {
      const client = await udpSocket();
      client.send("x", address);
      expect(await client.text()).toBe("x");
    };
    for (let i = 0; i < clients; i++) await come();
    value(await proxy.apply(await planOf({ maxSessions: 1 }), { drainTimeoutMs: 0 }));
    expect(sum(counters, "sessions")).toBe(clients);
    // A source that has as many as it may is refused, also where its table had to be a large one.
    (await udpSocket()).send("x", address);
    await until(() => refusedSources(counters) === 1);
    value(
      await proxy.apply(await planOf({ maxSessions: 1, maxSessionsPerSource: undefined }), {
        drainTimeoutMs: 0,
      }),
    );
    for (let i = 0; i < clients; i++) await come();
    await until(() => sum(counters, "sessions") === clients);
    expect(sum(counters, "sessions_evicted_total")).toBe(clients);
  },
);

needing("linux")("two workers hold maxSessionsPerSource together, exactly", async () => {
  const most = 5;
  const { counters, planOf } = await bench({ maxSessionsPerSource: most });
  const proxy = await running(await planOf({}));
  const { address } = proxy.listeners[0]!;
  const come = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const before = sum(counters, "sessions_total") + refusedSources(counters);
      (await udpSocket()).send("x", address);
      await until(() => sum(counters, "sessions_total") + refusedSources(counters) > before);
    }
  };
  await come(clients);
  expect(sum(counters, "sessions")).toBe(most);
  expect(refusedSources(counters)).toBe(clients - most);
  const other = await udpSocket("127.0.0.2");
  other.send("other", address);
  expect(await other.text()).toBe("other");
  // What a source has is known to the plan that comes after.
  value(await proxy.apply(await planOf({ maxSessionsPerSource: most + 2 }), { drainTimeoutMs: 0 }));
  await come(clients);
  expect(sum(counters, "sessions")).toBe(most + 3);
});

needing("linux")("a source's connections that end make room on every worker", async () => {
  const { counters, planOf } = await bench({ protocol: "tcp", maxSessionsPerSource: 1 });
  const proxy = await running(await planOf({}));
  const { address } = proxy.listeners[0]!;
  for (let i = 0; i < clients; i++) {
    const client = new TcpClient(address);
    client.write("x");
    expect(await client.text(1)).toBe("x");
    expect(await new TcpClient(address).over).toBe("ECONNRESET");
    client.socket.resetAndDestroy();
    await until(() => sum(counters, "sessions") === 0);
  }
});

needing("linux")("what a source had on a worker that died counts no more", async () => {
  const made = new PlanBench(workers);
  const plan = await made.plan({
    upstreams: [await echoUpstream()],
    listeners: [{ ingress: [0] }, { ingress: [], maxSessionsPerSource: 1 }],
    filters: [{ assembly: "r0 = 2\nexit" }],
  });
  const restarts: number[] = [];
  const onWorkerRestart = (worker: number): void => void restarts.push(worker);
  // Stands in for a bug: slots outside the arena. A packet that a filter is to see ends the worker.
  const crashing = plan.workers.map((own, i) => (i === 0 ? { ...own, slots: 2 ** 30 } : own));
  const started = await startProxy({ ...plan, workers: crashing }, { ...silent, onWorkerRestart });
  const [crash, limited] = stopping(value(started)).listeners.map(({ address }) => address);
  const sessions = (): number => made.counters[0]!.readCell(1, "sessions");
  let source = "";
  for (let host = 2; sessions() === 0; host++) {
    source = `127.0.0.${host}`;
    const client = await udpSocket(source);
    client.send("x", limited!);
    await client.text();
  }
  const refused = (): number =>
    made.counters.reduce((all, worker) => all + worker.readDrops(1, "ingress", "source_limit"), 0);
  (await udpSocket(source)).send("out", limited!);
  await until(() => refused() === 1);
  // Those that the other worker gets are carried.
  const poke = setInterval(async () => (await udpSocket()).send("x", crash!), 50);
  await until(() => restarts.length > 0);
  clearInterval(poke);
  const again = await udpSocket(source);
  again.send("in", limited!);
  expect(await again.text()).toBe("in");
});
