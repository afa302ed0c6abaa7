import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { relative } from "node:path";
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

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
const countByProtocol = `${filters}count-by-protocol.o`;
const short = "0200000000020200000000010800".concat(
  "4500002100004000401100007f0000017f000001",
  "30390035000d000068656c6c6f",
);

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
  const route = build(fileURLToPath(new URL("./route.c", import.meta.url)));
  return startWeir(
    place,
    `version: 1
admin: { listen: "${admin}" }
stateDir: ${place.path}/state
metrics: { listen: off }
upstreams: { app: { echo: true } }
ports: { 7: app }
routes:
  - { to: 127.0.0.0/8, port: 7, gateway: 192.0.2.1, mac: "02:00:00:00:00:55" }
  - { to: 10.0.0.0/8, action: blackhole }
filters:
  route: { object: ${route} }
  tell: { object: ${tell} }
  next: { expression: "len > 60", shadow: true }
  count: { object: ${countByProtocol} }
listeners:
  - { name: echo, protocol: udp, listen: "127.0.0.1:${port}", upstream: app, ingress: [next, tell] }
`,
  );
}

function weir(...args: string[]): Running {
  return start(process.execPath, [weirCommand, ...args, "--admin", admin]);
}

/** What a command that succeeds prints. */
async function printed(...args: string[]): Promise<string> {
  const command = weir(...args);
  expect(await command.ended, command.output()).toEqual({ code: 0, signal: null });
  return command.output();
}

