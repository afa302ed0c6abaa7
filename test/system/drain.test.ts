import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import {
  cleanUp,
  onCleanUp,
  TcpClient,
  tcpEcho,
  udpSocket,
  udpUpstream,
  until,
} from "../proxy/rig.ts";
import {
  eventually,
  freePort,
  type Running,
  start,
  startWeir,
  temporaryFolder,
  weirCommand,
} from "../support/processes.ts";

afterEach(cleanUp);

interface Proxy {
  readonly running: Running;
  readonly udp: number;
  readonly tcp: number;
  readonly metrics: number;
}

/** A proxy in front of these upstreams, with one filter in every way. */
async function startProxy(top: string, udp: number, tcp: number): Promise<Proxy> {
  const ports = { udp: await freePort(), tcp: await freePort(), metrics: await freePort() };
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const running = await startWeir(
    folder,
    `version: 1
${top}
metrics: { listen: "127.0.0.1:${ports.metrics}" }
upstreams:
  udp: { addresses: ["127.0.0.1:${udp}"] }
  tcp: { addresses: ["127.0.0.1:${tcp}"] }
filters:
  ip: { expression: ip }
listeners:
  - { name: udp, protocol: udp, listen: "127.0.0.1:${ports.udp}", upstream: udp, ingress: [ip], egress: [ip] }
  - { name: tcp, protocol: tcp, listen: "127.0.0.1:${ports.tcp}", upstream: tcp, ingress: [ip], egress: [ip] }
`,
  );
  onCleanUp(() => running.stop("SIGKILL"));
  return { running, ...ports };
}

