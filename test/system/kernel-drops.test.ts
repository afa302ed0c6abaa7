import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect } from "vitest";
import { verdictKinds } from "../../src/filter/verdict.ts";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { cleanUp, onCleanUp, tcpEcho, udpSocket } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import {
  eventually,
  freePort,
  type Running,
  scrape,
  series,
  startWeir,
  temporaryFolder,
} from "../support/processes.ts";

afterEach(cleanUp);

const hasBatches = (await socketCallsProblem()) === undefined;
/** More than 8 MiB hold, which the kernel gives at most where net.core.rmem_max is not above 4 MiB. */
const answers = 12_000;
const payload = Buffer.alloc(1_400, "answer");

for (const io of hasBatches ? ["dgram", "mmsg"] : ["dgram"])
  needing("linux")(
    `io: ${io}: answers that a session's socket has no room for are counted, and counts go on where a listener goes and comes back`,
    { timeout: 60_000 },
    async () => {
      const folder = temporaryFolder();
      onCleanUp(() => folder.remove());
      const [upstream, streams] = [await udpSocket(), await tcpEcho()];
      const [port, metrics] = [await freePort(), await freePort()];
      const without = `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
admin: { listen: "unix:${folder.path}/admin.sock" }
drainTimeout: 100ms
upstreams: { app: { addresses: ["127.0.0.1:${upstream.port}"] }, tcp: { addresses: ["127.0.0.1:${streams.port}"] } }
filters: { any: { expression: udp } }
listeners:
  - { name: other, protocol: udp, listen: "127.0.0.1:0", upstream: app }
`;
      const withListener = `${without}
  - { name: a, protocol: udp, io: ${io}, listen: "127.0.0.1:${port}", upstream: app, ingress: [any] }
  - { name: t, protocol: tcp, listen: "127.0.0.1:${port}", upstream: tcp }
`;
      const weir = await startWeir(folder, withListener);
      onCleanUp(() => weir.stop("SIGKILL"));

      const client = await udpSocket();
      client.send("question", { host: "127.0.0.1", port });
      const { from } = await upstream.next();
      weir.child.kill("SIGSTOP");
      const { socket } = upstream;
      socket.connect(from.port, from.address);
      await once(socket, "connect");
      for (let sent = 0; sent < answers; sent++) socket.send(payload);
      weir.child.kill("SIGCONT");

      const egress = { listener: "a", direction: "egress" };
      const counts = async () => {
        const text = await scrape(metrics);
        const packets = verdictKinds.reduce(
          (sum, verdict) =>
            sum + (series(text, "weir_packets_total", { ...egress, verdict }) ?? Number.NaN),
          0,
        );
        const labels = { listener: "a", reason: "kernel_dropped" };
        const dropped = series(text, "weir_receive_errors_total", labels) ?? Number.NaN;
        const runs = series(text, "weir_filter_runs_total", { filter: "any" }) ?? Number.NaN;
        const open = series(text, "weir_sessions", { listener: "t" });
        return { packets, dropped, runs, open };
      };
      const before = await eventually(async () => {
        const found = await counts();
        return found.packets + found.dropped === answers ? found : undefined;
      }, "every answer counted once");
      expect(before.dropped).toBeGreaterThan(100);
      expect(before.runs).toBe(1);

      // A connection that its listener's going breaks off.
      const stream = connect(port, "127.0.0.1").on("error", () => {});
      onCleanUp(() => stream.destroy());
      await eventually(async () => (await counts()).open || undefined, "a connection");
      await reloaded(weir, () => folder.write("weir.yaml", without), 1);
      const gone = await scrape(metrics);
      expect(series(gone, "weir_packets_total", { listener: "a" })).toBeUndefined();
      await reloaded(weir, () => folder.write("weir.yaml", withListener), 2);
      // The listener that came back counts the connection until its drain is over.
      const after = await eventually(async () => {
        const found = await counts();
        return found.open === 0 ? found : undefined;
      }, "a connection broken off");
      expect(after).toEqual({ ...before, open: 0 });
      client.send("again", { host: "127.0.0.1", port });
      await eventually(
        async () => ((await counts()).runs === 2 ? true : undefined),
        "counts that go on",
      );
    },
  );

/** Has Weir read a changed config; resolves when it says so for the `count`th time. */
async function reloaded(weir: Running, change: () => void, count: number): Promise<void> {
  change();
  weir.child.kill("SIGHUP");
  await eventually(async () => {
    const times = weir.output().split('"msg":"config reloaded"').length - 1;
    if (times < count) await delay(10);
    return times >= count ? true : undefined;
  }, "a reload");
}
