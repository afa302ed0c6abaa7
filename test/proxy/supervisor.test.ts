import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { err } from "../../src/common/result.ts";
import type { FaultReport } from "../../src/filter/fault-reporter.ts";
import { startEcho } from "../../src/proxy/echo.ts";
import { withinFileLimit } from "../../src/proxy/file-limit.ts";
import type { ProxyPlan } from "../../src/proxy/plan.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { instantiateRuntime } from "../../src/runtime/instantiate.ts";
import { MAP_LOCK } from "../../src/runtime/wasm/layout.ts";
import { mapSpec, openMap } from "../maps/open-map.ts";
import { needing } from "../support/needing.ts";
import { echoUpstream, planOf, silent, stopping } from "./plan-of.ts";
import { cleanUp, onCleanUp, TcpClient, udpSocket, until, value } from "./rig.ts";
import { lifeOutput } from "./stop-and-exit.ts";

afterEach(cleanUp);

test("a proxy on worker threads carries UDP and TCP, and counts where the main thread reads", async () => {
  const { plan, counters } = await planOf({
    upstreams: [await echoUpstream()],
    listeners: [{ protocol: "udp" }, { protocol: "tcp" }],
    filters: [{ assembly: "r0 = 2\nexit" }],
  });
  const proxy = stopping(value(await startProxy(plan, silent)));
  expect(proxy.listeners.map(({ name, protocol }) => [name, protocol])).toEqual([
    ["listener0", "udp"],
    ["listener1", "tcp"],
  ]);
  const datagrams = await udpSocket();
  datagrams.send("datagram", proxy.listeners[0]!.address);
  expect(await datagrams.text()).toBe("datagram");
  const stream = new TcpClient(proxy.listeners[1]!.address);
  stream.socket.end("stream");
  expect(await stream.over).toBe("end");
  expect(stream.received.toString()).toBe("stream");
  expect(counters[0]!.readPackets(0, "ingress", "pass")).toBe(1);
  expect(counters[0]!.readPackets(1, "ingress", "pass")).toBe(4);
  expect(counters[0]!.readFilterVerdicts(0, "pass")).toBe(5);
});

needing("linux")("workers share one port, and every packet is some worker's", async () => {
  const { plan, counters } = await planOf({
    upstreams: [await echoUpstream()],
    listeners: [{ protocol: "udp" }, { protocol: "tcp" }],
    workers: 2,
  });
  const proxy = stopping(value(await startProxy(plan, silent)));
  const clients = await Promise.all(Array.from({ length: 32 }, () => udpSocket()));
  for (const client of clients) {
    client.send("x", proxy.listeners[0]!.address);
    expect(await client.text()).toBe("x");
    const stream = new TcpClient(proxy.listeners[1]!.address);
    stream.socket.end("y");
    expect(await stream.over).toBe("end");
    expect(stream.received.toString()).toBe("y");
  }
  const sessions = (listener: number): number[] =>
    counters.map((worker) => worker.readCell(listener, "sessions_total"));
  for (const listener of [0, 1]) {
    const [first = 0, second = 0] = sessions(listener);
    expect(first + second).toBe(32);
    // By chance all would be one worker's once in 2³¹ runs.
    expect(Math.min(first, second)).toBeGreaterThan(0);
  }
});

for (const protocol of ["udp", "tcp"] as const)
  test(`a ${protocol} address in use is named with its listener and a remedy, and no worker is left`, async () => {
    const echo = await startEcho();
    onCleanUp(() => echo.stop());
    const { plan } = await planOf({
      upstreams: [{ name: "echo", addresses: [echo.address] }],
      listeners: [{ protocol: "udp" }, { name: "taken", protocol, listen: echo.address }],
    });
    const died: string[] = [];
    const started = await startProxy(plan, {
      onFault: () => {},
      onWorkerDied: (_, cause) => died.push(cause),
    });
    expect(started).toMatchObject({
      ok: false,
      error: {
        code: "LISTEN_FAILED",
        where: "listener taken",
        what: `cannot listen on ${protocol} 127.0.0.1:${echo.address.port}: the address is in use (EADDRINUSE)`,
        fix: "stop the process that holds it, or change the listener's port",
      },
    });
    expect(died).toEqual([]);
  });

