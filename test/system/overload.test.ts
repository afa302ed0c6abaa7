import { once } from "node:events";
import { readFileSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { text as textOf } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterEach, expect } from "vitest";
import { verdictKinds } from "../../src/filter/verdict.ts";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { cleanUp, onCleanUp, udpSocket } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import {
  command,
  eventually,
  freePort,
  type Running,
  scrape,
  series,
  start,
  startWeir,
  temporaryFolder,
} from "../support/processes.ts";

afterEach(cleanUp);

const datagrams = 150_000;
const hasBatches = (await socketCallsProblem()) === undefined;

function residentMiB({ child }: Running): number {
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

for (const io of hasBatches ? ["dgram", "mmsg"] : ["dgram"])
  needing("clang")(
    `io: ${io}: of more datagrams than it can take each is forwarded or counted as dropped, in bounded memory`,
    { timeout: 60_000 },
    async () => {
      const { load, weir, port, metrics } = await overloaded(io);
      const before = residentMiB(weir);
      const flooded = await command(load, ["flood", `${port}`, "64", `${datagrams}`]);
      const [answered, sent] = flooded.stdout.split(" ").map(Number);
      expect(sent).toBe(datagrams);
      expect(answered).toBeGreaterThan(0);
      await eventually(async () => {
        const text = await scrape(metrics);
        const ingress = { listener: "a", direction: "ingress" };
        const packets = verdictKinds.map(
          (verdict) => series(text, "weir_packets_total", { ...ingress, verdict }) ?? 0,
        );
        const lost = { listener: "a", reason: "kernel_dropped" };
        const dropped = series(text, "weir_receive_errors_total", lost) ?? 0;
        return packets.reduce((sum, count) => sum + count, dropped) === datagrams || undefined;
      }, "every datagram counted once");
      // Twice its 4 MiB of socket buffers, and what the heap takes until it is collected.
      expect(residentMiB(weir) - before).toBeLessThan(100);
      const client = await udpSocket();
      client.send("served", { host: "127.0.0.1", port });
      expect(await client.text()).toBe("served");
    },
  );

for (const io of hasBatches ? ["dgram", "mmsg"] : ["dgram"])
  needing("clang")(
    `io: ${io}: in a flood without an end a worker answers what the main thread asks`,
    { timeout: 60_000 },
    async () => {
      const { load, port, metrics, admin } = await overloaded(io);
      const endless = start(load, ["flood", `${port}`, "64", `${Number.MAX_SAFE_INTEGER}`]);
      onCleanUp(() => endless.stop("SIGKILL"));
      const passed = { listener: "a", direction: "ingress", verdict: "pass" };
      const carried = async (): Promise<number> =>
        series(await scrape(metrics), "weir_packets_total", passed) ?? 0;
      let last = 0;
      for (let asked = 0; asked < 20; asked++) {
        // The flood goes on all the while.
        last = await eventually(async () => {
          const now = await carried();
          return now > last + 1000 ? now : undefined;
        }, "a thousand datagrams more");
        const request = get({ socketPath: admin, path: "/v1/sessions" });
        const [response] = (await once(request, "response")) as [IncomingMessage];
        const session = { listener: "a", protocol: "udp", destination: expect.any(String) };
        expect(JSON.parse(await textOf(response))).toMatchObject(session);
      }
      expect(endless.child.exitCode).toBeNull();
    },
  );

/** Weir in front of an echo service, its admin socket, and what makes more load than it can take. */
async function overloaded(io: string) {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const load = `${folder.path}/udp-load`;
  const source = fileURLToPath(new URL("../bench/udp-load.c", import.meta.url));
  expect((await command("clang", ["-O2", "-o", load, source])).stderr).toBe("");
  const [echoPort, port, metrics] = [await freePort(), await freePort(), await freePort()];
  const echo = start(load, ["echo", `${echoPort}`]);
  onCleanUp(() => echo.stop("SIGKILL"));
  await echo.printed(/up/);
  const admin = `${folder.path}/admin.sock`;
  const weir = await startWeir(
    folder,
    `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
admin: { listen: "unix:${admin}" }
upstreams: { app: { addresses: ["127.0.0.1:${echoPort}"] } }
filters: { any: { expression: udp } }
listeners:
  - { name: a, protocol: udp, io: ${io}, listen: "127.0.0.1:${port}", upstream: app, ingress: [any] }
`,
  );
  onCleanUp(() => weir.stop("SIGKILL"));
  return { load, weir, port, metrics, admin };
}
