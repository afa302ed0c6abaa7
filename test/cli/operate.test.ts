import { createSocket } from "node:dgram";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import {
  freePort,
  type Running,
  start,
  startWeir,
  temporaryFolder,
  weirCommand,
} from "../support/processes.ts";

/** Commands that change or watch what a running proxy's filters do, as a user types them. */
const test = needing("clang");
const place = temporaryFolder();
const admin = `unix:${place.path}/admin.sock`;
let running: Promise<Running> | undefined;
let port: number;
afterAll(async () => {
  await (await running)?.stop();
  place.remove();
});

/** The proxy under test, started by the first test that needs it: without clang none does. */
function up(): Promise<Running> {
  running ??= startProxy();
  return running;
}

async function startProxy(): Promise<Running> {
  port = await freePort();
  const tell = build(fileURLToPath(new URL("../admin/events.c", import.meta.url)));
  return startWeir(
    place,
    `version: 1
admin: { listen: "${admin}" }
metrics: { listen: off }
upstreams: { app: { echo: true } }
filters:
  tell: { object: ${tell} }
listeners:
  - { name: echo, protocol: udp, listen: "127.0.0.1:${port}", upstream: app, ingress: [tell] }
`,
  );
}

function weir(...args: string[]): Running {
  return start(process.execPath, [weirCommand, ...args, "--admin", admin]);
}

async function answered(): Promise<void> {
  const client = createSocket("udp4").bind(0, "127.0.0.1");
  const answer = once(client, "message");
  client.send("hello", port, "127.0.0.1");
  await answer;
  client.close();
}

for (const words of [
  ["events", "told"],
  ["map", "event_pipe", "name", "told"],
])
  test(`weir ${words.join(" ")} prints an event a line, and ends after -c`, async () => {
    await up();
    const events = weir(...words, "-c", "2");
    await events.printed(/reading events/);
    await answered();
    await answered();
    expect(await events.ended).toEqual({ code: 0, signal: null });
    const lines = events.output().split("\n");
    expect(lines.slice(1, 3)).toEqual([
      expect.stringMatching(
        /^\d\d:\d\d:\d\d\.\d{6} tell\/told \{"number":\d+,"length":47,"mark":7\}$/,
      ),
      expect.stringMatching(/tell\/told/),
    ]);
    expect(lines[3]).toBe("2 events read, 0 lost");
  });

test("weir events --json prints what the API says, of all maps", async () => {
  await up();
  const events = weir("events", "--filter", "tell", "--json", "-c", "3");
  await events.printed(/reading events/);
  await answered();
  expect((await events.ended).code).toBe(0);
  const rows = events
    .output()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  expect(rows.map(({ map }) => map).sort()).toEqual(["narrow", "samples", "told"]);
  expect(rows.find(({ map }) => map === "samples")).toMatchObject({ cpu: 0, filter: "tell" });
});
