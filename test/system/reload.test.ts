import { once } from "node:events";
import { renameSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { cleanUp, onCleanUp, TcpClient, tcpEcho, udpSocket, udpUpstream } from "../proxy/rig.ts";
import {
  eventually,
  freePort,
  type Running,
  scrape,
  series,
  start,
  startWeir,
  temporaryFolder,
  weirCommand,
} from "../support/processes.ts";

afterEach(cleanUp);

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));

/** Reloads by SIGHUP and waits until Weir says that it is done, or refused. */
async function reload(running: Running): Promise<void> {
  const told = (): number =>
    running.output().split(/"msg":"config (?:reloaded|not reloaded)/).length;
  const before = told();
  running.child.kill("SIGHUP");
  while (told() === before) await once(running.child.stderr!, "data");
}

const datagramsPerMs = 5;
/** Datagrams under way at a time: few enough for the smallest socket buffer. */
const maxUnderWay = 64;

/** Sends numbered datagrams, some 5,000 a second, and keeps account of those that come back. */
class DatagramLoad {
  sent = 0;
  received = 0;
  readonly #back = new Set<number>();
  #timer: NodeJS.Timeout | undefined;

  async start(port: number): Promise<void> {
    const inbox = await udpSocket();
    inbox.socket.on("message", (payload) => {
      this.received++;
      this.#back.add(payload.readUInt32LE(0));
    });
    const startMs = performance.now();
    this.#timer = setInterval(() => {
      const due = (performance.now() - startMs) * datagramsPerMs;
      while (this.sent < due && this.sent - this.received < maxUnderWay) {
        const payload = Buffer.alloc(64);
        payload.writeUInt32LE(this.sent++);
        inbox.socket.send(payload, port, "127.0.0.1");
      }
    }, 1);
    onCleanUp(() => clearInterval(this.#timer));
  }

  /** Numbers that did not come back within a while after the last was sent. */
  async missing(): Promise<number[]> {
    clearInterval(this.#timer);
    await eventually(
      async () => (this.received >= this.sent ? true : undefined),
      "all datagrams back",
      5_000,
    ).catch(() => undefined);
    return Array.from({ length: this.sent }, (_, i) => i).filter((i) => !this.#back.has(i));
  }
}

/** A connection over which numbered chunks go out and must come back in order. */
class StreamLoad {
  readonly #client: TcpClient;
  readonly #timer: NodeJS.Timeout;
  #sent = 0;
  broken: string | undefined;

  constructor(port: number) {
    this.#client = new TcpClient({ host: "127.0.0.1", port });
    void this.#client.over.then((how) => {
      this.broken ??= how;
    });
    this.#timer = setInterval(() => this.#client.write(chunk(this.#sent++)), 20);
    onCleanUp(() => clearInterval(this.#timer));
  }

  /** Whether what came back is what was sent. */
  async isWhole(): Promise<boolean> {
    clearInterval(this.#timer);
    const sent = Buffer.concat(Array.from({ length: this.#sent }, (_, i) => chunk(i)));
    return (await this.#client.bytes(sent.length)).equals(sent);
  }
}

function chunk(number: number): Buffer {
  return Buffer.alloc(100, `${number},`);
}

test("20 reloads under load lose no datagram and cut no connection", {
  timeout: 60_000,
}, async () => {
  const [udpPort, tcpPort, morePort, metrics] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const [udp, tcp] = [await udpUpstream(), await tcpEcho()];
  const variant = (number: number): string => {
    const engine = number % 2 === 0 ? "interpreter" : "jit";
    const more = `  - { name: more, protocol: tcp, listen: "127.0.0.1:${morePort}", upstream: tcp, ingress: [fresh] }`;
    return `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams:
  udp: { addresses: ["127.0.0.1:${udp.port}"] }
  tcp: { addresses: ["127.0.0.1:${tcp.port}"] }
filters:
  count: { object: ${filters}count-by-protocol.o, engine: ${engine} }
  block:
    object: ${filters}blocklist.o
    globals: { default_action: ${(number % 2) + 1} }
    maps: { blocked: { entries: [{ key: 203.0.113.${number}/32, value: ${number + 1} }] } }
  fresh: { expression: "ip and not port ${number + 1}" }
listeners:
${number % 3 === 0 ? more : "  # none"}
  - { name: udp, protocol: udp, listen: "127.0.0.1:${udpPort}", upstream: udp, ingress: [count, ${number % 2 === 0 ? "block, fresh" : "fresh"}], egress: [count] }
  - { name: tcp, protocol: tcp, listen: "127.0.0.1:${tcpPort}", upstream: tcp, ingress: [count, block], egress: [count] }
`;
  };
  const broken = [
    (text: string) => text.replace("version: 1", "version: 2"),
    (text: string) => text.replace("blocklist.o", "absent.o"),
    (text: string) => text.replace("ip and not", "ip and nod"),
    (text: string) => text.replace(`:${metrics}`, `:${tcp.port}`),
  ];
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const running = await startWeir(folder, variant(0));
  onCleanUp(() => running.stop("SIGKILL"));
  const load = new DatagramLoad();
  await load.start(udpPort);
  const streams = Array.from({ length: 50 }, () => new StreamLoad(tcpPort));
  const startMs = performance.now();

  let [good, bad, counted] = [0, 0, 0];
  for (let number = 1; number <= 20; number++) {
    const text = variant(number);
    const isBroken = number % 5 === 0;
    folder.write("weir.yaml", isBroken ? broken[bad % broken.length]!(text) : text);
    if (isBroken) bad++;
    else good++;
    await reload(running);
    const text2 = await scrape(metrics);
    const value = series(text2, "packets_total") ?? series(text2, "weir_packets_total", udpPass)!;
    // Counters never fall back.
    expect(value).toBeGreaterThanOrEqual(counted);
    counted = value;
  }
  const missing = await load.missing();
  const seconds = (performance.now() - startMs) / 1000;
  const whole = await Promise.all(streams.map((stream) => stream.isWhole()));
  expect(missing).toEqual([]);
  expect(load.received).toBe(load.sent);
  expect(streams.flatMap(({ broken: how }) => how ?? [])).toEqual([]);
  expect(whole.every(Boolean)).toBe(true);

  const found = await scrape(metrics);
  expect(series(found, "weir_config_reloads_total", { result: "success" })).toBe(good);
  expect(series(found, "weir_config_reloads_total", { result: "error" })).toBe(bad);
  expect(series(found, "weir_config_last_reload_successful")).toBe(0);
  expect(series(found, "weir_packets_total", udpPass)).toBe(load.sent);
  expect(series(found, "weir_sessions_total", { listener: "udp" })).toBe(1);
  expect(series(found, "weir_sessions_total", { listener: "tcp" })).toBe(50);
  expect(series(found, "weir_filter_runs_total", { filter: "count" })).toBeGreaterThan(
    2 * load.sent,
  );
  expect(series(found, "weir_worker_restarts_total")).toBe(0);
  expect(series(found, "weir_map_entries", { filter: "block", map: "blocked" })).toBe(1);
  process.stdout.write(
    `reload under load: ${load.sent} datagrams in ${seconds.toFixed(1)} s, 20 reloads\n`,
  );
});

const udpPass = { listener: "udp", direction: "ingress", verdict: "pass" };

test("a ConfigMap's swap of ..data is one reload, and so is a new object or entry file", async () => {
  const [port, metrics] = [await freePort(), await freePort()];
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const text = (comment: string): string => `version: 1 # ${comment}
metrics: { listen: "127.0.0.1:${metrics}" }
reload: { watch: true }
upstreams: { app: { echo: true } }
filters:
  block: { object: ${filters}blocklist.o, maps: { blocked: { file: blocked.csv } } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:${port}", upstream: app, ingress: [block] }]
`;
  // As the kubelet lays it out: files are links through ..data, which is a link to a dated folder.
  const put = async (version: string, files: Record<string, string>): Promise<void> => {
    await mkdir(`${folder.path}/..${version}`);
    for (const [name, content] of Object.entries(files))
      writeFileSync(`${folder.path}/..${version}/${name}`, content);
    symlinkSync(`..${version}`, `${folder.path}/..data_tmp`);
    renameSync(`${folder.path}/..data_tmp`, `${folder.path}/..data`);
  };
  await put("1", { "weir.yaml": text("1"), "blocked.csv": "10.0.0.0/8,1\n" });
  for (const name of ["weir.yaml", "blocked.csv"])
    symlinkSync(`..data/${name}`, `${folder.path}/${name}`);
  const running = start(process.execPath, [weirCommand, "run", "-c", `${folder.path}/weir.yaml`]);
  onCleanUp(() => running.stop("SIGKILL"));
  await running.printed(/"msg":"ready"/);
  const reloads = async (): Promise<[number, number]> => {
    const found = await scrape(metrics);
    return [
      series(found, "weir_config_reloads_total", { result: "success" })!,
      series(found, "weir_config_reloads_total", { result: "error" })!,
    ];
  };
  const reach = async (success: number, error: number): Promise<void> => {
    await eventually(async () => {
      const [ok, failed] = await reloads();
      return ok >= success && failed >= error ? true : undefined;
    }, `${success} reloads, ${error} refused`);
    expect(await reloads()).toEqual([success, error]);
  };
  const entries = async (): Promise<number | undefined> =>
    series(await scrape(metrics), "weir_map_entries", { filter: "block", map: "blocked" });
  expect(await entries()).toBe(1);

  await put("2", { "weir.yaml": text("2"), "blocked.csv": "10.0.0.0/8,1\n11.0.0.0/8,2\n" });
  await reach(1, 0);
  expect(await entries()).toBe(2);
  // Twice: a watch of the file itself would have gone deaf.
  await put("3", { "weir.yaml": text("2"), "blocked.csv": "12.0.0.0/8,1\n" });
  await reach(2, 0);
  expect(await entries()).toBe(1);
  await put("4", { "weir.yaml": "version: 1\nlisteners: []\n", "blocked.csv": "" });
  await reach(2, 1);
  expect(await entries()).toBe(1);
  expect(running.output()).toMatch(/"error":"[^"]*weir\.yaml:2:\d+: listeners/);
  await put("5", { "weir.yaml": text("5"), "blocked.csv": "" });
  await reach(3, 1);
  expect(await entries()).toBe(0);
  const client = await udpSocket();
  client.send("x", { host: "127.0.0.1", port });
  expect(await client.text()).toBe("x");
});

test("the metrics address and the log's level follow the config", async () => {
  const [port, first, second] = [await freePort(), await freePort(), await freePort()];
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const text = (metrics: number | "off", level = "info"): string => `version: 1
metrics: { listen: ${metrics === "off" ? "off" : `"127.0.0.1:${metrics}"`} }
log: { level: ${level} }
upstreams: { app: { echo: true } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:${port}", upstream: app }]
`;
  const running = await startWeir(folder, text(first));
  onCleanUp(() => running.stop("SIGKILL"));
  folder.write("weir.yaml", text(second));
  await reload(running);
  expect(series(await scrape(second), "weir_config_reloads_total", { result: "success" })).toBe(1);
  await eventually(
    async () => ((await scrape(first).catch(() => "gone")) === "gone" ? true : undefined),
    "the old address is closed",
  );
  folder.write("weir.yaml", text("off", "error"));
  running.child.kill("SIGHUP");
  await eventually(
    async () => ((await scrape(second).catch(() => "gone")) === "gone" ? true : undefined),
    "no metrics server",
  );
  running.child.kill("SIGTERM");
  const [code] = await once(running.child, "exit");
  expect(code).toBe(0);
  expect(running.output()).not.toContain('"msg":"stopping"');
});
