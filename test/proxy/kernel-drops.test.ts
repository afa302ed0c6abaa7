import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, onTestFinished, test } from "vitest";
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

/** A table's line, of a socket of 127.0.0.1. */
function line(port: number, inode: number, droppedDatagrams: number): string {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const queues = "07 00000000:00000000 00:00000000 00000000";
  return `  ${inode}: ${local} 00000000:0000 ${queues}     0        0 ${inode} 2 0000000000000000 ${droppedDatagrams}`;
}

/** Files as the kernel's, and listeners at ports 1 and 2. A reading has time for a chunk only. */
class Tables {
  readonly #folder = mkdtempSync(join(tmpdir(), "weir-kernel-drops-"));
  readonly udp = join(this.#folder, "udp");
  readonly udp6 = join(this.#folder, "udp6");
  readonly #snmp = join(this.#folder, "snmp");
  readonly #snmp6 = join(this.#folder, "snmp6");
  readonly drops = new KernelDrops(
    source({
      listeners: [1, 2].map((port) => ({
        name: `port${port}`,
        protocol: "udp",
        io: "dgram",
        address: { host: "127.0.0.1", port },
      })),
    }),
    {
      tables: [this.udp, this.udp6],
      totals: [this.#snmp, this.#snmp6],
      mostReadingMs: 0,
    },
  );

  constructor() {
    onTestFinished(() => rmSync(this.#folder, { recursive: true }));
    writeFileSync(this.#snmp6, "Udp6InErrors 0\n");
    this.fail(0);
    this.write(this.udp, []);
    this.write(this.udp6, []);
  }

  write(table: string, lines: readonly string[]): void {
    const header =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid";
    writeFileSync(table, [header, ...lines.map((text) => text.padEnd(127)), ""].join("\n"));
  }

  /** The kernel's errors of all sockets. */
  fail(errors: number): void {
    writeFileSync(this.#snmp, `Udp: InDatagrams InErrors\nUdp: 7 ${errors}\n`);
  }

  async refresh(times = 1): Promise<readonly number[]> {
    for (let i = 0; i < times; i++) await this.drops.refresh();
    return [1, 2].map((port) => this.drops.of(`port${port}`));
  }
}

/** Five chunks and a half; the line at the end of the first one is in the next one too. */
const fiveChunks = Array.from({ length: 2_800 }, (_, i) =>
  i === 511 ? line(1, 10, 2) : line(9, 1_000 + i, 3),
);

test("a reading that has to stop is gone on with by the next ones, to the last table's end, and then no more", async () => {
  const tables = new Tables();
  tables.write(tables.udp, [...fiveChunks, line(1, 11, 5)]);
  tables.write(tables.udp6, [line(2, 12, 6)]);
  expect(await tables.refresh()).toEqual([0, 0]);
  expect(await tables.refresh(4)).toEqual([2, 0]);
  expect(await tables.refresh()).toEqual([7, 0]);
  // It finds that there are no more lines, and goes on with the other table; the last finds its end.
  expect(await tables.refresh()).toEqual([7, 6]);
  await tables.refresh();
  tables.write(tables.udp, [line(1, 11, 50)]);
  expect(await tables.refresh(10)).toEqual([7, 6]);
  tables.fail(1);
  expect(await tables.refresh(10)).toEqual([52, 6]);
});

test("a reading that goes on in a table that has changed takes no part of a line for one", async () => {
  const tables = new Tables();
  const lines = [...fiveChunks, line(1, 11, 5), line(1, 12, 40)];
  tables.write(tables.udp, lines);
  await tables.refresh();
  for (let bytes = 1; bytes < 128; bytes += 9) {
    const before = await tables.refresh(0);
    const grown = line(9, 1_000, 3).padEnd(127 + bytes);
    tables.write(tables.udp, [grown, ...lines.slice(1)]);
    expect((await tables.refresh(12))[0]).toBeGreaterThanOrEqual(before[0]!);
    tables.fail(bytes);
  }
  expect(await tables.refresh(12)).toEqual([47, 0]);
});

test("a socket whose line moved to where a reading has been is not counted twice; once gone it still counts", async () => {
  const tables = new Tables();
  tables.write(tables.udp, [...fiveChunks, line(1, 11, 5)]);
  expect(await tables.refresh(12)).toEqual([7, 0]);
  tables.fail(1);
  await tables.refresh();
  tables.write(tables.udp, [line(1, 11, 5), ...fiveChunks]);
  expect(await tables.refresh(12)).toEqual([7, 0]);
  tables.fail(2);
  expect(await tables.refresh(12)).toEqual([7, 0]);
  for (const errors of [3, 4, 5]) {
    tables.write(tables.udp, [line(1, 12, errors)]);
    tables.fail(errors);
    expect(await tables.refresh(12)).toEqual([7 + errors, 0]);
  }
});

test("a table that cannot be read leaves counts as they are and is read again, the other one meanwhile", async () => {
  const tables = new Tables();
  tables.write(tables.udp, [line(1, 11, 5)]);
  tables.write(tables.udp6, [line(2, 12, 6)]);
  expect(await tables.refresh(4)).toEqual([5, 6]);
  // Opens, but does not read.
  rmSync(tables.udp);
  mkdirSync(tables.udp);
  tables.write(tables.udp6, [line(2, 12, 7)]);
  tables.fail(1);
  expect(await tables.refresh(4)).toEqual([5, 7]);
  // Does not even open.
  rmdirSync(tables.udp);
  symlinkSync(tables.udp, tables.udp);
  tables.write(tables.udp6, [line(2, 12, 8)]);
  expect(await tables.refresh(4)).toEqual([5, 8]);
  unlinkSync(tables.udp);
  tables.write(tables.udp, [line(1, 11, 9)]);
  expect(await tables.refresh(4)).toEqual([9, 8]);
});

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
