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
function bridge(
  peers: Readonly<Record<string, string>>,
  more: { filters?: string; listener?: string; ports?: string } = {},
): string {
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
async function sendFile(
  net: TunnelNetwork,
  from: string,
  to: string,
  bytes: number,
  { port = 9000, address = net.addressOf(to) } = {},
): Promise<void> {
  const folder = temporaryFolder();
  cleanups.push(() => folder.remove());
  const content = randomBytes(bytes);
  writeFileSync(`${folder.path}/sent`, content);
  const receiver = net.start(to, "sh", [
    "-c",
    `echo up; exec nc -n -l -N ${address} ${port} >${folder.path}/received </dev/null`,
  ]);
  await eventually(async () => {
    const { stdout } = await net.run(to, "ss", ["-Hltn", `sport = :${port}`]);
    return stdout.includes(`:${port}`) ? true : undefined;
  }, "nc listens");
  const sent = await net.run(from, "sh", [
    "-c",
    `nc -n -N -w 20 ${address} ${port} <${folder.path}/sent`,
  ]);
  expect(sent).toMatchObject({ code: 0 });
  await receiver.ended;
  const hash = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
  expect(hash(readFileSync(`${folder.path}/received`))).toBe(hash(content));
}

async function ping(
  net: TunnelNetwork,
  from: string,
  to: string,
  ...options: string[]
): Promise<string> {
  const args = ["-c", "2", "-i", "0.05", "-W", "2", ...options, to];
  return (await net.run(from, "ping", args)).stdout;
}

for (const io of ["dgram", "auto"])
  test(`a bridge of two hosts with io: ${io} carries ping and a file over TCP, with the kernel's offloads on`, async () => {
    const net = network(`pair-${io}`);
    const [left, right] = [net.addHost("a"), net.addHost("b")];
    await net.startWeir(bridge({ left, right }, { listener: `ingress: [all], io: ${io}` }));
    expect(await ping(net, "a", net.addressOf("b"))).toContain("2 received");
    expect(await ping(net, "a", net.address6Of("b"))).toContain("2 received");
    await sendFile(net, "a", "b", 8_000_000);
    const text = await net.scrape();
    const frames = (peer: string, direction: string): number =>
      series(text, "weir_tunnel_frames_total", { listener: "dc", peer, vni: "42", direction })!;
    // 8 MB are some 5,700 segments, which a super-frame is not.
    expect(frames("right", "egress")).toBeGreaterThan(5000);
    expect(series(text, "weir_drops_total", { listener: "dc", reason: "mtu_exceeded" })).toBe(
      undefined,
    );
    expect(frames("left", "egress")).toBe(frames("right", "ingress"));
  });

test("a filter drops one port, and the rest flows", async () => {
  const net = network("drop");
  const [left, right] = [net.addHost("a"), net.addHost("b")];
  await net.startWeir(
    bridge(
      { left, right },
      {
        filters: '  closed: { expression: "not tcp dst port 9001" }',
        listener: "ingress: [closed]",
      },
    ),
  );
  const refused = await net.run("a", "nc", ["-n", "-z", "-w", "1", net.addressOf("b"), "9001"]);
  expect(refused.code).toBe(1);
  await sendFile(net, "a", "b", 100_000);
  const drops = series(await net.scrape(), "weir_drops_total", { reason: "filter_drop" });
  expect(drops).toBeGreaterThan(0);
});

/**
 * What comes from port 2 or 3 goes to port 1. What comes from there goes to 2, but TCP to 9001,
 * which goes to 3.
 */
const divert = `r6 = *(u32 *)(r1 + 12)
      r7 = *(u32 *)(r1 + 0)
      r8 = *(u32 *)(r1 + 4)
      r1 = 1
      if r6 != 1 goto send
      r1 = 2
      r2 = r7
      r2 += 38
      if r2 > r8 goto send
      r3 = *(u16 *)(r7 + 12)
      r3 = be16 r3
      if r3 != 0x800 goto send
      r3 = *(u8 *)(r7 + 23)
      if r3 != 6 goto send
      r3 = *(u16 *)(r7 + 36)
      r3 = be16 r3
      if r3 != 9001 goto send
      r1 = 3
      send:
      r2 = 0
      call 23
      exit`;

test("among three peers a filter redirects one flow to a third host, over several workers", async () => {
  const net = network("third");
  const [left, right, third] = [net.addHost("a"), net.addHost("b"), net.addHost("c")];
  // The third host stands in for the second: it has its address.
  net.ip("c", "address", "flush", "dev", "vx0");
  net.ip("c", "link", "set", "vx0", "address", "02:00:00:00:00:02");
  net.ip("b", "link", "set", "vx0", "address", "02:00:00:00:00:02");
  net.ip("a", "link", "set", "vx0", "address", "02:00:00:00:00:01");
  net.ip("c", "address", "add", `${net.addressOf("b")}/24`, "dev", "vx0");
  net.ip("c", "neigh", "replace", net.addressOf("a"), "lladdr", "02:00:00:00:00:01", "dev", "vx0");
  await net.startWeir(
    `workers: 2\n${bridge(
      { left, right, third },
      {
        ports: "1: dc.left, 2: dc.right, 3: dc.third",
        filters: `  divert:\n    bytecode: |\n      ${divert}`,
        listener: "ingress: [divert]",
      },
    )}`,
  );
  expect(await ping(net, "a", net.addressOf("b"))).toContain("2 received");
  for (const [host, port] of [
    ["b", 9000],
    ["c", 9001],
  ] as const) {
    const server = net.start(host, "nc", ["-n", "-l", "-N", "-v", net.addressOf("b"), `${port}`]);
    await server.printed(/Listening/);
    const sent = await net.run(
      "a",
      "nc",
      ["-n", "-N", "-w", "5", net.addressOf("b"), `${port}`],
      `to ${port}\n`,
    );
    expect(sent).toMatchObject({ code: 0 });
    await server.printed(new RegExp(`to ${port}\\n`));
  }
  const text = await net.scrape();
  expect(
    series(text, "weir_tunnel_frames_total", { peer: "third", direction: "egress" }),
  ).toBeGreaterThan(3);
  expect(series(text, "weir_packets_total", { direction: "ingress", verdict: "pass" })).toBe(0);
});

/**
 * UDP to port 7 goes back with its MAC addresses swapped (the kernel's device ignores what it sent
 * itself), UDP to 5300 to port 9, all else on.
 */
const returning = `r7 = *(u32 *)(r1 + 0)
      r8 = *(u32 *)(r1 + 4)
      r0 = 2
      r2 = r7
      r2 += 38
      if r2 > r8 goto out
      r3 = *(u16 *)(r7 + 12)
      r3 = be16 r3
      if r3 != 0x800 goto out
      r3 = *(u8 *)(r7 + 23)
      if r3 != 17 goto out
      r3 = *(u16 *)(r7 + 36)
      r3 = be16 r3
      if r3 == 7 goto back
      r0 = 2
      if r3 != 5300 goto out
      r1 = 9
      r2 = 0
      call 23
      goto out
      back:
      r1 = *(u32 *)(r7 + 0)
      r2 = *(u16 *)(r7 + 4)
      r3 = *(u32 *)(r7 + 6)
      r4 = *(u16 *)(r7 + 10)
      *(u32 *)(r7 + 0) = r3
      *(u16 *)(r7 + 4) = r4
      *(u32 *)(r7 + 6) = r1
      *(u16 *)(r7 + 10) = r2
      r0 = 3
      out:
      exit`;

needing(...namespaceNeeds, "tcpdump")(
  "TX comes back to its sender, and an upstream answers what is redirected to it",
  async () => {
    const net = network("back");
    const [left, right] = [net.addHost("a"), net.addHost("b")];
    await net.startWeir(
      `upstreams: { app: { echo: true } }\n${bridge(
        { left, right },
        {
          ports: "9: app",
          filters: `  returning:\n    bytecode: |\n      ${returning}`,
          listener: "ingress: [returning]",
        },
      )}`,
    );
    expect(await ping(net, "a", net.addressOf("b"))).toContain("2 received");
    const seen = net.start("a", "tcpdump", [
      ...["-n", "-l", "-c", "1", "-Q", "in", "-i", "vx0", "-A", "udp", "dst", "port", "7"],
    ]);
    await seen.printed(/listening on/);
    await net.run("a", "nc", ["-n", "-u", "-w", "1", net.addressOf("b"), "7"], "to and fro");
    await seen.printed(
      new RegExp(`> ${net.addressOf("b").replaceAll(".", "\\.")}\\.7:[^]*to and fro`),
    );
    // nc takes answers from where it sent to, and from nowhere else.
    const asked = await net.run(
      "a",
      "nc",
      ["-n", "-u", "-w", "1", net.addressOf("b"), "5300"],
      "is anyone there?",
    );
    expect(asked.stdout).toBe("is anyone there?");
    const text = await net.scrape();
    const packets = (verdict: string, direction: string) =>
      series(text, "weir_packets_total", { listener: "dc", verdict, direction });
    expect([
      packets("tx", "ingress"),
      packets("redirect", "ingress"),
      packets("pass", "egress"),
    ]).toEqual([1, 1, 1]);
  },
);

/** bpf_skb_get_tunnel_key: only network 42, and outer addresses of these tests, may pass. */
const keyed = `r6 = r1
      r2 = r10
      r2 += -48
      r3 = 44
      r4 = 0
      call 20
      r1 = r0
      r0 = 2
      if r1 != 0 goto out
      r1 = *(u32 *)(r10 - 48)
      if r1 != 42 goto out
      r1 = *(u32 *)(r10 - 44)
      r1 >>= 16
      if r1 != 0x0a4d goto out
      r0 = 0
      out:
      exit`;

test("a tc program reads the tunnel's key of frames from the kernel's device", async () => {
  const net = network("keyed");
  const [left, right] = [net.addHost("a"), net.addHost("b")];
  await net.startWeir(
    bridge(
      { left, right },
      {
        filters: `  keyed:\n    section: tc\n    bytecode: |\n      ${keyed}`,
        listener: "ingress: [keyed]",
      },
    ),
  );
  expect(await ping(net, "a", net.addressOf("b"))).toContain("2 received");
  await sendFile(net, "a", "b", 300_000);
  expect(series(await net.scrape(), "weir_drops_total", { listener: "dc" })).toBe(undefined);
});

test("the underlay can be IPv6", async () => {
  const net = network("six", 6);
  const [left, right] = [net.addHost("a"), net.addHost("b")];
  await net.startWeir(bridge({ left, right: `[${right}]` }));
  expect(await ping(net, "a", net.addressOf("b"))).toContain("2 received");
  await sendFile(net, "b", "a", 2_000_000);
});

test("IPv6 inside is cut and completed as well", async () => {
  const net = network("inside");
  const [left, right] = [net.addHost("a"), net.addHost("b")];
  await net.startWeir(bridge({ left, right }));
  await sendFile(net, "a", "b", 4_000_000, { address: net.address6Of("b") });
  expect(series(await net.scrape(), "weir_drops_total", { listener: "dc" })).toBe(undefined);
});

test("a sender of packets that are too long is told, and sends shorter ones", async () => {
  const net = network("long");
  const [left, right] = [net.addHost("a"), net.addHost("b")];
  // The hosts do not know what tunnels cost: 1,500 and 50 bytes more.
  for (const host of ["a", "b"]) net.ip(host, "link", "set", "vx0", "mtu", "1500");
  await net.startWeir(bridge({ left, right }, { listener: "ingress: []" }));
  // 1,500 bytes with the headers of ICMP and IP.
  expect(await ping(net, "a", net.addressOf("b"), "-M", "do", "-s", "1472")).toMatch(
    /mtu ?= ?1450/,
  );
  expect(await ping(net, "a", net.address6Of("b"), "-M", "do", "-s", "1452")).toMatch(
    /mtu ?= ?1450/,
  );
  await sendFile(net, "a", "b", 500_000);
  expect(
    series(await net.scrape(), "weir_drops_total", { reason: "mtu_exceeded" }),
  ).toBeGreaterThanOrEqual(2);
});
