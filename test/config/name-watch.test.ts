import { afterEach, expect, test, vi } from "vitest";
import { metricSources } from "../../src/cli/metric-sources.ts";
import { parseConfig } from "../../src/config/load-config.ts";
import { NameWatch } from "../../src/config/name-watch.ts";
import { type PreparedProxy, preparePlan, withAddresses } from "../../src/config/prepare-plan.ts";
import { LiveConfig } from "../../src/config/reload.ts";
import { type Resolve, unresolvedText } from "../../src/config/resolve-upstreams.ts";
import { Counters } from "../../src/filter/counters.ts";
import { trafficFamilies } from "../../src/metrics/own-metrics.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import {
  cleanUp,
  type Inbox,
  onCleanUp,
  TcpClient,
  tcpUpstream,
  udpSocket,
  until,
  value,
} from "../proxy/rig.ts";

afterEach(cleanUp);

type Answer = readonly string[] | "ENOTFOUND";

/** A name server whose answer is another at any time, and may be another for some names. */
class Names {
  answer: Answer = [];
  readonly answers = new Map<string, Answer>();
  asked = 0;
  readonly resolve: Resolve = async (host) => {
    this.asked++;
    const answer = this.answers.get(host) ?? this.answer;
    if (answer === "ENOTFOUND") throw Object.assign(new Error("gone"), { code: "ENOTFOUND" });
    return answer;
  };

  /** Waits until it was asked again, and the answer has been taken. */
  async nextAsked(): Promise<void> {
    const before = this.asked;
    await until(() => this.asked >= before + 2);
  }
}

/** UDP servers at one port of several loopback addresses, each answering with its own address. */
async function servers(hosts: readonly string[]): Promise<number> {
  const serve = (inbox: Inbox, host: string): void => {
    inbox.socket.on("message", (_, from) => inbox.socket.send(host, from.port, from.address));
  };
  const first = await udpSocket(hosts[0]);
  serve(first, hosts[0]!);
  for (const host of hosts.slice(1)) serve(await udpSocket(host, first.port), host);
  return first.port;
}

interface Stage {
  readonly names: Names;
  readonly live: LiveConfig;
  readonly watch: NameWatch;
  readonly told: string[];
  /** Names, each time that one could not be looked up. */
  readonly failures: readonly string[];
  readonly ports: readonly number[];
}

async function start(answer: Answer, upstream: string, protocol = "udp"): Promise<Stage> {
  const names = new Names();
  names.answer = answer;
  const config = value(
    parseConfig(
      `version: 1
upstreams: { app: { resolveInterval: 5ms, ${upstream} } }
listeners: [{ name: a, protocol: ${protocol}, listen: "127.0.0.1:0", upstream: app }]
`,
      "t.yaml",
    ),
  );
  const prepared = value(await preparePlan(config, { resolve: names.resolve }));
  const proxy = value(
    await startProxy(prepared.plan, {
      onFault: () => {},
      onWorkerDied: (_, cause) => {
        throw new Error(cause);
      },
    }),
  );
  onCleanUp(() => proxy.stop(0));
  const told: string[] = [];
  const failures: string[] = [];
  const watch = new NameWatch(
    {
      onAddresses: async (of, upstream, resolved) => {
        value(await live.readdress(of, upstream, resolved));
        told.push(resolved.addresses.map(({ host }) => host).join(" "));
      },
      onFailure: (_, { host, code, keeps }, isNews) => {
        failures.push(host);
        if (isNews) told.push(`${host} ${code}${keeps ? "" : ", no address"}`);
      },
      onRecovery: (_, host) => told.push(`${host} found`),
    },
    names.resolve,
  );
  onCleanUp(() => watch.stop());
  const live = new LiveConfig({
    config,
    prepared,
    proxy,
    echo: async () => ({ host: "127.0.0.1", port: 9 }),
    followers: [
      async (next) => ({
        ok: true,
        value: { commit: () => watch.follow(next), abort: () => {} },
      }),
    ],
    onReload: () => told.push("reload"),
  });
  watch.follow(live.current);
  const ports = proxy.listeners.map(({ address }) => address.port);
  return { names, live, watch, told, failures, ports };
}

async function asked(client: Inbox, port: number): Promise<string> {
  client.send("?", { host: "127.0.0.1", port });
  return client.text();
}

