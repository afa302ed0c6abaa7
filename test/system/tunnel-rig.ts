import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import {
  command,
  type Finished,
  type Running,
  start,
  temporaryFolder,
} from "../support/processes.ts";

/** What tests in network namespaces need. */
export const namespaceNeeds = ["linux", "root", "ip", "ping", "nc", "curl", "vxlan devices"];

const weirCommand = fileURLToPath(new URL("../../bin/weir.js", import.meta.url));
const networkNumber = 42;

/** Hosts in network namespaces of their own, each with a cable to the one that Weir runs in. */
export class TunnelNetwork {
  readonly #prefix: string;
  readonly #ipv6: boolean;
  readonly #hosts: string[] = [];
  readonly #folder = temporaryFolder();
  readonly #running: Running[] = [];

  /** `name` tells networks of one process apart. The underlay is IPv4, or IPv6. */
  constructor(name: string, underlay: 4 | 6 = 4) {
    this.#prefix = `weir-${process.pid}-${name}`;
    this.#ipv6 = underlay === 6;
    this.#add("w");
  }

  /** Adds a host with a VXLAN device, whose other end is Weir; gives its address in the underlay. */
  addHost(name: string): string {
    this.#add(name);
    const n = this.#hosts.length - 1;
    const [here, there] = this.#ipv6
      ? [`fd77:${n}::2`, `fd77:${n}::1`]
      : [`10.77.${n}.2`, `10.77.${n}.1`];
    const mask = this.#ipv6 ? "64" : "24";
    const nodad = this.#ipv6 ? ["nodad"] : [];
    const [cable, end] = [`h${n}`, this.#namespace(name)];
    must("ip", [
      "-n",
      this.#namespace("w"),
      "link",
      "add",
      cable,
      "type",
      "veth",
      "peer",
      "name",
      "up0",
      "netns",
      end,
    ]);
    this.ip("w", "address", "add", `${there}/${mask}`, "dev", cable, ...nodad);
    this.ip("w", "link", "set", cable, "up");
    this.ip(name, "address", "add", `${here}/${mask}`, "dev", "up0", ...nodad);
    this.ip(name, "link", "set", "up0", "up");
    this.addVxlan(name, here, there);
    return here;
  }

  /** Gives a host its VXLAN device, with `remote` as the other end. */
  addVxlan(name: string, local: string, remote: string): void {
    const ends = ["dstport", "4789", "local", local, "remote", remote];
    this.ip(name, "link", "add", "vx0", "type", "vxlan", "id", `${networkNumber}`, ...ends);
    this.ip(name, "address", "add", `${this.addressOf(name)}/24`, "dev", "vx0");
    this.ip(name, "address", "add", `${this.address6Of(name)}/64`, "dev", "vx0", "nodad");
    this.ip(name, "link", "set", "vx0", "up");
  }

  /** Lets a host's kernel forward packets. */
  forward(host: string): void {
    const name = this.#namespace(host);
    must("ip", ["netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  }

  /** A host's address inside the tunnel. */
  addressOf(host: string): string {
    return `10.99.0.${this.#hosts.indexOf(host)}`;
  }

  address6Of(host: string): string {
    return `fd99::${this.#hosts.indexOf(host)}`;
  }

  ip(host: string, ...args: string[]): void {
    must("ip", ["-n", this.#namespace(host), ...args]);
  }

  /** Runs a command on a host, to its end. */
  run(host: string, name: string, args: readonly string[], input = ""): Promise<Finished> {
    return command("ip", ["netns", "exec", this.#namespace(host), name, ...args], input);
  }

  /** Starts a command on a host, which runs until the network is removed. */
  start(host: string, name: string, args: readonly string[]): Running {
    const running = start("ip", ["netns", "exec", this.#namespace(host), name, ...args]);
    this.#running.push(running);
    return running;
  }

  async startWeir(config: string): Promise<Running> {
    const file = this.#folder.write("weir.yaml", config);
    const weir = this.start("w", process.execPath, [weirCommand, "run", "-c", file]);
    await weir.printed(/"msg":"ready"/);
    return weir;
  }

  /** What Weir's metrics endpoint on port 9464 answers. */
  async scrape(): Promise<string> {
    return (await this.run("w", "curl", ["-s", "http://127.0.0.1:9464/metrics"])).stdout;
  }

  async remove(): Promise<void> {
    for (const running of this.#running.reverse()) await running.stop();
    for (const host of this.#hosts) must("ip", ["netns", "del", this.#namespace(host)]);
    this.#folder.remove();
  }

  #add(host: string): void {
    this.#hosts.push(host);
    must("ip", ["netns", "add", this.#namespace(host)]);
    this.ip(host, "link", "set", "lo", "up");
  }

  #namespace(host: string): string {
    return `${this.#prefix}-${host}`;
  }
}

function must(name: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(name, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${name} ${args.join(" ")}: ${stderr}`);
}
