import { connect, createServer } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createMetrics, type Metrics } from "../../src/metrics/registry.ts";
import {
  defaultServerLimits,
  type MetricsServer,
  type MetricsServerInput,
  startMetricsServer,
} from "../../src/metrics/server.ts";
import { parseExposition } from "./parse-exposition.ts";

const running: MetricsServer[] = [];
afterEach(async () => {
  for (const server of running.splice(0)) await server.stop();
});

function someMetrics(): Metrics {
  const metrics = createMetrics({
    version: "1.2.3",
    sources: {
      listeners: ["dns"],
      addresses: [],
      kernelDrops: () => 0,
      filters: [],
      counters: [],
      maps: [],
      mapMetrics: [],
    },
    process: undefined,
    now: () => 0,
    onSkip: () => {},
  });
  if (!metrics.ok) throw metrics.error;
  return metrics.value;
}

async function start(more: Partial<MetricsServerInput> = {}): Promise<MetricsServer> {
  const server = await startMetricsServer({
    listen: { host: "127.0.0.1", port: 0 },
    metrics: someMetrics(),
    notReady: () => undefined,
    onError: (error) => {
      throw error;
    },
    ...more,
  });
  if (!server.ok) throw server.error;
  running.push(server.value);
  return server.value;
}

const url = (server: MetricsServer, path: string): string =>
  `http://${server.host}:${server.port}${path}`;

/** Sends bytes on a new connection and gives all that comes back until the server closes it. */
function talk(server: MetricsServer, ...parts: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, server.host);
    let answer = "";
    socket.on("data", (data) => {
      answer += data;
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", (error: NodeJS.ErrnoException) =>
      error.code === "ECONNRESET" || error.code === "EPIPE" ? resolve(answer) : reject(error),
    );
    for (const part of parts) socket.write(part);
  });
}

test("/metrics gives the text format", async () => {
  const response = await fetch(url(await start(), "/metrics"));
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const names = parseExposition(await response.text(), "text").map(({ name }) => name);
  expect(names).toContain("weir_build_info");
});

