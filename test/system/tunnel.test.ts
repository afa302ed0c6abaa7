import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, expect } from "vitest";
import { needing } from "../support/needing.ts";
import { eventually, series, temporaryFolder } from "../support/processes.ts";
import { namespaceNeeds, TunnelNetwork } from "./tunnel-rig.ts";

const test = needing(...namespaceNeeds);
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function network(name: string, underlay: 4 | 6 = 4): TunnelNetwork {
  const made = new TunnelNetwork(name, underlay);
  cleanups.push(() => made.remove());
  return made;
}

/** A bridge of these peers on the whole machine. */
function bridge(peers: Readonly<Record<string, string>>, more: { filters?: string; listener?: string; ports?: string } = {}): string {
  const list = Object.entries(peers).map(([name, address]) => `${name}: "${address}"`);
  return `version: 1
metrics: { listen: "127.0.0.1:9464" }
ports: { ${more.ports ?? ""} }
filters:
  all: { expression: "greater 0" }
${more.filters ?? ""}
listeners:
  - { name: dc, protocol: vxlan, listen: "[::]:4789", vni: 42, peers: { ${list.join(", ")} }, ${more.listener ?? "ingress: [all]"} }
`;
}

/** Sends random bytes over TCP between two hosts; whether they arrive as they were. */
async function sendFile(net: TunnelNetwork, from: string, to: string, bytes: number, port = 9000): Promise<void> {
  const folder = temporaryFolder();
  cleanups.push(() => folder.remove());
  const content = randomBytes(bytes);
  writeFileSync(`${folder.path}/sent`, content);
  const address = net.addressOf(to);
  const receiver = net.start(to, "sh", ["-c", `echo up; exec nc -l -N ${address} ${port} >${folder.path}/received </dev/null`]);
  await eventually(async () => {
    const { stdout } = await net.run(to, "ss", ["-Hltn", `sport = :${port}`]);
    return stdout.includes(`:${port}`) ? true : undefined;
  }, "nc listens");
  const sent = await net.run(from, "sh", ["-c", `nc -N -w 20 ${address} ${port} <${folder.path}/sent`]);
  expect(sent).toMatchObject({ code: 0 });
  await receiver.ended;
  const hash = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
  expect(hash(readFileSync(`${folder.path}/received`))).toBe(hash(content));
}

async function ping(net: TunnelNetwork, from: string, to: string, ...options: string[]): Promise<string> {
  return (await net.run(from, "ping", ["-c", "2", "-i", "0.05", "-W", "2", ...options, to])).stdout;
}

test("a bridge of two hosts carries ping and a file over TCP, with the kernel's offloads on", async () => {
  const net = network("pair");
  const [left, right] = [net.addHost("a"), net.addHost("b")];
  await net.startWeir(bridge({ left, right }));
  expect(await ping(net, "a", net.addressOf("b"))).toContain("2 received");
  expect(await ping(net, "a", net.address6Of("b"))).toContain("2 received");
  await sendFile(net, "a", "b", 8_000_000);
  const text = await net.scrape();
  const frames = (peer: string, direction: string): number =>
    series(text, "weir_tunnel_frames_total", { listener: "dc", peer, vni: "42", direction })!;
  // 8 MB are some 5,700 segments, which a super-frame is not.
  expect(frames("right", "egress")).toBeGreaterThan(5000);
  expect(series(text, "weir_drops_total", { listener: "dc", reason: "mtu_exceeded" })).toBe(undefined);
  expect(frames("left", "egress")).toBe(frames("right", "ingress"));
});
