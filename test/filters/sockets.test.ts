import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import {
  cleanUp,
  type Inbox,
  onCleanUp,
  TcpClient,
  tcpEcho,
  udpSocket,
  udpUpstream,
} from "../proxy/rig.ts";
import { freePort, scrape, series, startWeir, temporaryFolder } from "../support/processes.ts";
import { dnsMessage } from "./filter-bench.ts";

afterEach(cleanUp);

/**
 * Runs Weir with the example config of a filter: what users copy is what is tested. Each change
 * must apply, so that an example that was rewritten does not go untested.
 */
async function startExample(
  name: string,
  changes: readonly (readonly [from: string, to: string])[],
): Promise<() => Promise<string>> {
  const metrics = await freePort();
  const file = new URL(`../../config/examples/${name}.yaml`, import.meta.url);
  let config = readFileSync(file, "utf8");
  for (const [from, to] of [
    ["../../filters/", fileURLToPath(new URL("../../filters/", import.meta.url))],
    ["version: 1\n", `version: 1\nmetrics: { listen: "127.0.0.1:${metrics}" }\n`],
    ...changes,
  ] as const) {
    if (!config.includes(from)) throw new Error(`${name}.yaml no longer says ${from}`);
    config = config.replaceAll(from, to);
  }
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const weir = await startWeir(folder, config);
  onCleanUp(() => weir.stop());
  return () => scrape(metrics);
}

/** All of a metric's series by one label. */
function byLabel(text: string, name: string, label: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [, value, count] of text.matchAll(
    new RegExp(`^${name}\\{[^}]*\\b${label}="([^"]*)"[^}]*\\} (\\S+)$`, "gm"),
  ))
    found[value!] = Number(count);
  return found;
}

function dropped(text: string, listener: string): number | undefined {
  return series(text, "weir_drops_total", {
    listener,
    direction: "ingress",
    reason: "filter_drop",
  });
}

/** Sends from a socket of its own, and waits for the answer: all sent before was judged then. */
async function flush(address: { host: string; port: number }, text = "last"): Promise<void> {
  const other = await udpSocket("127.0.0.9");
  other.send(text, address);
  expect(await other.text()).toBe(text);
}

test("rate-limit lets a source's burst through, and no other source pays for it", async () => {
  const [upstream, port] = [await udpUpstream(), await freePort()];
  const metrics = await startExample("rate-limit", [
    ["127.0.0.1:27015", `127.0.0.1:${upstream.port}`],
    ["127.0.0.1:27016", `127.0.0.1:${port}`],
    // A byte a second brings no second frame while this test runs: 142 bytes each, three of them.
    ["bytes_per_second: 262144", "bytes_per_second: 1"],
    ["byte_burst: 524288", "byte_burst: 500"],
  ]);
  const address = { host: "127.0.0.1", port };
  const client = await udpSocket();
  for (let i = 0; i < 10; i++) client.send(`${i}`.padEnd(100), address);
  await flush(address);
  const answers = [await client.text(), await client.text(), await client.text()];
  expect(answers.map((answer) => answer.trim())).toEqual(["0", "1", "2"]);
  expect(upstream.received).toBe(4);
  const text = await metrics();
  expect(byLabel(text, "rate_limit_packets_total", "result")).toEqual({
    within_limit: 4,
    over_packet_rate: 0,
    over_byte_rate: 7,
  });
  expect(byLabel(text, "rate_limited_source_packets_total", "source")).toEqual({ "127.0.0.1": 7 });
  expect(dropped(text, "game")).toBe(7);
  expect(client.received).toBe(3);
});

test("port-firewall decides for both listeners by its first rule that matches", async () => {
  const [dns, web] = [await udpUpstream(), await tcpEcho()];
  const [dnsPort, webPort] = [await freePort(), await freePort()];
  const metrics = await startExample("port-firewall", [
    ["127.0.0.1:5353", `127.0.0.1:${dns.port}`],
    ["127.0.0.1:8081", `127.0.0.1:${web.port}`],
    ["127.0.0.1:5300", `127.0.0.1:${dnsPort}`],
    ["{ first: 5300 }", `{ first: ${dnsPort} }`],
    ["127.0.0.1:8080", `127.0.0.1:${webPort}`],
    ["{ first: 8080, last: 8089 }", `{ first: ${webPort - 1}, last: ${webPort + 1} }`],
    ["192.0.2.10,", "127.0.0.10,"],
    ["203.0.113.0/24", "127.0.0.64/30"],
  ]);
  const address = { host: "127.0.0.1", port: dnsPort };
  const [friend, foe, monitor] = [
    await udpSocket(),
    await udpSocket("127.0.0.66"),
    await udpSocket("127.0.0.10"),
  ];
  foe.send("foe", address);
  friend.send("friend", address);
  monitor.send("monitor", address);
  expect([await friend.text(), await monitor.text()]).toEqual(["friend", "monitor"]);

  const to = { host: "127.0.0.1", port: webPort };
  const [welcome, refused] = [new TcpClient(to), new TcpClient(to, { localAddress: "127.0.0.67" })];
  welcome.write("hello");
  expect(await welcome.text(5)).toBe("hello");
  expect(await refused.over).toBe("ECONNRESET");

  const text = await metrics();
  const packets = byLabel(text, "port_firewall_packets_total", "rule");
  // Of the connection that passed: SYN, ACK and data.
  expect(packets).toEqual({ monitoring: 1, bad_networks: 2, dns: 1, web: 3 });
  expect(byLabel(text, "port_firewall_bytes_total", "rule")).toEqual({
    monitoring: 42 + 7,
    bad_networks: 42 + 3 + 58,
    dns: 42 + 6,
    web: 58 + 54 + 54 + 5,
  });
  expect([dropped(text, "dns"), dropped(text, "web")]).toEqual([1, 1]);
  expect(foe.received).toBe(0);
});

