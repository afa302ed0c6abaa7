import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { verdictKinds } from "../../src/filter/verdict.ts";
import { cleanUp, onCleanUp, TcpClient, tcpEcho, udpSocket, udpUpstream } from "../proxy/rig.ts";
import {
  eventually,
  freePort,
  type Running,
  scrape,
  series,
  startWeir,
  temporaryFolder,
} from "../support/processes.ts";

afterEach(cleanUp);

const maxSessions = 500;

interface Proxy {
  readonly running: Running;
  readonly port: number;
  readonly metrics: number;
}

async function startProxy(protocol: "udp" | "tcp", upstream: number, more = ""): Promise<Proxy> {
  const [port, metrics] = [await freePort(), await freePort()];
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const running = await startWeir(
    folder,
    `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { app: { addresses: ["127.0.0.1:${upstream}"] } }
listeners:
  - { name: a, protocol: ${protocol}, listen: "127.0.0.1:${port}", upstream: app, maxSessions: ${maxSessions}${more} }
`,
  );
  onCleanUp(() => running.stop("SIGKILL"));
  return { running, port, metrics };
}

/** Resident memory in MiB. */
function residentMiB({ running }: Proxy): number {
  const status = readFileSync(`/proc/${running.child.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

/** What a listener counted, once `isDone` holds of it. */
function counted(
  { metrics }: Proxy,
  name: string,
  isDone: (value: number) => boolean,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  let last: number | undefined;
  return eventually(async () => {
    last = series(await scrape(metrics), name, { listener: "a", ...labels });
    return last !== undefined && isDone(last) ? last : undefined;
  }, `${name} (last ${last})`);
}

/** Connections that say `first` and then nothing. */
async function idleConnections(count: number, port: number, first = ""): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("error", () => {});
    onCleanUp(() => socket.destroy());
    return socket;
  });
  // Those that are too many may be reset before they know that they were connected.
  await Promise.all(sockets.map((socket) => once(socket, "connect").catch(() => {})));
  if (first !== "") for (const socket of sockets) socket.write(first);
  return sockets;
}

test("1,000 idle connections: those beyond maxSessions make room, and a new client is served", {
  timeout: 60_000,
}, async () => {
  const proxy = await startProxy("tcp", (await tcpEcho()).port);
  const before = residentMiB(proxy);
  await idleConnections(1_000, proxy.port);
  await counted(proxy, "weir_sessions_total", (total) => total === 1_000);
  await counted(proxy, "weir_sessions_evicted_total", (evicted) => evicted === 500);
  const client = new TcpClient({ host: "127.0.0.1", port: proxy.port });
  client.write("served");
  expect(await client.text(6)).toBe("served");
  await counted(proxy, "weir_sessions", (open) => open === maxSessions);
  expect(residentMiB(proxy) - before).toBeLessThan(100);
});

test("1,000 connections that never finish their PROXY header are bounded, counted, and bar nobody", {
  timeout: 60_000,
}, async () => {
  const proxy = await startProxy(
    "tcp",
    (await tcpEcho()).port,
    ", proxyProtocol: { accept: required, trust: [127.0.0.0/8] }",
  );
  await idleConnections(1_000, proxy.port, "PROXY TCP4 192.0.2.1");
  const refused = { reason: "proxy_header" };
  await counted(proxy, "weir_receive_errors_total", (errors) => errors >= 500, refused);
  const client = new TcpClient({ host: "127.0.0.1", port: proxy.port });
  client.write("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\nserved");
  expect(await client.text(6)).toBe("served");
  // The rest is not waited for longer than five seconds.
  await counted(proxy, "weir_receive_errors_total", (errors) => errors === 1_000, refused);
});

test("20,000 UDP source ports: sessions stay within maxSessions, and a new client is served", {
  timeout: 120_000,
}, async () => {
  const proxy = await startProxy("udp", (await udpUpstream()).port);
  const before = residentMiB(proxy);
  const sources = 20_000;
  const at = (i: number): string => `127.0.1.${1 + (i % 250)}`;
  for (let first = 0; first < sources; first += 500)
    await Promise.all(
      Array.from({ length: 500 }, async (_, i) => {
        const socket = createSocket("udp4");
        socket.bind(0, at(first + i));
        await once(socket, "listening");
        await new Promise((resolve) => socket.send("?", proxy.port, "127.0.0.1", resolve));
        socket.close();
      }),
    );
  const text = async (): Promise<string> => scrape(proxy.metrics);
  // Not by sessions: a port that the system gives twice is one client.
  await eventually(async () => {
    const scraped = await text();
    const packets = verdictKinds.map((verdict) =>
      series(scraped, "weir_packets_total", { listener: "a", direction: "ingress", verdict }),
    );
    const lost = { listener: "a", reason: "kernel_dropped" };
    const counted = [...packets, series(scraped, "weir_receive_errors_total", lost)];
    const all = counted.reduce<number>((sum, value) => sum + (value ?? 0), 0);
    return all >= sources ? all : undefined;
  }, "all datagrams counted");
  const open = series(await text(), "weir_sessions", { listener: "a" })!;
  expect(open).toBeLessThanOrEqual(maxSessions);
  expect(series(await text(), "weir_sessions_evicted_total", { listener: "a" })).toBeGreaterThan(0);
  const client = await udpSocket();
  client.send("served", { host: "127.0.0.1", port: proxy.port });
  // Its port may have been a source before: an answer to that may be on the way still.
  let answer = await client.text();
  for (let left = 50; answer === "?" && left > 0; left--) answer = await client.text();
  expect(answer).toBe("served");
  expect(residentMiB(proxy) - before).toBeLessThan(100);
});
