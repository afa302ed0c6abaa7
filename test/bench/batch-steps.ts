import type { Socket } from "node:dgram";
import { setTimeout as delay } from "node:timers/promises";
import type { BatchSockets } from "../../src/proxy/batch-sockets.ts";
import type { DatagramPeer, ListenerSocket } from "../../src/proxy/datagram-socket.ts";
import type { PacketTally } from "../../src/proxy/tally.ts";
import { unwrap } from "../engine/engine-bench.ts";

/** As many as every receive buffer holds. */
const datagramsAtOnce = 64;
const drainMs = 100;

const uncounted: PacketTally = {
  forwarded: () => {},
  passedUnseen: () => {},
  ended: () => {},
  dropped: () => {
    throw new Error("a datagram was not sent");
  },
  lost: () => {},
};

/** What of a datagram's way `io: mmsg` does itself: receiving it into a slot, and sending it from there. */
export class BatchSteps {
  readonly #batches: BatchSockets;
  readonly #sender: Socket;
  readonly #sink: DatagramPeer;
  readonly #socket: ListenerSocket<DatagramPeer>;
  #port = 0;
  #onDatagrams: (payloads: readonly Buffer[], count: number) => void = () => {};

  private constructor(batches: BatchSockets, sender: Socket, sink: Socket) {
    const { address, port } = sink.address();
    this.#batches = batches;
    this.#sender = sender;
    this.#sink = { address, port, socketName: undefined };
    this.#socket = batches.listener<DatagramPeer>(4, {
      onDatagrams: ({ payloads, count }) => this.#onDatagrams(payloads, count),
      peer: (host, from) => ({ address: host, port: from, socketName: undefined }),
      isCurrent: () => true,
      onError: () => {},
      onKernelDrops: () => {},
    });
  }

  /** `sender` sends what is received, `sink` gets what is sent. */
  static async create(batches: BatchSockets, sender: Socket, sink: Socket): Promise<BatchSteps> {
    const steps = new BatchSteps(batches, sender, sink);
    const bound = await steps.#socket.bind({ host: "127.0.0.1", port: 0 }, false);
    steps.#port = unwrap(bound).port;
    return steps;
  }

  /** What this thread takes for `datagrams` of `bytes` bytes, sending them not counted. */
  async receive(bytes: number, datagrams: number): Promise<NodeJS.CpuUsage> {
    const total = { user: 0, system: 0 };
    // What the sink still has of the step before is read on this thread too.
    await delay(drainMs);
    for (let sent = 0; sent < datagrams; sent += datagramsAtOnce) {
      this.#flood(bytes);
      const before = process.threadCpuUsage();
      await this.#arrived(() => {});
      add(total, before);
    }
    return total;
  }

  /** What it takes to send as many, as they have come together; what the sink takes is not counted. */
  async send(bytes: number, datagrams: number): Promise<NodeJS.CpuUsage> {
    const total = { user: 0, system: 0 };
    for (let sent = 0; sent < datagrams; sent += datagramsAtOnce) {
      this.#flood(bytes);
      await this.#arrived((payloads, count) => {
        const before = process.threadCpuUsage();
        for (let i = 0; i < count; i++)
          this.#socket.send(payloads[i]!, this.#sink, bytes, "pass", uncounted);
        this.#batches.queue.flush();
        add(total, before);
      });
    }
    return total;
  }

  close(): Promise<void> {
    return this.#socket.close();
  }

  #flood(bytes: number): void {
    const payload = Buffer.alloc(bytes);
    for (let i = 0; i < datagramsAtOnce; i++) this.#sender.send(payload, this.#port, "127.0.0.1");
  }

  /** Resolves when all have come that were sent. */
  #arrived(onDatagrams: (payloads: readonly Buffer[], count: number) => void): Promise<void> {
    let missing = datagramsAtOnce;
    return new Promise((resolve) => {
      this.#onDatagrams = (payloads, count) => {
        onDatagrams(payloads, count);
        missing -= count;
        // No promise goes on by itself at the end of koffi's callback.
        if (missing === 0) setImmediate(resolve);
      };
    });
  }
}

function add(total: NodeJS.CpuUsage, before: NodeJS.CpuUsage): void {
  const { user, system } = process.threadCpuUsage(before);
  total.user += user;
  total.system += system;
}
