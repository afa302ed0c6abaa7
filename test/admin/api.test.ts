import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { captureRoutes } from "../../src/admin/capture-routes.ts";
import type { Control } from "../../src/admin/control.ts";
import { openApiDocument } from "../../src/admin/openapi.ts";
import { type CaptureRow, problemReply } from "../../src/admin/replies.ts";
import { routes } from "../../src/admin/routes.ts";
import { defaultAdminLimits } from "../../src/admin/server.ts";
import { err, type Result } from "../../src/common/result.ts";
import { UserError } from "../../src/common/user-error.ts";
import { eventually } from "../support/processes.ts";
import { type AdminRig, ask, filtersFolder, startAdminRig } from "./rig.ts";

let rig: AdminRig;
beforeAll(async () => {
  rig = await startAdminRig();
});
afterAll(async () => {
  expect(rig.errors).toEqual([]);
  await rig.stop();
});

async function datagram(from: string): Promise<void> {
  const client = createSocket("udp4").bind(0, from);
  const { host, port } = rig.addresses[0]!;
  client.send("x", port, host, () => client.close());
  await once(client, "close");
}

/** One good request for each operation, and one that names what is not there or is malformed. */
const samples: Readonly<
  Record<string, { good?: [path: string, body?: unknown]; bad?: [number, string, unknown?] }>
> = {
  getStatus: { good: ["/v1/status"], bad: [400, "/v1/status?x=1"] },
  getConfig: { good: ["/v1/config"], bad: [400, "/v1/config?x=1"] },
  listListeners: { good: ["/v1/listeners"] },
  streamSessions: { good: ["/v1/sessions?listener=udp"], bad: [404, "/v1/sessions?listener=none"] },
  getCounters: { good: ["/v1/counters"] },
  getLogLevel: { good: ["/v1/log-level"] },
  setLogLevel: {
    good: ["/v1/log-level", { level: "warn" }],
    bad: [400, "/v1/log-level", { level: "loud" }],
  },
  reload: { good: ["/v1/reload"], bad: [400, "/v1/reload", {}] },
  listFilters: { good: ["/v1/filters"] },
  getFilter: { good: ["/v1/filters/blocklist"], bad: [404, "/v1/filters/none"] },
  getFilterObject: {
    good: ["/v1/filters/count/object"],
    bad: [404, "/v1/filters/count%3Anone/object"],
  },
  disableFilter: {
    good: ["/v1/filters/count/disable"],
    bad: [404, "/v1/filters/none/disable"],
  },
  enableFilter: { good: ["/v1/filters/count/enable"], bad: [400, "/v1/filters/count/enable", {}] },
  swapFilter: {
    good: ["/v1/filters/count/swap", { object: `${filtersFolder}count-by-protocol.o` }],
    bad: [422, "/v1/filters/count/swap", { object: `${filtersFolder}absent.o` }],
  },
  promoteFilter: { bad: [409, "/v1/filters/count/promote", {}] },
  listPrograms: { good: ["/v1/programs"] },
  getProgram: { good: ["/v1/programs/xdp_blocklist"], bad: [404, "/v1/programs/99"] },
  streamXlated: { good: ["/v1/programs/1/xlated"], bad: [404, "/v1/programs/99/xlated"] },
  getProfile: { good: ["/v1/programs/count/profile"], bad: [404, "/v1/programs/99/profile"] },
  listMaps: { good: ["/v1/maps"] },
  getMap: { good: ["/v1/maps/blocklist%2Fblocked"], bad: [404, "/v1/maps/none"] },
  streamEntries: {
    good: ["/v1/maps/blocked/entries?raw=true"],
    bad: [400, "/v1/maps/blocked/entries?raw=maybe"],
  },
  lookupEntry: {
    good: ["/v1/maps/blocked/lookup", { key: "203.0.113.0/24" }],
    bad: [404, "/v1/maps/blocked/lookup", { key: "198.51.100.0/24" }],
  },
  nextKey: {
    good: ["/v1/maps/blocked/next", {}],
    bad: [400, "/v1/maps/blocked/next", { key: "no prefix" }],
  },
  updateEntry: {
    good: ["/v1/maps/blocked/update", { key: "10.0.0.0/8", value: 3 }],
    bad: [409, "/v1/maps/blocked/update", { key: "10.0.0.0/8", value: 4, flags: "noexist" }],
  },
  deleteEntry: {
    good: ["/v1/maps/blocked/delete", { key: "hex:080000000a000000" }],
    bad: [403, "/v1/maps/.rodata/delete", { key: 0 }],
  },
  popEntry: { bad: [400, "/v1/maps/blocked/pop"] },
  pinMap: {
    good: ["/v1/maps/blocked/pin"],
    bad: [409, "/v1/maps/.rodata/pin"],
  },
  unpinMap: {
    good: ["/v1/maps/blocked/unpin"],
    bad: [404, "/v1/maps/none/unpin"],
  },
  streamEvents: { bad: [400, "/v1/events?map=blocked"] },
  streamCapture: { bad: [400, "/v1/capture?expression=udp+port"] },
};