async function answered(to = port): Promise<void> {
  const client = createSocket("udp4").bind(0, "127.0.0.1");
  const answer = once(client, "message");
  client.send("hello", to, "127.0.0.1");
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

test("a shadow is listed, compared, captured, left out of explanations, and promoted", async () => {
  await up();
  const capture = weir("capture", "--shadow", "next", "-c", "1");
  await capture.printed(/capturing/);
  await answered();
  expect((await capture.ended).code).toBe(0);
  expect(capture.output()).toMatch(/ pass by tell; next says drop\n/);
  expect(await printed("list")).toMatch(/ next +socket +jit +\d+ +\d+ +0 +shadow\n/);
  expect(await printed("filter", "shadow")).toMatch(
    /^FILTER +LIVE +SHADOW +PACKETS +SHARE\nnext +pass +drop +\d+ +100\.00%\n$/,
  );
  expect(await printed("explain", short, "--brief")).not.toContain("next");
  expect(await printed("filter", "promote", "next")).toBe(
    "next: live, with its maps\nwrite shadow: false in the config: a restart goes by that\n",
  );
  expect(await printed("list")).toMatch(/ promoted\n/);
  expect(await printed("explain", short, "--brief")).toMatch(/next[\s\S]*drop/);
  expect(await printed("reload")).toContain(
    "filters that stay promoted, though the config says shadow: true: next\n",
  );
  const again = weir("filter", "promote", "next");
  expect((await again.ended).code).toBe(1);
  expect(again.output()).toBe(
    "weir filter promote: filter next: is live already; name one that weir list shows as a shadow\n",
  );
  // Out of the way of what other tests send.
  await printed("filter", "disable", "next");
});

test("filter swap takes OBJECT:SECTION from the caller's folder, tells what it kept, and --undo goes back", async () => {
  await up();
  const blocklist = `${filters}blocklist.o`;
  const object = relative(process.cwd(), blocklist);
  expect(await printed("filter", "swap", "next", `${object}:xdp`)).toMatch(
    /^next: .*blocklist\.o:xdp, in \d+ ms\nmaps that began anew: next\.blocked, [\s\S]*filters that run another object than the config names: next\n$/,
  );
  expect(JSON.parse(await printed("prog", "show", "next", "--json"))).toMatchObject({
    name: "xdp_blocklist",
    object: blocklist,
  });
  const refused = weir("filter", "swap", "next", "absent.o");
  expect((await refused.ended).code).toBe(1);
  expect(refused.output()).toMatch(/^weir filter swap: filter next: .*absent\.o/);
  expect(await printed("filter", "swap", "next", "--undo")).toMatch(
    /^next: as configured, in \d+ ms\n/,
  );
  const wrong = weir("filter", "swap", "next");
  expect((await wrong.ended).code).toBe(2);
});

test("map pin keeps a map across restarts in stateDir, wherever the client would have its file", async () => {
  await up();
  const file = `${place.path}/state/count.packets_by_protocol.map`;
  expect(await printed("map", "pin", "name", "packets_by_protocol")).toBe(
    `count/packets_by_protocol: kept across restarts in ${file}\n`,
  );
  expect(await printed("map", "show", "packets_by_protocol")).toContain(`  pinned ${file}\n`);
  expect(existsSync(file)).toBe(true);
  const elsewhere = weir("map", "pin", "packets_by_protocol", "/tmp/kept");
  expect((await elsewhere.ended).code).toBe(2);
  expect(elsewhere.output()).toBe(
    "weir map pin: /tmp/kept: a map's file has the map's name, in the proxy's stateDir; write weir map pin packets_by_protocol\n",
  );
  expect(await printed("map", "unpin", "packets_by_protocol")).toBe(
    "count/packets_by_protocol: no longer kept\n",
  );
  expect(existsSync(file)).toBe(false);
  const told = weir("map", "pin", "told");
  expect((await told.ended).code).toBe(1);
  expect(told.output()).toBe(
    "weir map pin: map told: a map of type ringbuf cannot be kept across restarts; pin another map\n",
  );
});

test("explain knows the routes and ports of the proxy, and those of a config", async () => {
  await up();
  for (const where of [[], ["-c", `${place.path}/weir.yaml`]]) {
    const explained = (packet: string) =>
      printed("explain", packet, "--filter", "route", "--brief", ...where);
    expect(await explained(short)).toMatch(/verdict: tx, by filter route/);
    // To 10.0.0.1, whose route leads nowhere.
    expect(await explained(short.replace("7f0000017f000001", "7f0000010a000001"))).toMatch(
      /verdict: pass/,
    );
  }
});

needing("clang", "script")(
  "on a terminal a candidate is watched, promoted and swapped as a person would do it",
  async () => {
    const folder = temporaryFolder();
    const to = await freePort();
    const socket = `unix:${folder.path}/admin.sock`;
    const tell = build(fileURLToPath(new URL("../admin/events.c", import.meta.url)));
    const proxy = await startWeir(
      folder,
      `version: 1
admin: { listen: "${socket}" }
metrics: { listen: off }
upstreams: { app: { echo: true } }
filters:
  tell: { object: ${tell} }
  next: { expression: "len > 60", shadow: true }
listeners:
  - { name: echo, protocol: udp, listen: "127.0.0.1:${to}", upstream: app, ingress: [next, tell] }
`,
    );
    const commands = [
      "events told -c 1",
      "capture --shadow next -c 1",
      "filter shadow",
      "filter promote next",
      `filter swap next ${countByProtocol}`,
      "filter swap next --undo",
      "list",
    ];
    const typed = commands
      .map((words) => `${process.execPath} ${weirCommand} ${words} --admin ${socket}`)
      .join(" && ");
    const session = start("script", ["-qefc", typed, "/dev/null"]);
    await session.printed(/reading events/);
    await answered(to);
    await session.printed(/capturing/);
    await answered(to);
    expect(await session.ended, session.output()).toEqual({ code: 0, signal: null });
    expect(await proxy.stop()).toEqual({ code: 0, signal: null });
    folder.remove();
    expect(session.output()).not.toContain("\x1b");
    const lines = session.output().replaceAll("\r", "").trimEnd().split("\n");
    for (const [i, pattern] of [
      /^reading events; Ctrl-C ends it$/,
      /^\d\d:\d\d:\d\d\.\d{6} tell\/told \{"number":0,"length":47,"mark":7\}$/,
      /^1 event read, 0 lost$/,
      /^capturing; Ctrl-C ends it$/,
      /^\d\d:\d\d:\d\d\.\d{6} echo > IP 127\.0\.0\.1\.\d+ > 127\.0\.0\.1\.\d+: UDP, length 5 pass by tell; next says drop$/,
      /^1 packet captured, 0 lost$/,
      /^FILTER {2}LIVE {2}SHADOW {2}PACKETS {4}SHARE$/,
      /^next {4}pass {2}drop {10}2 {2}100\.00%$/,
      /^next: live, with its maps$/,
      /^write shadow: false in the config: a restart goes by that$/,
      /^next: .*\/count-by-protocol\.o, in \d+ ms$/,
      /^maps that began anew: next\.packets_by_protocol, next\.bytes_by_protocol$/,
      /^filters that stay promoted, though the config says shadow: true: next$/,
      /^filters that run another object than the config names: next$/,
      /^next: as configured, in \d+ ms$/,
      /^filters that stay promoted, though the config says shadow: true: next$/,
      /^PID +NAME +TYPE +ENGINE +RUNS +DROPPED +MAPS +STATE$/,
      /^\d+ +tell +xdp +jit +2 +0 +5 +on$/,
      /^\d+ +next +socket +jit +2 +0 +0 +promoted$/,
    ].entries())
      expect(lines[i], `line ${i}`).toMatch(pattern);
  },
);
