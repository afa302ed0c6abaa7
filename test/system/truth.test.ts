import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, expect } from "vitest";
import { parseAddress } from "../../src/packet/address.ts";
import { cleanUp, TcpClient, tcpEcho, tcpUpstream, udpSocket, udpUpstream } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { eventually, freePort } from "../support/processes.ts";
import {
  allSeries,
  buildProgram,
  enumNames,
  namesOf,
  type RunningWeir,
  runWeir,
} from "./truth-rig.ts";

const test = needing("clang");
afterEach(cleanUp);

const wrongNames = () => enumNames("truth.h", "wrong").filter((name) => name !== "wrongs");
const seenNames = () => enumNames("truth.h", "seen").filter((name) => name !== "seens");

/** As the filter has addresses: 16 bytes, IPv4 mapped. */
function address16(text: string): string {
  const bytes = Buffer.from(parseAddress(text)!);
  const mapped =
    bytes.length === 4
      ? Buffer.concat([Buffer.from("00000000000000000000ffff", "hex"), bytes])
      : bytes;
  return `"hex:${mapped.toString("hex")}"`;
}

interface Wire {
  readonly protocol: "udp" | "tcp";
  readonly client: string;
  readonly listener: string;
  readonly clientPort: number;
  readonly listenerPort: number;
  readonly upstream: string;
  /** More filters: names in chains, and their blocks. */
  readonly others?: { readonly chain: string; readonly block: string };
}

/** A listener whose every frame the truth filter sees first. */
function watched(wire: Wire): Promise<RunningWeir> {
  const chain = (program: string) =>
    `[${[program, ...(wire.others === undefined ? [] : [wire.others.chain])].join(", ")}]`;
  return runWeir(`
upstreams: { app: { addresses: ["${wire.upstream}"] } }
filters:
  truth:
    object: ${buildProgram("truth")}
    program: xdp_truth_ingress
    globals:
      client_address: ${address16(wire.client)}
      listener_address: ${address16(wire.listener)}
      client_port: ${wire.clientPort}
      listener_port: ${wire.listenerPort}
    metrics:
      counters:
        - name: wrong_total
          help: What was wrong
          map: wrong
          labels: [ { name: what, size: 4, decoders: [ ${namesOf(wrongNames())} ] } ]
        - name: seen_total
          help: What was seen
          map: seen
          labels:
            - { name: side, size: 4, decoders: [ ${namesOf(["client", "upstream"])} ] }
            - { name: what, size: 4, decoders: [ ${namesOf(seenNames())} ] }
${wire.others?.block ?? ""}
listeners:
  - name: watched
    protocol: ${wire.protocol}
    listen: "${wire.listener.includes(":") ? `[${wire.listener}]` : wire.listener}:${wire.listenerPort}"
    upstream: app
    ingress: ${chain("truth")}
    egress: ${chain('"truth:xdp_truth_egress"')}
`);
}

/** Nothing was wrong, and this was seen. */
async function expectSeen(weir: RunningWeir, seen: Record<string, number>): Promise<void> {
  const text = await weir.metrics();
  const nothing = Object.fromEntries(wrongNames().map((name) => [name, 0]));
  expect(allSeries(text, "wrong_total")).toEqual(nothing);
  expect(allSeries(text, "seen_total")).toMatchObject(
    Object.fromEntries(
      Object.entries(seen).map(([key, value]) => [key.replace(".", " seen_"), value]),
    ),
  );
}

const families = [
  { family: "IPv4", client: "127.0.0.21", listener: "127.0.0.1", mss: 1460 },
  { family: "IPv6", client: "::1", listener: "::1", mss: 1440 },
];