describe("every operation", () => {
  test("has a sample here", () => {
    expect(Object.keys(samples).sort()).toEqual(routes.map(({ id }) => id).sort());
  });

  for (const route of routes) {
    const { good, bad } = samples[route.id] ?? {};
    if (good !== undefined)
      test(`${route.id} answers as its schema says`, async () => {
        const [path, body] = good;
        const text = body === undefined ? undefined : JSON.stringify(body);
        const answer = await ask(rig.socket, route.method, path, text);
        expect({ path, status: answer.status, text: answer.text.slice(0, 300) }).toMatchObject({
          status: 200,
        });
        const schema = route.kind === "reply" ? route.reply : route.row;
        const values =
          route.kind === "reply"
            ? [answer.text]
            : answer.text.trimEnd().split("\n").filter(Boolean);
        for (const value of values) schema.parse(JSON.parse(value));
      });
    if (bad !== undefined)
      test(`${route.id} refuses what it cannot do, with a reason`, async () => {
        const [status, path, body] = bad;
        const text = body === undefined ? undefined : JSON.stringify(body);
        const answer = await ask(rig.socket, route.method, path, text);
        expect({ path, status: answer.status }).toEqual({ path, status });
        problemReply.parse(JSON.parse(answer.text));
      });
  }
});

test("the OpenAPI file is what the server's schemas give, and the server serves it", async () => {
  const file = new URL("../../config/control-api.openapi.json", import.meta.url);
  const written = JSON.parse(readFileSync(file, "utf8"));
  expect(written).toEqual(JSON.parse(JSON.stringify(openApiDocument())));
  expect(JSON.parse((await ask(rig.socket, "GET", "/v1/openapi.json")).text)).toEqual(written);
  const operations = Object.values(written.paths as Record<string, object>).flatMap((path) =>
    Object.values(path).map(({ operationId }) => operationId),
  );
  expect(operations.sort()).toEqual(routes.map(({ id }) => id).sort());
});

for (const { name, method, path, body, status, code } of [
  { name: "an unknown path", method: "GET", path: "/v2/maps", status: 404, code: "REQUEST_PATH" },
  {
    name: "a path with a broken escape",
    method: "GET",
    path: "/v1/maps/%zz",
    status: 404,
    code: "REQUEST_PATH",
  },
  { name: "another method", method: "PUT", path: "/v1/maps", status: 405, code: "REQUEST_METHOD" },
  {
    name: "a parameter given twice",
    method: "GET",
    path: "/v1/sessions?listener=udp&listener=tcp",
    status: 400,
    code: "REQUEST_INVALID",
  },
  {
    name: "a body that is no JSON",
    method: "POST",
    path: "/v1/maps/blocked/lookup",
    body: "{",
    status: 400,
    code: "REQUEST_INVALID",
  },
  {
    name: "a body with an unknown member",
    method: "POST",
    path: "/v1/maps/blocked/lookup",
    body: '{"key":1,"keys":2}',
    status: 400,
    code: "REQUEST_INVALID",
  },
  {
    name: "a body without its key",
    method: "POST",
    path: "/v1/maps/blocked/lookup",
    body: "{}",
    status: 400,
    code: "REQUEST_INVALID",
  },
  {
    name: "a number beyond 2^53, which is read to its last digit",
    method: "POST",
    path: "/v1/maps/packets_by_protocol/update",
    body: '{"key":1,"value":36893488147419103233}',
    status: 400,
    code: "VALUE_RANGE",
  },
  {
    name: "a value beyond its type",
    method: "POST",
    path: "/v1/maps/blocked/update",
    body: '{"key":"10.0.0.0/8","value":4294967296}',
    status: 400,
    code: "VALUE_RANGE",
  },
  {
    name: "a body above a mebibyte",
    method: "POST",
    path: "/v1/maps/blocked/update",
    body: `{"key":"${"x".repeat(2 ** 20)}","value":1}`,
    status: 413,
    code: "REQUEST_TOO_LARGE",
  },
])
  test(`${name} is ${status} ${code}`, async () => {
    const answer = await ask(rig.socket, method, path, body);
    expect(answer.status).toBe(status);
    expect(problemReply.parse(JSON.parse(answer.text)).error.code).toBe(code);
  });

