import { createSocket, type RemoteInfo } from "node:dgram";
import { afterEach, expect } from "vitest";
import {
  cleanUp,
  onCleanUp,
  TcpClient,
  tcpEcho,
  udpSocket,
  udpUpstream,
  until,
} from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import {
  freePort,
  type Running,
  start,
  temporaryFolder,
  weirCommand,
} from "../support/processes.ts";
import { saboteur } from "../support/saboteur.ts";

afterEach(cleanUp);

// A name server has port 53, and a process its own resolv.conf only in a mount namespace of its own.
const test = needing("linux", "root", "unshare");

const nameServer = "127.0.0.9";

/** A name server with A records, and the names that it was asked for. Absent: it never answers. */
async function serveNames(records?: Readonly<Record<string, string>>): Promise<string[]> {
  const asked: string[] = [];
  const socket = createSocket("udp4");
  onCleanUp(() => void socket.close());
  socket.on("message", (query: Buffer, { port, address }: RemoteInfo) => {
    const { name, end } = questionOf(query);
    asked.push(name);
    if (records !== undefined) socket.send(answerTo(query, end, records[name]), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(53, nameServer, resolve));
  return asked;
}

/** The name that a query asks for, and where its question ends. RFC 1035 section 4.1.2. */
function questionOf(query: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (; query[at] !== 0; at += 1 + query[at]!)
    labels.push(query.toString("latin1", at + 1, at + 1 + query[at]!));
  return { name: labels.join("."), end: at + 5 };
}

/** The answer with one address, or that there is no such name. RFC 1035 section 4.1. */
function answerTo(query: Buffer, questionEnd: number, address: string | undefined): Buffer {
  const head = Buffer.from(query.subarray(0, questionEnd));
  head.writeUInt16BE(address === undefined ? 0x8183 : 0x8180, 2);
  head.writeUInt16BE(address === undefined ? 0 : 1, 6);
  head.writeUInt32BE(0, 8);
  if (address === undefined) return head;
  // The question's name again, A, IN, 0 s, 4 bytes.
  const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split(".").map(Number)];
  return Buffer.concat([head, Buffer.from(record)]);
}

interface Proxy {
  readonly running: Running;
  readonly udp: number;
  readonly tcp: number;
}

/** A proxy that asks our name server, for `upstream` too; that of its TCP listener is at hand. */
async function startProxy(resolvConf: string, upstream: string): Promise<Proxy> {
  const proxy = await startUnready(resolvConf, upstream);
  await proxy.running.printed(/"msg":"ready"/);
  return proxy;
}

async function startUnready(resolvConf: string, upstream: string): Promise<Proxy> {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const [echo, udp, tcp] = [await tcpEcho(), await freePort(), await freePort()];
  const config = folder.write(
    "weir.yaml",
    `version: 1
drainTimeout: 10m
metrics: { listen: off }
admin: { listen: off }
upstreams:
  named: { addresses: ["${upstream}"] }
  echo: { addresses: ["127.0.0.1:${echo.port}"] }
listeners:
  - { name: udp, protocol: udp, listen: "127.0.0.1:${udp}", upstream: named }
  - { name: tcp, protocol: tcp, listen: "127.0.0.1:${tcp}", upstream: echo }
`,
  );
  const names = folder.write("resolv.conf", `nameserver ${nameServer}\n${resolvConf}`);
  const preload = folder.write("saboteur.mjs", saboteur);
  const script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';
  const weir = [process.execPath, `--import=${preload}`, weirCommand, "run", "-c", config];
  const running = start("unshare", ["--mount", "sh", "-c", script, names, ...weir]);
  onCleanUp(() => running.stop("SIGKILL"));
  return { running, udp, tcp };
}

test("no end waits for a name server that is silent, and exit codes are as ever", {
  timeout: 30_000,
}, async () => {
  const asked = await serveNames();
  // Whoever waits for the answer to a look-up waits longer than this test may take.
  const silent = () => startProxy("options timeout:30 attempts:5\n", "app.test:9");
  const [idle, twice, dying] = await Promise.all([silent(), silent(), silent()]);
  expect(asked).toContain("app.test");

  expect(await idle.running.stop()).toEqual({ code: 0, signal: null });

  const client = new TcpClient({ host: "127.0.0.1", port: twice.tcp });
  client.write("?");
  await client.bytes(1);
  twice.running.child.kill("SIGTERM");
  await twice.running.printed(/"msg":"stopping"/);
  twice.running.child.kill("SIGTERM");
  expect(await twice.running.ended).toEqual({ code: 1, signal: null });
  expect(twice.running.output()).toMatch(/"reset":1,"durationMs":\d+,"msg":"stopped"/);

  const { socket } = await udpSocket();
  const dies = setInterval(() => socket.send("die", dying.udp, "127.0.0.1"), 20);
  onCleanUp(() => clearInterval(dies));
  expect(await dying.running.ended).toEqual({ code: 1, signal: null });
  expect(dying.running.output()).toContain("the third death in 10 s");
});

test("a signal while a start waits for a silent name server ends it at once, with exit 0", async () => {
  const asked = await serveNames();
  const starting = await startUnready("options timeout:30 attempts:5\n", "app.test:9");
  await until(() => asked.length > 0);
  expect(await starting.running.stop()).toEqual({ code: 0, signal: null });
  expect(starting.running.output()).toMatch(/"cause":"SIGTERM","msg":"stopping"/);
  expect(starting.running.output()).toMatch(/"reset":0,"durationMs":\d+,"msg":"stopped"/);
  expect(starting.running.output()).not.toContain("listening");
});

test("a service's short name is found by the domains of resolv.conf, as in a pod", async () => {
  const asked = await serveNames({ "app.svc.test": "127.0.0.1" });
  const upstream = await udpUpstream();
  const proxy = await startProxy(
    "search shop.svc.test svc.test\noptions ndots:5\n",
    `app:${upstream.port}`,
  );
  expect(asked).toEqual(["app.shop.svc.test", "app.svc.test"]);
  const client = await udpSocket();
  client.send("found", { host: "127.0.0.1", port: proxy.udp });
  expect(await client.text()).toBe("found");
});