for (const { family, client, listener } of families)
  test(`every ${family} datagram is the one on the wire, in both directions, to the last checksum`, async () => {
    const upstream = await udpUpstream("", listener);
    const own = await udpSocket(client);
    const listenerPort = await freePort();
    const weir = await watched({
      protocol: "udp",
      client,
      listener,
      clientPort: own.port,
      listenerPort,
      upstream: `${listener.includes(":") ? `[${listener}]` : listener}:${upstream.port}`,
    });
    // Every length up to two words beyond a chunk, then some long ones, of bytes that carry over.
    const lengths = [...Array(530).keys(), 1471, 1472, 1473, 8999, 60_000, 60_001];
    let sent = 0;
    for (const length of lengths) {
      const payload = length % 3 === 0 ? Buffer.alloc(length, 0xff) : randomBytes(length);
      own.send(payload, { host: listener, port: listenerPort });
      expect((await own.next()).payload.equals(payload)).toBe(true);
      sent += length;
    }
    await expectSeen(weir, {
      "client.udp": lengths.length,
      "client.udp_bytes": sent,
      "upstream.udp": lengths.length,
      "upstream.udp_bytes": sent,
    });
  });

/** Connects from a port that is known beforehand, and is free. */
async function connectFrom(
  client: string,
  listener: string,
  clientPort: number,
  port: number,
): Promise<TcpClient> {
  const made = new TcpClient(
    { host: listener, port },
    { localAddress: client, localPort: clientPort },
  );
  await once(made.socket, "connect");
  return made;
}

for (const { family, client, listener, mss } of families) {
  const place = async () => {
    const [clientPort, listenerPort] = [await freePort(), await freePort()];
    return { protocol: "tcp" as const, client, listener, clientPort, listenerPort };
  };
  const hostOf = (port: number) => `${listener.includes(":") ? `[${listener}]` : listener}:${port}`;

  test(`an ${family} connection shows its handshake, data and FINs, sequence numbers without a gap`, async () => {
    const wire = await place();
    const echo = await tcpEcho(listener);
    const weir = await watched({ ...wire, upstream: hostOf(echo.port) });
    const own = await connectFrom(client, listener, wire.clientPort, wire.listenerPort);
    const bytes = randomBytes(500_001);
    own.write(bytes);
    expect((await own.bytes(bytes.length)).equals(bytes)).toBe(true);
    own.socket.end();
    expect(await own.over).toBe("end");
    const all = {
      "client.syn": 1,
      "upstream.syn_ack": 1,
      "client.ack": 1,
      "client.data_bytes": bytes.length,
      "upstream.data_bytes": bytes.length,
      "client.fin": 1,
      "upstream.fin": 1,
    };
    await expectSeen(weir, all);
    const seen = allSeries(await weir.metrics(), "seen_total");
    expect(seen["client seen_data"]).toBeGreaterThanOrEqual(Math.ceil(bytes.length / mss));
    expect(seen["client seen_rst"]).toBeUndefined();
    expect(seen["upstream seen_rst"]).toBeUndefined();
  });

  test(`an ${family} connection half closed by its client carries the answer all the same`, async () => {
    const wire = await place();
    const answer = randomBytes(300_000);
    let question = 0;
    const server = await tcpUpstream((socket) => {
      socket.on("data", (chunk: Buffer) => {
        question += chunk.length;
      });
      // Only the client's FIN brings the answer.
      socket.on("end", () => socket.end(answer));
    }, listener);
    const weir = await watched({ ...wire, upstream: hostOf(server.port) });
    const own = await connectFrom(client, listener, wire.clientPort, wire.listenerPort);
    own.socket.end("what?");
    expect(await own.over).toBe("end");
    expect(own.received.equals(answer)).toBe(true);
    expect(question).toBe(5);
    await expectSeen(weir, {
      "client.data_bytes": 5,
      "upstream.data_bytes": answer.length,
      "client.fin": 1,
      "upstream.fin": 1,
    });
  });

  test(`an ${family} connection that its server breaks off shows one RST of the right number`, async () => {
    const wire = await place();
    const server = await tcpUpstream((socket) => {
      socket.on("data", () => socket.resetAndDestroy());
    }, listener);
    const weir = await watched({ ...wire, upstream: hostOf(server.port) });
    const own = await connectFrom(client, listener, wire.clientPort, wire.listenerPort);
    own.write("hello");
    expect(await own.over).toBe("ECONNRESET");
    await expectSeen(weir, { "client.syn": 1, "client.data_bytes": 5, "upstream.rst": 1 });
  });

  test(`an ${family} connection that nobody answers shows the RST that refuses its SYN`, async () => {
    const wire = await place();
    const weir = await watched({ ...wire, upstream: hostOf(await freePort()) });
    const own = new TcpClient(
      { host: listener, port: wire.listenerPort },
      { localAddress: client, localPort: wire.clientPort },
    );
    expect(await own.over).toBe("ECONNRESET");
    await expectSeen(weir, { "client.syn": 1, "upstream.rst": 1 });
  });
}

