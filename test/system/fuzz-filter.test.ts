import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { afterEach, expect } from "vitest";
import { cleanUp, TcpClient, tcpEcho, tcpUpstream, udpSocket, udpUpstream } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { eventually } from "../support/processes.ts";
import {
  allSeries,
  buildProgram,
  enumNames,
  namesOf,
  type RunningWeir,
  runWeir,
} from "./truth-rig.ts";

/**
 * A filter that does whatever a program can do to a packet, in both directions. Its dice are the
 * engine's, so no two runs are the same: what must hold, holds for every run.
 */
const test = needing("clang");
afterEach(cleanUp);

const host = "127.0.0.1";
const mischief = () => enumNames("fuzz.c", "mischief").filter((name) => name !== "mischiefs");

function fuzzed(
  listener: string,
  { app, other, unlisted }: { app: number; other: number; unlisted: number },
): Promise<RunningWeir> {
  return runWeir(`
upstreams:
  app: { addresses: ["127.0.0.1:${app}"] }
  other: { addresses: ["127.0.0.1:${other}"] }
ports: { 1: app, 2: other }
filters:
  fuzz:
    object: ${buildProgram("fuzz")}
    globals: { unlisted_address: 127.0.0.1, unlisted_port: ${unlisted} }
    metrics:
      counters:
        - name: mischief_total
          help: What the filter did
          map: mischief
          labels: [ { name: what, size: 4, decoders: [ ${namesOf(mischief())} ] } ]
listeners:
  - { name: fuzzed, listen: "127.0.0.1:0", upstream: app, ingress: [fuzz], egress: [fuzz], ${listener} }
`);
}

interface Totals {
  readonly packets: number;
  readonly ended: number;
  readonly drops: number;
  readonly reasons: Record<string, number>;
}

async function totals(weir: RunningWeir, direction: string): Promise<Totals> {
  const text = await weir.metrics();
  const sum = (name: string, wanted: (what: string) => boolean): number =>
    Object.entries(allSeries(text, name))
      .map(([labels, value]) => ({ parts: labels.split(" "), value }))
      .filter(({ parts }) => parts[1] === direction && wanted(parts[2]!))
      .reduce((all, { value }) => all + value, 0);
  const reasons: Record<string, number> = {};
  for (const [labels, value] of Object.entries(allSeries(text, "weir_drops_total"))) {
    const [, way, reason] = labels.split(" ");
    if (way === direction) reasons[reason!] = value;
  }
  return {
    packets: sum("weir_packets_total", () => true),
    ended: sum("weir_packets_total", (what) => what === "drop" || what === "aborted"),
    drops: sum("weir_drops_total", () => true),
    reasons,
  };
}

/** Every kind of mischief was done, and every packet that ended has its reason. */
async function expectAccounted(weir: RunningWeir): Promise<void> {
  const done = allSeries(await weir.metrics(), "mischief_total");
  expect(Object.keys(done).sort()).toEqual(mischief().sort());
  for (const [what, count] of Object.entries(done)) expect(count, what).toBeGreaterThan(0);
  for (const direction of ["ingress", "egress"]) {
    const { ended, drops } = await totals(weir, direction);
    expect(drops).toBe(ended);
    expect(ended).toBeGreaterThan(0);
  }
  expect((await totals(weir, "ingress")).reasons.destination_not_allowed).toBeGreaterThan(0);
}

test("a UDP listener goes on under a filter that does anything, and sends nothing astray", async () => {
  const [app, other, unlisted] = [await udpUpstream(), await udpUpstream(), await udpSocket()];
  const weir = await fuzzed("protocol: udp", {
    app: app.port,
    other: other.port,
    unlisted: unlisted.port,
  });
  const address = { host, port: weir.port("fuzzed") };
  const rounds = 40;
  const perRound = 50;
  let sent = 0;
  for (let round = 0; round < rounds; round++) {
    const client = await udpSocket();
    for (let i = 0; i < perRound; i++) {
      const length = i === 0 ? 60_000 : i % 5 === 0 ? 1472 : i % 64;
      client.send(randomBytes(length), address);
      sent++;
    }
    const all = async () => ((await totals(weir, "ingress")).packets === sent ? true : undefined);
    await eventually(all, `fates of ${sent} datagrams`);
  }
  await expectAccounted(weir);
  // It still carries what the filter spares.
  const client = await udpSocket();
  const answered = client.next();
  const answer = async () => {
    client.send("still there?", address);
    return Promise.race([
      answered,
      new Promise<undefined>((resolve) => setTimeout(resolve, 20, undefined)),
    ]);
  };
  await eventually(answer, "an answer");
  expect(unlisted.received).toBe(0);
  expect(await weir.process.stop()).toEqual({ code: 0, signal: null });
});

for (const onSegmentDrop of ["reset", "discard"])
  test(`a TCP listener that makes ${onSegmentDrop} of drops goes on under such a filter`, async () => {
    const [app, other] = [await tcpEcho(), await tcpEcho()];
    let astray = 0;
    const unlisted = await tcpUpstream(() => astray++);
    const weir = await fuzzed(
      `protocol: tcp, onSegmentDrop: ${onSegmentDrop}, idleTimeout: 500ms`,
      { app: app.port, other: other.port, unlisted: unlisted.port },
    );
    const address = { host, port: weir.port("fuzzed") };
    const rounds = 6;
    const perRound = 60;
    for (let round = 0; round < rounds; round++) {
      const clients = Array.from({ length: perRound }, () => new TcpClient(address));
      await Promise.all(
        clients.map(async (client, i) => {
          client.write(randomBytes(1 + ((i * 997) % 9000)));
          client.write(randomBytes(10));
          client.socket.end();
          await client.over;
          const closed = client.socket.destroyed || once(client.socket, "close");
          client.socket.destroy();
          await closed;
        }),
      );
    }
    const idle = async () =>
      allSeries(await weir.metrics(), "weir_sessions").fuzzed === 0 ? true : undefined;
    await eventually(idle, "the end of all connections");
    expect(allSeries(await weir.metrics(), "weir_sessions_total")).toEqual({
      fuzzed: rounds * perRound,
    });
    await expectAccounted(weir);
    // Four frames and more must be spared for one answer: many ask at a time.
    const answer = async () => {
      const clients = Array.from({ length: 50 }, () => new TcpClient(address));
      const answers = await Promise.all(
        clients.map((client) => {
          client.write("still there?");
          return Promise.race([client.text(12), client.over]);
        }),
      );
      for (const client of clients) client.socket.destroy();
      return answers.includes("still there?") ? true : undefined;
    };
    await eventually(answer, "an answer");
    expect(astray).toBe(0);
    expect((await weir.process.stop()).signal).toBeNull();
  });
