import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { onCleanUp } from "./rig.ts";

/** Both ends of a connection; the accepted one is paused. */
export async function connection(): Promise<{ client: Socket; accepted: Socket }> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const [accepted] = (await once(server, "connection")) as [Socket];
  onCleanUp(() => {
    for (const socket of [client, accepted]) socket.destroy();
    server.close();
  });
  return { client, accepted };
}
