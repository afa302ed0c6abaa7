import { request } from "node:http";
import { afterEach, expect, test } from "vitest";
import type { CaptureRow } from "../../src/admin/replies.ts";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import { cleanUp, type Inbox, onCleanUp, udpSocket } from "../proxy/rig.ts";
import { freePort } from "../support/processes.ts";
import { type AdminRig, ask, filtersFolder, startAdminRig } from "./rig.ts";

afterEach(cleanUp);

async function startRig(config: string): Promise<AdminRig> {
  const rig = await startAdminRig({ config });
  onCleanUp(() => rig.stop());
  return rig;
}

/** Packets of a capture that is on when this resolves. */
async function captured(rig: AdminRig): Promise<() => Promise<CaptureRow>> {
  const end = new AbortController();
  onCleanUp(() => end.abort());
  const stream = await rig.client.stream("/v1/capture", end.signal);
  if (!stream.ok) throw stream.error;
  const rows = stream.value as AsyncGenerator<CaptureRow>;
  expect((await rows.next()).value).toEqual({ lost: 0 });
  return async () => {
    for (;;) {
      const { value, done } = await rows.next();
      if (done === true) throw new Error("the capture has ended");
      if (!("lost" in value)) return value;
    }
  };
}

async function reloaded(rig: AdminRig, config: string): Promise<Record<string, unknown>> {
  rig.write(config);
  const done = await rig.client.send("POST", "/v1/reload");
  if (!done.ok) throw done.error;
  return done.value as Record<string, unknown>;
}

/** Statuses that came before an operation's own. */
function informedOf({ socket }: AdminRig, path: string): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const statuses: number[] = [];
    request({ socketPath: socket, method: "POST", path })
      .on("information", ({ statusCode }) => statuses.push(statusCode))
      .on("response", (response) => response.resume().once("end", () => resolve(statuses)))
      .on("error", reject)
      .end();
  });
}

const head = `version: 1
metrics: { listen: off }
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
`;
const count = `  count: { object: ${filtersFolder}count-by-protocol.o }\n`;
const size = `  size: { object: ${filtersFolder}size-limit.o }\n`;
const dns = (ingress: string): string =>
  `  - { name: dns, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [${ingress}] }\n`;
const game = `  - { name: game, protocol: udp, listen: "127.0.0.1:0", upstream: app }\n`;

test("a reload through the API tells what it did, and one that is refused says all that is wrong", async () => {
  const first = `${head}filters:\n${count}listeners:\n${dns("count")}`;
  const rig = await startRig(first);
  expect(
    await reloaded(rig, `${head}filters:\n${size}${count}listeners:\n${game}${dns("count")}`),
  ).toMatchObject({
    listeners: { kept: ["dns"], opened: ["game"], closed: [] },
    maps: { kept: expect.arrayContaining([expect.stringMatching(/^count\./)]), grown: [] },
    duration_ms: expect.any(Number),
  });
  expect(await informedOf(rig, "/v1/reload")).toEqual([102]);
  const names = async () => {
    const listeners = await rig.client.get("/v1/listeners");
    return listeners.ok ? (listeners.value as { name: string }[]).map(({ name }) => name) : [];
  };
  expect(await names()).toEqual(["game", "dns"]);
  expect(await rig.client.get("/v1/listeners")).toMatchObject({
    value: [{ protocol: "udp", io: "dgram" }, { protocol: "udp" }],
  });
  rig.write(
    first.replace("count-by-protocol.o", "absent.o").replace("app, ingress", "ap, ingress"),
  );
  const refused = await ask(rig.socket, "POST", "/v1/reload");
  expect(refused.status).toBe(422);
  const { error } = JSON.parse(refused.text);
  expect(error.code).toBe("RELOAD_REFUSED");
  expect(error.what).toMatch(/absent\.o/);
  expect(error.what).toMatch(/upstream/);
  // Each error names the file: nothing before it does.
  expect(error.where).toBe("config");
  expect(await names()).toEqual(["game", "dns"]);
});

