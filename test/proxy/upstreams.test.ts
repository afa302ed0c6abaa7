import { once } from "node:events";
import { createServer } from "node:net";
import { afterEach, expect, test } from "vitest";
import { Upstream } from "../../src/proxy/destinations.ts";
import { endpointKey } from "../../src/proxy/endpoint.ts";
import type { Address, UpstreamPlan } from "../../src/proxy/plan.ts";
import { rendezvousOrder } from "../../src/proxy/rendezvous.ts";
import { needing } from "../support/needing.ts";
import { start } from "../support/processes.ts";
import { planOf, running } from "./plan-of.ts";
import {
  cleanUp,
  type Inbox,
  onCleanUp,
  type Rig,
  startRig,
  TcpClient,
  tcpUpstream,
  udpSocket,
  udpUpstream,
  until,
} from "./rig.ts";

afterEach(cleanUp);

/** An upstream of UDP servers that answer with their number. */
async function numbered(count: number, more: Partial<UpstreamPlan> = {}): Promise<UpstreamPlan> {
  const servers = await Promise.all(Array.from({ length: count }, (_, i) => udpUpstream(`${i}`)));
  return { name: "app", addresses: servers.map(({ address }) => address), ...more };
}

async function askedBy(client: Inbox, rig: Rig): Promise<string> {
  client.send("", rig.address);
  return client.text();
}

/** A TCP server that writes `mark` to each connection. */
async function greeting(mark: string): Promise<Address> {
  const { host, port } = await tcpUpstream((socket) => socket.write(mark));
  return { host, port };
}

async function greeted(rig: Rig): Promise<string> {
  return new TcpClient(rig.address).text(1);
}

/** A port of 127.0.0.1 that nobody has: it refuses. */
async function refusing(): Promise<Address> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return { host: "127.0.0.1", port };
}

test("round_robin gives new UDP sessions one address after another, and each client keeps its own", async () => {
  const rig = await startRig("udp", { upstreams: [await numbered(3)] });
  const clients = await Promise.all(Array.from({ length: 6 }, () => udpSocket()));
  const first: string[] = [];
  for (const client of clients) first.push(await askedBy(client, rig));
  expect(first).toEqual(["0", "1", "2", "0", "1", "2"]);
  for (const [i, client] of clients.entries()) expect(await askedBy(client, rig)).toBe(first[i]);
});

test("round_robin gives new TCP connections one address after another", async () => {
  const addresses = [await greeting("a"), await greeting("b")];
  const rig = await startRig("tcp", { upstreams: [{ name: "app", addresses }] });
  const marks: string[] = [];
  for (let i = 0; i < 4; i++) marks.push(await greeted(rig));
  expect(marks).toEqual(["a", "b", "a", "b"]);
});

for (const protocol of ["udp", "tcp"] as const)
  test(`round_robin shares what two neighbours of four that are down would get between the other two, ${protocol}`, async () => {
    const plan =
      protocol === "udp"
        ? await numbered(4)
        : { name: "app", addresses: await Promise.all(["0", "1", "2", "3"].map(greeting)) };
    const rig = await startRig(protocol, { upstreams: [plan] });
    rig.counters.setChecked(1, "down");
    rig.counters.eject(2, rig.clock.nowMs() + 60_000);
    const marks: string[] = [];
    for (let i = 0; i < 6; i++)
      marks.push(protocol === "udp" ? await askedBy(await udpSocket(), rig) : await greeted(rig));
    expect(marks).toEqual(["0", "3", "0", "3", "0", "3"]);
  });

test("an upstream without an address gives none", () => {
  for (const balance of ["round_robin", "client_hash"] as const) {
    const upstream = new Upstream(
      { name: "app", addresses: [], balance },
      0,
      { isOut: () => false },
      0,
    );
    expect(upstream.inOrder("198.51.100.1")).toEqual([]);
    expect(upstream.pick("198.51.100.1")).toBeUndefined();
  }
});

