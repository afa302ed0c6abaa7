import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, expect } from "vitest";
import { cleanUp, udpSocket, udpUpstream } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { eventually, temporaryFolder, weir } from "../support/processes.ts";
import { allSeries, buildProgram, type RunningWeir, runWeir } from "./truth-rig.ts";

/** A running proxy whose filter tells of packets, shares a map by name and keeps one on disk. */
const test = needing("clang");
const state = temporaryFolder();
afterEach(cleanUp);
afterAll(() => state.remove());

function runWithEvents(upstream: string): Promise<RunningWeir> {
  return runWeir(`
workers: 1
stateDir: ${join(state.path, "pins")}
log: { level: debug }
upstreams: { app: { addresses: ["${upstream}"] } }
filters:
  first: &events
    object: ${buildProgram("events")}
    maps:
      seen: { pin: true }
      shared: { pin: true }
      tokens: { entries: [ { value: 7 }, { value: 7 }, { value: 9 } ] }
      ports: { entries: [ { key: 53, value: 1 } ] }
      tenants: { entries: [ { key: 4, value: ports } ] }
    metrics:
      counters: [ { name: shared_total, help: Packets, map: shared, labels: [ { name: i, size: 4, decoders: [ { name: uint } ] } ] } ]
  second: { object: ${buildProgram("events")} }
listeners:
  - { name: dns, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [first, second] }
`);
}

test("events are logged and counted, shared maps are one, and pinned maps come back", async () => {
  const upstream = await udpUpstream();
  for (const [round, before] of [
    [1, 0],
    [2, 6],
  ] as const) {
    const running = await runWithEvents(`127.0.0.1:${upstream.port}`);
    const client = await udpSocket();
    for (let i = 0; i < 3; i++) client.socket.send("packet", running.port("dns"), "127.0.0.1");
    // Two filters for each of three packets, and a map of each kind for each filter.
    const metrics = await eventually(async () => {
      const now = await running.metrics();
      // The pump may have read one ring before the last packet, and the next one after it.
      const counts = Object.values(allSeries(now, "weir_events_total"));
      return counts.every((count) => count === 3) ? now : undefined;
    }, "three events in each ring");
    expect(allSeries(metrics, "weir_events_total")).toEqual({
      "first ring": 3,
      "first events": 3,
      "second ring": 3,
      "second events": 3,
    });
    expect(Object.values(allSeries(metrics, "weir_events_lost_total"))).toEqual([0, 0, 0, 0]);
    expect(allSeries(metrics, "shared_total"), `round ${round}`).toEqual({ 0: before + 6 });
    const entries = allSeries(metrics, "weir_map_entries");
    expect(entries["first tokens"]).toBe(3);
    expect(entries["first tenants"]).toBe(1);
    expect(entries["second tenants"]).toBe(0);
    expect(entries["first seen"]).toBe(1);
    const logged = running.process
      .output()
      .split("\n")
      .filter((line) => line.includes('"msg":"event"'))
      .map((line) => JSON.parse(line));
    // 48 bytes: 14 Ethernet, 20 IP, 8 UDP and "packet".
    expect(logged).toContainEqual(
      expect.objectContaining({ filter: "first", map: "ring", data: "30000000" }),
    );
    const sampled = logged.find(({ map }) => map === "events");
    expect(sampled.cpu).toBe(0);
    expect(sampled.data).toMatch(/^30000000[0-9a-f]{24}0800$/);
    expect((await running.process.stop()).code).toBe(0);
    expect(existsSync(join(state.path, "pins", "first.seen.map"))).toBe(true);
    expect(existsSync(join(state.path, "pins", "shared.map"))).toBe(true);
  }
});

test("weir check refuses a saved map that is damaged, by its file", async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder.path, "pins"));
  folder.write("pins/a.seen.map", "nothing of the kind");
  folder.write(
    "weir.yaml",
    `version: 1
stateDir: pins
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters: { a: { object: ${buildProgram("events")}, maps: { seen: { pin: true } } } }
listeners: [ { name: l, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [a] } ]
`,
  );
  const { code, stderr } = await weir(["check", "-c", join(folder.path, "weir.yaml")]);
  expect(code).toBe(2);
  expect(stderr).toContain("a.seen.map: it is damaged");
  folder.remove();
});

test("prog run shows each event on a line of its own, behind its packet", async () => {
  const run = ["prog", "run", buildProgram("events"), "--data", "00".repeat(60), "--repeat", "2"];
  const { stdout, stderr } = await weir([...run, "--json"]);
  expect(stderr).toBe("");
  const [outcome, ...lines] = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(outcome.ret).toBe(2);
  expect(lines.slice(0, 4)).toEqual([
    { event: { map: "ring", data: "3c000000" } },
    { event: { map: "ring", data: "3c000000" } },
    { event: { map: "events", cpu: 0, data: `3c000000${"00".repeat(14)}` } },
    { event: { map: "events", cpu: 0, data: `3c000000${"00".repeat(14)}` } },
  ]);
  expect(lines[4].lost_events).toBeUndefined();
  const many = await weir([...run.slice(0, -1), "5000", "--json"]);
  const last = JSON.parse(many.stdout.trimEnd().split("\n").at(-1)!);
  expect(last.lost_events.ring).toBe(5000 - 255);
  const text = await weir(run);
  expect(text.stdout).toContain("event of map events, cpu 0: 18 bytes, 3c0000");
});
