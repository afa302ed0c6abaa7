import { execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { createLog, type LogStream } from "../../src/cli/log.ts";
import {
  eventually,
  freePort,
  scrape,
  temporaryFolder,
  weirCommand,
} from "../support/processes.ts";

const cleanups: (() => unknown)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

/** A log's reader that takes nothing, until it is told to. */
class Reader extends Writable {
  readonly lines: Record<string, unknown>[] = [];
  readonly isTTY: boolean;
  readonly text: string[] = [];
  #next: (() => void) | undefined;
  #isReading = false;

  constructor(isTTY = false) {
    super({ decodeStrings: false });
    this.isTTY = isTTY;
  }

  override _write(text: string, _encoding: string, next: () => void): void {
    this.text.push(text);
    if (!this.isTTY) this.lines.push(JSON.parse(text) as Record<string, unknown>);
    if (this.#isReading) next();
    else this.#next = next;
  }

  read(): void {
    this.#isReading = true;
    this.#next?.();
  }
}

function logTo(reader: Reader) {
  return createLog("info", reader as unknown as LogStream);
}

test("a reader of the log that stops costs some megabytes, and is told what was left out when it reads again", async () => {
  const reader = new Reader();
  const log = logTo(reader);
  const filling = "x".repeat(1_000);
  for (let i = 0; i < 10_000; i++) log.info({ i, filling }, "line");
  expect(reader.writableLength).toBeGreaterThan(4 * 2 ** 20);
  expect(reader.writableLength).toBeLessThan(4.1 * 2 ** 20);

  const drained = new Promise((resolve) => reader.once("drain", resolve));
  reader.read();
  await drained;
  const written = reader.lines.length - 1;
  expect(reader.lines.slice(0, written).map(({ i }) => i)).toEqual([...Array(written).keys()]);
  expect(reader.lines.at(-1)).toMatchObject({
    level: "warn",
    msg: "log lines left out",
    lines: 10_000 - written,
  });

  log.info({ i: "after" }, "line");
  expect(reader.lines.at(-1)).toMatchObject({ i: "after" });
});

test("on a terminal a line is for people, with its fields", () => {
  const reader = new Reader(true);
  logTo(reader).warn({ filter: "blocklist", slot: 12 }, "filter faulted");
  expect(reader.text.join("")).toMatch(
    /^\d\d:\d\d:\d\d warn {2}filter faulted {2}filter=blocklist slot=12\n$/,
  );
});

test("what a proxy logs as it ends is whole when a slow reader comes to it", async () => {
  const place = temporaryFolder();
  cleanups.push(() => place.remove());
  const [port, metrics] = [await freePort(), await freePort()];
  const config = place.write(
    "weir.yaml",
    `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
admin: { listen: off }
accessLog: { sessions: all }
upstreams: { app: { echo: true } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:${port}", upstream: app }]
`,
  );
  const pipe = join(place.path, "log");
  execFileSync("mkfifo", [pipe]);
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  cleanups.push(() => closeSync(reader));
  const writer = openSync(pipe, "w");
  const child = spawn(process.execPath, [weirCommand, "run", "-c", config], {
    stdio: ["ignore", "ignore", writer],
  });
  closeSync(writer);
  cleanups.push(() => child.kill("SIGKILL"));
  await eventually(() => scrape(metrics), "metrics");
  // Some 200 KB of lines, three times what a pipe holds.
  const sessions = 300;
  for (let i = 0; i < sessions; i++) {
    const client = createSocket("udp4");
    client.send("x", port, "127.0.0.1");
    // Open to the end: another with its port would have its session.
    cleanups.push(() => client.close());
    await once(client, "message");
  }
  child.kill("SIGTERM");
  await eventually(
    () =>
      scrape(metrics).then(
        () => undefined,
        () => true,
      ),
    "the end of metrics, the last before the process's own",
  );
  const lines = (await readToEnd(reader)).trimEnd().split("\n");
  const told = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
  expect(told.filter((text) => text === "session end")).toHaveLength(sessions);
  expect(told.at(-1)).toBe("stopped");
});

/** All that comes through a pipe until nobody writes to it any more. */
async function readToEnd(descriptor: number): Promise<string> {
  const chunks: Buffer[] = [];
  for (;;) {
    const chunk = Buffer.alloc(65_536);
    try {
      const read = readSync(descriptor, chunk);
      if (read === 0) return Buffer.concat(chunks).toString();
      chunks.push(chunk.subarray(0, read));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      await delay(5);
    }
  }
}
