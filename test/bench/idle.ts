/**
 * What Weir costs while it has little to do: time to ready, resident memory after some traffic, CPU
 * while idle. `npm run bench:idle [-- NODE_FLAG…]`, with the default config (one worker). It runs what
 * `bin/weir.js` runs: in a checkout the source, which Node's TypeScript loader makes heavier and
 * slower to start than the package is.
 */
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { defaultConfig, scrape, temporaryFolder, weirCommand } from "../support/processes.ts";

const runs = 3;
const datagrams = 20_000;
const settleMs = 3_000;
const idleMs = 10_000;
/** Of the kernel's clock ticks, which /proc counts: USER_HZ is 100 on all systems that Node has. */
const msPerTick = 10;

interface Figures {
  readonly readyMs: number;
  readonly residentMiB: number;
  /** Share of one core. */
  readonly idleCpu: number;
}

async function measure(flags: readonly string[]): Promise<Figures> {
  const folder = temporaryFolder();
  const { text, port, metrics } = await defaultConfig();
  const file = folder.write("weir.yaml", text);
  const startMs = performance.now();
  const child = spawn(process.execPath, [...flags, weirCommand, "run", "-c", file], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  try {
    let log = "";
    child.stderr.setEncoding("utf8");
    while (!log.includes('"msg":"ready"')) {
      const [chunk] = (await once(child.stderr, "data")) as [string];
      log += chunk;
    }
    const readyMs = performance.now() - startMs;
    child.stderr.resume();
    await carry(port);
    await scrape(metrics);
    await wait(settleMs);
    const before = cpuTicks(child.pid!);
    await wait(idleMs);
    const ticks = cpuTicks(child.pid!) - before;
    return {
      readyMs,
      residentMiB: residentKiB(child.pid!) / 1024,
      idleCpu: (ticks * msPerTick) / idleMs,
    };
  } finally {
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
    folder.remove();
  }
}

/** Datagrams one after another, each answered before the next. */
async function carry(port: number): Promise<void> {
  const socket = createSocket("udp4");
  socket.connect(port, "127.0.0.1");
  await once(socket, "connect");
  for (let i = 0; i < datagrams; i++) {
    const answered = once(socket, "message", { signal: AbortSignal.timeout(10_000) });
    socket.send("a datagram");
    await answered;
  }
  socket.close();
}

function residentKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);
}

/** User and system time of all threads. proc_pid_stat(5), fields 14 and 15. */
function cpuTicks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const flags = process.argv.slice(2);
console.log(`Node ${process.version} ${flags.join(" ")}`);
for (let run = 0; run < runs; run++) {
  const { readyMs, residentMiB, idleCpu } = await measure(flags);
  console.log(
    `ready ${readyMs.toFixed(0)} ms  resident ${residentMiB.toFixed(1)} MiB  idle CPU ${(idleCpu * 100).toFixed(2)} % of a core`,
  );
}