/** A DNS server that answers each query, and sends the client a NOTIFY of its own before that. */
async function primary(): Promise<Inbox> {
  const server = await udpSocket();
  server.socket.on("message", (message, from) => {
    if ((message[2]! & 0x80) !== 0) return;
    const notify = dnsMessage(0x7777, "zone.test", { type: 6, opcode: 4 });
    server.socket.send(notify, from.port, from.address);
    const answer = Buffer.from(message);
    answer[2]! |= 0x80;
    server.socket.send(answer, from.port, from.address);
  });
  return server;
}

test("dns-guard lets in queries, and the responses that the server has asked for", async () => {
  const [server, port] = [await primary(), await freePort()];
  const metrics = await startExample("dns-guard", [
    ["127.0.0.1:5353", `127.0.0.1:${server.port}`],
    ["127.0.0.1:5300", `127.0.0.1:${port}`],
  ]);
  const address = { host: "127.0.0.1", port };
  const client = await udpSocket();
  const response = { type: 6, response: true } as const;
  client.send(dnsMessage(0x7777, "zone.test", response), address);
  client.send(dnsMessage(1, "weir.test", { type: 255 }), address);
  client.send("no DNS", address);
  client.send(dnsMessage(2, "weir.test"), address);
  const replies = [await client.next(), await client.next()].map(({ payload }) => payload);
  expect(replies.map((reply) => reply.readUInt16BE(0))).toEqual([0x7777, 2]);
  // The server has asked now: its answer passes once.
  client.send(dnsMessage(0x7777, "zone.best", response), address);
  client.send(dnsMessage(0x7777, "zone.test", response), address);
  client.send(dnsMessage(0x7777, "zone.test", response), address);
  client.send(dnsMessage(3, "weir.test"), address);
  expect((await client.next()).payload.readUInt16BE(0)).toBe(0x7777);
  expect((await client.next()).payload.readUInt16BE(0)).toBe(3);

  const arrived = [await server.next(), await server.next(), await server.next()];
  expect(arrived.map(({ payload }) => payload.readUInt16BE(0))).toEqual([2, 0x7777, 3]);
  expect(server.received).toBe(3);
  const text = await metrics();
  expect(byLabel(text, "dns_guard_messages_total", "result")).toEqual({
    query: 2,
    any_query: 1,
    expected_response: 1,
    unexpected_response: 3,
    unreadable: 1,
  });
  expect(dropped(text, "dns")).toBe(5);
});

test("syn-guard resets the connections of a source beyond its burst, and keeps those it has", async () => {
  const [web, port] = [await tcpEcho(), await freePort()];
  const metrics = await startExample("syn-guard", [
    ["127.0.0.1:8081", `127.0.0.1:${web.port}`],
    ["127.0.0.1:8080", `127.0.0.1:${port}`],
    ["connections_per_second: 20", "connections_per_second: 1"],
    ["burst: 50", "burst: 3"],
  ]);
  const to = { host: "127.0.0.1", port };
  const attempts = 40;
  const clients = Array.from({ length: attempts }, () => new TcpClient(to));
  const results = await Promise.all(
    clients.map((client) => {
      client.write("hello");
      return Promise.race([client.over, client.text(5)]);
    }),
  );
  const served = results.filter((result) => result === "hello").length;
  const reset = results.filter((result) => result === "ECONNRESET" || result === "EPIPE").length;
  expect(served + reset).toBe(attempts);
  // The burst, and one a second while the machine was busy.
  expect(served).toBeGreaterThanOrEqual(3);
  expect(reset).toBeGreaterThan(0);
  const other = new TcpClient(to, { localAddress: "127.0.0.2" });
  other.write("other");
  expect(await other.text(5)).toBe("other");
  const kept = clients[results.indexOf("hello")]!;
  kept.write("still here");
  expect(await kept.text(15)).toBe("hellostill here");

  const text = await metrics();
  expect(byLabel(text, "syn_guard_connections_total", "result")).toEqual({
    within_limit: served + 1,
    over_limit: reset,
  });
  expect(dropped(text, "web")).toBe(reset);
});

test("size-limit lets datagrams of the allowed lengths through", async () => {
  const [dns, port] = [await udpUpstream(), await freePort()];
  const metrics = await startExample("size-limit", [
    ["127.0.0.1:5353", `127.0.0.1:${dns.port}`],
    ["127.0.0.1:5300", `127.0.0.1:${port}`],
  ]);
  const address = { host: "127.0.0.1", port };
  const client = await udpSocket();
  for (const length of [0, 11, 12, 512, 513, 65507]) client.send(Buffer.alloc(length, 7), address);
  await flush(address, "long enough!");
  const arrived = [await client.next(), await client.next()];
  expect(arrived.map(({ payload }) => payload.length)).toEqual([12, 512]);
  const text = await metrics();
  expect(byLabel(text, "size_limited_packets_total", "reason")).toEqual({
    too_short: 2,
    too_long: 2,
  });
  expect(byLabel(text, "size_limited_packets_total", "protocol")).toEqual({ udp: 2 });
  expect(dropped(text, "dns")).toBe(4);
  expect(dns.received).toBe(3);
});
