/** The steps of a TCP segment's way, and what a request and a connection take, for `path.ts`. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { Flow } from "../../src/packet/flow.ts";
import { maximumSegmentSizes, TcpConversation } from "../../src/packet/tcp-conversation.ts";
import { readAccepted } from "../../src/proxy/accepted-reads.ts";
import { firstSizes, ReadBuffer } from "../../src/proxy/read-buffer.ts";
import { serveStreams } from "./bare-streams.ts";
import type { PathRig } from "./path-rig.ts";
import { type Cost, cost, type Step, since, table } from "./path-table.ts";
import type { StreamLoad } from "./path-tcp-load.ts";

const segmentBytes = maximumSegmentSizes[4];
const segmentsARound = 10_000;
const pairs = 64;

const client = { address: "192.0.2.7", port: 5353 };
const listener = { address: "127.0.0.1", port: 80 };

export async function tcpTables(rig: PathRig): Promise<void> {
  const load = new Worker(new URL("path-tcp-load.ts", import.meta.url));
  const [serverPort] = (await once(load, "message")) as [number];
  const bare = await serveStreams(0, serverPort);
  const targets = [
    { name: "the whole listener", port: await rig.tcpListener(serverPort) },
    { name: "bare node:net instead", port: (bare.address() as AddressInfo).port },
  ];
  /** CPU of this thread for each of `units` that the load makes of a proxy's work. */
  const whole = (work: Pick<StreamLoad, "kind" | "count">, units: number): Step[] =>
    targets.map(({ name, port }) => ({
      name,
      measure: async () => {
        const before = process.threadCpuUsage();
        load.postMessage({ ...work, port });
        await once(load, "message");
        return since(before, units);
      },
    }));
  const streams = await StreamPairs.create();
  const uploaded = 40_000_000;
  await table(
    "TCP segment",
    [{ title: `${segmentBytes} B`, bytes: segmentBytes }],
    [
      { name: "read, node:net", measure: () => streams.cost("read") },
      ...segmentSteps(rig),
      { name: "write, node:net", measure: () => streams.cost("write") },
      ...whole({ kind: "upload", count: uploaded }, uploaded / segmentBytes),
    ],
  );
  const requests = 10_000;
  await table(
    "TCP request and its answer",
    [{ title: "100 B each", bytes: 100 }],
    whole({ kind: "requests", count: requests }, requests),
  );
  const connections = 2_000;
  await table(
    "TCP connection",
    [{ title: "a request of 100 B and its answer", bytes: 100 }],
    [
      {
        name: "its SYN, SYN-ACK, ACK and two FINs, from event to verdict",
        measure: () => cost(() => rig.judgeConnection(client, listener)),
      },
      ...whole({ kind: "connections", count: connections }, connections),
    ],
  );
  streams.close();
  bare.close();
  await load.terminate();
}

function segmentSteps(rig: PathRig): Step[] {
  const flow = new Flow("tcp", client, listener);
  const conversation = new TcpConversation(4);
  conversation.syn();
  conversation.synAck();
  conversation.ack();
  const payload = Buffer.alloc(segmentBytes, "weir");
  const segment = conversation.data("client", segmentBytes);
  return [
    {
      name: "sequence numbers",
      measure: () => cost(() => conversation.data("client", segmentBytes)),
    },
    {
      name: "copy into a slot",
      measure: () => cost(() => rig.copyIntoSlot(payload, flow.headerBytes)),
    },
    { name: "headers", measure: () => cost(() => rig.writeTcpFrame(flow, segment)) },
    { name: "checksum of the payload", measure: () => cost(() => rig.sum(segmentBytes)) },
    { name: "chain, with its verdict", measure: () => cost(() => rig.judgeSlot()) },
    {
      name: "all from payload to verdict",
      measure: () => cost(() => rig.ingress.segment(flow, segment, payload)),
    },
  ];
}

/** Connections of this thread with itself, whose accepted ends are read as a listener's are. */
class StreamPairs {
  readonly #writers: Socket[] = [];
  readonly #readers: Socket[] = [];
  #onRead: () => void = () => {};

  static async create(): Promise<StreamPairs> {
    const made = new StreamPairs();
    const server = createServer({ pauseOnConnect: true, noDelay: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    for (let i = 0; i < pairs; i++) {
      made.#writers.push(connect({ port, host: "127.0.0.1", noDelay: true }));
      const [reader] = (await once(server, "connection")) as [Socket];
      made.#read(reader);
    }
    server.close();
    return made;
  }

  /** Of a segment that lies in the kernel and is read, or of one that is written to it. */
  async cost(step: "read" | "write"): Promise<Cost> {
    const payload = Buffer.alloc(segmentBytes);
    const total = { user: 0, system: 0 };
    for (let done = 0; done < segmentsARound; done += pairs) {
      let missing = pairs;
      const beforeWrites = process.threadCpuUsage();
      for (const writer of this.#writers) writer.write(payload);
      const writes = since(beforeWrites, segmentsARound);
      const beforeReads = process.threadCpuUsage();
      await new Promise<void>((resolve) => {
        this.#onRead = () => {
          if (--missing === 0) resolve();
        };
      });
      const { user, system } = step === "write" ? writes : since(beforeReads, segmentsARound);
      total.user += user;
      total.system += system;
    }
    return total;
  }

  close(): void {
    for (const socket of [...this.#writers, ...this.#readers]) socket.destroy();
  }

  #read(reader: Socket): void {
    const buffer = new ReadBuffer(firstSizes.client);
    buffer.onChunk = () => {
      this.#onRead();
      return true;
    };
    if (!readAccepted(reader, buffer.options)) throw new Error("Node has another inside");
    reader.read(0);
    this.#readers.push(reader);
  }
}
