/**
 * What more workers cost, and how evenly the kernel spreads clients over them:
 *
 *     npm run bench:workers
 *
 * For each `io`, CPU a datagram of Weir with one worker and with two, and of two processes with a worker
 * each, which share nothing and carry half of the load each: what those cost more than one is what the machine and
 * the kernel make of two busy threads. nginx, with one worker and with two, stands beside that. Then the
 * share of the busiest of two workers, by its per-CPU counts, for clients of random ports. Medians of
 * rounds in turns. Needs Linux, cc, koffi, and nginx with its stream module.
 */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { cpus, loadavg } from "node:os";
import { text } from "node:stream/consumers";
import type { DatagramIo } from "../../src/proxy/plan.ts";
import { freePort, type Running } from "../support/processes.ts";
import { BenchRun, countingFilter, cpuNanoseconds, median, must, shown } from "./bench-run.ts";

const rounds = 5;
const flows = 16;
const datagrams = 120_000;
/** Datagrams without an answer yet, at most. */
const windows = [64, 256, 1024];
const spreads = 15;
/** Key of the filter's map. */
const udp = 17;

const run = new BenchRun();
try {
  const load = await run.buildLoad();
  const echoPort = await freePort();
  await run.startEcho(load, echoPort);
  const nginxes = [await nginx(echoPort, 1), await nginx(echoPort, 2)];
  let both: CountingProxy | undefined;
  for (const io of ["dgram", "mmsg"] as const) {
    const [one, two] = [await weir(echoPort, 1, io), await weir(echoPort, 2, io)];
    const pair = [await weir(echoPort, 1, io), await weir(echoPort, 1, io)];
    await costs(load, io, [
      { name: "Weir, one worker", proxies: [one], comparedTo: 0 },
      { name: "Weir, two workers", proxies: [two], comparedTo: 0 },
      { name: "Weir, two processes of one worker", proxies: pair, comparedTo: 0 },
      { name: "nginx, one worker", proxies: [nginxes[0]!], comparedTo: 3 },
      { name: "nginx, two workers", proxies: [nginxes[1]!], comparedTo: 3 },
    ]);
    both = two;
  }
  await spread(load, both!);
  console.log(`Load average ${loadavg()[0]!.toFixed(1)} on ${cpus().length} CPUs at the end.`);
} finally {
  await run.close();
}

interface Proxy {
  readonly process: Running;
  readonly port: number;
}

/** A proxy whose filter's map can be read. */
interface CountingProxy extends Proxy {
  readonly admin: string;
}

interface Setup {
  readonly name: string;
  /** One for all of the load, or one for each half. */
  readonly proxies: readonly Proxy[];
  /** Number of the one whose datagrams a CPU second its own are compared to. */
  readonly comparedTo: number;
}

async function weir(echoPort: number, workers: number, io: DatagramIo): Promise<CountingProxy> {
  const port = await freePort();
  const admin = `${run.folder.path}/${port}.sock`;
  const process = await run.startWeir(
    `${port}`,
    `version: 1
workers: ${workers}
metrics: { listen: off }
admin: { listen: "unix:${admin}" }
upstreams: { echo: { addresses: ["127.0.0.1:${echoPort}"] } }
filters: { count: { object: ${countingFilter} } }
listeners:
  - { name: udp, protocol: udp, io: ${io}, listen: "127.0.0.1:${port}", upstream: echo, ingress: [count] }
`,
  );
  return { process, port, admin };
}

async function nginx(echoPort: number, workers: number): Promise<Proxy> {
  const port = await freePort();
  const process = await run.startNginx(
    `${port}`,
    `worker_processes ${workers};
stream {
  server { listen 127.0.0.1:${port} udp reuseport; proxy_pass 127.0.0.1:${echoPort}; proxy_timeout 60s; }
}`,
  );
  return { process, port };
}

async function costs(load: string, io: DatagramIo, setups: readonly Setup[]): Promise<void> {
  const title = `UDP 64 B, ${flows} flows, io: ${io}: µs of CPU a datagram, and datagrams a CPU second to one worker's`;
  console.log(`| ${title} | ${windows.map((window) => `${window} on their way`).join(" | ")} |`);
  console.log(`|---|${"---|".repeat(windows.length)}`);
  const medians = setups.map((): number[] => []);
  for (const window of windows) {
    const samples = setups.map((): number[] => []);
    for (let round = -1; round < rounds; round++)
      for (const [i, setup] of setups.entries()) {
        const taken = await cost(load, setup, window);
        // The first round warms up.
        if (round >= 0) samples[i]!.push(taken);
      }
    for (const [i, all] of samples.entries()) medians[i]!.push(median(all));
  }
  for (const [i, { name, comparedTo }] of setups.entries()) {
    const cells = medians[i]!.map((ns, column) => {
      const ratio = medians[comparedTo]![column]! / ns;
      return comparedTo === i ? shown(ns / 1e3) : `${shown(ns / 1e3)} (${ratio.toFixed(2)}×)`;
    });
    console.log(`| ${name} | ${cells.join(" | ")} |`);
  }
  console.log("");
}

/** Nanoseconds a datagram, there and back. Two processes make the load, whatever carries it. */
async function cost(load: string, { proxies }: Setup, window: number): Promise<number> {
  const share = (all: number): string => `${all / 2}`;
  const spent = (): number =>
    proxies.reduce((sum, { process }) => sum + cpuNanoseconds(process), 0);
  const before = spent();
  const printed = await Promise.all(
    [proxies[0]!, proxies.at(-1)!].map(({ port }) =>
      must(load, ["ask", `${port}`, "64", share(datagrams), share(flows), share(window)]),
    ),
  );
  const answered = printed.reduce((sum, line) => sum + Number(line.split(" ")[0]), 0);
  return (spent() - before) / (answered * 2);
}

/** The busiest worker's share of the datagrams of so many clients with as many datagrams each. */
async function spread(load: string, proxy: CountingProxy): Promise<void> {
  console.log(
    `| Clients | the busiest of two workers' share, median of ${spreads} | the largest | all on one |`,
  );
  console.log("|---|---|---|---|");
  for (const clients of [1, 2, 4, 8, 16, 64]) {
    const shares: number[] = [];
    for (let i = 0; i < spreads; i++) {
      const before = await counted(proxy);
      await must(load, ["ask", `${proxy.port}`, "64", `${clients * 64}`, `${clients}`, "32"]);
      const after = await counted(proxy);
      const each = after.map((count, cpu) => count - (before[cpu] ?? 0));
      const all = each.reduce((sum, count) => sum + count, 0);
      if (all < clients * 64) throw new Error(`${all} of ${clients * 64} datagrams were counted`);
      shares.push(Math.max(...each) / all);
    }
    const percent = (share: number): string => `${Math.round(share * 100)} %`;
    const alone = shares.filter((share) => share === 1).length;
    console.log(
      `| ${clients} | ${percent(median(shares))} | ${percent(Math.max(...shares))} | ${alone} of ${spreads} |`,
    );
  }
}

/** Datagrams that the filter has counted, by worker. */
async function counted({ admin }: CountingProxy): Promise<number[]> {
  const path = `/v1/maps/${encodeURIComponent("count/packets_by_protocol")}/entries`;
  const asked = get({ socketPath: admin, path });
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  const rows = (await text(response)).split("\n").filter((row) => row !== "");
  const entries = rows.map((row) => JSON.parse(row) as { key: number; values: number[] });
  return entries.find(({ key }) => key === udp)?.values ?? [];
}