test("the control API itself stays where it is: a config that moves it needs a restart", async () => {
  const text = `${head}listeners:\n${game}`;
  const rig = await startRig(text);
  rig.write(`${text}admin: { listen: off }\n`);
  const refused = await ask(rig.socket, "POST", "/v1/reload");
  expect(JSON.parse(refused.text).error.what).toMatch(/admin holds for as long as the proxy runs/);
});

test("a disabled filter stays disabled over a reload that numbers it anew, until it is enabled", async () => {
  const rig = await startRig(`${head}filters:\n${count}listeners:\n${dns("count")}`);
  const enabled = async (name: string) => {
    const filter = await rig.client.get(`/v1/filters/${name}`);
    return filter.ok ? (filter.value as { enabled: boolean }).enabled : undefined;
  };
  await rig.client.send("POST", "/v1/filters/count/disable");
  await reloaded(rig, `${head}filters:\n${size}${count}listeners:\n${dns("size, count")}`);
  expect([await enabled("size"), await enabled("count")]).toEqual([true, false]);
  const next = await captured(rig);
  const client = await udpSocket();
  client.send("x", rig.control.inventory().parts.listeners[0]!.address);
  expect(await next()).toMatchObject({ listener: "dns", verdict: "pass", filter: "size" });
  await rig.client.send("POST", "/v1/filters/count/enable");
  client.send("x", rig.control.inventory().parts.listeners[0]!.address);
  expect(await next()).toMatchObject({ listener: "dns", verdict: "pass", filter: "count" });
});

test("a capture goes on over reloads, and names listeners and filters whatever their numbers", async () => {
  const rig = await startRig(`${head}filters:\n${count}listeners:\n${dns("count")}`);
  const { address } = rig.control.inventory().parts.listeners[0]!;
  const next = await captured(rig);
  const client = await udpSocket();
  client.send("x", address);
  expect(await next()).toMatchObject({ listener: "dns", filter: "count" });
  await reloaded(rig, `${head}filters:\n${size}${count}listeners:\n${game}${dns("count")}`);
  client.send("x", address);
  expect(await next()).toMatchObject({ listener: "dns", filter: "count" });
  await reloaded(rig, `${head}listeners:\n${game}`);
  client.send("x", rig.control.inventory().parts.listeners[0]!.address);
  const row = await next();
  expect(row).toMatchObject({ listener: "game" });
  expect(row).not.toHaveProperty("filter");
});

test("a dump of a map that a reload takes away ends with an error, and not with other memory", async () => {
  const blocklist = `  blocklist: { object: ${filtersFolder}blocklist.o }\n`;
  const rig = await startRig(`${head}filters:\n${count}${blocklist}listeners:\n${dns("count")}`);
  const map = rig.control.inventory().map("blocked6");
  if (!map.ok) throw map.error;
  for (let i = 0; i < 60_000; i++) {
    const bytes = new Uint8Array(20);
    bytes[0] = 128;
    new DataView(bytes.buffer).setUint32(16, i);
    map.value.source.update(bytes, Uint8Array.of(1, 0, 0, 0));
  }
  const rows = await rig.client.stream("/v1/maps/blocked6/entries?raw=true");
  if (!rows.ok) throw rows.error;
  await rows.value.next();
  await reloaded(rig, `${head}filters:\n${count}listeners:\n${dns("count")}`);
  const drained = (async () => {
    for await (const _ of rows.value);
  })();
  await expect(drained).rejects.toThrow("a reload took it away while it was read");
});

const vxlan = parseHex("0800000000002a00")!;
const arp = parseHex(
  `ffffffffffff020000000001080600010800060400010200000000010a000001000000000000${"0a000002"}`,
)!;
const datagram = Buffer.concat([vxlan, arp]);

function bridge(peers: Record<string, Inbox>, more = ""): string {
  const listed = Object.entries(peers).map(([name, { port }]) => `${name}: "127.0.0.1:${port}"`);
  return `${head}filters:\n${count}listeners:
  - { name: wire, protocol: vxlan, listen: "127.0.0.1:0", vni: 42, ingress: [count], peers: { ${listed.join(", ")} }${more} }
`;
}

