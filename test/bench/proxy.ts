/**
 * CPU spent a unit of work, Weir beside nginx's stream module and haproxy, in one run:
 *
 *     npm run bench [-- WORD...]
 *
 * With words, only the rows whose title has one of them, such as `keep-alive`.
 * Weir runs the counting filter on ingress, with the flags of the image. Each proxy forwards the same load from the same client
 * to the same upstream; what is counted is the CPU time of the proxy's own processes, so that the
 * load's own cost and idle waiting do not matter. "bare Node" is a proxy of a few lines on the same
 * modules of Node, without filters, sessions or counters: what Node alone costs. Medians of several
 * rounds, taken in turn. Needs Linux, cc, nginx (with its stream module), wrk and curl; haproxy is
 * left out where it is not installed.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { freePort, type Running } from "../support/processes.ts";
import {
  BenchRun,
  countingFilter,
  cpuNanoseconds,
  imageFlags,
  median,
  must,
  shown,
} from "./bench-run.ts";

const rounds = 3;
/** Rounds before those that count: V8 makes the code of connections fast over some ten thousand of them. */
const warmUps = 2;
const words = process.argv.slice(2);
const megabytes = 200;
const run = new BenchRun();

interface Proxy {
  readonly name: string;
  readonly kind: "Weir" | "bare" | "other";
  readonly process: Running;
  readonly udp: number | undefined;
  readonly tcp: number | undefined;
}

interface Work {
  readonly title: string;
  readonly unit: string;
  /** What a proxy must carry to take part. */
  readonly needs: "udp" | "tcp";
  /** Does the work through `port`; gives how many units that was. */
  readonly run: (proxy: Proxy) => Promise<number>;
  /** Nanoseconds of CPU a unit are divided by this for showing. */
  readonly scale: number;
}

try {
  const load = await run.buildLoad();
  const [echoPort, webPort] = [await freePort(), await freePort()];
  await run.startEcho(load, echoPort);
  await startWeb(webPort);
  const proxies = [
    ...(await weirProxies(echoPort, webPort)),
    await bareProxy(echoPort, webPort),
    await nginxProxy(echoPort, webPort),
    ...(existsSync("/usr/sbin/haproxy") ? [await haproxyProxy(webPort)] : []),
  ];
  const chosen = works(load).filter(
    ({ title }) => words.length === 0 || words.some((word) => title.includes(word)),
  );
  if (chosen.length === 0) throw new Error(`no row has ${words.join(" or ")} in its title`);
  await report(proxies, chosen);
  console.log(`Load average ${loadavg()[0]!.toFixed(1)} on ${cpus().length} CPUs at the end.`);
} finally {
  await run.close();
}

function works(load: string): Work[] {
  const datagrams = (bytes: number, flows = 1): Work => ({
    title: flows === 1 ? `UDP ${bytes} B` : `UDP ${bytes} B, ${flows} flows`,
    unit: "µs a datagram",
    needs: "udp",
    scale: 1e3,
    run: async (proxy) => {
      const count = 100_000;
      const args = ["ask", `${proxy.udp}`, `${bytes}`, `${count}`, `${flows}`, "64"];
      const [answered] = (await must(load, args)).split(" ").map(Number);
      // A datagram there and one back.
      return answered! * 2;
    },
  });
  const flood: Work = {
    title: "UDP 64 B, as fast as it can be sent",
    unit: "µs a datagram",
    needs: "udp",
    scale: 1e3,
    run: async (proxy) => {
      const text = await must(load, ["flood", `${proxy.udp}`, "64", "200000"]);
      return Number(text.split(" ")[0]) * 2;
    },
  };
  const requests = (title: string, unit: string, header: string[]): Work => ({
    title,
    unit,
    needs: "tcp",
    scale: 1e3,
    run: async (proxy) => {
      const url = `http://127.0.0.1:${proxy.tcp}/small`;
      const text = await must("wrk", ["-t1", "-c16", "-d2s", ...header, url]);
      return Number(/(\d+) requests in/.exec(text)![1]);
    },
  });
  return [
    ...[64, 512, 1400].map((bytes) => datagrams(bytes)),
    datagrams(64, 16),
    flood,
    {
      title: "TCP bytes",
      unit: "ns a KB",
      needs: "tcp",
      scale: 1,
      run: async (proxy) => {
        await must("curl", [
          "-sS",
          "--fail",
          "-o",
          "/dev/null",
          `http://127.0.0.1:${proxy.tcp}/big`,
        ]);
        return megabytes * 1000;
      },
    },
    requests("TCP connections", "µs a connection", ["-H", "Connection: close"]),
    requests("TCP keep-alive requests", "µs a request", []),
  ];
}