test("an address this machine does not have is a named error", async () => {
  const { plan } = await planOf({
    upstreams: [await echoUpstream()],
    listeners: [{ listen: { host: "192.0.2.1", port: 0 } }],
  });
  expect(await startProxy(plan, silent)).toMatchObject({
    ok: false,
    error: { code: "LISTEN_FAILED", what: expect.stringContaining("EADDRNOTAVAIL") },
  });
});

test("a raw program is refused as a filter", async () => {
  const { plan } = await planOf({
    upstreams: [await echoUpstream()],
    listeners: [{}],
    filters: [{ assembly: "r0 = 0\nexit", type: "raw" }],
  });
  expect(await startProxy(plan, silent)).toMatchObject({
    ok: false,
    error: { code: "FILTER_RAW", where: "filter filter0" },
  });
});

test("a filter's fault and its trace lines reach the main thread", async () => {
  const { plan } = await planOf({
    upstreams: [await echoUpstream()],
    listeners: [{}],
    filters: [
      {
        // bpf_trace_printk("hi", 3), then a load from null.
        assembly:
          "r1 = 0x6968\n*(u64 *)(r10 - 8) = r1\nr1 = r10\nr1 += -8\nr2 = 3\ncall 6\nr1 = 0\nr0 = *(u64 *)(r1 + 0)\nexit",
      },
    ],
  });
  const faults: FaultReport[] = [];
  const lines: string[] = [];
  const proxy = stopping(
    value(
      await startProxy(plan, {
        ...silent,
        onFault: (fault) => faults.push(fault),
        onTrace: (line) => lines.push(line),
      }),
    ),
  );
  const client = await udpSocket();
  client.send("x", proxy.listeners[0]!.address);
  await until(() => faults.length > 0);
  expect(faults).toMatchObject([{ filter: "filter0", program: "program0", slot: 7 }]);
  expect(lines.join()).toContain("hi");
});

test("a worker that cannot start for a bug is an error, not a crash", async () => {
  const { plan } = await planOf({
    upstreams: [{ name: "app", addresses: [{ host: "a-name", port: 1 }] }],
    listeners: [{}],
  });
  expect(await startProxy(plan, silent)).toMatchObject({
    ok: false,
    error: { code: "WORKER_DIED", what: expect.stringContaining("a-name is no IP address") },
  });
});

test("a worker that dies lets go of the maps it held, and of none that others hold", async () => {
  const { plan, arena } = await planOf({
    upstreams: [await echoUpstream()],
    listeners: [{}],
    filters: [{ assembly: "r0 = 2\nexit" }],
  });
  const runtime = instantiateRuntime(plan.runtime, arena);
  const maps = (["hash", "lpm_trie"] as const).map(
    (type) => openMap(mapSpec(type, 8, 8, 4), 2, { arena, runtime }).handle,
  );
  const locks = maps.map(({ descriptor }) => descriptor + MAP_LOCK);
  const [filter] = plan.filters;
  const died: number[] = [];
  const proxy = value(
    await startProxy(
      {
        ...plan,
        filters: [{ ...filter!, program: { ...filter!.program, maps } }],
        workers: plan.workers.map((worker) => ({ ...worker, slots: 2 ** 30 })),
      },
      { ...silent, onWorkerRestart: (worker) => died.push(worker) },
    ),
  );
  for (const [holder, lock] of locks.entries()) arena.view.setUint32(lock, holder + 1, true);
  const client = await udpSocket();
  client.send("x", proxy.listeners[0]!.address);
  await until(() => died.length > 0);
  expect(locks.map((lock) => arena.view.getUint32(lock, true))).toEqual([0, 2]);
  await proxy.stop(0);
});