test("a capture shows the frame inside a tunnel, with its peer, network and outer address", async () => {
  const [east, west] = [await udpSocket(), await udpSocket()];
  const rig = await startRig(bridge({ east, west }));
  const next = await captured(rig);
  east.send(datagram, rig.addresses[0]!);
  expect(await next()).toMatchObject({
    listener: "wire",
    direction: "ingress",
    verdict: "pass",
    filter: "count",
    tunnel: { peer: "east", vni: 42, outer: `127.0.0.1:${east.port}` },
    entry: { length: arp.length, data: toHex(arp) },
  });
  expect(toHex((await west.next()).payload)).toBe(toHex(datagram));
});

test("a tunnel goes on over a reload with another peer: same port, same counts, no sender of before", async () => {
  const [east, west, north] = [await udpSocket(), await udpSocket(), await udpSocket()];
  const rig = await startRig(bridge({ east, west }));
  const [address] = rig.addresses;
  east.send(datagram, address!);
  expect(toHex((await west.next()).payload)).toBe(toHex(datagram));
  await reloaded(rig, bridge({ north, east }));
  expect(rig.control.inventory().parts.listeners[0]!.address).toEqual(address);
  const frames = (lane: number) =>
    rig.control
      .inventory()
      .parts.counters.reduce((sum, worker) => sum + worker.readLaneFrames(lane, "ingress"), 0);
  // East is the second now, and has what it had as the first.
  expect([frames(0), frames(1)]).toEqual([0, 1]);
  west.send(datagram, address!);
  east.send(datagram, address!);
  expect(toHex((await north.next()).payload)).toBe(toHex(datagram));
  north.send(datagram, address!);
  expect(toHex((await east.next()).payload)).toBe(toHex(datagram));
  expect([frames(0), frames(1)]).toEqual([1, 2]);
  const { counters } = rig.control.inventory().parts;
  const strangers = counters.map((worker) => worker.readDrops(0, "ingress", "tunnel_unknown_peer"));
  expect(strangers.reduce((a, b) => a + b)).toBe(1);
});

for (const { name, from, to, error } of [
  {
    name: "another mode",
    from: "vni: 42",
    to: "vni: 42, mode: mirror",
    error: /mode bridge stays/,
  },
  {
    name: "a peer of a family that it has no sockets for",
    from: 'west: "127.0.0.1',
    to: 'west: "[::1]',
    error: /no socket for IPv6, which peer west needs/,
  },
])
  test(`a tunnel refuses ${name} in a reload, and carries on`, async () => {
    const [east, west] = [await udpSocket(), await udpSocket()];
    const before = bridge({ east, west }).replace("127.0.0.1:0", "[::]:0");
    const rig = await startRig(before);
    rig.write(before.replace(from, to));
    const refused = await ask(rig.socket, "POST", "/v1/reload");
    expect(refused.status).toBe(422);
    expect(JSON.parse(refused.text).error.what).toMatch(error);
    east.send(datagram, { host: "127.0.0.1", port: rig.addresses[0]!.port });
    expect(toHex((await west.next()).payload)).toBe(toHex(datagram));
  });

test("a load balancer's tunnel refuses another health check in a reload, and answers at its own", async () => {
  const [own, other] = [await freePort(), await freePort()];
  const text = `${head}listeners:
  - { name: lb, protocol: geneve, mode: gwlb, listen: "127.0.0.1:0", healthCheck: "127.0.0.1:${own}" }
`;
  const rig = await startRig(text);
  rig.write(text.replace(String(own), String(other)));
  const refused = await ask(rig.socket, "POST", "/v1/reload");
  expect(JSON.parse(refused.text).error.what).toMatch(/healthCheck stays/);
  await reloaded(rig, text.replace("name: lb", "name: lb, idleTimeout: 5s"));
  expect((await fetch(`http://127.0.0.1:${own}/`)).status).toBe(200);
});