test("/metrics gives OpenMetrics to who asks for it, and text to the next", async () => {
  const server = await start();
  const accept = { accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5" };
  const open = await fetch(url(server, "/metrics"), { headers: accept });
  expect(open.headers.get("content-type")).toBe(
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
  );
  parseExposition(await open.text(), "openmetrics");
  const text = await fetch(url(server, "/metrics?format=any"));
  expect(parseExposition(await text.text(), "text").map(({ name }) => name)).toContain(
    "weir_config_reloads_total",
  );
});

test("HEAD gives the headers of GET and no body", async () => {
  const server = await start();
  const get = await fetch(url(server, "/metrics"));
  const head = await fetch(url(server, "/metrics"), { method: "HEAD" });
  expect(head.status).toBe(200);
  expect(head.headers.get("content-length")).toBe(String((await get.arrayBuffer()).byteLength));
  expect(await head.text()).toBe("");
});

test("/live and /ready answer in a plain line", async () => {
  let reason: string | undefined = "loading filters";
  const server = await start({ notReady: () => reason });
  const ask = async (path: string): Promise<[number, string]> => {
    const response = await fetch(url(server, path));
    return [response.status, await response.text()];
  };
  expect(await ask("/live")).toEqual([200, "live\n"]);
  expect(await ask("/ready")).toEqual([503, "not ready: loading filters\n"]);
  reason = undefined;
  expect(await ask("/ready")).toEqual([200, "ready\n"]);
});

for (const path of ["/", "/metrics/", "/METRICS", "/toString", "/../metrics%00"])
  test(`${path} is not found, in a plain line`, async () => {
    const response = await talk(
      await start(),
      `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
    );
    expect(response).toMatch(/^HTTP\/1.1 404 /);
    expect(response).toMatch(/\r\n\r\nnot found; try \/metrics \/live \/ready\n$/);
  });

for (const method of ["POST", "PUT", "DELETE", "OPTIONS"])
  test(`${method} is not allowed, in a plain line`, async () => {
    const response = await fetch(url(await start(), "/metrics"), { method });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("GET, HEAD");
    expect(await response.text()).toBe("only GET and HEAD are allowed here\n");
  });

test("a URL longer than the limit is refused", async () => {
  const response = await fetch(url(await start(), `/metrics?${"x".repeat(9_000)}`));
  expect(response.status).toBe(431);
});

for (const { name, host, code } of [
  { name: "a port in use", host: "127.0.0.1", code: "METRICS_LISTEN_IN_USE" },
  { name: "an address of another machine", host: "192.0.2.1", code: "METRICS_LISTEN_NO_ADDRESS" },
])
  test(`${name} is an error with a remedy`, async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    const server = await startMetricsServer({
      listen: { host, port },
      metrics: someMetrics(),
      notReady: () => undefined,
      onError: () => {},
    });
    await new Promise((resolve) => taken.close(resolve));
    expect(server).toMatchObject({
      ok: false,
      error: { code, where: `metrics.listen ${host}:${port}`, fix: expect.any(String) },
    });
  });

const short = {
  ...defaultServerLimits,
  headersTimeoutMs: 100,
  requestTimeoutMs: 100,
  responseTimeoutMs: 200,
  idleTimeoutMs: 100,
};

for (const { name, parts } of [
  { name: "sends nothing", parts: [] },
  { name: "never ends its headers", parts: ["GET /metrics HTTP/1.1\r\nhost: x\r\n"] },
  {
    name: "never ends its body",
    parts: ["GET /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"],
  },
  { name: "keeps its connection idle", parts: ["GET /live HTTP/1.1\r\nhost: x\r\n\r\n"] },
])
  test(`a client that ${name} is disconnected`, async () => {
    // Resolves only when the server ends the connection.
    await talk(await start({ limits: short }), ...parts);
  });

test("a client that does not read its answer is disconnected", async () => {
  const body = "x".repeat(32 * 2 ** 20);
  const metrics: Metrics = { ...someMetrics(), render: async () => body };
  const limits = { ...short, idleTimeoutMs: 60_000, maxConnections: 1 };
  const server = await start({ metrics, limits });
  const socket = connect(server.port, server.host);
  socket.pause();
  socket.write("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
  // The only place becomes free when the server has given the slow client up.
  while ((await talk(server, "GET /live HTTP/1.0\r\n\r\n")) === "");
  const received = await new Promise<number>((resolve) => {
    let length = 0;
    socket.on("data", (data) => {
      length += data.length;
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(length));
    socket.resume();
  });
  expect(received).toBeLessThan(body.length);
});

test("a client is not kept waiting for an answer without end", async () => {
  const metrics: Metrics = { ...someMetrics(), render: () => new Promise(() => {}) };
  const server = await start({ metrics, limits: short });
  expect(await talk(server, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")).toBe("");
});

test("connections above the limit are refused, and the others go on", async () => {
  const server = await start({ limits: { ...defaultServerLimits, maxConnections: 2 } });
  const held = await Promise.all(
    [0, 1].map(
      () =>
        new Promise<ReturnType<typeof connect>>((resolve) => {
          const socket = connect(server.port, server.host);
          socket.write("GET /live HTTP/1.1\r\nhost: x\r\n\r\n");
          socket.once("data", () => resolve(socket));
        }),
    ),
  );
  expect(await talk(server, "GET /live HTTP/1.1\r\nhost: x\r\n\r\n")).toBe("");
  const [first] = held;
  const again = new Promise((resolve) => first?.once("data", (data) => resolve(String(data))));
  first?.write("GET /live HTTP/1.1\r\nhost: x\r\n\r\n");
  expect(await again).toMatch(/^HTTP\/1.1 200 /);
  for (const socket of held) socket.destroy();
});

test("scrapes that overlap share one rendering", async () => {
  let renderings = 0;
  let finish = (): void => {};
  const waiting = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const metrics: Metrics = {
    ...someMetrics(),
    render: async () => {
      renderings++;
      await waiting;
      return "a 1\n";
    },
  };
  const server = await start({ metrics });
  const scrapes = [1, 2, 3].map(() => fetch(url(server, "/metrics")));
  // Answered after the scrapes have been taken: a later request on the same event loop.
  for (let i = 0; i < 5; i++) await (await fetch(url(server, "/live"))).text();
  finish();
  for (const scrape of scrapes) expect(await (await scrape).text()).toBe("a 1\n");
  expect(renderings).toBeLessThan(3);
  await (await fetch(url(server, "/metrics"))).text();
  expect(renderings).toBeGreaterThan(1);
});

test("a bug while rendering is a 500 for the client and told to the log", async () => {
  const errors: unknown[] = [];
  const bug = new TypeError("bug");
  const metrics: Metrics = { ...someMetrics(), render: () => Promise.reject(bug) };
  const server = await start({ metrics, onError: (error) => errors.push(error) });
  const response = await fetch(url(server, "/metrics"));
  expect(response.status).toBe(500);
  expect(await response.text()).toBe("the metrics could not be collected; see the log\n");
  expect(errors).toEqual([bug]);
});

test("stop ends idle connections and gives the port back", async () => {
  const server = await start();
  await (await fetch(url(server, "/live"))).text();
  const idle = connect(server.port, server.host);
  await new Promise<void>((resolve) => idle.once("connect", resolve));
  const ended = new Promise<void>((resolve) => idle.once("close", () => resolve()));
  idle.resume();
  idle.on("error", () => {});
  await server.stop();
  await ended;
  const again = await start({ listen: { host: server.host, port: server.port } });
  expect(again.port).toBe(server.port);
});
