import { afterEach, describe, expect, test } from "vitest";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { cleanUp, onCleanUp, udpSocket } from "../proxy/rig.ts";
import {
  freePort,
  type Running,
  scrape,
  series,
  start,
  temporaryFolder,
  weir,
  weirCommand,
} from "../support/processes.ts";
import { saboteur } from "../support/saboteur.ts";

afterEach(cleanUp);

const hasBatches = (await socketCallsProblem()) === undefined;

/** `batched`: port of a listener with `io: mmsg`, whose sockets the saboteur does not see. */
async function startSabotaged(
  port: number,
  metrics: number,
  more = "",
  batched?: number,
): Promise<Running> {
  const running = startWith(saboteur, port, metrics, more, batched);
  await running.printed(/"msg":"ready"/);
  return running;
}

function startWith(
  module: string,
  port: number,
  metrics: number,
  more = "",
  batched?: number,
): Running {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const config = folder.write(
    "weir.yaml",
    `version: 1
${more}metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { app: { echo: true } }
listeners:
  - { name: a, protocol: udp, listen: "127.0.0.1:${port}", io: dgram, upstream: app }
${batched === undefined ? "" : `  - { name: b, protocol: udp, listen: "127.0.0.1:${batched}", io: mmsg, upstream: app }\n`}`,
  );
  const preload = folder.write("preloaded.mjs", module);
  const running = start(process.execPath, [weirCommand, "run", "-c", config], {
    env: { ...process.env, NODE_OPTIONS: `--import=${preload}` },
  });
  onCleanUp(() => running.stop("SIGKILL"));
  return running;
}

/** Keeps a start from its end: the metrics server never listens, though workers forward already. */
const holding = `
import { writeSync } from "node:fs";
import { Server } from "node:http";
import { isMainThread } from "node:worker_threads";
if (isMainThread)
  Server.prototype.listen = function () {
    writeSync(2, "held\\n");
    return this;
  };
`;

test("a data worker that dies is started again and counted; at the third death in 10 s the process ends with exit 1", async () => {
  const [port, metrics] = [await freePort(), await freePort()];
  const running = await startSabotaged(port, metrics);
  const to = { host: "127.0.0.1", port };
  for (let death = 1; death < 3; death++) {
    (await udpSocket()).send("die", to);
    await running.printed(
      new RegExp(
        `(?:"cause":"Error: sabotage.*"msg":"worker died and is started again"[^]*?){${death}}`,
      ),
    );
    const client = await udpSocket();
    const timer = setInterval(() => client.send("alive", to), 20);
    expect(await client.text()).toBe("alive");
    clearInterval(timer);
    expect(series(await scrape(metrics), "weir_worker_restarts_total")).toBe(death);
  }
  (await udpSocket()).send("die", to);
  expect(await running.ended).toEqual({ code: 1, signal: null });
  expect(running.output()).toMatch(
    /"level":"fatal".*"cause":"worker 0 died, the third death in 10 s: Error: sabotage/,
  );
});

test("a data worker that is stuck has a reload refused, is started again and counted", async () => {
  const [port, metrics] = [await freePort(), await freePort()];
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const admin = `unix:${folder.path}/admin.sock`;
  const running = await startSabotaged(port, metrics, `admin: { listen: "${admin}" }\n`);
  const to = { host: "127.0.0.1", port };
  (await udpSocket()).send("spin", to);
  await running.printed(/spinning/);
  const reload = weir(["reload", "--admin", admin]);
  await running.printed(
    /"cause":"worker_stuck: [^"]* for 6 s","msg":"worker died and is started again"/,
  );
  expect(await reload).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/worker 0: died: worker_stuck/),
  });
  const client = await udpSocket();
  const timer = setInterval(() => client.send("alive", to), 20);
  expect(await client.text()).toBe("alive");
  clearInterval(timer);
  expect(series(await scrape(metrics), "weir_worker_restarts_total")).toBe(1);
  expect((await weir(["reload", "--admin", admin])).code).toBe(0);
  expect(await running.stop()).toEqual({ code: 0, signal: null });
});

test("SIGTERM ends a process whose data worker is stuck a second after its drain timeout", async () => {
  const [port, metrics] = [await freePort(), await freePort()];
  const running = await startSabotaged(port, metrics, "drainTimeout: 1ms\n");
  (await udpSocket()).send("spin in WebAssembly", { host: "127.0.0.1", port });
  await running.printed(/spinning/);
  expect(await running.stop()).toEqual({ code: 0, signal: null });
  expect(running.output()).toMatch(
    /"level":"warn".*"msg":"worker 0 died as the proxy stopped: worker_stuck: it had not stopped a second after its drain timeout"/,
  );
});

