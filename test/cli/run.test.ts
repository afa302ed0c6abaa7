import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import {
  command,
  defaultConfig,
  freePort,
  scrape,
  series,
  start,
  startWeir,
  temporaryFolder,
  weir,
  weirCommand,
} from "../support/processes.ts";

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
const shippedConfig = fileURLToPath(new URL("../../config/weir.yaml", import.meta.url));
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): ReturnType<typeof temporaryFolder> {
  const made = temporaryFolder();
  cleanups.push(() => made.remove());
  return made;
}

test("check tells of every error of a config at once, with places and remedies, exit 2", async () => {
  const file = folder().write(
    "weir.yaml",
    `version: 1
upstream: {}
upstreams: { app: { addresses: ["127.0.0.1"] } }
listeners:
  - { name: dns, protocol: upd, listen: "127.0.0.1:5300", upstream: ap }
`,
  );
  const { code, stdout, stderr } = await weir(["check", "-c", file]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  const lines = stderr.trimEnd().split("\n");
  expect(lines.slice(0, -1).map((line) => line.slice(file.length).match(/^:\d+:\d+/)?.[0])).toEqual(
    [":2:1", ":3:33", ":5:28", ":5:69"],
  );
  expect(lines.at(-1)).toBe("4 errors");
  expect(stderr).toMatch(/upstreams\?|did you mean upstreams|write upstreams/i);
});

test("check refuses an object that is not eBPF with a named error, exit 1", async () => {
  const place = folder();
  const object = place.write("broken.o", "\x7fELF and no more");
  const file = place.write(
    "weir.yaml",
    `version: 1
upstreams: { app: { echo: true } }
filters: { bad: { object: ${object} } }
listeners:
  - { name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app, ingress: [bad] }
`,
  );
  const { code, stderr } = await weir(["check", "-c", file]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/weir\.yaml:3:\d+: .*broken\.o/);
  expect(stderr).not.toMatch(/\n\s+at /);
});

test("check says what the default config would run", async () => {
  const { code, stdout, stderr } = await weir(["check", "-c", shippedConfig]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/echo-udp +udp +127\.0\.0\.1:7070 +app +count → blocklist +count/);
  const { stdout: json } = await weir(["check", "-c", shippedConfig, "--json"]);
  expect(JSON.parse(json)).toMatchObject({
    listeners: [{ name: "echo-udp" }, { name: "echo-tcp" }],
  });
});

test("run tells which listener cannot be bound and what to do, exit 1", async () => {
  const port = await freePort();
  const taken = start(process.execPath, [
    "-e",
    `require("net").createServer().listen(${port}, "127.0.0.1", () => console.log("up"))`,
  ]);
  cleanups.push(() => taken.stop());
  await taken.printed(/up/);
  const file = folder().write(
    "weir.yaml",
    `version: 1
metrics: { listen: off }
upstreams: { app: { echo: true } }
listeners:
  - { name: web, protocol: tcp, listen: "127.0.0.1:${port}", upstream: app }
`,
  );
  const { code, stderr } = await weir(["run", "-c", file]);
  expect(code).toBe(1);
  expect(stderr).toMatch(new RegExp(`^weir run: .*web.*127\\.0\\.0\\.1:${port}`, "m"));
  expect(stderr).not.toMatch(/\n\s+at /);
});

test("SIGTERM lets an open TCP connection finish, then ends with exit 0", async () => {
  const [port, metrics] = [await freePort(), await freePort()];
  const running = await startWeir(
    folder(),
    `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { app: { echo: true } }
filters: { count: { object: ${filters}count-by-protocol.o } }
listeners:
  - { name: web, protocol: tcp, listen: "127.0.0.1:${port}", upstream: app, ingress: [count] }
`,
  );
  cleanups.push(() => running.stop("SIGKILL"));
  const client = connect(port, "127.0.0.1");
  client.write("before");
  expect(String((await once(client, "data"))[0])).toBe("before");
  expect(series(await scrape(metrics), "weir_sessions", { listener: "web" })).toBe(1);
  running.child.kill("SIGTERM");
  await running.printed(/"msg":"stopping"/);
  client.write("after");
  expect(String((await once(client, "data"))[0])).toBe("after");
  const ended = once(client, "close");
  client.end();
  await ended;
  expect(await running.ended).toEqual({ code: 0, signal: null });
});

for (const { signals, code } of [
  { signals: ["SIGTERM"], code: 0 },
  // None is left for last words: there is nothing to tell of yet.
  { signals: ["SIGTERM", "SIGINT"], code: 1 },
])
  test(`${signals.join(" and ")} while the command was still being loaded end it with exit ${code}`, async () => {
    const { text } = await defaultConfig();
    const place = folder();
    const config = place.write("weir.yaml", text);
    const main = new URL("../../src/cli/main.ts", import.meta.url);
    const script = place.write(
      "early.mjs",
      `import { main } from ${JSON.stringify(main.href)};
      const early = { take: () => ${JSON.stringify(signals)} };
      process.exit(await main(["run", "-c", ${JSON.stringify(config)}], early));`,
    );
    const ended = await command(process.execPath, [script]);
    expect(ended.code).toBe(code);
    expect(ended.stderr).not.toMatch(/internal error|bug/i);
  });

needing("clang")(
  "a filter that faults is ABORTED: counted, logged with instruction and cause",
  async () => {
    const [port, metrics] = [await freePort(), await freePort()];
    const place = folder();
    const object = build(fileURLToPath(new URL("../system/programs/long-run.c", import.meta.url)));
    const running = await startWeir(
      place,
      `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { app: { echo: true } }
filters: { long: { object: ${object} } }
listeners:
  - { name: echo, protocol: udp, listen: "127.0.0.1:${port}", upstream: app, ingress: [long] }
`,
    );
    cleanups.push(() => running.stop());
    const client = createSocket("udp4").bind(0, "127.0.0.1");
    cleanups.push(() => client.close());
    client.send("short", port, "127.0.0.1");
    const [, logged] = await running.printed(/({.*"msg":"filter aborted"})/);
    expect(JSON.parse(logged!)).toMatchObject({
      level: "warn",
      filter: "long",
      program: "xdp_long_run",
      code: "budget_exceeded",
      slot: expect.any(Number),
      message: expect.stringMatching(/no exit within 67108864 instructions/),
    });
    // The listener goes on: a datagram that takes not as long comes back.
    client.send("long enough", port, "127.0.0.1");
    expect(String((await once(client, "message"))[0])).toBe("long enough");
    const counted = await scrape(metrics);
    const aborted = { listener: "echo", direction: "ingress" };
    expect(series(counted, "weir_packets_total", { ...aborted, verdict: "aborted" })).toBe(1);
    expect(series(counted, "weir_drops_total", { ...aborted, reason: "budget_exceeded" })).toBe(1);
    expect(
      series(counted, "weir_filter_verdicts_total", { filter: "long", verdict: "aborted" }),
    ).toBe(1);
  },
);

needing("script")(
  "on a terminal the log is for people, with commands to try, and SIGHUP ends it",
  async () => {
    const { text, port } = await defaultConfig();
    const file = folder().write("weir.yaml", text);
    const weirRun = `${process.execPath} ${weirCommand} run -c ${file}`;
    const running = start("script", ["-qefc", weirRun, "/dev/null"]);
    cleanups.push(() => running.stop("SIGKILL"));
    await running.printed(/Ctrl-C ends it/);
    const output = running.output();
    expect(output).toMatch(
      /\d\d:\d\d:\d\d info {2}listening {2}listener=echo-udp protocol=udp address=127\.0\.0\.1:\d+ io=dgram\s/,
    );
    expect(output).toContain(`echo hello | nc -u -w1 127.0.0.1 ${port}`);
    expect(output).not.toContain('{"level"');
  },
);

test("the proxy goes on when the reader of its log has gone, and still ends in order", async () => {
  const { text, port } = await defaultConfig();
  const running = await startWeir(folder(), text);
  cleanups.push(() => running.stop("SIGKILL"));
  running.child.stderr!.destroy();
  const client = createSocket("udp4").bind(0, "127.0.0.1");
  cleanups.push(() => client.close());
  client.send("still there", port, "127.0.0.1");
  expect(String((await once(client, "message"))[0])).toBe("still there");
  // What is logged on the way out finds no reader.
  expect(await running.stop()).toEqual({ code: 0, signal: null });
});

test("--help into a full disk is one line of error, exit 1", async () => {
  const { code, stderr } = await command("sh", [
    "-c",
    `"$0" "$1" --help > /dev/full`,
    process.execPath,
    weirCommand,
  ]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^weir: standard output: .*\n$/);
});
