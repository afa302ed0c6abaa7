/**
 * A VXLAN bridge beside the kernel's own path, in one run:
 *
 *     npm run bench:tunnel
 *
 * Two hosts in network namespaces, and between them a third with two cables. TCP goes through
 * Weir's bridge, whose filter counts every frame, or straight on: the same VXLAN devices with each
 * other's address, their datagrams forwarded by the third host's kernel. Weir runs with both kinds of
 * io, each with the default MTU and with one that lets super-frames of the hosts' offloading through
 * whole. So does the least that any bridge in user space does, in C (tunnel-relay.c): what is beyond
 * Weir's reach. The CPU a KB is the bridge's own, with all that the kernel does in its system calls,
 * which on one machine is much of the receiver's work. Then Weir's CPU time a frame, for UDP through the
 * bridge, beside nginx's (stream module) a datagram on the same cables. `BENCH_ROUNDS` and
 * `BENCH_SECONDS` make it shorter. Rounds are taken in turn; medians. Needs Linux, root, cc, iperf3,
 * nginx with its stream module.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  command,
  eventually,
  type Running,
  series,
  temporaryFolder,
} from "../support/processes.ts";
import { TunnelNetwork } from "../system/tunnel-rig.ts";

const rounds = Number(process.env.BENCH_ROUNDS ?? 5);
const seconds = Number(process.env.BENCH_SECONDS ?? 3);
const datagrams = 100_000;
const repository = fileURLToPath(new URL("../../", import.meta.url));
const folder = temporaryFolder();
const bridges = (["dgram", "mmsg"] as const).flatMap((io) =>
  [1500, 65_535].map((mtu) => ({ io, mtu, net: new TunnelNetwork(`${io}-${mtu}`) })),
);
type Bridge = (typeof bridges)[number];
const relays = [1500, 65_535].map((mtu) => ({ mtu, net: new TunnelNetwork(`relay-${mtu}`) }));
const direct = new TunnelNetwork("direct");
const networks = [direct, ...bridges.map(({ net }) => net), ...relays.map(({ net }) => net)];

try {
  const load = await compiled("udp-load");
  const relay = await compiled("tunnel-relay");
  const started: StartedBridge[] = [];
  for (const bridge of bridges) started.push(await startBridge(bridge));
  const ways: Way[] = [{ name: "the kernel's direct path, offloads on", net: direct }];
  const what = (mtu: number): string =>
    `mtu ${mtu}: super-frames ${mtu === 1500 ? "are segmented" : "pass whole"}`;
  for (const { io, mtu, net, weir } of started)
    ways.push({ name: `Weir, counting filter, io: ${io}, ${what(mtu)}`, net, process: weir });
  for (const { mtu, net } of relays) {
    const process = net.start("w", relay, [net.addHost("a"), net.addHost("b"), `${mtu}`]);
    await process.printed(/up/);
    ways.push({ name: `a relay in C without filter or checks, ${what(mtu)}`, net, process });
  }
  connectDirectly();
  for (const net of networks) net.start("b", "iperf3", ["-s"]);
  for (const net of networks)
    await eventually(async () => {
      const { stdout } = await net.run("b", "ss", ["-Hltn", "sport = :5201"]);
      return stdout.includes("5201") ? true : undefined;
    }, "iperf3 listens");
  await throughput(ways);
  await cpu(
    started.filter(({ mtu }) => mtu === 1500),
    load,
  );
} finally {
  for (const net of networks) await net.remove();
  folder.remove();
}

interface StartedBridge extends Bridge {
  readonly weir: Running;
  readonly left: string;
  readonly right: string;
}

/** Two hosts and Weir between them. */
async function startBridge(bridge: Bridge): Promise<StartedBridge> {
  const { net, io, mtu } = bridge;
  const [left, right] = [net.addHost("a"), net.addHost("b")];
  const weir = await net.startWeir(`version: 1
metrics: { listen: "127.0.0.1:9464" }
filters: { count: { object: ${repository}filters/count-by-protocol.o, engine: jit } }
listeners:
  - { name: bridge, protocol: vxlan, io: ${io}, listen: "0.0.0.0:4789", mtu: ${mtu}, peers: { left: "${left}", right: "${right}" }, ingress: [count] }
`);
  return { ...bridge, weir, left, right };
}

/** The kernel's own path: VXLAN between the hosts, forwarded by the one between. */
function connectDirectly(): void {
  const hosts = { a: direct.addHost("a"), b: direct.addHost("b") };
  direct.forward("w");
  for (const [host, other] of [
    ["a", "b"],
    ["b", "a"],
  ] as const) {
    direct.ip(host, "route", "add", "default", "via", hosts[host].replace(/2$/, "1"));
    direct.ip(host, "link", "del", "vx0");
    direct.addVxlan(host, hosts[host], hosts[other]);
  }
}

/** A program of this folder, built. */
async function compiled(name: string): Promise<string> {
  const program = `${folder.path}/${name}`;
  const { code, stderr } = await command("cc", [
    "-O3",
    "-o",
    program,
    `${repository}test/bench/${name}.c`,
  ]);
  if (code !== 0) throw new Error(stderr);
  return program;
}

