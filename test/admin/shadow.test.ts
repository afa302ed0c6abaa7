import { once } from "node:events";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, expect } from "vitest";
import type { CaptureRow } from "../../src/admin/replies.ts";
import { toHex, u32le } from "../../src/common/bytes.ts";
import { build } from "../object/clang.ts";
import { cleanUp, type Inbox, onCleanUp, udpSocket, udpUpstream } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { eventually } from "../support/processes.ts";
import { type AdminRig, ask, startAdminRig } from "./rig.ts";

/** Shadows and their promotion, on running listeners of each kind. */
const test = needing("clang");
const source = fileURLToPath(new URL("./shadow.c", import.meta.url));
afterEach(cleanUp);

interface Options {
  readonly engine?: string;
  /** The upstream that ports name. */
  readonly aside: Inbox;
  readonly upstream: string;
  readonly shadow?: string;
  readonly listeners: string;
}

function config({ engine = "jit", aside, upstream, shadow = "true", listeners }: Options): string {
  const object = build(source);
  return `version: 1
metrics: { listen: off }
upstreams:
  app: { addresses: ["${upstream}"] }
  aside: { addresses: ["127.0.0.1:${aside.port}"] }
ports: { 7: aside }
filters:
  next: { object: ${object}, program: xdp_scribble, shadow: ${shadow}, engine: ${engine} }
  clone: { object: ${object}, program: tc_scribble, shadow: true, engine: ${engine} }
  live: { object: ${object}, program: xdp_live, engine: ${engine} }
  back: { expression: "len > 9999", onMatch: drop, onMiss: pass }
listeners:
${listeners}`;
}

const udp = `  - { name: udp, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [next, clone, live], egress: [back] }\n`;

async function startRig(text: string): Promise<AdminRig> {
  const rig = await startAdminRig({ config: text });
  onCleanUp(() => rig.stop());
  return rig;
}

async function filter(rig: AdminRig, name: string) {
  const reply = await rig.client.get(`/v1/filters/${name}`);
  if (!reply.ok) throw reply.error;
  const { state, enabled, programs } = reply.value as {
    state: string;
    enabled: boolean;
    programs: { shadow: { live: string; shadow: string; packets: number }[] }[];
  };
  const pairs = programs[0]!.shadow.map(({ live, shadow, packets }) => [live, shadow, packets]);
  return { state, enabled, pairs };
}

/** The map's entries of one filter: first word of key and value. */
function entries(rig: AdminRig, map: string): Record<number, number> {
  const found = rig.control.inventory().map(map);
  if (!found.ok) throw found.error;
  return Object.fromEntries(
    [...found.value.source.entries()].map(({ key, values }) => [
      u32le(key, 0),
      u32le(values[0]!, 0),
    ]),
  );
}

async function promote(rig: AdminRig, name: string, body: object = {}) {
  return ask(rig.socket, "POST", `/v1/filters/${name}/promote`, JSON.stringify(body));
}

const code = (letter: string): number => letter.charCodeAt(0);

for (const engine of ["interpreter", "jit"])
  test(`on UDP, shadows under the ${engine} change and send nothing, and are counted by pair`, async () => {
    const upstream = await udpUpstream();
    const aside = await udpSocket();
    const rig = await startRig(
      config({ engine, aside, upstream: `127.0.0.1:${upstream.address.port}`, listeners: udp }),
    );
    const client = await udpSocket();
    for (const letter of "pdtrad") {
      const payload = `${letter} ${"x".repeat(60)}`;
      client.send(payload, rig.addresses[0]!);
      expect(await client.text()).toBe(payload);
    }
    expect(await filter(rig, "next")).toEqual({
      state: "shadow",
      enabled: true,
      pairs: [
        ["pass", "pass", 1],
        ["pass", "drop", 2],
        ["pass", "tx", 1],
        ["pass", "redirect", 1],
        ["pass", "aborted", 1],
      ],
    });
    // Its drops are nobody's: no packet had them.
    const counted = await rig.client.get("/v1/counters");
    expect(counted).toMatchObject({ ok: true });
    const { filters } = (counted as { value: { filters: { name: string }[] } }).value;
    expect(filters[0]).toEqual({
      name: "next",
      run_cnt: 6,
      verdicts: { pass: 0, drop: 0, tx: 0, redirect: 0, aborted: 0 },
    });
    expect((await filter(rig, "clone")).pairs).toEqual([
      ["pass", "pass", 4],
      ["pass", "drop", 2],
    ]);
    expect((await filter(rig, "live")).pairs).toEqual([]);
    // Each has maps of its own, those that objects pin by name too.
    const letters = {
      [code("p")]: 1,
      [code("d")]: 2,
      [code("t")]: 1,
      [code("r")]: 1,
      [code("a")]: 1,
    };
    for (const name of ["next", "clone", "live"]) {
      expect(entries(rig, `${name}/seen`), name).toEqual(letters);
      expect(entries(rig, `${name}/shared`), name).toEqual({ 0: 6 });
    }
    expect(aside.received).toBe(0);
  });

