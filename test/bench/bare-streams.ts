import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

const host = "127.0.0.1";

/** Forwards connections to 127.0.0.1:`port` to `upstreamPort`, and does nothing else. */
export async function serveStreams(port: number, upstreamPort: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ host, port: upstreamPort, allowHalfOpen: true, noDelay: true });
    pump(client, upstream);
    pump(upstream, client);
  });
  server.listen(port, host);
  await once(server, "listening");
  return server;
}

function pump(from: Socket, to: Socket): void {
  from.on("data", (chunk) => {
    if (!to.write(chunk)) from.pause();
  });
  to.on("drain", () => from.resume());
  from.on("end", () => to.end());
  from.on("error", () => to.destroy());
}
