import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { type Checked, Counters, counterBytes } from "../../src/filter/counters.ts";
import { type HealthChange, HealthChecks } from "../../src/proxy/health-checks.ts";
import type { HealthCheckPlan, UpstreamPlan } from "../../src/proxy/plan.ts";
import { readProxyHeader } from "../../src/proxy/proxy-protocol.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { placesFrom } from "../support/counter-places.ts";
import { cleanUp, onCleanUp, tcpEcho, tcpUpstream, until, value } from "./rig.ts";

afterEach(cleanUp);

const shape = { listeners: 0, filters: 0, addresses: 4 };

/** The counters of two workers, which share nothing but what the checks write to both. */
function workers(): Counters[] {
  const arena = value(Arena.create(1024 * 1024));
  return [0, 1].map(() => {
    const at = value(arena.allocate(counterBytes(shape), "counters"));
    return new Counters(arena.memory, placesFrom(at, shape));
  });
}

interface Stage {
  readonly checks: HealthChecks;
  readonly counters: readonly Counters[];
  readonly changes: HealthChange[];
  /** What each worker read of the first address, at each change. */
  readonly states: Checked[][];
}

function stage(): Stage {
  const changes: HealthChange[] = [];
  const counters = workers();
  const states: Checked[][] = [];
  const checks = new HealthChecks((change) => {
    changes.push(change);
    states.push(counters.map((worker) => worker.readChecked(0)));
  });
  onCleanUp(() => checks.stop());
  return { checks, counters, changes, states };
}

function upstream(port: number, check: Partial<HealthCheckPlan>): UpstreamPlan {
  return {
    name: "app",
    addresses: [{ host: "127.0.0.1", port }],
    healthCheck: {
      type: "http",
      intervalMs: 5,
      timeoutMs: 2_000,
      path: "/healthz",
      port: undefined,
      healthyAfter: 2,
      unhealthyAfter: 3,
      ...check,
    },
  };
}