test("a name is all its addresses, and new ones reach the running workers without a reload", async () => {
  const port = await servers(["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
  const stage = await start(["127.0.0.2", "127.0.0.1"], `addresses: ["app.test:${port}"]`);
  const clients = await Promise.all([udpSocket(), udpSocket()]);
  const first = [];
  for (const client of clients) first.push(await asked(client, stage.ports[0]!));
  expect(first).toEqual(["127.0.0.1", "127.0.0.2"]);

  stage.names.answer = ["127.0.0.3", "127.0.0.2"];
  await until(() => stage.told.length > 0);
  expect(stage.told).toEqual(["127.0.0.2 127.0.0.3"]);
  // The session to the address that stayed goes on; that of the other moves.
  expect(await asked(clients[1]!, stage.ports[0]!)).toBe("127.0.0.2");
  const moved = await asked(clients[0]!, stage.ports[0]!);
  expect(["127.0.0.2", "127.0.0.3"]).toContain(moved);
  const counters = countersOf(stage.live.current.prepared);
  expect(counters.readCell(0, "sessions_total")).toBe(3);
});

test("a TCP connection to an address that a name has no more goes on", async () => {
  const echo = await tcpUpstream((socket) => socket.pipe(socket));
  const stage = await start(["127.0.0.1"], `addresses: ["app.test:${echo.port}"]`, "tcp");
  const client = new TcpClient({ host: "127.0.0.1", port: stage.ports[0]! });
  client.write("a");
  await client.text(1);
  stage.names.answer = ["127.0.0.9"];
  await until(() => stage.told.length > 0);
  client.write("b");
  expect(await client.text(2)).toBe("ab");
});

test("an answer in another order changes nothing", async () => {
  const stage = await start(["127.0.0.1", "127.0.0.2"], 'addresses: ["app.test:9"]');
  const { prepared } = stage.live.current;
  stage.names.answer = ["127.0.0.2", "127.0.0.1"];
  await stage.names.nextAsked();
  expect(stage.live.current.prepared).toBe(prepared);
  expect(stage.told).toEqual([]);
});

test("a name that stops resolving keeps its last addresses; that is told once a cause, and so is its return", async () => {
  const port = await servers(["127.0.0.1"]);
  const stage = await start(["127.0.0.1"], `addresses: ["app.test:${port}"]`);
  stage.names.answer = "ENOTFOUND";
  await stage.names.nextAsked();
  await stage.names.nextAsked();
  expect(stage.failures.length).toBeGreaterThanOrEqual(2);
  stage.names.answer = [];
  await stage.names.nextAsked();
  expect(stage.told).toEqual(["app.test ENOTFOUND", "app.test ENODATA"]);
  expect(await asked(await udpSocket(), stage.ports[0]!)).toBe("127.0.0.1");
  stage.names.answer = ["127.0.0.1"];
  await stage.names.nextAsked();
  await stage.names.nextAsked();
  stage.names.answer = "ENOTFOUND";
  await until(() => stage.told.length === 4);
  expect(stage.told.slice(2)).toEqual(["app.test found", "app.test ENOTFOUND"]);
});

test("a name that a reload finds again is told so, and its next failure too", async () => {
  const { live, names, told, watch } = await start(["127.0.0.1"], 'addresses: ["app.test:9"]');
  const { config, prepared } = live.current;
  names.answer = "ENOTFOUND";
  await until(() => told.length === 1);
  // As after a reload: another config, of whose names all were found.
  watch.follow({ config: { ...config }, prepared });
  expect(told).toEqual(["app.test ENOTFOUND", "app.test found"]);
  await until(() => told.length === 3);
  expect(told[2]).toBe("app.test ENOTFOUND");
});

test("a name that fails keeps an address that another name has too, and loses none when that moves", async () => {
  const stage = await start(["127.0.0.1"], 'addresses: ["a.test:9", "b.test:9"]');
  const { names, told } = stage;
  names.answers.set("a.test", "ENOTFOUND");
  await until(() => told.length === 1);
  expect(told).toEqual(["a.test ENOTFOUND"]);
  await names.nextAsked();
  expect(upstreamUp(stage.live.current.prepared)).toEqual([
    ['upstream="app",address="127.0.0.1:9"', 1],
  ]);
  names.answers.set("b.test", ["127.0.0.2"]);
  await until(() => told.length === 2);
  expect(told[1]).toBe("127.0.0.1 127.0.0.2");
});

test("a name that fails keeps an address that is written beside it", async () => {
  const stage = await start(["127.0.0.1"], 'addresses: ["app.test:9", "127.0.0.1:9"]');
  stage.names.answer = "ENOTFOUND";
  await until(() => stage.told.length > 0);
  expect(stage.told).toEqual(["app.test ENOTFOUND"]);
  await stage.names.nextAsked();
  expect(upstreamUp(stage.live.current.prepared)).toEqual([
    ['upstream="app",address="127.0.0.1:9"', 1],
  ]);
});

test("a name that fails keeps no address that it had lost to another name", async () => {
  const stage = await start(["127.0.0.1"], 'addresses: ["a.test:9", "b.test:9"]');
  const { names, told } = stage;
  names.answers.set("b.test", ["127.0.0.1", "127.0.0.2"]);
  await until(() => told.length === 1);
  names.answers.set("b.test", ["127.0.0.2"]);
  await until(() => told.length === 2);
  names.answers.set("b.test", "ENOTFOUND");
  await until(() => told.length === 3);
  names.answer = ["127.0.0.3"];
  await until(() => told.length === 4);
  expect(told).toEqual([
    "127.0.0.1 127.0.0.2",
    "127.0.0.1 127.0.0.2",
    "b.test ENOTFOUND",
    "127.0.0.3 127.0.0.2",
  ]);
});

test("a proxy starts before its upstream's name has an address, drops until then, and says so", async () => {
  const port = await servers(["127.0.0.1"]);
  const stage = await start("ENOTFOUND", `addresses: ["app.test:${port}"]`);
  const { prepared } = stage.live.current;
  expect(prepared.unresolved).toEqual([
    { upstream: "app", host: "app.test", port, code: "ENOTFOUND", keeps: false },
  ]);
  expect(upstreamUp(prepared)).toEqual([[`upstream="app",address="app.test:${port}"`, 0]]);
  const client = await udpSocket();
  client.send("?", { host: "127.0.0.1", port: stage.ports[0]! });
  await until(() => countersOf(prepared).readDrops(0, "ingress", "upstream_no_address") === 1);
  await stage.names.nextAsked();
  // Whoever prepared the plan has told.
  expect(stage.told).toEqual([]);
  stage.names.answer = ["127.0.0.1"];
  await until(() => stage.told.length > 1);
  expect(stage.told).toEqual(["app.test found", "127.0.0.1"]);
  expect(await asked(client, stage.ports[0]!)).toBe("127.0.0.1");
  const now = stage.live.current.prepared;
  expect(now.unresolved).toEqual([]);
  expect(upstreamUp(now)).toEqual([[`upstream="app",address="127.0.0.1:${port}"`, 1]]);
});

test("a TCP connection to an upstream without an address is reset", async () => {
  const stage = await start("ENOTFOUND", 'addresses: ["app.test:9"]', "tcp");
  const client = new TcpClient({ host: "127.0.0.1", port: stage.ports[0]! });
  expect(await client.over).toBe("ECONNRESET");
  const counters = countersOf(stage.live.current.prepared);
  expect(counters.readDrops(0, "ingress", "upstream_no_address")).toBe(1);
});

test("a name that is not found takes nothing from its neighbours", async () => {
  const port = await servers(["127.0.0.1", "127.0.0.2"]);
  const stage = await start("ENOTFOUND", `addresses: ["app.test:${port}", "127.0.0.2:${port}"]`);
  expect(await asked(await udpSocket(), stage.ports[0]!)).toBe("127.0.0.2");
  stage.names.answer = ["127.0.0.1"];
  await until(() => stage.told.length > 1);
  expect(stage.told).toEqual(["app.test found", "127.0.0.1 127.0.0.2"]);
});

test("with resolveInterval: off a name is looked up until it has an address, and no more", async () => {
  const names = new Names();
  names.answer = "ENOTFOUND";
  const config = value(
    parseConfig(
      `version: 1
upstreams: { app: { addresses: ["app.test:9"], resolveInterval: off } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:0", upstream: app }]
`,
      "t.yaml",
    ),
  );
  const without = value(await preparePlan(config, { resolve: names.resolve }));
  names.answer = ["127.0.0.1"];
  const withOne = value(await preparePlan(config, { before: without, resolve: names.resolve }));
  const before = names.asked;
  vi.useFakeTimers();
  try {
    const told: string[] = [];
    const watch = new NameWatch(
      {
        onAddresses: async (_, upstream) => told.push(upstream),
        onFailure: (_, { host }) => told.push(host),
        onRecovery: (_, host) => told.push(`${host} found`),
      },
      names.resolve,
    );
    watch.follow({ config, prepared: without });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(told).toEqual(["app.test found", "app"]);
    watch.follow({ config, prepared: withOne });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(names.asked).toBe(before + 1);
    watch.stop();
  } finally {
    vi.useRealTimers();
  }
});

test("a name whose addresses are always others keeps those of no other upstream from being looked up", async () => {
  const names = new Names();
  names.answer = ["127.0.0.1"];
  const config = value(
    parseConfig(
      `version: 1
upstreams:
  turning: { addresses: ["turning.test:9"], resolveInterval: 1s }
  steady: { addresses: ["steady.test:9"], resolveInterval: 10s }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:0", upstream: steady }]
`,
      "t.yaml",
    ),
  );
  let prepared = value(await preparePlan(config, { resolve: names.resolve }));
  vi.useFakeTimers();
  try {
    const told = new Set<string>();
    let turns = 0;
    const watch: NameWatch = new NameWatch(
      {
        onAddresses: async (_, upstream, resolved) => {
          told.add(upstream);
          names.answers.set("turning.test", [`127.0.1.${++turns}`]);
          prepared = value(withAddresses(prepared, upstream, resolved));
          watch.follow({ config, prepared });
        },
        onFailure: () => {},
        onRecovery: () => {},
      },
      names.resolve,
    );
    names.answers.set("turning.test", ["127.0.1.0"]);
    watch.follow({ config, prepared });
    names.answers.set("steady.test", ["127.0.0.2"]);
    await vi.advanceTimersByTimeAsync(10_000);
    watch.stop();
    expect(turns).toBeGreaterThanOrEqual(9);
    expect([...told]).toEqual(["turning", "steady"]);
    expect(prepared.plan.upstreams[1]!.addresses.map(({ host }) => host)).toEqual(["127.0.0.2"]);
  } finally {
    vi.useRealTimers();
  }
});

test("a reload while a name server is silent keeps what the name had, and takes seconds", async () => {
  const stage = await start(["127.0.0.1"], 'addresses: ["app.test:9"]');
  const { config, prepared } = stage.live.current;
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const next = preparePlan(config, { before: prepared, resolve: () => new Promise(() => {}) });
    await vi.advanceTimersByTimeAsync(3_000);
    const { plan, unresolved } = value(await next);
    expect(plan.upstreams[0]!.addresses).toEqual(prepared.plan.upstreams[0]!.addresses);
    expect(unresolved.map(unresolvedText)).toEqual([
      "upstream app: the host name app.test has no address (ETIMEOUT); it keeps those that it had",
    ]);
  } finally {
    vi.useRealTimers();
  }
});

test("addresses found for a config that is not in force any more are not taken", async () => {
  const stage = await start(["127.0.0.1"], 'addresses: ["app.test:9"]');
  const { config, prepared } = stage.live.current;
  const addresses = [{ host: "127.0.0.7", port: 9 }];
  const resolved = { addresses, failed: [] };
  expect(value(await stage.live.readdress({ ...config }, "app", resolved))).toBe("overtaken");
  expect(stage.live.current.prepared).toBe(prepared);
  expect(value(await stage.live.readdress(config, "app", resolved))).toBe("in_force");
  expect(stage.live.current.prepared.plan.upstreams[0]!.addresses).toEqual(addresses);
});

/** Labels and value of each series of `weir_upstream_up`. */
function upstreamUp(prepared: PreparedProxy): (readonly [string, number])[] {
  const found: (readonly [string, number])[] = [];
  const families = trafficFamilies(metricSources(prepared, () => 0));
  families
    .find(({ name }) => name === "weir_upstream_up")!
    .collect({ sample: (labels, sample) => found.push([labels, sample]), bounded: () => {} });
  return found;
}

function countersOf({ plan }: PreparedProxy): Counters {
  return new Counters(plan.memory, plan.workers[0]!.counters);
}
