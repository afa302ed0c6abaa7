/**
 * What each step of a packet's way costs, in nanoseconds of CPU a packet:
 *
 *     npm run bench:path
 *
 * Steps are measured one by one on this thread, with the counting filter in the JIT; then whole
 * listeners carry the load of another process, both ways, and the kernel's share is what
 * getrusage(2) calls system time (the sum is exact, the share is told by clock ticks). Medians of rounds in turns. CPU time of this thread alone counts:
 * other work on the machine matters little, and ratios within the run are what counts. Needs Linux
 * and cc.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Flow } from "../../src/packet/flow.ts";
import { maximumSegmentSizes, TcpConversation } from "../../src/packet/tcp-conversation.ts";
import type { DatagramIo } from "../../src/proxy/plan.ts";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { maxPayloadBytes, numericLookup, socketBufferBytes } from "../../src/proxy/udp-socket.ts";
import { command, freePort, type Running, start, temporaryFolder } from "../support/processes.ts";
import { PathRig } from "./path-rig.ts";

const rounds = 5;
const payloads = [64, 512, 1400];
const segmentBytes = maximumSegmentSizes[4];

const datagramsARound = 10_000;
/** As many as every receive buffer holds. */
const datagramsAtOnce = 64;

interface Cost {
  /** Nanoseconds a packet. */
  readonly user: number;
  readonly system: number;
}

/** A step's name, and its cost for each column. */
interface Step {
  readonly name: string;
  readonly measure: (payloadBytes: number) => Promise<Cost> | Cost;
}

if (isMainThread) await main();
else await streamLoad(workerData as StreamLoad);

async function main(): Promise<void> {
  const folder = temporaryFolder();
  const running: Running[] = [];
  try {
    const load = `${folder.path}/udp-load`;
    const source = fileURLToPath(new URL("udp-load.c", import.meta.url));
    const built = await command("cc", ["-O2", "-o", load, source]);
    if (built.code !== 0) throw new Error(built.stderr);
    const echoPort = await freePort();
    const echo = start(load, ["echo", `${echoPort}`]);
    running.push(echo);
    await echo.printed(/up/);
    const rig = await PathRig.create();
    const hasBatches = (await socketCallsProblem()) === undefined;
    const [receiver, sender] = [await loopbackSocket(), await loopbackSocket()];
    await table("UDP datagram", payloads, [
      ...udpSteps(rig, receiver, sender),
      wholeUdp(rig, load, echoPort, "dgram"),
      ...(hasBatches ? [wholeUdp(rig, load, echoPort, "mmsg")] : []),
    ]);
    receiver.close();
    sender.close();
    await table("TCP segment", [segmentBytes], [...tcpSteps(rig), wholeTcp(rig)]);
    await rig.close();
  } finally {
    for (const process of running) await process.stop("SIGTERM");
    folder.remove();
  }
}

async function table(title: string, sizes: readonly number[], steps: readonly Step[]) {
  const samples = new Map<string, Cost[]>();
  for (let round = -1; round < rounds; round++)
    for (const { name, measure } of steps)
      for (const bytes of sizes) {
        const cost = await measure(bytes);
        // The first round warms up.
        if (round < 0) continue;
        const key = `${name} ${bytes}`;
        samples.set(key, [...(samples.get(key) ?? []), cost]);
      }
  console.log(
    `| ${title}, ns: user + system | ${sizes.map((bytes) => `${bytes} B`).join(" | ")} |`,
  );
  console.log(`|---|${"---|".repeat(sizes.length)}`);
  for (const { name } of steps) {
    const cells = sizes.map((bytes) => {
      const all = samples.get(`${name} ${bytes}`)!;
      const user = median(all.map((cost) => cost.user));
      const system = median(all.map((cost) => cost.system));
      return system < 1 ? shown(user) : `${shown(user)} + ${shown(system)}`;
    });
    console.log(`| ${name} | ${cells.join(" | ")} |`);
  }
  console.log("");
}

/** The steps of a datagram of a client, apart. */
function udpSteps(rig: PathRig, receiver: Socket, sender: Socket): Step[] {
  const flow = new Flow(
    "udp",
    { address: "192.0.2.7", port: 5353 },
    { address: "127.0.0.1", port: 53 },
  );
  const payload = Buffer.alloc(maxPayloadBytes[4], "weir");
  return [
    { name: "receive, node:dgram", measure: (bytes) => receiveCost(receiver, sender, bytes) },
    { name: "client look-up", measure: () => cost(() => rig.findClient("192.0.2.7", 5353)) },
    {
      name: "copy into a slot",
      measure: (bytes) => {
        const datagram = payload.subarray(0, bytes);
        return cost(() => rig.copyIntoSlot(datagram, flow.headerBytes));
      },
    },
    { name: "headers", measure: () => cost(() => rig.writeUdpFrame(flow, 0)) },
    { name: "checksum of the payload", measure: (bytes) => cost(() => rig.sum(bytes)) },
    { name: "chain, with its verdict", measure: () => cost(() => rig.judgeSlot()) },
    {
      name: "all from payload to verdict",
      measure: (bytes) => {
        const datagram = payload.subarray(0, bytes);
        return cost(() => rig.ingress.datagram(flow, datagram));
      },
    },
    { name: "send, node:dgram", measure: (bytes) => sendCost(sender, receiver, bytes) },
  ];
}