test("stop ends every worker and frees its ports", async () => {
  const { plan } = await planOf({
    upstreams: [await echoUpstream()],
    listeners: [{ protocol: "udp" }, { protocol: "tcp" }],
  });
  const proxy = value(await startProxy(plan, silent));
  const client = new TcpClient(proxy.listeners[1]!.address);
  client.write("x");
  await client.bytes(1);
  await Promise.all([proxy.stop(10), proxy.stop(10)]);
  expect(await client.over).toBe("ECONNRESET");
  const again = await udpSocket("127.0.0.1", proxy.listeners[0]!.address.port);
  expect(again.port).toBe(proxy.listeners[0]!.address.port);
});

test("after stop no handle keeps the process alive", () => {
  const file = fileURLToPath(new URL("./stop-and-exit.ts", import.meta.url));
  const run = spawnSync(process.execPath, [file], { encoding: "utf8", timeout: 20_000 });
  expect(run).toMatchObject({
    status: 0,
    signal: null,
    stdout: lifeOutput,
    stderr: "",
  });
});

for (const { protocol, listeners, openFiles, maxSessions, lowered } of [
  { protocol: "udp" as const, listeners: 1, openFiles: 1024, maxSessions: 16_384, lowered: 512 },
  { protocol: "udp" as const, listeners: 4, openFiles: 1024, maxSessions: 16_384, lowered: 128 },
  { protocol: "tcp" as const, listeners: 1, openFiles: 1024, maxSessions: 16_384, lowered: 256 },
  {
    protocol: "udp" as const,
    listeners: 1,
    openFiles: 65_536,
    maxSessions: 16_384,
    lowered: 16_384,
  },
  { protocol: "udp" as const, listeners: 1, openFiles: 1, maxSessions: 10, lowered: 1 },
])
  test(`with ${openFiles} files one of ${listeners} listeners, ${protocol}, of ${maxSessions} sessions gets ${lowered}`, async () => {
    const { plan } = await planOf({
      upstreams: [{ name: "any", addresses: [{ host: "127.0.0.1", port: 9 }] }],
      listeners: [{ protocol, maxSessions }],
    });
    expect(withinFileLimit(plan.listeners[0]!, listeners, openFiles).maxSessions).toBe(lowered);
  });

needing("linux")(
  "more sessions than open files allow are one warning that names listeners and numbers",
  async () => {
    const { plan } = await planOf({
      upstreams: [await echoUpstream()],
      listeners: [{ maxSessions: 1_000_000_000 }, { maxSessions: 1 }, { maxSessions: 900_000_000 }],
    });
    const warnings: string[] = [];
    const proxy = stopping(
      value(await startProxy(plan, { ...silent, onWarning: (warning) => warnings.push(warning) })),
    );
    expect(warnings).toEqual([
      expect.stringMatching(
        /^maxSessions lowered, to share half of the \d+ files .*: listener0 from 1000000000 to (\d+), listener2 from 900000000 to \1$/,
      ),
    ]);
    // A plan after it warns of what is new, once; what a refused one would have done is no news.
    const drain = { drainTimeoutMs: 0 };
    const warnedBy = async (next: ProxyPlan): Promise<readonly string[]> =>
      value(await proxy.apply(next, drain)).warnings;
    const fewer = { ...plan, listeners: plan.listeners.slice(0, 2) };
    const refused = await proxy.apply(fewer, { ...drain, beforeCommit: async () => err([]) });
    expect([refused.ok, warnings.length]).toEqual([false, 1]);
    expect(await warnedBy(plan)).toEqual([]);
    expect(await warnedBy(fewer)).toEqual([
      expect.stringMatching(/: listener0 from 1000000000 to \d+$/),
    ]);
    expect(await warnedBy(fewer)).toEqual([]);
    expect(warnings).toHaveLength(2);
  },
);