/** A way between the hosts, and the process that carries frames on it. */
interface Way {
  readonly name: string;
  readonly net: TunnelNetwork;
  readonly process?: Running;
}

async function throughput(ways: readonly Way[]): Promise<void> {
  const rates = ways.map((): number[] => []);
  const costs = ways.map((): number[] => []);
  for (let round = 0; round < rounds; round++)
    for (const [i, { net, process }] of ways.entries()) {
      const spent = (): number => (process ? cpuMicroseconds(process.child.pid!) : 0);
      const before = spent();
      const args = ["-c", net.addressOf("b"), "-t", `${seconds}`, "-J"];
      const { code, stdout } = await net.run("a", "iperf3", args);
      if (code !== 0) throw new Error(stdout);
      const { end } = JSON.parse(stdout) as {
        end: { sum_received: { bits_per_second: number; bytes: number } };
      };
      rates[i]!.push(end.sum_received.bits_per_second / 1e6);
      costs[i]!.push(((spent() - before) * 1e6) / end.sum_received.bytes);
    }
  const kernel = median(rates[0]!);
  console.log(
    `| TCP, one connection (medians of ${rounds}) | Mbit/s | of the direct path | CPU ns a KB |\n|---|---|---|---|`,
  );
  for (const [i, { name, process }] of ways.entries()) {
    const rate = median(rates[i]!);
    const cost = process === undefined ? "-" : median(costs[i]!).toFixed(0);
    console.log(`| ${name} | ${rate.toFixed(0)} | ${(rate / kernel).toFixed(2)}× | ${cost} |`);
  }
  console.log("");
}

async function cpu(started: readonly StartedBridge[], load: string): Promise<void> {
  const [first] = started;
  if (first === undefined) throw new Error("no bridge");
  const module = "/usr/lib/nginx/modules/ngx_stream_module.so";
  const file = folder.write(
    "nginx.conf",
    `${existsSync(module) ? `load_module ${module};` : ""}
daemon off; pid ${folder.path}/nginx.pid; error_log stderr notice; events { worker_connections 4096; }
worker_processes 1;
stream { server { listen 9100 udp; proxy_pass ${first.right}:9200; proxy_timeout 60s; } }`,
  );
  const nginx = first.net.start("w", "/usr/sbin/nginx", ["-c", file, "-p", folder.path]);
  await nginx.printed(/start worker process /);
  const echo = async (net: TunnelNetwork, address: string, port: number): Promise<void> => {
    const args = [`UDP_LOAD_ADDRESS=${address}`, load, "echo", `${port}`];
    await net.start("b", "env", args).printed(/up/);
  };
  for (const { net } of started) await echo(net, net.addressOf("b"), 9300);
  await echo(first.net, first.right, 9200);
  // The end of the left host's cable that the one between has.
  const gateway = first.left.replace(/2$/, "1");
  const ways = [
    { net: first.net, process: nginx, address: gateway, port: 9100 },
    ...started.map(({ net, weir }) => ({
      net,
      process: weir,
      address: net.addressOf("b"),
      port: 9300,
    })),
  ];
  const names = started.map(({ io }) => `Weir, io: ${io}, a frame | of nginx's`);
  console.log(`| UDP, CPU µs (medians) | nginx, a datagram | ${names.join(" | ")} |`);
  console.log(`|---|---|${"---|---|".repeat(names.length)}`);
  for (const bytes of [64, 512, 1400]) {
    const samples = ways.map((): number[] => []);
    for (let round = -1; round < rounds; round++)
      for (const [i, { net, process, address, port }] of ways.entries()) {
        const before = cpuMicroseconds(process.child.pid!);
        const args = [load, "ask", `${port}`, `${bytes}`, `${datagrams}`, "1", "64"];
        const { code, stdout, stderr } = await net.run("a", "env", [
          `UDP_LOAD_ADDRESS=${address}`,
          ...args,
        ]);
        if (code !== 0) throw new Error(stderr);
        // A datagram there and one back.
        const carried = Number(stdout.split(" ")[0]) * 2;
        if (round >= 0) samples[i]!.push((cpuMicroseconds(process.child.pid!) - before) / carried);
      }
    const [other, ...own] = samples.map(median) as [number, ...number[]];
    const cells = own.map((one) => `${one.toFixed(1)} | ${(one / other).toFixed(2)}×`);
    console.log(`| ${bytes} B | ${other.toFixed(1)} | ${cells.join(" | ")} |`);
  }
  for (const { io, net } of started) {
    const dropped = series(await net.scrape(), "weir_receive_errors_total", {
      reason: "kernel_dropped",
    });
    console.log(
      `\nDatagrams the kernel dropped before Weir (io: ${io}) could read them: ${dropped}`,
    );
  }
}

/** CPU time of a process and its children, from clock ticks of 10 ms. proc(5). */
function cpuMicroseconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  let micros = (Number(fields[11]) + Number(fields[12])) * 10_000;
  for (const task of readdirSync(`/proc/${pid}/task`))
    for (const child of readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" "))
      if (child !== "") micros += cpuMicroseconds(Number(child));
  return micros;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
