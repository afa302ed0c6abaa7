import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Counters } from "../../src/filter/counters.ts";
import type { DatagramIo } from "../../src/proxy/plan.ts";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { Watchdog, type Watched } from "../../src/proxy/watchdog.ts";
import { instantiateRuntime } from "../../src/runtime/instantiate.ts";
import { MAP_LOCK } from "../../src/runtime/wasm/layout.ts";
import { bytesOf } from "../maps/numbers.ts";
import { mapSpec, openMap } from "../maps/open-map.ts";
import { start } from "../support/processes.ts";
import { echoUpstream, PlanBench, stopping } from "./plan-of.ts";
import { cleanUp, onCleanUp, TcpClient, udpSocket, until, value } from "./rig.ts";
import { marks } from "./stopped-process.ts";

afterEach(cleanUp);

const hasBatches = (await socketCallsProblem()) === undefined;

/** Writes an entry of its map for each packet. */
const writing = `
  r1 = 7
  *(u32 *)(r10 - 4) = r1
  r1 = map_by_fd(0) ll
  r2 = r10
  r2 += -4
  r3 = r10
  r3 += -4
  r4 = 0
  call 2
  r0 = 2
  exit`;

/** A UDP listener whose filter writes to a map, a UDP and a TCP listener without a filter. */
async function startBench(watchMs: number, io: DatagramIo = "dgram") {
  const bench = new PlanBench();
  const { arena } = bench;
  const plan = await bench.plan({
    upstreams: [await echoUpstream()],
    listeners: [
      {},
      { name: "unfiltered", ingress: [] },
      { name: "streams", protocol: "tcp", ingress: [] },
    ],
    filters: [{ assembly: writing, engine: "jit" }],
  });
  const map = openMap(mapSpec("hash", 4, 4, 8), 1, {
    arena,
    runtime: instantiateRuntime(plan.runtime, arena),
  });
  const [filter] = plan.filters;
  const program = { ...filter!.program, maps: [map.handle] };
  const setLock = (owner: number): void =>
    arena.view.setUint32(map.handle.descriptor + MAP_LOCK, owner, true);
  const causes: string[] = [];
  const warnings: string[] = [];
  const listeners = plan.listeners.map((one) => (one.protocol === "udp" ? { ...one, io } : one));
  const withMap = { ...plan, listeners, filters: [{ ...filter!, program }] };
  const proxy = stopping(
    value(
      await startProxy(withMap, {
        onFault: () => {},
        onWorkerDied: () => {},
        onWorkerRestart: (_, cause) => {
          setLock(0);
          causes.push(cause);
        },
        onWarning: (warning) => warnings.push(warning),
        watchMs,
      }),
    ),
  );
  const [filtered, unfiltered, streams] = proxy.listeners.map(({ address }) => address);
  /** Asks again until an echo comes: while a worker starts, datagrams meet nobody. */
  const echoed = async (to = unfiltered!): Promise<void> => {
    const client = await udpSocket();
    const timer = setInterval(() => client.send("again", to), 20);
    expect(await client.text()).toBe("again");
    clearInterval(timer);
  };
  const getStuck = async (): Promise<void> => {
    // A thread that no worker has holds the lock: who writes waits for ever, in WebAssembly.
    setLock(100);
    (await udpSocket()).send("x", filtered!);
    // The filter has begun: what comes after it is not answered.
    const before = bench.counters[0]!.readPackets(1, "ingress", "pass");
    const client = await udpSocket();
    client.send("x", unfiltered!);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(bench.counters[0]!.readPackets(1, "ingress", "pass")).toBe(before);
  };
  return {
    proxy,
    counters: bench.counters[0]!,
    plan: withMap,
    map,
    causes,
    warnings,
    echoed,
    getStuck,
    filtered,
    streams,
  };
}

for (const io of hasBatches ? (["dgram", "mmsg"] as const) : (["dgram"] as const))
  test(`io: ${io}: a worker that is stuck in WebAssembly is ended and started again, its maps intact`, async () => {
    const { proxy, counters, causes, echoed, filtered, getStuck, map } = await startBench(500, io);
    expect(map.access.update(bytesOf(1, 4), [bytesOf(2, 4)], 0)).toBe(0);
    await echoed(filtered);
    expect(proxy.isCarrying).toBe(true);
    await getStuck();
    await until(() => !proxy.isCarrying);
    expect(causes).toEqual([]);
    await until(() => causes.length > 0);
    expect(proxy.isCarrying).toBe(false);
    expect(causes).toEqual([
      "worker_stuck: no turn of its event loop, and no packet, for 1.5 s; it was running filter filter0, program program0, on a packet of listener listener0, ingress",
    ]);
    expect(counters.readPackets(0, "ingress", "aborted")).toBe(1);
    expect(counters.readDrops(0, "ingress", "filter_aborted")).toBe(1);
    await echoed(filtered);
    expect(proxy.isCarrying).toBe(true);
    expect(map.access.lookup(bytesOf(1, 4))).toEqual([bytesOf(2, 4)]);
    expect(map.access.lookup(bytesOf(7, 4))).toEqual([bytesOf(7, 4)]);
  });

test("a plan that waits for a worker that is stuck is refused, and the next one is taken", async () => {
  const { proxy, plan, echoed, getStuck } = await startBench(500);
  await getStuck();
  expect(await proxy.apply(plan, { drainTimeoutMs: 0 })).toMatchObject({
    ok: false,
    error: [{ code: "WORKER_DIED", what: expect.stringContaining("worker_stuck") }],
  });
  await echoed();
  expect(await proxy.apply(plan, { drainTimeoutMs: 0 })).toMatchObject({ ok: true });
});