async function status(port: number, path: string): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port}${path}`)).status;
}

function terminate({ running }: Proxy): Promise<unknown> {
  running.child.kill("SIGTERM");
  return running.printed(/"msg":"stopping"/);
}

/** Resolves when the worker takes nothing new: it closes all its listeners in one turn. */
function takesNothing({ tcp }: Proxy): Promise<true> {
  const probe = () =>
    new Promise<true | undefined>((resolve) => {
      const late = connect(tcp, "127.0.0.1", () => {
        late.destroy();
        resolve(undefined);
      });
      late.on("error", () => resolve(true));
    });
  return eventually(probe, "a connection is refused");
}

/** A connection that has carried a byte: it is through. */
async function openStream(port: number): Promise<TcpClient> {
  const client = new TcpClient({ host: "127.0.0.1", port });
  client.write("?");
  await client.bytes(1);
  return client;
}

/** Numbered datagrams, each echoed, and those that came back. */
class Datagrams {
  readonly #back = new Set<number>();
  #sent = 0;
  #timer: NodeJS.Timeout | undefined;

  async start(port: number): Promise<void> {
    const { socket } = await udpSocket();
    socket.on("message", (payload) => this.#back.add(payload.readUInt32LE(0)));
    this.#timer = setInterval(() => {
      for (let i = 0; i < 4 && this.#sent - this.#back.size < 64; i++) {
        const payload = Buffer.alloc(64);
        payload.writeUInt32LE(this.#sent++);
        socket.send(payload, port, "127.0.0.1");
      }
    }, 1);
    onCleanUp(() => clearInterval(this.#timer));
    await this.back(100);
  }

  back(count: number): Promise<void> {
    return until(() => this.#back.size >= count);
  }

  get count(): number {
    return this.#back.size;
  }

  /** Stops sending, and waits until all have come back. */
  async allBack(): Promise<void> {
    clearInterval(this.#timer);
    await this.back(this.#sent);
  }
}

test("drain: refuse with nothing open exits 0 at once", async () => {
  const [udp, tcp] = [await udpUpstream(), await tcpEcho()];
  const proxy = await startProxy("drainTimeout: 10m", udp.port, tcp.port);
  await openStream(proxy.tcp).then(async ({ socket }) => {
    socket.end();
    await once(socket, "close");
  });
  const asked = await udpSocket();
  asked.send("answered", { host: "127.0.0.1", port: proxy.udp });
  await asked.text();
  expect(await proxy.running.stop()).toEqual({ code: 0, signal: null });
  expect(proxy.running.output()).toMatch(/"reset":0,"durationMs":\d+,"msg":"stopped"/);
});

test("drain: refuse under load closes the listeners at once and cuts no running stream", {
  timeout: 60_000,
}, async () => {
  const [udp, tcp] = [await udpUpstream(), await tcpEcho()];
  const proxy = await startProxy("drainTimeout: 10m", udp.port, tcp.port);
  const datagrams = new Datagrams();
  await datagrams.start(proxy.udp);
  const streams = await Promise.all(Array.from({ length: 20 }, () => openStream(proxy.tcp)));
  const whole = Buffer.alloc(200_000, "0123456789");
  const write = (from: number, to: number): void => {
    for (const stream of streams) stream.write(whole.subarray(from, to));
  };
  write(0, 100_000);
  await terminate(proxy);
  expect(await status(proxy.metrics, "/ready")).toBe(503);
  expect(await status(proxy.metrics, "/live")).toBe(200);
  await takesNothing(proxy);
  write(100_000, whole.length);
  for (const stream of streams) {
    expect((await stream.bytes(1 + whole.length)).subarray(1).equals(whole)).toBe(true);
    stream.socket.end();
    expect(await stream.over).toBe("end");
  }
  expect(await proxy.running.ended).toEqual({ code: 0, signal: null });
});

test("drain: refuse waits for the answers to datagrams that were forwarded", async () => {
  const questions: (() => void)[] = [];
  const slow = await udpSocket();
  slow.socket.on("message", (payload, from) =>
    questions.push(() => slow.socket.send(`re: ${payload}`, from.port, from.address)),
  );
  const proxy = await startProxy("drainTimeout: 10m", slow.port, (await tcpEcho()).port);
  const to = { host: "127.0.0.1", port: proxy.udp };
  const clients = await Promise.all(Array.from({ length: 50 }, () => udpSocket()));
  for (const [i, client] of clients.entries()) client.send(`${i}`, to);
  await until(() => questions.length === clients.length);
  await terminate(proxy);
  await takesNothing(proxy);
  const late = await udpSocket();
  late.send("too late", to);
  for (const answer of questions) answer();
  for (const [i, client] of clients.entries()) expect(await client.text()).toBe(`re: ${i}`);
  expect(await proxy.running.ended).toEqual({ code: 0, signal: null });
  expect(questions).toHaveLength(clients.length);
});

test("drain: refuse resets what has not ended by drainTimeout, exit 0", async () => {
  const [udp, tcp] = [await udpUpstream(), await tcpEcho()];
  const proxy = await startProxy("drainTimeout: 200ms", udp.port, tcp.port);
  const streams = [await openStream(proxy.tcp), await openStream(proxy.tcp)];
  expect(await proxy.running.stop()).toEqual({ code: 0, signal: null });
  for (const stream of streams) expect(await stream.over).toBe("ECONNRESET");
  expect(proxy.running.output()).toMatch(/"reset":2,"durationMs":\d+,"msg":"stopped"/);
});

test("drain: forward under load loses nothing and takes new sessions until drainTimeout, exit 0", {
  timeout: 60_000,
}, async () => {
  const [udp, tcp] = [await udpUpstream(), await tcpEcho()];
  const proxy = await startProxy("drain: forward\ndrainTimeout: 5s", udp.port, tcp.port);
  expect(await status(proxy.metrics, "/ready")).toBe(200);
  const early = new Datagrams();
  await early.start(proxy.udp);
  const stream = await openStream(proxy.tcp);
  await terminate(proxy);
  expect(await status(proxy.metrics, "/ready")).toBe(503);
  expect(await status(proxy.metrics, "/live")).toBe(200);
  const late = new Datagrams();
  await late.start(proxy.udp);
  await early.back(early.count + 100);
  await Promise.all([early.allBack(), late.allBack()]);
  const lateStream = await openStream(proxy.tcp);
  for (const each of [stream, lateStream]) {
    each.write("and on");
    expect(await each.text(7)).toBe("?and on");
  }
  expect(proxy.running.child.exitCode).toBeNull();
  expect(await proxy.running.ended).toEqual({ code: 0, signal: null });
  // The time that everything went on is part of it.
  const [, durationMs] = /"durationMs":(\d+),"msg":"stopped"/.exec(proxy.running.output())!;
  expect(Number(durationMs)).toBeGreaterThanOrEqual(5_000);
});

test("a second signal ends a drain now, exit 1, and what it broke off is logged", async () => {
  const [udp, tcp] = [await udpUpstream(), await tcpEcho()];
  const both = ["drain: refuse", "drain: forward"].map(async (mode) => {
    const top = `${mode}\ndrainTimeout: 10m\naccessLog: { sessions: all }`;
    const proxy = await startProxy(top, udp.port, tcp.port);
    const stream = await openStream(proxy.tcp);
    await terminate(proxy);
    proxy.running.child.kill("SIGTERM");
    expect(await proxy.running.ended).toEqual({ code: 1, signal: null });
    expect(await stream.over).toMatch(/ECONNRESET|end/);
    expect(proxy.running.output()).toMatch(
      /"listener":"tcp"[^\n]*"reason":"shutting_down"[^\n]*"msg":"session end"/,
    );
    expect(proxy.running.output()).toMatch(/"reset":1,"durationMs":\d+,"msg":"stopped"/);
  });
  await Promise.all(both);
});

/** Has a process get a signal as soon as it begins to load what it is made of. */
const signalledAtStart = (signal: NodeJS.Signals): string => `
import { registerHooks } from "node:module";
registerHooks({
  resolve(specifier, context, next) {
    if (/\\bmain\\.[jt]s$/.test(specifier)) process.kill(process.pid, "${signal}");
    return next(specifier, context);
  },
});
`;

for (const { signal, does, message } of [
  { signal: "SIGTERM", does: "ends it with exit 0 once it stands", message: "stopped" },
  { signal: "SIGHUP", does: "has it read its config again", message: "config reloaded" },
] as const)
  test(`${signal} before the program is loaded ${does}`, async () => {
    const folder = temporaryFolder();
    onCleanUp(() => folder.remove());
    const config = folder.write(
      "weir.yaml",
      `version: 1
metrics: { listen: off }
admin: { listen: off }
upstreams: { app: { echo: true } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:0", upstream: app }]
`,
    );
    const preload = folder.write("signal.mjs", signalledAtStart(signal));
    const running = start(process.execPath, [weirCommand, "run", "-c", config], {
      env: { ...process.env, NODE_OPTIONS: `--import=${preload}` },
    });
    onCleanUp(() => running.stop("SIGKILL"));
    await running.printed(new RegExp(`"msg":"${message}"`));
    expect(await running.stop()).toEqual({ code: 0, signal: null });
  });
