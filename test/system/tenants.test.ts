import { afterEach, expect } from "vitest";
import { cleanUp, onCleanUp, udpSocket, udpUpstream } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import {
  eventually,
  freePort,
  scrape,
  series,
  startWeir,
  temporaryFolder,
  weir,
} from "../support/processes.ts";
import { buildProgram } from "./truth-rig.ts";

/** Maps that a config makes and puts into a map of maps, under traffic. */
const test = needing("clang");
afterEach(cleanUp);

test("maps of tenants rule, count and change while datagrams flow: by config, command line and reload", {
  timeout: 60_000,
}, async () => {
  const [port, metrics] = [await freePort(), await freePort()];
  const upstream = await udpUpstream();
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const socket = `${folder.path}/admin.sock`;
  const config = (maps: string): string => `version: 1
admin: { listen: "unix:${socket}" }
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { app: { addresses: ["127.0.0.1:${upstream.port}"] } }
filters:
  tenants:
    object: ${buildProgram("tenants")}
    maps: { ${maps} }
    metrics:
      counters:
        - name: seen_by_acme_total
          help: Datagrams of the tenant
          map: acme
          labels: [{ name: rule, size: 4, decoders: [{ name: uint }] }]
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:${port}", upstream: app, ingress: [tenants] }]
`;
  const acme = "acme: { innerOf: tenants, entries: [{ key: 0, value: 1 }] }";
  const control = "control: { innerOf: tenants, maxEntries: 2, entries: [{ key: 0, value: 1 }] }";
  const holding = (entries: string): string => `tenants: { entries: [${entries}] }`;
  const [a, b, c] = ["a", "b", "c"].map((letter) => letter.charCodeAt(0));
  const slots = `{ key: ${a}, value: acme }, { key: ${c}, value: control }`;
  const running = await startWeir(folder, config(`${acme}, ${control}, ${holding(slots)}`));
  onCleanUp(() => running.stop("SIGKILL"));

  const noise = await udpSocket();
  const sending = setInterval(() => {
    for (const letter of "abc") noise.send(letter, { host: "127.0.0.1", port });
  }, 1);
  onCleanUp(() => clearInterval(sending));

  const client = await udpSocket();
  let number = 0;
  /** Whether a datagram of this tenant is echoed before one that is sent behind it. */
  const passes = async (letter: string): Promise<boolean> => {
    const [asked, behind] = [`${letter}${++number}`, `c${number}!`];
    for (const text of [asked, behind]) client.send(text, { host: "127.0.0.1", port });
    let isEchoed = false;
    for (;;) {
      const text = await client.text();
      if (text.endsWith(behind)) return isEchoed;
      if (text.endsWith(asked)) isEchoed = true;
    }
  };
  const map = async (...words: string[]): Promise<unknown> => {
    const done = await weir(["map", ...words, "--admin", `unix:${socket}`, "--json"]);
    expect(done).toMatchObject({ code: 0, stderr: "" });
    return done.stdout === "" ? undefined : JSON.parse(done.stdout);
  };
  const reload = async (maps: string): Promise<void> => {
    folder.write("weir.yaml", config(maps));
    const done = await weir(["reload", "--admin", `unix:${socket}`]);
    expect(done).toMatchObject({ code: 0, stderr: "" });
  };
  const seen = async (): Promise<number> =>
    series(await scrape(metrics), "seen_by_acme_total", { rule: "1" }) ?? 0;

  expect([await passes("a"), await passes("b")]).toEqual([true, false]);
  await map("update", "acme", "key", "0", "value", "0");
  expect(await passes("a")).toBe(false);
  await map("update", "acme", "key", "0", "value", "1");
  await map("update", "tenants", "key", `${b}`, "value", "acme");
  expect([await passes("a"), await passes("b")]).toEqual([true, true]);
  const before = await seen();
  expect(before).toBeGreaterThan(0);
  await eventually(async () => ((await seen()) > before ? true : undefined), "more are counted");
  expect(await map("lookup", "acme", "key", "1")).toMatchObject({ value: expect.any(Number) });

  // The map that was there goes on counting; one more is made, and takes a tenant over.
  const counted = await seen();
  const strict = "strict: { innerOf: tenants, entries: [{ key: 0, value: 0 }] }";
  const more = `${slots}, { key: ${b}, value: strict }`;
  await reload(`${acme}, ${control}, ${strict}, ${holding(more)}`);
  expect([await passes("a"), await passes("b")]).toEqual([true, false]);
  expect(await seen()).toBeGreaterThan(counted);

  await reload(`${acme}, ${control}, ${holding(`{ key: ${c}, value: control }`)}`);
  expect([await passes("a"), await passes("c")]).toEqual([false, true]);
  const stopped = await seen();
  await passes("c");
  expect(await seen()).toBe(stopped);
});