describe.skipIf(!hasBatches)("where datagrams wait at a listener with io: mmsg", () => {
  test("a worker that is stuck is ended as any other, and started again", async () => {
    const [port, metrics, batched] = [await freePort(), await freePort(), await freePort()];
    const running = await startSabotaged(port, metrics, "", batched);
    for (let death = 1; death < 3; death++) {
      (await udpSocket()).send("spin", { host: "127.0.0.1", port });
      await running.printed(new RegExp(`(?:spinning[^]*?){${death}}`));
      const waiting = await udpSocket();
      for (let i = 0; i < 100; i++) waiting.send("x", { host: "127.0.0.1", port: batched });
      await running.printed(
        new RegExp(
          `(?:"cause":"worker_stuck: .*"msg":"worker died and is started again"[^]*?){${death}}`,
        ),
      );
      const client = await udpSocket();
      const timer = setInterval(() => client.send("y", { host: "127.0.0.1", port: batched }), 20);
      expect(await client.text()).toBe("y");
      clearInterval(timer);
    }
    expect(await running.stop()).toEqual({ code: 0, signal: null });
  });

  test("SIGTERM ends a process whose worker is stuck, time and again", async () => {
    for (let round = 0; round < 3; round++) {
      const [port, metrics, batched] = [await freePort(), await freePort(), await freePort()];
      const running = await startSabotaged(port, metrics, "drainTimeout: 1ms\n", batched);
      (await udpSocket()).send("spin", { host: "127.0.0.1", port });
      await running.printed(/spinning/);
      const waiting = await udpSocket();
      for (let i = 0; i < 100; i++) waiting.send("x", { host: "127.0.0.1", port: batched });
      expect(await running.stop()).toEqual({ code: 0, signal: null });
    }
  });

  test("a second signal ends a process that is starting with exit 1, whatever its workers do", async () => {
    for (let round = 0; round < 2; round++) {
      const [port, metrics, batched] = [await freePort(), await freePort(), await freePort()];
      const running = startWith(holding, port, metrics, "workers: 2\n", batched);
      const clients = await Promise.all(Array.from({ length: 4 }, () => udpSocket()));
      const timer = setInterval(() => {
        for (const client of clients)
          for (let i = 0; i < 5; i++) client.send("x", { host: "127.0.0.1", port: batched });
      }, 1);
      onCleanUp(() => clearInterval(timer));
      await running.printed(/held/);
      await clients[0]!.text();
      running.child.kill("SIGTERM");
      expect(await running.stop("SIGINT")).toEqual({ code: 1, signal: null });
      clearInterval(timer);
    }
  });
});

test("sessions of a worker that died end in the access log, each once", async () => {
  const [port, metrics] = [await freePort(), await freePort()];
  const running = await startSabotaged(port, metrics, "accessLog: { sessions: all }\n");
  const to = { host: "127.0.0.1", port };
  const client = await udpSocket();
  client.send("alive", to);
  await client.text();
  const [, session] = await running.printed(/"session":"([^"]+)".*"msg":"session start"/);
  client.send("die", to);
  await running.printed(/"msg":"worker died and is started again"/);
  await running.stop();
  const ends = running
    .output()
    .split("\n")
    .filter((line) => line.includes(`"session":"${session}"`) && line.includes("session end"));
  expect(ends.map((line) => JSON.parse(line))).toMatchObject([
    { listener: "a", protocol: "udp", reason: "worker_died", durationMs: expect.any(Number) },
  ]);
});

test("a capture goes on with a data worker that is started again", async () => {
  const [port, metrics] = [await freePort(), await freePort()];
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const admin = `unix:${folder.path}/admin.sock`;
  const running = await startSabotaged(port, metrics, `admin: { listen: "${admin}" }\n`);
  const to = { host: "127.0.0.1", port };
  const capture = start(process.execPath, [weirCommand, "capture", "--admin", admin]);
  onCleanUp(() => capture.stop("SIGKILL"));
  await capture.printed(/capturing/);
  const first = await udpSocket();
  first.send("x", to);
  await capture.printed(new RegExp(`127\\.0\\.0\\.1[.:]${first.port} `));
  (await udpSocket()).send("die", to);
  await running.printed(/worker died and is started again/);
  const second = await udpSocket();
  // While the worker starts, datagrams meet nobody.
  const timer = setInterval(() => second.send("y", to), 20);
  onCleanUp(() => clearInterval(timer));
  await capture.printed(new RegExp(`127\\.0\\.0\\.1[.:]${second.port} `));
  clearInterval(timer);
  expect((await capture.stop("SIGINT")).code).toBe(0);
  expect(capture.output()).toMatch(/packets? captured, 0 lost/);
});