async function report(proxies: readonly Proxy[], all: readonly Work[]): Promise<void> {
  console.log(
    `| CPU spent (medians of ${rounds}) | ${proxies.map(({ name }) => name).join(" | ")} | Weir's best against the others' |`,
  );
  console.log(`|---|${"---|".repeat(proxies.length + 1)}`);
  for (const work of all) {
    const taking = proxies.filter((proxy) => proxy[work.needs] !== undefined);
    const samples = new Map<Proxy, number[]>(taking.map((proxy) => [proxy, []]));
    for (let round = -warmUps; round < rounds; round++)
      for (const proxy of taking) {
        const before = cpuNanoseconds(proxy.process);
        const units = await work.run(proxy);
        const spent = cpuNanoseconds(proxy.process) - before;
        if (round >= 0) samples.get(proxy)!.push(spent / units);
      }
    const medians = new Map(taking.map((proxy) => [proxy, median(samples.get(proxy)!)]));
    const best = (kind: "Weir" | "other"): number =>
      Math.min(
        ...taking.filter((proxy) => proxy.kind === kind).map((proxy) => medians.get(proxy)!),
      );
    const cells = proxies.map((proxy) => {
      const value = medians.get(proxy);
      return value === undefined ? "-" : shown(value / work.scale);
    });
    const ratio = (best("Weir") / best("other")).toFixed(2);
    console.log(`| ${work.title}, ${work.unit} | ${cells.join(" | ")} | ${ratio}× |`);
  }
}

/** One process: its UDP listeners take turns, one for each `io`. */
async function weirProxies(echoPort: number, webPort: number): Promise<Proxy[]> {
  const [udp, batched, tcp] = [await freePort(), await freePort(), await freePort()];
  const weir = await run.startWeir(
    "weir",
    `version: 1
metrics: { listen: off }
upstreams:
  echo: { addresses: ["127.0.0.1:${echoPort}"] }
  web: { addresses: ["127.0.0.1:${webPort}"] }
filters: { count: { object: ${countingFilter} } }
listeners:
  - { name: udp, protocol: udp, io: dgram, listen: "127.0.0.1:${udp}", upstream: echo, ingress: [count] }
  - { name: batched, protocol: udp, io: mmsg, listen: "127.0.0.1:${batched}", upstream: echo, ingress: [count] }
  - { name: tcp, protocol: tcp, listen: "127.0.0.1:${tcp}", upstream: web, ingress: [count] }
`,
  );
  const kind = "Weir";
  return [
    { name: "Weir", kind, process: weir, udp, tcp },
    { name: "Weir, io: mmsg", kind, process: weir, udp: batched, tcp: undefined },
  ];
}

/** What Node itself takes: Weir's floor, but where it does not use Node's part. */
async function bareProxy(echoPort: number, webPort: number): Promise<Proxy> {
  const [udp, tcp] = [await freePort(), await freePort()];
  const file = fileURLToPath(new URL("bare-proxy.ts", import.meta.url));
  const ports = [udp, echoPort, tcp, webPort].map(String);
  const bare = run.start(process.execPath, [...imageFlags, file, ...ports]);
  await bare.printed(/up/);
  return { name: "bare Node", kind: "bare", process: bare, udp, tcp };
}

async function nginxProxy(echoPort: number, webPort: number): Promise<Proxy> {
  const [udp, tcp] = [await freePort(), await freePort()];
  const nginx = await run.startNginx(
    "stream",
    `worker_processes 1;
stream {
  server { listen 127.0.0.1:${udp} udp; proxy_pass 127.0.0.1:${echoPort}; proxy_timeout 60s; }
  server { listen 127.0.0.1:${tcp}; proxy_pass 127.0.0.1:${webPort}; }
}`,
  );
  return { name: "nginx", kind: "other", process: nginx, udp, tcp };
}

async function haproxyProxy(webPort: number): Promise<Proxy> {
  const tcp = await freePort();
  const file = run.folder.write(
    "haproxy.cfg",
    `global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen web
  bind 127.0.0.1:${tcp}
  server web 127.0.0.1:${webPort}
`,
  );
  const haproxy = run.start("/usr/sbin/haproxy", ["-db", "-V", "-f", file]);
  await haproxy.printed(/Loading success|Using epoll/);
  return { name: "haproxy", kind: "other", process: haproxy, udp: undefined, tcp };
}

async function startWeb(port: number): Promise<void> {
  const { path } = run.folder;
  mkdirSync(`${path}/www`);
  writeFileSync(`${path}/www/small`, "x".repeat(100));
  writeFileSync(`${path}/www/big`, Buffer.alloc(megabytes * 1_000_000, "weir"));
  await must("chmod", ["-R", "a+rX", path]);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${path}/${name};`)
    .join(" ");
  await run.startNginx(
    "web",
    `worker_processes 1;
http {
  access_log off; keepalive_requests 1000000; sendfile on; ${temporary}
  server { listen 127.0.0.1:${port}; root ${path}/www; }
}`,
  );
}