test("a disabled filter is asked no more, and asked again once it is enabled", async () => {
  const runs = async (): Promise<number> => {
    const filter = await rig.client.get("/v1/filters/blocklist");
    return filter.ok
      ? (filter.value as { programs: { run_cnt: number }[] }).programs[0]!.run_cnt
      : -1;
  };
  const rows = await captured("?listener=udp");
  await rig.client.send("POST", "/v1/filters/count/enable");
  await rig.client.send("POST", "/v1/filters/blocklist/disable");
  const before = await runs();
  await datagram("127.0.0.66");
  expect(await rows.next()).toMatchObject({ verdict: "pass", filter: "count" });
  expect(await runs()).toBe(before);
  await rig.client.send("POST", "/v1/filters/blocklist/enable");
  await datagram("127.0.0.66");
  expect(await rows.next()).toMatchObject({
    verdict: "drop",
    reason: "filter_drop",
    filter: "blocklist",
  });
  expect(await runs()).toBe(before + 1);
  rows.end();
});

/** Begins a capture. A place is free only once the server has seen the client of one before go. */
async function whenFree<T>(begin: () => Promise<Result<T, UserError>>): Promise<T> {
  for (;;) {
    const begun = await begin();
    if (begun.ok) return begun.value;
    if (begun.error.code !== "CAPTURE_LIMIT") throw begun.error;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Packets of a capture that is on when this resolves. */
async function captured(query: string) {
  const end = new AbortController();
  const begin = () => rig.client.stream(`/v1/capture${query}`, end.signal);
  const rows = (await whenFree(begin)) as AsyncGenerator<CaptureRow>;
  const next = async (): Promise<CaptureRow> => {
    for (;;) {
      const { value, done } = await rows.next();
      if (done === true) throw new Error("the capture has ended");
      if (!("lost" in value)) return value;
    }
  };
  expect((await rows.next()).value).toEqual({ lost: 0 });
  return { next, end: () => end.abort() };
}

test("a capture shows only what was asked for, with the frame as it came", async () => {
  const rows = await captured("?expression=src+host+127.0.0.66&verdict=drop&filter=blocklist");
  await datagram("127.0.0.1");
  await datagram("127.0.0.66");
  const row = await rows.next();
  expect(row).toMatchObject({ listener: "udp", direction: "ingress", verdict: "drop" });
  if ("lost" in row) throw new Error("a packet was expected");
  expect(row.entry.length).toBe(43);
  expect(row.entry.data).toMatch(/^0204.*7f000042.*78$/);
  rows.end();
});

test("a capture may ask for a direction, as tcpdump on a live interface", async () => {
  const rows = await captured("?expression=inbound+and+ifindex+1000+and+not+vlan");
  await datagram("127.0.0.1");
  expect(await rows.next()).toMatchObject({ listener: "udp", direction: "ingress" });
  rows.end();
});

test("a fifth capture is refused until one has ended", async () => {
  const four = await Promise.all([1, 2, 3, 4].map(() => captured("")));
  expect((await ask(rig.socket, "GET", "/v1/capture")).status).toBe(429);
  for (const one of four) one.end();
  const again = await whenFree(() => rig.client.stream("/v1/capture", AbortSignal.timeout(20_000)));
  await again.return();
});

test("a capture begins while a worker is down, and what that one had of it is not used again", async () => {
  const [route] = captureRoutes;
  if (route?.kind !== "stream") throw new Error("a stream was expected");
  const used: SharedArrayBuffer[][] = [];
  const down = new Set([1]);
  const ask: Control["ask"] = (worker, question) => {
    if (question.kind === "start_capture") used.push([...question.order.rings]);
    return down.has(worker)
      ? Promise.resolve(err(new UserError("WORKER_DIED", `worker ${worker}`, "it has ended")))
      : rig.control.ask(worker, question);
  };
  for (let i = 0; i < 2; i++) {
    const end = new AbortController();
    const control = { ...rig.control, ask };
    const parts = { control, path: {}, query: {}, body: undefined, signal: end.signal };
    const rows = await whenFree(async () => route.handle(parts));
    let batches = 0;
    for await (const batch of rows) {
      if (batches++ === 0) expect(batch).toEqual([{ lost: 0 }]);
      end.abort();
    }
    down.clear();
  }
  const [first, , second] = used;
  expect(second).toContain(first![0]);
  expect(second).not.toContain(first![1]);
});

test("a big map is dumped whole while it is written to, and a reader that leaves costs nothing more", async () => {
  const map = rig.control.inventory().map("blocked6");
  if (!map.ok) throw map.error;
  const key = (i: number): Uint8Array => {
    const bytes = new Uint8Array(20);
    bytes[0] = 128;
    new DataView(bytes.buffer).setUint32(16, i);
    return bytes;
  };
  const count = 30_000;
  for (let i = 0; i < count; i++) map.value.source.update(key(i), Uint8Array.of(1, 0, 0, 0));
  const rows = await rig.client.stream("/v1/maps/blocked6/entries?raw=true");
  if (!rows.ok) throw rows.error;
  const seen = new Set<string>();
  let extra = count;
  for await (const row of rows.value) {
    const text = (row as { key: string }).key;
    const number = Number.parseInt(text.slice(-8), 16);
    if (number < count) {
      expect(seen.has(text)).toBe(false);
      seen.add(text);
    }
    if (seen.size % 1000 === 0 && extra < 60_000)
      map.value.source.update(key(extra++), Uint8Array.of(2, 0, 0, 0));
  }
  expect(seen.size).toBe(count);
  const left = await rig.client.stream("/v1/maps/blocked6/entries");
  if (!left.ok) throw left.error;
  await left.value.next();
  await left.value.return();
  expect((await rig.client.get("/v1/status")).ok).toBe(true);
});

test("a reader that takes nothing is cut off", async () => {
  const other = await startAdminRig({
    limits: { ...defaultAdminLimits, stallTimeoutMs: 300, maxConnections: 1 },
  });
  const map = other.control.inventory().map("blocked6");
  if (!map.ok) throw map.error;
  for (let i = 0; i < 60_000; i++) {
    const bytes = new Uint8Array(20);
    bytes[0] = 128;
    new DataView(bytes.buffer).setUint32(16, i);
    map.value.source.update(bytes, Uint8Array.of(1, 0, 0, 0));
  }
  const socket = connect(other.socket).pause();
  socket.on("error", () => {});
  socket.write("GET /v1/maps/blocked6/entries HTTP/1.1\r\nhost: weir\r\n\r\n");
  await once(socket, "connect");
  // It has the only connection there may be.
  await expect(ask(other.socket, "GET", "/v1/status")).rejects.toThrow();
  const status = await eventually(
    () => ask(other.socket, "GET", "/v1/status"),
    "the place is free",
  );
  expect(status.status).toBe(200);
  socket.destroy();
  await other.stop();
});

test("a client that leaves in the middle of its request is no error of the API's", async () => {
  const other = await startAdminRig({ limits: { ...defaultAdminLimits, maxConnections: 1 } });
  const leaving = connect(other.socket);
  leaving.write(
    "PUT /v1/log-level HTTP/1.1\r\nhost: weir\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n{",
  );
  expect(String((await once(leaving, "data"))[0])).toMatch(/^HTTP\/1\.1 100 /);
  leaving.destroy();
  // It had the only connection there may be.
  await eventually(() => ask(other.socket, "GET", "/v1/status"), "the place is free");
  expect(other.errors).toEqual([]);
  await other.stop();
});

test("streams are fewer than connections: whoever acts is answered beside readers that stay", async () => {
  const other = await startAdminRig({
    limits: { ...defaultAdminLimits, maxStreams: 2, maxConnections: 3 },
  });
  const stays = new AbortController();
  for (let i = 0; i < 2; i++) {
    const reader = await other.client.stream("/v1/events", stays.signal);
    if (!reader.ok) throw reader.error;
  }
  const third = await ask(other.socket, "GET", "/v1/maps/blocked/entries");
  expect(third.status).toBe(429);
  expect(JSON.parse(third.text).error.code).toBe("STREAM_LIMIT");
  expect((await ask(other.socket, "GET", "/v1/status")).status).toBe(200);
  stays.abort();
  await eventually(async () => {
    const { status } = await ask(other.socket, "GET", "/v1/maps/blocked/entries");
    return status === 200 ? status : undefined;
  }, "a place is free");
  await other.stop();
});

describe("with a token", () => {
  let guarded: AdminRig;
  const token = "0123456789abcdef0123456789abcdef";
  beforeAll(async () => {
    guarded = await startAdminRig({ token });
  });
  afterAll(() => guarded.stop());

  for (const { name, headers, status } of [
    { name: "none", headers: {}, status: 401 },
    { name: "a wrong one", headers: { authorization: `Bearer ${token}0` }, status: 401 },
    { name: "another scheme", headers: { authorization: `Basic ${token}` }, status: 401 },
    { name: "the right one", headers: { authorization: `Bearer ${token}` }, status: 200 },
  ] as const)
    test(`${name} gives ${status}`, async () => {
      const answer = await ask(guarded.socket, "GET", "/v1/status", undefined, headers);
      expect(answer.status).toBe(status);
    });
});
