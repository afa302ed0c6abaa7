import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { cleanUp, onCleanUp, udpSocket } from "../proxy/rig.ts";
import {
  eventually,
  freePort,
  scrape,
  series,
  startWeir,
  temporaryFolder,
} from "../support/processes.ts";

afterEach(cleanUp);

const filters = new URL("../../filters/", import.meta.url).pathname;

/** So many others that changing them takes many datagrams' time. */
const others = 15_000;

/** Lists that block loopback by another prefix each, and besides have no entry in common. */
function list(number: number): string {
  const lines = Array.from({ length: others }, (_, i) => `10.${number}.${i >> 8}.${i & 255}/32,1`);
  const loopback = `127.0.0.0/${8 + number},1`;
  return `${(number % 2 === 0 ? [loopback, ...lines] : [...lines, loopback]).join("\n")}\n`;
}

test("while lists of other prefixes replace one another, no datagram passes that all of them block", {
  timeout: 60_000,
}, async () => {
  const [port, metrics] = [await freePort(), await freePort()];
  const upstream = createSocket("udp4").bind(0, "127.0.0.1");
  await once(upstream, "listening");
  onCleanUp(() => void upstream.close());
  let passed = 0;
  upstream.on("message", () => passed++);
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  folder.write("blocked.csv", list(0));
  const running = await startWeir(
    folder,
    `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { app: { addresses: ["127.0.0.1:${upstream.address().port}"] } }
filters: { block: { object: ${filters}blocklist.o, maps: { blocked: { file: blocked.csv } } } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:${port}", upstream: app, ingress: [block] }]
`,
  );
  onCleanUp(() => running.stop("SIGKILL"));
  const client = await udpSocket();
  const sending = setInterval(() => {
    for (let i = 0; i < 5; i++) client.send("x", { host: "127.0.0.1", port });
  }, 1);
  onCleanUp(() => clearInterval(sending));

  const dropped = async (): Promise<number> =>
    series(await scrape(metrics), "weir_drops_total", {
      listener: "a",
      direction: "ingress",
      reason: "filter_drop",
    }) ?? 0;
  const reloaded = async (): Promise<number> =>
    series(await scrape(metrics), "weir_config_reloads_total", { result: "success" }) ?? 0;
  for (let number = 1; number <= 6; number++) {
    const before = await dropped();
    folder.write("blocked.csv", list(number));
    running.child.kill("SIGHUP");
    await eventually(
      async () => ((await reloaded()) === number ? true : undefined),
      `reload ${number}`,
      20_000,
    );
    expect(await dropped(), "datagrams went on").toBeGreaterThan(before);
  }
  expect(passed).toBe(0);
  // The prefixes are those of the last list: nothing but them and the others' entries is in the map.
  const entries = series(await scrape(metrics), "weir_map_entries", {
    filter: "block",
    map: "blocked",
  });
  expect(entries).toBe(others + 1);
});