test("on TCP, shadows that would reset or answer cut no stream and change none of its bytes", async () => {
  const server = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  onCleanUp(() => server.close());
  const aside = await udpSocket();
  const { port } = server.address() as { port: number };
  const rig = await startRig(
    config({
      aside,
      upstream: `127.0.0.1:${port}`,
      listeners: udp.replaceAll("udp", "tcp"),
    }),
  );
  const { host, port: listening } = rig.addresses[0]!;
  const client = connect(listening, host);
  await once(client, "connect");
  for (const letter of "dtrad") {
    client.write(`${letter}${"y".repeat(5000)}`);
    let got = "";
    while (got.length < 5001) got += String((await once(client, "data"))[0]);
    expect(got).toBe(`${letter}${"y".repeat(5000)}`);
  }
  const { pairs } = await filter(rig, "next");
  for (const kind of ["drop", "tx", "redirect", "aborted"])
    expect(pairs).toContainEqual(["pass", kind, expect.any(Number)]);
  client.end();
  await once(client, "close");
});

test("on a tunnel, frames go on as they came", async () => {
  const [east, west, aside] = [await udpSocket(), await udpSocket(), await udpSocket()];
  const rig = await startRig(
    config({
      aside,
      upstream: "127.0.0.1:9",
      listeners: `  - { name: wire, protocol: vxlan, listen: "127.0.0.1:0", vni: 42, ingress: [next, clone, live], peers: { east: "127.0.0.1:${east.port}", west: "127.0.0.1:${west.port}" } }\n`,
    }),
  );
  const frame = `0800000000002a00${"02".repeat(12)}0800${"4500001d00000000401100000a0000010a000002"}${"0035d43100090000"}${"64"}`;
  east.send(Buffer.from(frame, "hex"), rig.addresses[0]!);
  expect(toHex((await west.next()).payload)).toBe(frame);
  expect((await filter(rig, "next")).pairs).toEqual([["pass", "drop", 1]]);
});

test("a capture of a shadow has the packets on which it differs, and what it said", async () => {
  const upstream = await udpUpstream();
  const aside = await udpSocket();
  const rig = await startRig(
    config({ aside, upstream: `127.0.0.1:${upstream.address.port}`, listeners: udp }),
  );
  const end = new AbortController();
  onCleanUp(() => end.abort());
  const stream = await rig.client.stream("/v1/capture?shadow=next", end.signal);
  if (!stream.ok) throw stream.error;
  const rows = stream.value as AsyncGenerator<CaptureRow>;
  expect((await rows.next()).value).toEqual({ lost: 0 });
  const client = await udpSocket();
  for (const letter of "pprd") client.send(letter, rig.addresses[0]!);
  const row = (await rows.next()).value;
  expect(row).toMatchObject({
    verdict: "pass",
    filter: "live",
    shadow: { filter: "next", verdict: "redirect", ifindex: 7 },
  });
  expect(row).not.toHaveProperty("exit");
  expect((await rows.next()).value).toMatchObject({ shadow: { filter: "next", verdict: "drop" } });
  expect((await ask(rig.socket, "GET", "/v1/capture?shadow=none")).status).toBe(404);
  const live = await ask(rig.socket, "GET", "/v1/capture?shadow=live");
  expect(live.status).toBe(409);
  expect(JSON.parse(live.text).error.what).toMatch(/is live: it differs/);
});

