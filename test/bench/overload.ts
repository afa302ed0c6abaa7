/**
 * What becomes of Weir when more comes than it can take:
 *
 *     npm run bench:overload
 *
 * For node:dgram and for batches: datagrams of 64 bytes at half of what it can take, and at one, two and
 * four times that, to an upstream that reads nothing. What it can take is found first: the rate is
 * doubled until a third is dropped. The filter is a loop of some microseconds: one CPU could not send
 * four times what batches take with a small one. Weir has a CPU of its own, and the load another, so
 * that a load that needs more CPU takes none of Weir's; the kernel's work for a datagram up to the socket
 * is the sender's on loopback.
 *
 * Of each load are told: datagrams forwarded a second, beside the most of any row; CPU for each, and how
 * much CPU Weir got (on a machine that does other work, too little: then the CPU for each tells whether
 * overload makes it dearer); what the kernel dropped; how much memory grew; and how long the control API
 * took to answer what it has to ask the worker for. Medians of rounds in turns; answers of all rounds.
 * A datagram that was not counted once fails the run. Needs Linux, two CPUs, cc, taskset, and koffi for
 * the batches.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, get, type IncomingMessage } from "node:http";
import { cpus, loadavg } from "node:os";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { verdictKinds } from "../../src/filter/verdict.ts";
import type { DatagramIo } from "../../src/proxy/plan.ts";
import { eventually, freePort, type Running, scrape, series } from "../support/processes.ts";
import { BenchRun, cpuNanoseconds, median, must, shown } from "./bench-run.ts";

const rounds = 5;
const forMs = 1_000;
const factors = [0.5, 1, 2, 4];
/** Where the search for what it can take begins, datagrams a second. */
const leastRate = 10_000;
const askEveryMs = 10;
/** Takes about a nanosecond a turn. */
const busyFilter = `
r0 = 2
r1 = 0
again:
r1 += 1
if r1 != 10000 goto again
exit`;

interface Proxy {
  readonly io: DatagramIo;
  readonly process: Running;
  readonly port: number;
  readonly metrics: number;
  readonly admin: string;
}

/** Of one load, over one round. */
interface Sample {
  readonly sent: number;
  readonly forwarded: number;
  readonly dropped: number;
  readonly cpuNs: number;
  readonly grownKiB: number;
  readonly answersMs: readonly number[];
}

const run = new BenchRun();
const agent = new Agent({ keepAlive: true });
try {
  if (cpus().length < 2) throw new Error("Weir and the load need a CPU each");
  const load = await run.buildLoad();
  const sinkPort = await freePort();
  await run.start(load, ["sink", `${sinkPort}`]).printed(/up/);
  let isWhole = true;
  for (const io of ["dgram", "mmsg"] as const)
    isWhole = (await report(load, await weir(io, sinkPort))) && isWhole;
  console.log(`Load average ${loadavg()[0]!.toFixed(1)} on ${cpus().length} CPUs at the end.`);
  if (!isWhole) {
    console.log("datagrams were not counted, or not once");
    process.exitCode = 1;
  }
} finally {
  agent.destroy();
  await run.close();
}

async function weir(io: DatagramIo, sinkPort: number): Promise<Proxy> {
  const [port, metrics] = [await freePort(), await freePort()];
  const admin = `${run.folder.path}/${io}.sock`;
  const process = await run.startWeir(
    io,
    `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
admin: { listen: "unix:${admin}" }
upstreams: { sink: { addresses: ["127.0.0.1:${sinkPort}"] } }
filters: { busy: { bytecode: ${JSON.stringify(busyFilter)} } }
listeners:
  - { name: udp, protocol: udp, io: ${io}, listen: "127.0.0.1:${port}", upstream: sink, ingress: [busy] }
`,
  );
  await must("taskset", ["--all-tasks", "--cpu-list", "--pid", "0", `${process.child.pid}`]);
  return { io, process, port, metrics, admin };
}