test("round_robin has all others share what an address refuses, neighbours of it that refuse too or not", () => {
  const addresses = Array.from({ length: 5 }, (_, i) => ({ host: `192.0.2.${i}`, port: 1 }));
  const upstream = new Upstream({ name: "app", addresses }, 0, { isOut: () => false }, 0);
  const refusing = new Set(["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
  const taken = new Map<string, number>();
  for (let i = 0; i < 5_000; i++) {
    const order = upstream.inOrder("198.51.100.1").map(({ host }) => host);
    expect(order[0]).toBe(`192.0.2.${i % 5}`);
    expect([...order].sort()).toEqual(addresses.map(({ host }) => host));
    const taker = order.find((host) => !refusing.has(host))!;
    taken.set(taker, (taken.get(taker) ?? 0) + 1);
  }
  // 1,000 each of their own, and half of 3,000 more: five and a half standard deviations either way.
  for (const host of ["192.0.2.0", "192.0.2.4"])
    expect(Math.abs(taken.get(host)! - 2_500)).toBeLessThan(150);
});

needing("linux")(
  "workers take turns each for itself, and begin at different addresses",
  async () => {
    const workers = 2;
    const { plan, counters } = await planOf({
      upstreams: [await numbered(4)],
      listeners: [{}],
      workers,
    });
    for (const worker of counters) for (const down of [1, 2]) worker.setChecked(down, "down");
    const proxy = await running(plan);
    const opened = (worker: number): number => counters[worker]!.readCell(0, "sessions_total");
    const marks: string[][] = [[], []];
    while (marks.some((own) => own.length < 4)) {
      const client = await udpSocket();
      const before = opened(0);
      client.send("", proxy.listeners[0]!.address);
      const mark = await client.text();
      marks[opened(0) > before ? 0 : 1]!.push(mark);
    }
    expect(marks.map((own) => own.slice(0, 4))).toEqual([
      ["0", "3", "0", "3"],
      ["3", "0", "3", "0"],
    ]);
  },
);

test("client_hash gives all of one client's sessions one address, and spreads the clients", async () => {
  const rig = await startRig("udp", { upstreams: [await numbered(3, { balance: "client_hash" })] });
  const used = new Set<string>();
  for (let host = 1; host <= 20; host++) {
    const [one, other] = [await udpSocket(`127.0.0.${host}`), await udpSocket(`127.0.0.${host}`)];
    const address = await askedBy(one, rig);
    expect(await askedBy(other, rig)).toBe(address);
    used.add(address);
  }
  expect([...used].sort()).toEqual(["0", "1", "2"]);
});

test("rendezvous hashing spreads evenly, and moves only the clients of an address that goes", () => {
  const nodes = Array.from({ length: 5 }, (_, i) => ({ key: `10.0.0.${i + 1}:8080` }));
  const clients = Array.from({ length: 5_000 }, (_, i) => `192.0.${i >> 8}.${i & 255}`);
  const before = clients.map((client) => nodes[rendezvousOrder(client, nodes)[0]!]!);
  for (const node of nodes) {
    const share = before.filter((one) => one === node).length;
    // Binomial, 1,000 expected: nearly six standard deviations either way.
    expect(share).toBeGreaterThan(840);
    expect(share).toBeLessThan(1_160);
  }
  const left = nodes.filter((_, i) => i !== 2);
  for (const [i, client] of clients.entries()) {
    const now = left[rendezvousOrder(client, left)[0]!]!;
    if (before[i] !== nodes[2]) expect(now).toBe(before[i]);
  }
});

test("an address that refuses connections is ejected after so many in a row, and comes back after its time", async () => {
  const [gone, here] = [await refusing(), await greeting("b")];
  const rig = await startRig("tcp", {
    upstreams: [
      { name: "app", addresses: [gone, here], ejection: { failures: 2, timeMs: 60_000 } },
    ],
  });
  const isOut = (): boolean => rig.counters.isEjected(0, rig.clock.nowMs());
  // Each finds the other address: the first and third are tried at the one that refuses.
  expect(await greeted(rig)).toBe("b");
  expect(await greeted(rig)).toBe("b");
  expect(isOut()).toBe(false);
  expect(await greeted(rig)).toBe("b");
  expect(isOut()).toBe(true);
  const triedMs = rig.counters.readUpstream(0);
  for (let i = 0; i < 4; i++) expect(await greeted(rig)).toBe("b");
  expect(rig.counters.readUpstream(0)).toBe(triedMs);
  rig.counters.eject(0, rig.clock.nowMs());
  await until(() => !isOut());
  await greeted(rig);
  await greeted(rig);
  expect(rig.counters.readUpstream(0)).not.toBe(triedMs);
});

test("an answer between failures starts their count anew", async () => {
  const rig = await startRig("tcp", {
    upstreams: [
      {
        name: "app",
        addresses: [await greeting("a"), await greeting("b")],
        ejection: { failures: 2, timeMs: 60_000 },
      },
    ],
  });
  rig.counters.addFailure(0);
  expect(await greeted(rig)).toBe("a");
  expect(rig.counters.addFailure(0)).toBe(1);
});

test("a UDP client whose address refuses datagrams goes on at another once that is ejected", async () => {
  const [gone, here] = [await refusing(), await udpUpstream("b")];
  const addresses = [gone, here.address];
  const nodes = addresses.map(({ host, port }) => ({ key: endpointKey(host, port) }));
  const host = Array.from({ length: 100 }, (_, i) => `127.0.0.${i + 1}`).find(
    (one) => rendezvousOrder(one, nodes)[0] === 0,
  );
  const rig = await startRig("udp", {
    upstreams: [
      {
        name: "app",
        addresses,
        balance: "client_hash",
        ejection: { failures: 3, timeMs: 60_000 },
      },
    ],
  });
  const client = await udpSocket(host);
  const refused = (): number => rig.drops("ingress").upstream_unreachable ?? 0;
  for (let failures = 1; failures <= 3; failures++) {
    client.send("", rig.address);
    await until(() => refused() === failures && rig.counters.readCell(0, "sessions") === 0);
  }
  expect(await askedBy(client, rig)).toBe("b");
  expect(refused()).toBe(3);
});

test("the last address standing is never ejected", async () => {
  const addresses = [await refusing(), await refusing()];
  const rig = await startRig("tcp", {
    upstreams: [{ name: "app", addresses, ejection: { failures: 1, timeMs: 60_000 } }],
  });
  for (let i = 0; i < 4; i++) expect(await new TcpClient(rig.address).over).toBe("ECONNRESET");
  const out = addresses.map((_, i) => rig.counters.isEjected(i, rig.clock.nowMs()));
  expect(out.filter(Boolean)).toHaveLength(1);
});

test("addresses that health checks find down get nothing new, unless all are down", async () => {
  const rig = await startRig("udp", { upstreams: [await numbered(3)] });
  const kept = await udpSocket();
  expect(await askedBy(kept, rig)).toBe("0");
  rig.counters.setChecked(0, "down");
  rig.counters.setChecked(1, "down");
  expect(await askedBy(kept, rig)).toBe("2");
  for (let i = 0; i < 4; i++) expect(await askedBy(await udpSocket(), rig)).toBe("2");
  rig.counters.setChecked(2, "down");
  const used = new Set<string>();
  for (let i = 0; i < 3; i++) used.add(await askedBy(await udpSocket(), rig));
  expect([...used].sort()).toEqual(["0", "1", "2"]);
});

test("a connection that is not there within connectTimeout goes to the next address", async () => {
  // A stopped process takes no connections; behind a backlog of one the kernel answers no SYN either.
  const stopped = start(process.execPath, [
    "-e",
    `const server = require("node:net").createServer();
     server.listen({ host: "127.0.0.1", port: 0, backlog: 1 }, () => console.log("port", server.address().port));`,
  ]);
  onCleanUp(() => stopped.stop("SIGKILL"));
  const port = Number((await stopped.printed(/port (\d+)/))[1]);
  stopped.child.kill("SIGSTOP");
  const full = { host: "127.0.0.1", port };
  const queued = [new TcpClient(full), new TcpClient(full)];
  await Promise.all(queued.map(({ socket }) => once(socket, "connect")));
  const rig = await startRig("tcp", {
    upstreams: [{ name: "app", addresses: [full, await greeting("b")], connectTimeoutMs: 50 }],
  });
  expect(await greeted(rig)).toBe("b");
  expect(rig.counters.readUpstream(0)).toBeLessThan(0);
});
