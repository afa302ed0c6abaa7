import { createSocket, type Socket } from "node:dgram";
import { err, ok, type Result } from "../../common/result.ts";
import { numericLookup, socketBufferBytes } from "../udp-socket.ts";

/** A UDP socket on `host` and `port` (0: any), bound by the time it is returned. */
export function bindSocket(
  family: 4 | 6,
  host: string,
  port: number,
  reusePort: boolean,
): Promise<Result<Socket, NodeJS.ErrnoException>> {
  const socket = createSocket({
    type: family === 4 ? "udp4" : "udp6",
    reusePort,
    lookup: numericLookup,
    recvBufferSize: socketBufferBytes,
    sendBufferSize: socketBufferBytes,
  });
  return new Promise((resolve) => {
    const refused = (error: Error): void => {
      socket.close();
      resolve(err(error));
    };
    socket.once("error", refused);
    // Before bind: addresses are numbers, and it may be over before bind returns.
    socket.once("listening", () => {
      socket.off("error", refused);
      resolve(ok(socket));
    });
    socket.bind({ address: host, port, exclusive: true });
  });
}