/** Whether every datagram was counted once. */
async function report(load: string, proxy: Proxy): Promise<boolean> {
  const capacity = await capacityOf(load, proxy);
  const idle: number[] = [];
  for (let i = 0; i < 200; i++) idle.push(await answerMs(proxy));
  const samples = factors.map((): Sample[] => []);
  for (let round = 0; round < rounds; round++)
    for (const [i, factor] of factors.entries())
      samples[i]!.push(await carry(load, proxy, capacity * factor));
  const of = (all: readonly Sample[], figure: (sample: Sample) => number): number =>
    median(all.map(figure));
  const forwarded = samples.map((all) => of(all, (sample) => sample.forwarded));
  const peak = Math.max(...forwarded);
  const perSecond = (count: number): string => shown(count / forMs);
  console.log(
    `| io: ${proxy.io} | thousand sent a second | forwarded | to the most | CPU µs each | CPU that Weir got | dropped by the kernel | memory grew, MiB | answers: median, 99th of a hundred and longest, ms |`,
  );
  console.log("|---|---|---|---|---|---|---|---|---|");
  for (const [i, all] of samples.entries()) {
    const answers = all.flatMap(({ answersMs }) => answersMs);
    const cells = [
      `${shown((of(all, ({ sent }) => sent) * 1000) / forMs / capacity)} times what it takes`,
      perSecond(of(all, ({ sent }) => sent)),
      perSecond(forwarded[i]!),
      (forwarded[i]! / peak).toFixed(2),
      shown(of(all, (sample) => sample.cpuNs / sample.forwarded) / 1e3),
      `${Math.round((100 * of(all, ({ cpuNs }) => cpuNs)) / (forMs * 1e6))} %`,
      `${Math.round(100 * of(all, ({ dropped, sent }) => dropped / sent))} %`,
      shown(of(all, ({ grownKiB }) => grownKiB) / 1024),
      told(answers),
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
  console.log(`Answers without load: ${told(idle)}.\n`);
  return samples.flat().every(({ sent, forwarded, dropped }) => sent === forwarded + dropped);
}

/** Of times of answers. */
function told(ms: readonly number[]): string {
  const sorted = [...ms].sort((a, b) => a - b);
  const most = sorted[Math.floor(sorted.length * 0.99)]!;
  return `${shown(median(ms))}, ${shown(most)} and ${shown(sorted.at(-1)!)} (${ms.length} asked)`;
}

/** The most datagrams a second that it forwarded, up to a load that is too much by far. */
async function capacityOf(load: string, proxy: Proxy): Promise<number> {
  let most = 0;
  for (let rate = leastRate; ; rate *= 2) {
    const { sent, forwarded, dropped } = await carry(load, proxy, rate);
    most = Math.max(most, (forwarded * 1000) / forMs);
    if (dropped > sent / 3) return most;
    if (sent * 1000 < (rate * forMs) / 2) throw new Error("the load cannot make too much for Weir");
  }
}

async function carry(load: string, proxy: Proxy, rate: number): Promise<Sample> {
  const before = { ...(await counts(proxy)), cpuNs: cpuNanoseconds(proxy.process) };
  const residentKiB = residentKiBOf(proxy);
  const args = [proxy.port, 64, Math.round(rate), forMs].map(String);
  const paced = must("taskset", ["--cpu-list", "1", load, "pace", ...args]);
  let isOver = false;
  const sending = paced.finally(() => {
    isOver = true;
  });
  const answersMs: number[] = [];
  while (!isOver) {
    answersMs.push(await answerMs(proxy));
    await delay(askEveryMs);
  }
  const sent = Number(await sending);
  const grownKiB = residentKiBOf(proxy) - residentKiB;
  const { forwarded, dropped } = await eventually(async () => {
    const now = await counts(proxy);
    const dropped = now.dropped - before.dropped;
    const forwarded = now.forwarded - before.forwarded;
    return forwarded + dropped >= sent ? { forwarded, dropped } : undefined;
  }, "every datagram counted");
  const cpuNs = cpuNanoseconds(proxy.process) - before.cpuNs;
  return { sent, forwarded, dropped, cpuNs, grownKiB, answersMs };
}

async function counts({ metrics }: Proxy): Promise<{ forwarded: number; dropped: number }> {
  const page = await scrape(metrics);
  const count = (name: string, labels: Readonly<Record<string, string>>): number =>
    series(page, name, { listener: "udp", ...labels }) ?? 0;
  const forwarded = verdictKinds.reduce(
    (sum, verdict) => sum + count("weir_packets_total", { direction: "ingress", verdict }),
    0,
  );
  return { forwarded, dropped: count("weir_receive_errors_total", { reason: "kernel_dropped" }) };
}

/** Milliseconds until the control API has told the sessions, which the worker alone knows. */
async function answerMs({ admin }: Proxy): Promise<number> {
  const askedMs = performance.now();
  const request = get({ agent, socketPath: admin, path: "/v1/sessions" });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  await text(response);
  return performance.now() - askedMs;
}

function residentKiBOf({ process }: Proxy): number {
  const status = readFileSync(`/proc/${process.child.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]);
}
