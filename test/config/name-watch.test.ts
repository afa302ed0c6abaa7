import { afterEach, expect, test } from "vitest";
import { parseConfig } from "../../src/config/load-config.ts";
import { NameWatch } from "../../src/config/name-watch.ts";
import { type PreparedProxy, preparePlan } from "../../src/config/prepare-plan.ts";
import { LiveConfig } from "../../src/config/reload.ts";
import type { Resolve } from "../../src/config/resolve-upstreams.ts";
import { Counters } from "../../src/filter/counters.ts";
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

/** A name server of one name, whose answer is another at any time. */
class Names {
  answer: readonly string[] | "ENOTFOUND" = [];
  asked = 0;
  readonly resolve: Resolve = async () => {
    this.asked++;
    if (this.answer === "ENOTFOUND") throw Object.assign(new Error("gone"), { code: "ENOTFOUND" });
    return this.answer;
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
  readonly told: string[];
  readonly ports: readonly number[];
}

async function start(
  answer: readonly string[],
  upstream: string,
  protocol = "udp",
): Promise<Stage> {
  const names = new Names();
  names.answer = answer;
  const config = value(
    parseConfig(
      `version: 1
upstreams: { app: { ${upstream}, resolveInterval: 5ms } }
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
  const watch = new NameWatch(
    {
      onAddresses: async (of, upstream, addresses) => {
        value(await live.readdress(of, upstream, addresses));
        told.push(addresses.map(({ host }) => host).join(" "));
      },
      onFailure: (_, host, code) => told.push(`${host} ${code}`),
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
  return { names, live, told, ports: proxy.listeners.map(({ address }) => address.port) };
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

test("a name that stops resolving keeps its last addresses, and that is told once", async () => {
  const port = await servers(["127.0.0.1"]);
  const stage = await start(["127.0.0.1"], `addresses: ["app.test:${port}"]`);
  stage.names.answer = "ENOTFOUND";
  await stage.names.nextAsked();
  stage.names.answer = [];
  await stage.names.nextAsked();
  expect(stage.told).toEqual(["app.test ENOTFOUND"]);
  expect(await asked(await udpSocket(), stage.ports[0]!)).toBe("127.0.0.1");
  stage.names.answer = ["127.0.0.1"];
  await stage.names.nextAsked();
  stage.names.answer = "ENOTFOUND";
  await until(() => stage.told.length === 2);
});

test("addresses found for a config that is not in force any more are not taken", async () => {
  const stage = await start(["127.0.0.1"], 'addresses: ["app.test:9"]');
  const { config, prepared } = stage.live.current;
  value(await stage.live.readdress({ ...config }, "app", [{ host: "127.0.0.7", port: 9 }]));
  expect(stage.live.current.prepared).toBe(prepared);
});

function countersOf({ plan }: PreparedProxy): Counters {
  return new Counters(plan.memory, plan.workers[0]!.counters);
}