test("connections one after another from one port are each a conversation of their own", async () => {
  const [clientPort, listenerPort, echo] = [await freePort(), await freePort(), await tcpEcho()];
  const wire = { client: "127.0.0.21", listener: "127.0.0.1", clientPort, listenerPort };
  const weir = await watched({ protocol: "tcp", ...wire, upstream: `127.0.0.1:${echo.port}` });
  const connections = 3;
  for (let i = 0; i < connections; i++) {
    const own = await connectFrom(wire.client, wire.listener, clientPort, listenerPort);
    own.write("hello");
    expect(await own.text(5)).toBe("hello");
    // By RST: after a FIN the port would have to rest.
    const gone = once(own.socket, "close");
    own.socket.resetAndDestroy();
    await gone;
    const over = async () =>
      allSeries(await weir.metrics(), "weir_sessions").watched === 0 ? true : undefined;
    await eventually(over, "the connection's end");
  }
  await expectSeen(weir, { "client.syn": connections, "client.rst": connections });
});

test("100 MB both ways through a filter that rewrites every segment arrive unharmed", async () => {
  const total = 100_000_000;
  const [clientPort, listenerPort] = [await freePort(), await freePort()];
  const atServer = createHash("sha256");
  let reached = 0;
  const server = await tcpUpstream((socket) => {
    socket.on("data", (chunk: Buffer) => {
      atServer.update(chunk);
      reached += chunk.length;
    });
    socket.pipe(socket);
  });
  const wire = { client: "127.0.0.21", listener: "127.0.0.1", clientPort, listenerPort };
  const weir = await watched({
    protocol: "tcp",
    ...wire,
    upstream: `127.0.0.1:${server.port}`,
    others: {
      chain: "scramble",
      block: `  scramble: { object: ${buildProgram("rewrite")}, program: xdp_xor }`,
    },
  });
  const socket = connect({
    host: wire.listener,
    port: listenerPort,
    localAddress: wire.client,
    localPort: clientPort,
  });
  const [sent, scrambled, back] = [0, 0, 0].map(() => createHash("sha256"));
  let received = 0;
  socket.on("data", (chunk: Buffer) => {
    back!.update(chunk);
    received += chunk.length;
  });
  const ended = once(socket, "end");
  await writeAll(socket, total, (chunk) => {
    sent!.update(chunk);
    scrambled!.update(chunk.map((byte) => byte ^ 0x5a));
  });
  await ended;
  expect({ reached, received }).toEqual({ reached: total, received: total });
  expect(atServer.digest("hex")).toBe(scrambled!.digest("hex"));
  expect(back!.digest("hex")).toBe(sent!.digest("hex"));
  await expectSeen(weir, {
    "client.data_bytes": total,
    "upstream.data_bytes": total,
    "client.fin": 1,
    "upstream.fin": 1,
  });
}, 120_000);

/** Writes random bytes as fast as they are taken, then ends. */
async function writeAll(
  socket: Socket,
  total: number,
  onChunk: (chunk: Buffer) => void,
): Promise<void> {
  for (let left = total; left > 0; ) {
    // Of no even length, so that segments end at every offset.
    const chunk = randomBytes(Math.min(left, 99_991));
    left -= chunk.length;
    onChunk(chunk);
    if (!socket.write(chunk)) await once(socket, "drain");
  }
  socket.end();
}
