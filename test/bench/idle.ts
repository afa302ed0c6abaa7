/**
 * What Weir costs while it has little to do, with the default config and one worker: time to ready,
 * CPU a datagram, resident memory after some traffic, CPU and wake-ups of all threads while idle, and how
 * long nobody is served after a data worker has died. `npm run bench:idle [-- NODE_FLAG…]`, once as the image runs it
 * (bundled, with the Dockerfile's flags and environment), once so with `io: mmsg`, and once from source,
 * as a checkout does.
 */
import { spawn, spawnSync } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { DatagramIo } from "../../src/proxy/plan.ts";
import { defaultConfig, scrape, temporaryFolder, weirCommand } from "../support/processes.ts";
import { saboteur } from "../support/saboteur.ts";
import { readDockerfile } from "../system/rootfs.ts";

const runs = 3;
const datagrams = 20_000;
const settleMs = 3_000;
const idleMs = 10_000;
/** What is promised: see the check at the end. */
const mostRestartMs = 1_000;
const mostResidentBytes = 120e6;
/** Of the kernel's clock ticks, which /proc counts: USER_HZ is 100 on all systems that Node has. */
const msPerTick = 10;

interface Figures {
  readonly readyMs: number;
  readonly carryUs: number;
  readonly residentBytes: number;
  /** Share of one core. */
  readonly idleCpu: number;
  /** A second. */
  readonly idleWakes: number;
  /** Undefined where sockets are not Node's: the saboteur finds no other. */
  readonly restartMs: number | undefined;
}

/** What is started: words after Node's, and what its environment has more. */
interface Command {
  readonly words: readonly string[];
  readonly io: DatagramIo;
  readonly environment: Readonly<Record<string, string>>;
}

const folder = temporaryFolder();
const preload = folder.write("saboteur.mjs", saboteur);

async function measure({ words, io, environment }: Command): Promise<Figures> {
  const { text, port, metrics } = await defaultConfig();
  const config = text.replaceAll("protocol: udp", `protocol: udp\n    io: ${io}`);
  const file = folder.write("weir.yaml", config);
  const startMs = performance.now();
  const child = spawn(process.execPath, [`--import=${preload}`, ...words, "run", "-c", file], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...environment },
  });
  const socket = createSocket("udp4");
  try {
    let log = "";
    child.stderr.setEncoding("utf8");
    while (!log.includes('"msg":"ready"')) {
      const [chunk] = (await once(child.stderr, "data")) as [string];
      log += chunk;
    }
    const readyMs = performance.now() - startMs;
    child.stderr.resume();
    socket.connect(port, "127.0.0.1");
    await once(socket, "connect");
    const carryingTicks = cpuTicks(child.pid!);
    await carry(socket);
    const carryUs = ((cpuTicks(child.pid!) - carryingTicks) * msPerTick * 1000) / datagrams;
    await scrape(metrics);
    await wait(settleMs);
    const before = cpuTicks(child.pid!);
    const wakesBefore = wakes(child.pid!);
    await wait(idleMs);
    const idleWakes = ((wakes(child.pid!) - wakesBefore) * 1000) / idleMs;
    const idleCpu = ((cpuTicks(child.pid!) - before) * msPerTick) / idleMs;
    const residentBytes = residentKiB(child.pid!) * 1024;
    const restartMs = io === "dgram" ? await untilServed(socket) : undefined;
    return { readyMs, carryUs, residentBytes, idleCpu, idleWakes, restartMs };
  } finally {
    socket.close();
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
  }
}

/** Datagrams one after another, each answered before the next. */
async function carry(socket: Socket): Promise<void> {
  for (let i = 0; i < datagrams; i++) {
    const answered = once(socket, "message", { signal: AbortSignal.timeout(10_000) });
    socket.send("a datagram");
    await answered;
  }
}

/** Has the data worker die: milliseconds until a datagram is answered again. */
async function untilServed(socket: Socket): Promise<number> {
  // While nobody listens the kernel says so.
  socket.on("error", () => {});
  const diedMs = performance.now();
  socket.send("die");
  const served = new Promise<number>((resolve) =>
    socket.once("message", () => resolve(performance.now() - diedMs)),
  );
  const timer = setInterval(() => socket.send("again", () => {}), 5);
  const ms = await served;
  clearInterval(timer);
  return ms;
}

function residentKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);
}

/** How often threads that live now went to sleep: they woke as often. */
function wakes(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    return sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)![1]);
  }, 0);
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

/** The package as the image has it, and how the Dockerfile starts it. */
function asInImage(): Command {
  const repository = fileURLToPath(new URL("../../", import.meta.url));
  const place = `${folder.path}/image`;
  mkdirSync(place);
  for (const part of ["bin", "config", "filters", "package.json"])
    cpSync(repository + part, `${place}/${part}`, { recursive: true });
  symlinkSync(`${repository}node_modules`, `${place}/node_modules`);
  const run = (script: string, args: readonly string[]): void => {
    const { status } = spawnSync(process.execPath, [script, ...args], { stdio: "inherit" });
    if (status !== 0) throw new Error(`${script} failed`);
  };
  run(`${repository}scripts/build-package.ts`, [`${place}/dist`]);
  const { instructions } = readDockerfile().at(-1)!;
  const entrypoint = instructions.find(({ name }) => name === "ENTRYPOINT")!;
  const [, ...words] = JSON.parse(entrypoint.text) as string[];
  const environment = Object.fromEntries(
    instructions.filter(({ name }) => name === "ENV").map(({ text }) => text.split("=")),
  ) as Record<string, string>;
  const flags = words.filter((word) => word.startsWith("--"));
  run(`${repository}scripts/build-code-cache.ts`, [place, ...flags]);
  return {
    io: "dgram",
    words: words.map((word) => (word === "bin/weir.js" ? `${place}/${word}` : word)),
    environment,
  };
}

const flags = process.argv.slice(2);
const imageName = "as in the image";
const image = asInImage();
const commands: Readonly<Record<string, Command>> = {
  [imageName]: image,
  "as in the image, io: mmsg": { ...image, io: "mmsg" },
  "from source": { words: [weirCommand], io: "dgram", environment: {} },
};
try {
  console.log(`Node ${process.version} ${flags.join(" ")}`);
  let slowestMs = 0;
  let largestImageBytes = 0;
  for (const [name, command] of Object.entries(commands))
    for (let run = 0; run < runs; run++) {
      const figures = await measure({ ...command, words: [...flags, ...command.words] });
      const { readyMs, carryUs, residentBytes, idleCpu, idleWakes, restartMs } = figures;
      slowestMs = Math.max(slowestMs, restartMs ?? 0);
      const served =
        restartMs === undefined ? "" : `  served ${restartMs.toFixed(0)} ms after a worker's death`;
      if (name === imageName) largestImageBytes = Math.max(largestImageBytes, residentBytes);
      console.log(
        `${name}: ready ${readyMs.toFixed(0)} ms  CPU ${carryUs.toFixed(1)} µs a datagram and its answer  resident ${(residentBytes / 1e6).toFixed(1)} MB  idle CPU ${(idleCpu * 100).toFixed(2)} % of a core, ${idleWakes.toFixed(0)} wake-ups a second${served}`,
      );
    }
  if (largestImageBytes > mostResidentBytes) {
    console.log(`the image is promised to take no more than ${mostResidentBytes / 1e6} MB`);
    process.exitCode = 1;
  }
  if (slowestMs > mostRestartMs) {
    console.log(`a data worker is promised to be back within ${mostRestartMs} ms`);
    process.exitCode = 1;
  }
} finally {
  folder.remove();
}
