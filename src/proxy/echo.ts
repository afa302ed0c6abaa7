import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Address } from "./plan.ts";
import { maxQueuedBytes, numericLookup, socketBufferBytes } from "./udp-socket.ts";

/** The built-in upstream: sends back what it receives, over UDP and over TCP. */
export interface Echo {
  /** The same port for both protocols. */
  readonly address: Address;
  stop(): Promise<void>;
}

const host = "127.0.0.1";
/** The system chooses a port for TCP that may be taken for UDP: then another is tried. */
const maxAttempts = 20;

/** Starts an echo server on loopback, for configs that have nothing else to send to. */
export async function startEcho(): Promise<Echo> {
  for (let attempt = 1; ; attempt++) {
    const streams = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (stream) => {
      streams.add(stream);
      stream.on("close", () => streams.delete(stream));
      stream.on("error", () => {});
      stream.pipe(stream);
    });
    server.listen(0, host);
    await once(server, "listening");
    const port = (server.address() as AddressInfo).port;
    const datagrams = await bindDatagrams(port);
    if (datagrams !== undefined)
      return {
        address: { host, port },
        stop: async () => {
          for (const stream of streams) stream.destroy();
          await Promise.all([closed(server), closed(datagrams)]);
        },
      };
    await closed(server);
    if (attempt === maxAttempts) throw new Error(`no port free for TCP and UDP on ${host}`);
  }
}

function bindDatagrams(port: number): Promise<DatagramSocket | undefined> {
  const socket = createSocket({
    type: "udp4",
    lookup: numericLookup,
    // The main thread may be busy with a reload: what comes meanwhile waits here.
    recvBufferSize: socketBufferBytes,
    sendBufferSize: socketBufferBytes,
  });
  return new Promise((resolve) => {
    const refused = (): void => {
      socket.close();
      resolve(undefined);
    };
    socket.once("error", refused);
    socket.on("message", (payload, from) => {
      if (from.port !== 0 && socket.getSendQueueSize() <= maxQueuedBytes)
        socket.send(payload, from.port, from.address);
    });
    socket.bind(port, host, () => {
      socket.off("error", refused);
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}

async function closed(socket: Server | DatagramSocket): Promise<void> {
  const event = once(socket, "close");
  socket.close();
  await event;
}
