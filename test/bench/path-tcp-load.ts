/**
 * On a thread of its own: a server, and clients that reach it through a proxy. The first byte of a
 * connection says what the server does: take an upload, answer each request, or answer one and end.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { parentPort } from "node:worker_threads";

/** What is asked for; any message back says that it is done. */
export interface StreamLoad {
  readonly kind: "upload" | "requests" | "connections";
  /** Bytes of the upload, requests, or connections. */
  readonly count: number;
  readonly port: number;
}

const host = "127.0.0.1";
const atOnce = 16;
const message = Buffer.alloc(100, "weir");
const marks = { upload: "u", requests: "r", connections: "c" } as const;
const control = parentPort!;

const server = createServer({ noDelay: true }, (socket) => {
  let mark = "";
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    if (mark === "") mark = chunk.toString("latin1", 0, 1);
    if (mark === marks.requests) socket.write(message);
    else if (mark === marks.connections) socket.end(message);
  });
}).listen(0, host);
await once(server, "listening");
control.on("message", async (load: StreamLoad) => {
  await (load.kind === "upload" ? upload(load) : ask(load));
  control.postMessage("done");
});
control.postMessage((server.address() as AddressInfo).port);

async function upload({ port, count }: StreamLoad): Promise<void> {
  const client = connect(port, host);
  const chunk = Buffer.alloc(64_000, marks.upload);
  for (let sent = 0; sent < count; sent += chunk.length)
    if (!client.write(chunk.subarray(0, count - sent))) await once(client, "drain");
  client.end();
  client.resume();
  await once(client, "close");
}

/** Requests of a few clients at once, each on one connection or with one for each request. */
async function ask({ kind, port, count }: StreamLoad): Promise<void> {
  const request = Buffer.from(message);
  request.write(marks[kind]);
  const clients = Array.from({ length: atOnce }, async () => {
    for (let left = count / atOnce; left > 0; ) {
      const client = connect({ port, host, noDelay: true });
      client.write(request);
      client.on("data", () => {
        if (kind === "connections" || --left === 0) client.end();
        else client.write(request);
      });
      await once(client, "close");
      if (kind === "connections") left--;
    }
  });
  await Promise.all(clients);
}