function tcpSteps(rig: PathRig): Step[] {
  const client = { address: "192.0.2.7", port: 5353 };
  const listener = { address: "127.0.0.1", port: 80 };
  const flow = new Flow("tcp", client, listener);
  const conversation = new TcpConversation(4);
  conversation.syn();
  conversation.synAck();
  conversation.ack();
  const payload = Buffer.alloc(segmentBytes, "weir");
  return [
    {
      name: "sequence numbers",
      measure: () => cost(() => conversation.data("client", segmentBytes)),
    },
    {
      name: "all from payload to verdict",
      measure: (bytes) => {
        const segment = conversation.data("client", bytes);
        return cost(() => rig.ingress.segment(flow, segment, payload));
      },
    },
  ];
}

/** A whole listener: CPU of this thread for each datagram that it forwards, there and back. */
function wholeUdp(rig: PathRig, load: string, echoPort: number, io: DatagramIo): Step {
  return {
    name: `the whole listener, both ways, io: ${io}`,
    measure: async (bytes) => {
      const port = await rig.udpListener(echoPort, io);
      const count = 20_000;
      const before = process.threadCpuUsage();
      const { stdout, stderr } = await command(load, [
        "ask",
        `${port}`,
        `${bytes}`,
        `${count}`,
        "1",
        "64",
      ]);
      const answered = Number(stdout.split(" ")[0]);
      if (!(answered > 0)) throw new Error(`udp-load: ${stderr}`);
      return since(before, answered * 2);
    },
  };
}

interface StreamLoad {
  readonly port: number;
  readonly bytes: number;
}

/** A whole listener: CPU of this thread for each segment's worth of bytes of an upload. */
function wholeTcp(rig: PathRig): Step {
  return {
    name: "the whole listener, an upload",
    measure: async () => {
      const bytes = 40_000_000;
      const load = new Worker(new URL(import.meta.url), { workerData: { port: 0, bytes } });
      const [sinkPort] = (await once(load, "message")) as [number];
      const port = await rig.tcpListener(sinkPort);
      const before = process.threadCpuUsage();
      load.postMessage(port);
      await once(load, "message");
      const taken = since(before, bytes / segmentBytes);
      await load.terminate();
      return taken;
    },
  };
}

/** On a thread of its own: a sink, and a client that sends to it through the listener. */
async function streamLoad({ bytes }: StreamLoad): Promise<void> {
  const port = parentPort!;
  let received = 0;
  const server = createServer((socket) => {
    socket.on("data", (chunk) => {
      received += chunk.length;
      if (received === bytes) port.postMessage("done");
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  port.postMessage((server.address() as { port: number }).port);
  const [target] = (await once(port, "message")) as [number];
  const client = connect(target, "127.0.0.1");
  const chunk = Buffer.alloc(64_000, "weir");
  for (let sent = 0; sent < bytes; sent += chunk.length)
    if (!client.write(chunk.subarray(0, bytes - sent))) await once(client, "drain");
}

async function loopbackSocket(): Promise<Socket> {
  const socket = createSocket({
    type: "udp4",
    lookup: numericLookup,
    recvBufferSize: socketBufferBytes,
    sendBufferSize: socketBufferBytes,
  });
  const listening = once(socket, "listening");
  socket.bind(0, "127.0.0.1");
  await listening;
  return socket;
}

/** Sending is not counted. */
async function receiveCost(socket: Socket, sender: Socket, bytes: number): Promise<Cost> {
  const { port } = socket.address();
  const payload = Buffer.alloc(bytes);
  const total = { user: 0, system: 0 };
  for (let sent = 0; sent < datagramsARound; sent += datagramsAtOnce) {
    for (let i = 0; i < datagramsAtOnce; i++) sender.send(payload, port, "127.0.0.1");
    let missing = datagramsAtOnce;
    const before = process.threadCpuUsage();
    await new Promise<void>((resolve) => {
      const onMessage = (): void => {
        if (--missing > 0) return;
        socket.off("message", onMessage);
        resolve();
      };
      socket.on("message", onMessage);
    });
    const { user, system } = since(before, datagramsARound);
    total.user += user;
    total.system += system;
  }
  return total;
}

/** What the kernel does for a datagram up to the receiver's buffer is the sender's. */
async function sendCost(sender: Socket, sink: Socket, bytes: number): Promise<Cost> {
  const { port } = sink.address();
  const payload = Buffer.alloc(bytes);
  const total = { user: 0, system: 0 };
  for (let sent = 0; sent < datagramsARound; sent += datagramsAtOnce) {
    const before = process.threadCpuUsage();
    for (let i = 0; i < datagramsAtOnce; i++) sender.send(payload, port, "127.0.0.1");
    const { user, system } = since(before, datagramsARound);
    total.user += user;
    total.system += system;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return total;
}

/** Nanoseconds a call, over 20 ms. */
function cost(step: () => unknown): Cost {
  const calls = 1000;
  const before = process.threadCpuUsage();
  let done = 0;
  do {
    for (let i = 0; i < calls; i++) step();
    done += calls;
  } while (process.threadCpuUsage(before).user < 20_000);
  // No step here asks the kernel for anything: what it took is the machine's doing.
  return { user: since(before, done).user, system: 0 };
}

function since(before: NodeJS.CpuUsage, packets: number): Cost {
  const { user, system } = process.threadCpuUsage(before);
  return { user: (user * 1000) / packets, system: (system * 1000) / packets };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function shown(ns: number): string {
  return `${Number(ns.toPrecision(ns < 100 ? 2 : 3))}`;
}
