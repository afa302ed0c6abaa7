import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { renameSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { build } from "../object/clang.ts";
import { cleanUp, onCleanUp, udpSocket } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
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
import type { LoadNews, LoadOrder, LoadReport } from "./reload-load.ts";

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

/** Datagrams that come back between two reloads, at least: some 5,000 in four. */
const perReload = 1250;
const reloads = 20;

/** The load of reload-load.ts, in its process. */
class Load {
  readonly #child: ChildProcess;
  readonly upstreams: { readonly udp: number; readonly tcp: number };

  private constructor(child: ChildProcess, upstreams: Load["upstreams"]) {
    this.#child = child;
    this.upstreams = upstreams;
  }

  static async start(): Promise<Load> {
    const child = fork(fileURLToPath(new URL("./reload-load.ts", import.meta.url)));
    onCleanUp(() => child.kill());
    const [news] = (await once(child, "message")) as [LoadNews];
    if (!("upstreams" in news)) throw new Error("the load began with another message");
    return new Load(child, news.upstreams);
  }

  send(order: LoadOrder): void {
    this.#child.send(order);
  }

  async report(): Promise<LoadReport> {
    this.send("report");
    const [news] = (await once(this.#child, "message")) as [LoadNews];
    if (!("report" in news)) throw new Error("a report was asked for");
    return news.report;
  }

  /** A report of which `is` holds, in time or not: what is wrong with it shows in the assertions. */
  async reportWhen(is: (report: LoadReport) => boolean, what: string): Promise<LoadReport> {
    let last = await this.report();
    await eventually(
      async () => {
        last = await this.report();
        return is(last) ? true : undefined;
      },
      what,
      30_000,
    ).catch(() => undefined);
    return last;
  }
}

needing("clang")(
  "20 reloads under load lose no datagram and cut no connection",
  { timeout: 120_000 },
  async () => {
    const [udpPort, tcpPort, morePort, metrics] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const load = await Load.start();
    const counter = fileURLToPath(new URL("../config/reload-map.c", import.meta.url));
    const [small, large] = [build(counter), build(counter, "-DENTRIES=64")];
    const other = build(counter, "-DVALUE=__u32");
    const variant = (number: number): string => {
      const engine = number % 2 === 0 ? "interpreter" : "jit";
      const more = `  - { name: more, protocol: tcp, listen: "127.0.0.1:${morePort}", upstream: tcp, ingress: [fresh] }`;
      return `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams:
  udp: { addresses: ["127.0.0.1:${load.upstreams.udp}"] }
  tcp: { addresses: ["127.0.0.1:${load.upstreams.tcp}"] }
filters:
  count: { object: ${filters}count-by-protocol.o, engine: ${engine} }
  grow: { object: ${number < 7 ? small : large} }
  block:
    object: ${filters}blocklist.o
    globals: { default_action: ${(number % 2) + 1} }
    maps: { blocked: { entries: [{ key: 203.0.113.${number}/32, value: ${number + 1} }] } }
  fresh: { expression: "ip and not port ${number + 1}", shadow: ${number % 4 === 1} }
listeners:
${number % 3 === 0 ? more : "  # none"}
  - { name: udp, protocol: udp, listen: "127.0.0.1:${udpPort}", upstream: udp, ingress: [count, grow, ${number % 2 === 0 ? "block, fresh" : "fresh"}], egress: [count] }
  - { name: tcp, protocol: tcp, listen: "127.0.0.1:${tcpPort}", upstream: tcp, ingress: [count, block], egress: [count] }
`;
    };
    const broken = [
      (text: string) => text.replace("version: 1", "version: 2"),
      (text: string) => text.replace("blocklist.o", "absent.o"),
      // Its map would have other values.
      (text: string) => text.replace(large, other).replace(small, other),
      (text: string) => text.replace(`:${metrics}`, `:${load.upstreams.tcp}`),
    ];
    const folder = temporaryFolder();
    onCleanUp(() => folder.remove());
    const running = await startWeir(folder, variant(0));
    onCleanUp(() => running.stop("SIGKILL"));
    load.send({ go: { udp: udpPort, tcp: tcpPort, streams: 50 } });

    let [good, bad, counted] = [0, 0, 0];
    for (let number = 1; number <= reloads; number++) {
      await load.reportWhen(
        ({ received }) => received >= number * perReload,
        "datagrams between two reloads",
      );
      const text = variant(number);
      const isBroken = number % 5 === 0;
      folder.write("weir.yaml", isBroken ? broken[bad % broken.length]!(text) : text);
      if (isBroken) bad++;
      else good++;
      await reload(running);
      const value = series(await scrape(metrics), "weir_packets_total", udpPass)!;
      // Counters never fall back.
      expect(value).toBeGreaterThanOrEqual(counted);
      counted = value;
    }
    const { elapsedMs } = await load.report();
    load.send("end");
    const end = await load.reportWhen(
      ({ missing, isWhole }) => missing.length === 0 && isWhole,
      "all is back",
    );
    const found = await scrape(metrics);
    const kernelDropped = series(found, "weir_receive_errors_total", {
      listener: "udp",
      reason: "kernel_dropped",
    });
    expect({ missing: end.missing, kernelDropped }).toEqual({ missing: [], kernelDropped: 0 });
    expect(end.broken).toEqual([]);
    expect(end.isWhole).toBe(true);
    expect(end.sent).toBeGreaterThanOrEqual(reloads * perReload);

    expect(series(found, "weir_config_reloads_total", { result: "success" })).toBe(good);
    expect(series(found, "weir_config_reloads_total", { result: "error" })).toBe(bad);
    expect(series(found, "weir_config_last_reload_successful")).toBe(0);
    expect(series(found, "weir_packets_total", udpPass)).toBe(end.sent);
    expect(series(found, "weir_sessions_total", { listener: "udp" })).toBe(1);
    expect(series(found, "weir_sessions_total", { listener: "tcp" })).toBe(50);
    expect(series(found, "weir_filter_runs_total", { filter: "count" })).toBeGreaterThan(
      2 * end.sent,
    );
    expect(series(found, "weir_worker_restarts_total")).toBe(0);
    expect(series(found, "weir_map_entries", { filter: "block", map: "blocked" })).toBe(1);
    expect(series(found, "weir_map_capacity", { filter: "grow", map: "counts" })).toBe(64);
    const perSecond = Math.round(end.sent / (elapsedMs / 1000));
    process.stdout.write(
      `reload under load: ${end.sent} datagrams in ${(elapsedMs / 1000).toFixed(1)} s (${perSecond} a second), ${end.streamBytes} bytes on 50 streams, ${reloads} reloads\n`,
    );
  },
);

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