test("a stop ends a worker that is stuck a second after its time, tells so, and counts its connections", async () => {
  // Nobody else looks after it.
  const { proxy, warnings, causes, getStuck, streams } = await startBench(3_600_000);
  const stream = new TcpClient(streams!);
  stream.write("x");
  await stream.bytes(1);
  await getStuck();
  expect(await proxy.stop(100)).toBe(1);
  expect(warnings).toEqual([
    "worker 0 died as the proxy stopped: worker_stuck: it had not stopped a second after its drain timeout; it was running filter filter0, program program0, on a packet of listener listener0, ingress",
  ]);
  expect(causes).toEqual([]);
  await stream.over;
});

test("connections that a worker which is stuck had of listeners of plans before are counted too", async () => {
  const { proxy, plan, getStuck, streams } = await startBench(3_600_000);
  const open = async (): Promise<TcpClient> => {
    const stream = new TcpClient(streams!);
    stream.write("x");
    await stream.bytes(1);
    return stream;
  };
  const first = await open();
  // A plan that has the listener too: its place counts once.
  value(await proxy.apply({ ...plan }, { drainTimeoutMs: 60_000 }));
  const second = await open();
  const without = { ...plan, listeners: plan.listeners.slice(0, 2) };
  value(await proxy.apply(without, { drainTimeoutMs: 60_000 }));
  await getStuck();
  expect(await proxy.stop(100)).toBe(2);
  // Put right, should the listener come back.
  const counters = new Counters(plan.memory, plan.workers[0]!.counters);
  expect(counters.readCell(2, "sessions")).toBe(0);
  await Promise.all([first.over, second.over]);
});

test("workers of a process that was stopped for long go on", async () => {
  const script = fileURLToPath(new URL("stopped-process.ts", import.meta.url));
  const running = start(process.execPath, [script]);
  onCleanUp(() => running.stop("SIGKILL"));
  await running.printed(new RegExp(marks.started));
  running.child.kill("SIGSTOP");
  // Longer than a worker may be stuck there.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  running.child.kill("SIGCONT");
  await running.printed(new RegExp(marks.looked));
  expect(running.output()).toBe(marks.started + marks.looked);
  expect(await running.ended).toEqual({ code: 0, signal: null });
});

describe("Watchdog", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** A worker whose answers and packets are the test's. */
  function worker() {
    const kills: string[] = [];
    const asked: (() => void)[] = [];
    let packets = 0;
    const watched: Watched = {
      ping: () => new Promise<void>((resolve) => asked.push(resolve)),
      progress: () => packets,
      kill: (cause) => kills.push(cause),
    };
    const watchdog = new Watchdog(1_000);
    watchdog.watch(watched);
    onCleanUp(() => watchdog.forget(watched));
    const looks = (count: number) => vi.advanceTimersByTimeAsync(count * 1_000);
    return {
      kills,
      asked,
      looks,
      work: () => packets++,
      start: () => watchdog.started(watched),
      isTurning: () => watchdog.hasTurningWorker,
      end: () => watchdog.forget(watched),
    };
  }

  test("ends a worker once that has answered before, at the third look without an answer", async () => {
    const { kills, asked, looks } = worker();
    asked[0]!();
    await looks(1 + 2);
    expect(kills).toEqual([]);
    await looks(1);
    expect(kills).toHaveLength(1);
    await looks(10);
    expect(kills).toHaveLength(1);
    expect(asked).toHaveLength(2);
  });

  test("leaves one alone that answers, however late in between two looks", async () => {
    const { kills, asked, looks } = worker();
    asked[0]!();
    for (let i = 0; i < 10; i++) {
      await looks(3);
      asked.at(-1)!();
    }
    expect(asked).toHaveLength(11);
    expect(kills).toEqual([]);
  });

  test("leaves one alone that has not come as far as to answer for the first time", async () => {
    const { kills, looks } = worker();
    await looks(100);
    expect(kills).toEqual([]);
  });

  test("ends one that has started and never answered", async () => {
    const { kills, looks, start } = worker();
    await looks(100);
    start();
    await looks(2);
    expect(kills).toEqual([]);
    await looks(1);
    expect(kills).toHaveLength(1);
  });

  test("counts anew from each packet that one without an answer has judged", async () => {
    const { kills, asked, looks, work } = worker();
    asked[0]!();
    for (let i = 0; i < 10; i++) {
      await looks(2);
      work();
    }
    expect(kills).toEqual([]);
    await looks(4);
    expect(kills).toHaveLength(1);
  });

  test("tells whether a worker turns: not before it has started, once it has missed two looks, nor when it has ended", async () => {
    const { asked, looks, start, work, end, isTurning } = worker();
    await looks(10);
    expect(isTurning()).toBe(false);
    start();
    await looks(1);
    expect(isTurning()).toBe(true);
    await looks(1);
    expect(isTurning()).toBe(false);
    // Late with its answer, and at work.
    work();
    await looks(1);
    expect(isTurning()).toBe(true);
    asked[0]!();
    await looks(2);
    expect(isTurning()).toBe(true);
    end();
    expect(isTurning()).toBe(false);
  });

  test("has no timer left once the last worker has ended", async () => {
    const { end } = worker();
    expect(vi.getTimerCount()).toBe(1);
    end();
    expect(vi.getTimerCount()).toBe(0);
  });
});
