/**
 * CPU spent a unit of work, Weir beside nginx's stream module and haproxy, in one run:
 *
 *     npm run bench
 *
 * Weir runs the counting filter on ingress. Each proxy forwards the same load from the same client
 * to the same upstream; what is counted is the CPU time of the proxy's own processes (utime and
 * stime in /proc), so that the load's own cost and idle waiting do not matter. Medians of several
 * rounds, taken in turn. Needs Linux, cc, nginx (with its stream module), wrk and curl; haproxy is
 * left out where it is not installed.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { command, freePort, type Running, start, temporaryFolder } from "../support/processes.ts";

const rounds = 3;
const megabytes = 200;
const repository = fileURLToPath(new URL("../../", import.meta.url));
const folder = temporaryFolder();
const running: Running[] = [];

interface Proxy {
  readonly name: string;
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
  const load = `${folder.path}/udp-load`;
  await must("cc", ["-O2", "-o", load, `${repository}test/bench/udp-load.c`]);
  const [echoPort, webPort] = [await freePort(), await freePort()];
  const echo = started(load, ["echo", `${echoPort}`]);
  await echo.printed(/up/);
  await startWeb(webPort);
  const proxies = [
    ...(await weirProxies(echoPort, webPort)),
    await twoWorkers(echoPort),
    await nginxProxy(echoPort, webPort),
    ...(existsSync("/usr/sbin/haproxy") ? [await haproxyProxy(webPort)] : []),
  ];
  await report(proxies, works(load));
} finally {
  for (const process of running.reverse()) await process.stop("SIGTERM");
  folder.remove();
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
    for (let round = -1; round < rounds; round++)
      for (const proxy of taking) {
        const before = cpuNanoseconds(proxy.process.child.pid!);
        const units = await work.run(proxy);
        const spent = cpuNanoseconds(proxy.process.child.pid!) - before;
        // The first round warms up.
        if (round >= 0) samples.get(proxy)!.push(spent / units);
      }
    const medians = new Map(taking.map((proxy) => [proxy, median(samples.get(proxy)!)]));
    const best = (isWeir: boolean): number =>
      Math.min(
        ...taking
          .filter(({ name }) => name.startsWith("Weir") === isWeir)
          .map((proxy) => medians.get(proxy)!),
      );
    const cells = proxies.map((proxy) => {
      const value = medians.get(proxy);
      return value === undefined ? "-" : `${Number((value / work.scale).toPrecision(3))}`;
    });
    const ratio = (best(true) / best(false)).toFixed(2);
    console.log(`| ${work.title}, ${work.unit} | ${cells.join(" | ")} | ${ratio}× |`);
  }
}

/** One process: its UDP listeners take turns, one for each `io`. */
async function weirProxies(echoPort: number, webPort: number): Promise<Proxy[]> {
  const [udp, batched, tcp] = [await freePort(), await freePort(), await freePort()];
  const file = folder.write(
    "weir.yaml",
    `version: 1
metrics: { listen: off }
upstreams:
  echo: { addresses: ["127.0.0.1:${echoPort}"] }
  web: { addresses: ["127.0.0.1:${webPort}"] }
filters: { count: { object: ${repository}filters/count-by-protocol.o } }
listeners:
  - { name: udp, protocol: udp, io: dgram, listen: "127.0.0.1:${udp}", upstream: echo, ingress: [count] }
  - { name: batched, protocol: udp, io: mmsg, listen: "127.0.0.1:${batched}", upstream: echo, ingress: [count] }
  - { name: tcp, protocol: tcp, listen: "127.0.0.1:${tcp}", upstream: web, ingress: [count] }
`,
  );
  const weir = started(process.execPath, [`${repository}bin/weir.js`, "run", "-c", file]);
  await weir.printed(/"msg":"ready"/);
  return [
    { name: "Weir", process: weir, udp, tcp },
    { name: "Weir, io: mmsg", process: weir, udp: batched, tcp: undefined },
  ];
}

async function twoWorkers(echoPort: number): Promise<Proxy> {
  const udp = await freePort();
  const file = folder.write(
    "two-workers.yaml",
    `version: 1
workers: 2
metrics: { listen: off }
upstreams: { echo: { addresses: ["127.0.0.1:${echoPort}"] } }
filters: { count: { object: ${repository}filters/count-by-protocol.o } }
listeners:
  - { name: udp, protocol: udp, io: mmsg, listen: "127.0.0.1:${udp}", upstream: echo, ingress: [count] }
`,
  );
  const weir = started(process.execPath, [`${repository}bin/weir.js`, "run", "-c", file]);
  await weir.printed(/"msg":"ready"/);
  return { name: "Weir, io: mmsg, workers: 2", process: weir, udp, tcp: undefined };
}

async function nginxProxy(echoPort: number, webPort: number): Promise<Proxy> {
  const [udp, tcp] = [await freePort(), await freePort()];
  const module = "/usr/lib/nginx/modules/ngx_stream_module.so";
  const nginx = await startNginx(
    "stream",
    `${existsSync(module) ? `load_module ${module};` : ""}
worker_processes 1;
stream {
  server { listen 127.0.0.1:${udp} udp; proxy_pass 127.0.0.1:${echoPort}; proxy_timeout 60s; }
  server { listen 127.0.0.1:${tcp}; proxy_pass 127.0.0.1:${webPort}; }
}`,
  );
  return { name: "nginx", process: nginx, udp, tcp };
}

async function haproxyProxy(webPort: number): Promise<Proxy> {
  const tcp = await freePort();
  const file = folder.write(
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
  const haproxy = started("/usr/sbin/haproxy", ["-db", "-V", "-f", file]);
  await haproxy.printed(/Loading success|Using epoll/);
  return { name: "haproxy", process: haproxy, udp: undefined, tcp };
}

async function startWeb(port: number): Promise<void> {
  mkdirSync(`${folder.path}/www`);
  writeFileSync(`${folder.path}/www/small`, "x".repeat(100));
  writeFileSync(`${folder.path}/www/big`, Buffer.alloc(megabytes * 1_000_000, "weir"));
  await must("chmod", ["-R", "a+rX", folder.path]);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${folder.path}/${name};`)
    .join(" ");
  await startNginx(
    "web",
    `worker_processes 1;
http {
  access_log off; keepalive_requests 1000000; sendfile on; ${temporary}
  server { listen 127.0.0.1:${port}; root ${folder.path}/www; }
}`,
  );
}

async function startNginx(name: string, config: string): Promise<Running> {
  const file = folder.write(
    `nginx-${name}.conf`,
    `daemon off; pid ${folder.path}/${name}.pid; error_log stderr notice; events { worker_connections 4096; }
${config}`.replace(/^(daemon.*)\n(load_module[^\n]*)/, "$2\n$1"),
  );
  const nginx = started("/usr/sbin/nginx", ["-c", file, "-p", folder.path]);
  await nginx.printed(/start worker process /);
  return nginx;
}

function started(name: string, args: readonly string[]): Running {
  const process = start(name, args);
  running.push(process);
  return process;
}

async function must(name: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await command(name, args);
  if (code !== 0) throw new Error(`${name} ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** CPU time of a process and its children that live, from clock ticks of 10 ms. proc(5). */
function cpuNanoseconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  let ticks = Number(fields[11]) + Number(fields[12]);
  for (const task of readdirSync(`/proc/${pid}/task`))
    for (const child of readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" "))
      if (child !== "") ticks += cpuNanoseconds(Number(child)) / 1e7;
  return ticks * 1e7;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
