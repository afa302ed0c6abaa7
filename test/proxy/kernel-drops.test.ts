import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { KernelDrops, type KernelDropsSource } from "../../src/proxy/kernel-drops.ts";
import { SessionPorts } from "../../src/proxy/session-ports.ts";
import { needing } from "../support/needing.ts";

const families = [
  { family: "IPv4", type: "udp4", host: "127.0.0.1" },
  { family: "IPv6", type: "udp6", host: "::1" },
] as const;
type Family = (typeof families)[number];

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

async function bound({ type, host }: Family): Promise<Socket> {
  const socket = createSocket({
    type,
    recvBufferSize: 4096,
    // Its resolver answers at once, and so do bind and send.
    lookup: (name, _, done) => done(null, name, type === "udp4" ? 4 : 6),
  });
  sockets.push(socket);
  const listening = once(socket, "listening");
  socket.bind(0, host);
  await listening;
  return socket;
}

/** Sends more than the other has room for; nothing reads meanwhile: this thread does not return to its event loop. */
function flood(from: Socket, to: Socket, datagrams = 200): void {
  const { port, address } = to.address();
  for (let i = 0; i < datagrams; i++) from.send(Buffer.alloc(1000), port, address);
}

const source = (of: Partial<KernelDropsSource>): KernelDropsSource => ({
  listeners: [],
  sessionListener: () => undefined,
  ...of,
});

const at = (name: string, socket: Socket, io: "dgram" | "mmsg" = "dgram") => {
  const { address: host, port } = socket.address();
  return { name, protocol: "udp" as const, io, address: { host, port } };
};

/** Gone, kernel and all. */
async function closed(socket: Socket): Promise<void> {
  sockets.splice(sockets.indexOf(socket), 1);
  await new Promise<void>((resolve) => socket.close(resolve));
}

for (const family of families) {
  needing("linux")(
    `datagrams that overflow a listener's ${family.family} socket are counted`,
    async () => {
      const [listener, sender] = [await bound(family), await bound(family)];
      const { port, address: host } = listener.address();
      const drops = new KernelDrops(
        source({
          listeners: [
            { name: "web", protocol: "tcp", address: { host, port } },
            at("dns", listener),
          ],
        }),
      );
      await drops.refresh();
      expect(drops.of("dns")).toBe(0);
      flood(sender, listener);
      await drops.refresh();
      const first = drops.of("dns");
      expect(first).toBeGreaterThan(100);
      expect(drops.of("web")).toBe(0);
      flood(sender, listener);
      await drops.refresh();
      expect(drops.of("dns")).toBeGreaterThan(first);
    },
  );

  needing("linux")(
    `datagrams that overflow a session's ${family.family} socket are its listener's`,
    async () => {
      const [session, upstream, stranger] = [
        await bound(family),
        await bound(family),
        await bound(family),
      ];
      const { port, address } = upstream.address();
      for (const socket of [session, stranger])
        await new Promise<void>((resolve) => socket.connect(port, address, resolve));
      const drops = new KernelDrops(
        source({
          sessionListener: (local, remote) =>
            local === session.address().port && remote === port ? "dns" : undefined,
        }),
      );
      flood(upstream, session);
      flood(upstream, stranger);
      await drops.refresh();
      expect(drops.of("dns")).toBeGreaterThan(100);
      expect(drops.of("dns")).toBeLessThanOrEqual(200);
    },
  );
}

needing("linux")(
  "a count stays when the socket goes and goes on with the next one; others' names and io: mmsg have none",
  async () => {
    const [family] = families;
    const [first, other, sender] = [await bound(family), await bound(family), await bound(family)];
    let listeners = [at("dns", first), at("batched", other, "mmsg")];
    const drops = new KernelDrops({
      get listeners() {
        return listeners;
      },
      sessionListener: () => undefined,
    });
    flood(sender, first);
    flood(sender, other);
    await drops.refresh();
    const before = drops.of("dns");
    expect(before).toBeGreaterThan(100);
    expect(drops.of("batched")).toBe(0);

    // Its listener is gone with a reload; the kernel's errors go on elsewhere.
    listeners = [];
    await closed(first);
    flood(sender, other);
    await drops.refresh();
    expect(drops.of("dns")).toBe(before);

    const second = await bound(family);
    listeners = [at("dns", second)];
    flood(sender, second);
    await Promise.all([drops.refresh(), drops.refresh()]);
    expect(drops.of("dns")).toBeGreaterThan(before + 100);

    // Another name takes the socket over: what it lost so far was the first one's.
    const both = drops.of("dns");
    listeners = [at("names", second)];
    flood(sender, second);
    await drops.refresh();
    expect(drops.of("dns")).toBe(both);
    expect(drops.of("names")).toBeGreaterThan(100);
    expect(drops.of("names")).toBeLessThanOrEqual(200);
  },
);

test("a session's port is found under both of its ports, by every thread, until it is cleared", () => {
  const worker = new SessionPorts();
  const main = new SessionPorts(worker.memory);
  expect(main.placeOf(40_000, 0)).toBe(0);
  worker.set(40_000, 53, 131_072);
  worker.set(65_535, 1, 8);
  expect(main.placeOf(40_000, 53)).toBe(131_072);
  expect(main.placeOf(65_535, 1)).toBe(8);
  expect(main.placeOf(40_000, 54)).toBe(0);
  expect(main.placeOf(40_001, 53)).toBe(0);
  worker.clear(40_000);
  expect(main.placeOf(40_000, 53)).toBe(0);
});