/** A web server whose next statuses are those, the last for ever after. */
async function answering(...statuses: number[]): Promise<Server & { asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.writeHead(statuses.length > 1 ? statuses.shift()! : statuses[0]!).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onCleanUp(() => {
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(server, { asked });
}

const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;

test("an address is down after unhealthyAfter failures in a row, up after healthyAfter successes, for all workers", async () => {
  // Not three failures in a row, then three, then not two successes in a row, then two.
  const server = await answering(200, 500, 404, 302, 500, 500, 503, 200, 500, 204, 399);
  const { checks, counters, changes, states } = stage();
  checks.follow([upstream(portOf(server), {})], counters);
  await until(() => changes.length === 2);
  expect(states).toEqual([
    ["down", "down"],
    ["up", "up"],
  ]);
  expect(counters.map((worker) => worker.readChecked(0))).toEqual(["up", "up"]);
  expect(new Set(server.asked)).toEqual(new Set(["GET /healthz"]));
  expect(changes).toEqual([
    expect.objectContaining({ upstream: "app", up: false, detail: "status 503" }),
    expect.objectContaining({ upstream: "app", up: true, detail: "status 399" }),
  ]);
});

test("a TCP check wants a connection and no more", async () => {
  const echo = await tcpEcho();
  const { checks, counters, changes } = stage();
  checks.follow([upstream(echo.port, { type: "tcp" })], counters);
  await until(() => counters[0]!.readChecked(0) === "up");
  await new Promise((resolve) => echo.server.close(resolve));
  await until(() => changes.length === 1);
  expect(changes[0]).toMatchObject({ up: false, detail: "ECONNREFUSED" });
});

for (const { name, serve } of [
  { name: "says nothing", serve: () => {} },
  {
    name: "answers endlessly without a status",
    serve: (socket: { write(text: string): unknown }) => socket.write("HTTP/1.1 "),
  },
])
  test(`an HTTP check of a server that ${name} fails after its timeout`, async () => {
    const silent = await tcpUpstream(serve);
    const { checks, counters, changes } = stage();
    checks.follow([upstream(silent.port, { timeoutMs: 20, unhealthyAfter: 1 })], counters);
    await until(() => changes.length === 1);
    expect(changes[0]).toMatchObject({ up: false, detail: "no answer within 20 ms" });
  });

test("what answers no HTTP is down", async () => {
  const garbage = await tcpUpstream((socket) => socket.end("SSH-2.0-none\r\n"));
  const { checks, counters, changes } = stage();
  checks.follow([upstream(garbage.port, { unhealthyAfter: 1 })], counters);
  await until(() => changes.length === 1);
  expect(changes[0]!.up).toBe(false);
});

test("another port than the address's own is asked where the check names one", async () => {
  const [server, echo] = [await answering(200), await tcpEcho()];
  const { checks, counters } = stage();
  checks.follow([upstream(echo.port, { port: portOf(server) })], counters);
  await until(() => counters[0]!.readChecked(0) === "up");
  expect(server.asked.length).toBeGreaterThan(0);
});

for (const version of ["v1", "v2"] as const)
  for (const type of ["tcp", "http"] as const)
    test(`a ${type} check sends the ${version} header of a connection of its own where it is to`, async () => {
      const received: Buffer[] = [];
      let first: Socket | undefined;
      const upstreamServer = await tcpUpstream((socket) => {
        // Another check may have come before what the first has sent is looked at.
        first ??= socket;
        socket.on("data", (chunk) => {
          if (socket === first) received.push(Buffer.from(chunk));
          if (type === "http") socket.end("HTTP/1.1 204 No Content\r\n\r\n");
        });
      });
      const { checks, counters } = stage();
      checks.follow(
        [upstream(upstreamServer.port, { type, proxyProtocol: version, host: "app.test" })],
        counters,
      );
      await until(() => counters[0]!.readChecked(0) === "up" && received.length > 0);
      checks.stop();
      const header = readProxyHeader(Buffer.concat(received));
      expect(header).toMatchObject({ kind: "present", flow: undefined });
      if (header.kind !== "present") return;
      expect(header.bytes).toBe(version === "v1" ? "PROXY UNKNOWN\r\n".length : 16);
      const rest = Buffer.concat(received).subarray(header.bytes).toString("latin1");
      expect(rest.split("\r\n")[0]).toBe(type === "tcp" ? "" : "GET /healthz HTTP/1.1");
    });

for (const { title, address, check, host } of [
  { title: "its address", address: {}, check: {}, host: /^127\.0\.0\.1:\d+$/ },
  {
    title: "the name it was looked up for",
    address: { names: ["a.test"] },
    check: {},
    host: /^a\.test:\d+$/,
  },
  {
    title: "what the check says",
    address: { names: ["a.test", "b.test"] },
    check: { host: "b.test" },
    host: /^b\.test$/,
  },
])
  test(`the Host of an HTTP check is ${title}`, async () => {
    const hosts: (string | undefined)[] = [];
    const server = await answering(200);
    server.prependListener("request", ({ headers }) => hosts.push(headers.host));
    const { checks, counters } = stage();
    const checked = upstream(portOf(server), check);
    const addresses = checked.addresses.map((one) => ({ ...one, ...address }));
    checks.follow([{ ...checked, addresses }], counters);
    await until(() => hosts.length > 0);
    expect(hosts[0]).toMatch(host);
  });

test("a check that a reload leaves as it is goes on: one under way counts", async () => {
  const { checks, counters, changes } = stage();
  const server = await answering(500);
  const checked = upstream(portOf(server), {});
  // A reload while each answer is awaited.
  server.prependListener("request", () => checks.follow([structuredClone(checked)], counters));
  checks.follow([checked], counters);
  await until(() => changes.length === 1);
  expect(counters.map((worker) => worker.readChecked(0))).toEqual(["down", "down"]);
  expect(server.asked).toHaveLength(3);
});

test("a plan without the check leaves nothing behind; one with it goes on from what is known", async () => {
  const server = await answering(500);
  const { checks, counters, changes } = stage();
  const checked = upstream(portOf(server), {});
  checks.follow([checked], counters);
  await until(() => changes.length === 1);
  checks.follow([checked], counters);
  expect(counters[0]!.readChecked(0)).toBe("down");
  const { healthCheck: _, ...unchecked } = checked;
  checks.follow([unchecked], counters);
  expect(counters.map((worker) => worker.readChecked(0))).toEqual(["unknown", "unknown"]);
});
