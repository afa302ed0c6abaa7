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
import { fileURLToPath } from "node:url";
import { Flow } from "../../src/packet/flow.ts";
import type { DatagramIo } from "../../src/proxy/plan.ts";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { maxPayloadBytes, numericLookup, socketBufferBytes } from "../../src/proxy/udp-socket.ts";
import { command, freePort, type Running, start, temporaryFolder } from "../support/processes.ts";
import { BatchSteps } from "./batch-steps.ts";
import { PathRig } from "./path-rig.ts";
import { type Cost, cost, type Step, since, table } from "./path-table.ts";
import { tcpTables } from "./path-tcp.ts";

const payloads = [64, 512, 1400];
const datagramsARound = 10_000;
/** As many as every receive buffer holds. */
const datagramsAtOnce = 64;

const columns = payloads.map((bytes) => ({ title: `${bytes} B`, bytes }));

await main();

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
    const batch = hasBatches
      ? await BatchSteps.create(await rig.batchSockets(), sender, receiver)
      : undefined;
    await table("UDP datagram", columns, [
      ...udpSteps(rig, receiver, sender),
      ...(batch === undefined ? [] : batchSteps(batch)),
      wholeUdp(rig, load, echoPort, "dgram"),
      ...(hasBatches ? [wholeUdp(rig, load, echoPort, "mmsg")] : []),
    ]);
    await batch?.close();
    receiver.close();
    sender.close();
    await tcpTables(rig);
    await rig.close();
  } finally {
    for (const process of running) await process.stop("SIGTERM");
    folder.remove();
  }
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

/** Those that `io: mmsg` has of its own. */
function batchSteps(batch: BatchSteps): Step[] {
  return [
    {
      name: "receive, io: mmsg",
      measure: async (bytes) => each(await batch.receive(bytes, datagramsARound)),
    },
    {
      name: "send, io: mmsg",
      measure: async (bytes) => each(await batch.send(bytes, datagramsARound)),
    },
  ];
}

function each({ user, system }: NodeJS.CpuUsage): Cost {
  return { user: (user * 1000) / datagramsARound, system: (system * 1000) / datagramsARound };
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