test("a promoted shadow is live with its maps, over reloads too, until the config has it live and a shadow again", async () => {
  const upstream = await udpUpstream();
  const aside = await udpSocket();
  const options = { aside, upstream: `127.0.0.1:${upstream.address.port}`, listeners: udp };
  const rig = await startRig(config(options));
  const client = await udpSocket();
  const runs = async (name: string): Promise<number> => {
    const reply = await rig.client.get(`/v1/filters/${name}`);
    return reply.ok ? (reply.value as { programs: { run_cnt: number }[] }).programs[0]!.run_cnt : 0;
  };
  /** Whether the candidate lets a datagram that it dislikes pass. */
  const passes = async (): Promise<boolean> => {
    const before = [await runs("next"), upstream.received] as const;
    client.send("d", rig.control.inventory().parts.listeners[0]!.address);
    return eventually(async () => {
      if ((await runs("next")) === before[0]) return undefined;
      if (upstream.received > before[1]) return true;
      return (await drops()) > 0 ? false : undefined;
    }, "the datagram is judged");
  };
  const drops = async () =>
    rig.control
      .inventory()
      .parts.counters.reduce((sum, one) => sum + one.readDrops(0, "ingress", "filter_drop"), 0);
  const reload = async (text: string) => {
    rig.write(text);
    const done = await rig.client.send("POST", "/v1/reload");
    if (!done.ok) throw done.error;
    return done.value as { promoted: string[]; maps: { kept: string[] } };
  };
  expect(await passes()).toBe(true);
  const done = await promote(rig, "next", { instead_of: "live" });
  expect({ status: done.status, ...JSON.parse(done.text) }).toMatchObject({
    status: 200,
    state: "promoted",
  });
  expect(await passes()).toBe(false);
  expect((await filter(rig, "live")).enabled).toBe(false);
  expect(entries(rig, "next/seen")).toEqual({ [code("d")]: 2 });

  // The file as it was: still live, and said so.
  expect(await reload(config(options))).toMatchObject({ promoted: ["next"] });
  expect(await passes()).toBe(false);
  expect(entries(rig, "next/seen")).toEqual({ [code("d")]: 3 });

  // The file says so itself: it goes on, and takes the map that it shares with others by its name.
  const live = await reload(config({ ...options, shadow: "false" }));
  expect(live.promoted).toEqual([]);
  expect(live.maps.kept).toContain("next.seen");
  expect(await passes()).toBe(false);
  expect(entries(rig, "next/seen")).toEqual({ [code("d")]: 4 });
  // Of live's two before it was disabled; then one of next's.
  expect(entries(rig, "next/shared")).toEqual({ 0: 2 });
  expect(entries(rig, "live/shared")).toEqual({ 0: 2 });

  // A shadow again is a candidate again, on a map of its own.
  expect((await reload(config(options))).promoted).toEqual([]);
  expect(await passes()).toBe(true);
  expect((await filter(rig, "next")).state).toBe("shadow");
  expect(entries(rig, "next/shared")).toEqual({ 0: 1 });
});

test("what is no shadow cannot be promoted, nor one program of a filter alone", async () => {
  const aside = await udpSocket();
  const rig = await startRig(config({ aside, upstream: "127.0.0.1:9", listeners: udp }));
  for (const [name, body, status, what] of [
    ["live", {}, 409, /is live already/],
    ["none", {}, 404, /no such filter/],
    ["next", { instead_of: "none" }, 404, /no such filter/],
    ["next", { instead_of: "next" }, 409, /its own place/],
    ["next", { instead_of: "back" }, 409, /is in no chain that asks next/],
    ["next", { with: 1 }, 400, /Unrecognized key/],
  ] as const) {
    const answer = await promote(rig, name, body);
    expect(answer.status, name).toBe(status);
    expect(JSON.parse(answer.text).error.what).toMatch(what);
  }
  expect((await promote(rig, "next")).status).toBe(200);
  expect(JSON.parse((await promote(rig, "next")).text).error.what).toMatch(/is live already/);
});
