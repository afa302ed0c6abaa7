/**
 * The load of reload.test.ts, in a process of its own so that neither the test nor the proxy's control
 * thread sets its pace: an upstream that echoes, 5,000 datagrams a second and 50 streams through the
 * proxy in front of it, and account of what comes back.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket as Stream } from "node:net";
import { fileURLToPath } from "node:url";

/** What the test asks: `go` through the proxy at these ports, a `report` so far, or to `end`. */
export type LoadOrder =
  | { readonly go: { readonly udp: number; readonly tcp: number; readonly streams: number } }
  | "report"
  | "end";

/** What it is told: ports of the upstreams, accounts. */
export type LoadNews =
  | { readonly upstreams: { readonly udp: number; readonly tcp: number } }
  | { readonly report: LoadReport };

export interface LoadReport {
  readonly sent: number;
  readonly received: number;
  /** Numbers of datagrams that have not come back. */
  readonly missing: readonly number[];
  /** Milliseconds since the load began. */
  readonly elapsedMs: number;
  /** How streams have ended that should not have. */
  readonly broken: readonly string[];
  /** Bytes of all streams that came back in order. */
  readonly streamBytes: number;
  /** Whether each stream has had back all that it sent. */
  readonly isWhole: boolean;
}

const datagramsPerMs = 5;
/** Datagrams under way at a time: what the smallest socket buffer holds, 212,992 bytes of 768 each. */
const maxUnderWay = 200;
/** Of a stream, every 20 ms. */
const chunkBytes = 100;

if (process.argv[1] === fileURLToPath(import.meta.url)) await carry();

async function carry(): Promise<void> {
  const udp = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  udp.on("message", (payload, from) => udp.send(payload, from.port, from.address));
  udp.bind(0, "127.0.0.1");
  await once(udp, "listening");
  const tcp = createServer((socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  }).listen(0, "127.0.0.1");
  await once(tcp, "listening");
  const upstreams = { udp: udp.address().port, tcp: (tcp.address() as AddressInfo).port };
  let load: Load | undefined;
  process.on("message", (order: LoadOrder) => {
    if (order === "end") load?.end();
    else if (order === "report") tell({ report: load!.report() });
    else load = new Load(order.go);
  });
  // Whoever started it has gone.
  process.on("disconnect", () => process.exit());
  tell({ upstreams });
}

function tell(news: LoadNews): void {
  process.send!(news);
}

class Load {
  readonly #startMs = performance.now();
  readonly #datagrams: Socket;
  readonly #back = new Set<number>();
  readonly #streams: NumberedStream[];
  readonly #timers: NodeJS.Timeout[];
  #sent = 0;

  constructor({ udp, tcp, streams }: { udp: number; tcp: number; streams: number }) {
    this.#datagrams = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
    this.#datagrams.on("message", (payload) => this.#back.add(payload.readUInt32LE(0)));
    this.#streams = Array.from({ length: streams }, () => new NumberedStream(tcp));
    this.#timers = [
      setInterval(() => this.#send(udp), 1),
      setInterval(() => {
        for (const stream of this.#streams) stream.write();
      }, 20),
    ];
  }

  /** What is due by the clock: a turn that came late is made up for. */
  #send(port: number): void {
    const due = (performance.now() - this.#startMs) * datagramsPerMs;
    while (this.#sent < due && this.#sent - this.#back.size < maxUnderWay) {
      const payload = Buffer.alloc(64);
      payload.writeUInt32LE(this.#sent++);
      this.#datagrams.send(payload, port, "127.0.0.1");
    }
  }

  /** Sends no more; what is under way may still come back. */
  end(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  report(): LoadReport {
    const missing: number[] = [];
    for (let i = 0; i < this.#sent; i++) if (!this.#back.has(i)) missing.push(i);
    return {
      sent: this.#sent,
      received: this.#back.size,
      missing,
      elapsedMs: performance.now() - this.#startMs,
      broken: this.#streams.flatMap(({ broken }) => broken ?? []),
      streamBytes: this.#streams.reduce((sum, { received }) => sum + received, 0),
      isWhole: this.#streams.every((stream) => stream.received === stream.sent),
    };
  }
}

/** A connection over which numbered chunks go out and must come back in order. */
class NumberedStream {
  sent = 0;
  received = 0;
  broken: string | undefined;
  readonly #socket: Stream;

  constructor(port: number) {
    this.#socket = connect(port, "127.0.0.1");
    this.#socket.on("error", (error: NodeJS.ErrnoException) => {
      this.broken ??= error.code ?? error.message;
    });
    this.#socket.on("end", () => {
      this.broken ??= "FIN";
    });
    this.#socket.on("data", (bytes: Buffer) => this.#take(bytes));
  }

  write(): void {
    this.#socket.write(chunk(this.sent / chunkBytes));
    this.sent += chunkBytes;
  }

  #take(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      const inChunk = this.received % chunkBytes;
      const length = Math.min(chunkBytes - inChunk, bytes.length - at);
      const expected = chunk(Math.floor(this.received / chunkBytes));
      if (!bytes.subarray(at, at + length).equals(expected.subarray(inChunk, inChunk + length)))
        this.broken ??= `other bytes than were sent, around ${this.received}`;
      this.received += length;
      at += length;
    }
  }
}

function chunk(number: number): Buffer {
  return Buffer.alloc(chunkBytes, `${number},`);
}
