import { once } from "node:events";
import { Agent, createServer, get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import { cleanUp, onCleanUp, udpSocket, udpUpstream } from "../proxy/rig.ts";
import {
  freePort,
  type Running,
  start,
  temporaryFolder,
  weirCommand,
} from "../support/processes.ts";
import { saboteur } from "../support/saboteur.ts";

afterEach(cleanUp);

/** A web server that answers with its name, and says on /healthz whether it is well. */
async function server(name: string): Promise<{ port: number; isWell: boolean }> {
  const state = { port: 0, isWell: true };
  const server = createServer(({ url }, response) => {
    response.statusCode = url === "/healthz" && !state.isWell ? 500 : 200;
    response.end(name);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onCleanUp(() => {
    server.closeAllConnections();
    server.close();
  });
  state.port = (server.address() as AddressInfo).port;
  return state;
}

/** Weir with a config that changes under it. */
class Stage {
  readonly running: Running;
  readonly port: number;
  readonly udp: number;
  readonly #write: (upstreams: string, more: string) => void;

  private constructor(
    running: Running,
    ports: { tcp: number; udp: number },
    write: (upstreams: string, more: string) => void,
  ) {
    this.running = running;
    this.port = ports.tcp;
    this.udp = ports.udp;
    this.#write = write;
  }

  static async start(upstreams: string, more = ""): Promise<Stage> {
    const folder = temporaryFolder();
    onCleanUp(() => folder.remove());
    const [ports, echo] = [{ tcp: await freePort(), udp: await freePort() }, await udpUpstream()];
    const write = (upstreams: string, more: string): string =>
      folder.write(
        "weir.yaml",
        `version: 1
metrics: { listen: off }
admin: { listen: off }
${more}
upstreams:
  echo: { addresses: ["127.0.0.1:${echo.port}"] }
  ${upstreams}
listeners:
  - { name: tcp, protocol: tcp, listen: "127.0.0.1:${ports.tcp}", upstream: app }
  - { name: udp, protocol: udp, listen: "127.0.0.1:${ports.udp}", upstream: echo }
`,
      );
    const file = write(upstreams, more);
    const preload = folder.write("saboteur.mjs", saboteur);
    const running = start(process.execPath, [weirCommand, "run", "-c", file], {
      env: { ...process.env, NODE_OPTIONS: `--import=${preload}` },
    });
    onCleanUp(() => running.stop("SIGKILL"));
    await running.printed(/"msg":"ready"/);
    return new Stage(running, ports, write);
  }

  async reload(upstreams: string, more = ""): Promise<void> {
    this.#write(upstreams, more);
    const before = this.running.output().length;
    this.running.child.kill("SIGHUP");
    const told = await this.running.printed(
      new RegExp(`^[^]{${before}}[^]*"msg":"(config (?:not )?reloaded)`),
    );
    expect(told[1]).toBe("config reloaded");
  }

  /** Has the data worker die, and waits until another carries on. */
  async crash(): Promise<void> {
    const to = { host: "127.0.0.1", port: this.udp };
    (await udpSocket()).send("die", to);
    await this.running.printed(/"msg":"worker died and is started again"/);
    const client = await udpSocket();
    const timer = setInterval(() => client.send("again", to), 20);
    await client.text();
    clearInterval(timer);
  }

  /** The name of the server that answers over a connection of this agent's, or over a new one. */
  async asked(agent: Agent | false = false): Promise<{ name: string; isSameConnection: boolean }> {
    const request = get({ host: "127.0.0.1", port: this.port, agent });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    return { name: await text(response), isSameConnection: request.reusedSocket };
  }

  /** The servers that new connections get, one after another. */
  async served(connections: number): Promise<string> {
    let names = "";
    for (let i = 0; i < connections; i++) names += (await this.asked()).name;
    return names;
  }

  /** Lines of the log with this message, once there are `count`. */
  async told(message: string, count: number): Promise<Record<string, unknown>[]> {
    if (count > 0) await this.running.printed(new RegExp(`(?:"msg":"${message}"[^]*){${count}}`));
    return this.running
      .output()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ msg }) => msg === message);
  }
}

test("a reload of upstreams' options keeps connections, and what checks have found outlives it and the worker", async () => {
  const [a, b] = [await server("a"), await server("b")];
  const upstream = (options: string): string =>
    `app: { addresses: ["127.0.0.1:${a.port}", "127.0.0.1:${b.port}"], ${options} }`;
  const stage = await Stage.start(upstream("balance: round_robin"));
  expect(await stage.served(4)).toBe("abab");
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onCleanUp(() => agent.destroy());
  expect(await stage.asked(agent)).toEqual({ name: "a", isSameConnection: false });
  await stage.reload(upstream("balance: client_hash, ejection: { failures: 1 }"));
  expect(await stage.asked(agent)).toEqual({ name: "a", isSameConnection: true });
  expect(await stage.served(4)).toMatch(/^(aaaa|bbbb)$/);

  b.isWell = false;
  const checked = (interval: string): string =>
    upstream(`healthCheck: { type: http, path: /healthz, interval: ${interval} }`);
  await stage.reload(checked("10ms"));
  await stage.told("upstream is down", 1);
  expect(await stage.served(4)).toBe("aaaa");
  await stage.reload(checked("11ms"));
  expect(await stage.served(4)).toBe("aaaa");
  await stage.crash();
  expect(await stage.served(4)).toBe("aaaa");
  // Neither the reload nor the new worker had to find it out again.
  expect(await stage.told("upstream is down", 1)).toHaveLength(1);
  b.isWell = true;
  await stage.told("upstream is up", 1);
  expect(await stage.served(4)).toMatch(/^(abab|baba)$/);
});

test("the access log follows the config in force, over reloads and the worker's death", async () => {
  const app = `app: { addresses: ["127.0.0.1:${(await server("a")).port}"] }`;
  const stage = await Stage.start(app);
  await stage.served(2);
  await stage.reload(app, "accessLog: { sessions: all }");
  await stage.served(1);
  await stage.told("session end", 1);
  await stage.crash();
  await stage.served(1);
  await stage.told("session end", 2);
  await stage.reload(app, "accessLog: { drops: true }");
  await stage.served(2);
  await stage.running.stop();
  // Those of the TCP listener: one before the worker's death, one after it.
  const ends = (await stage.told("session end", 2)).filter(({ listener }) => listener === "tcp");
  expect(ends).toMatchObject([{ reason: "closed" }, { reason: "closed" }]);
  expect(ends[0]!.session).not.toBe(ends[1]!.session);
});
