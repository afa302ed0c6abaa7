import { createSocket, type Socket, type SocketOptions } from "node:dgram";
import { err, ok, type Result } from "../common/result.ts";
import type { Address } from "./plan.ts";

/** What both kinds of UDP socket ask of the kernel, which gives at most its own limit. */
export const socketBufferBytes = 4 * 1024 * 1024;

/** Bytes that may wait in libuv where the kernel would block; then datagrams are dropped. */
export const maxQueuedBytes = 1024 * 1024;

/**
 * Whether what waits in libuv leaves a socket room for another datagram. That can be no more than what
 * waited at the last look and what the socket was given since: it is only looked at, by a call into Node's
 * own code, where that might be too much.
 */
export class SendRoom {
  readonly #socket: Pick<Socket, "getSendQueueSize">;
  #atMostBytes = 0;

  constructor(socket: Pick<Socket, "getSendQueueSize">) {
    this.#socket = socket;
  }

  /** Asked before each datagram, of `bytes` bytes, that is sent if there is room. */
  take(bytes: number): boolean {
    if (this.#atMostBytes > maxQueuedBytes) {
      this.#atMostBytes = this.#socket.getSendQueueSize();
      if (this.#atMostBytes > maxQueuedBytes) return false;
    }
    this.#atMostBytes += bytes;
    return true;
  }
}

/** The most a datagram carries: 65,535 less UDP's header, and on IPv4 less IP's. RFC 768, RFC 791. */
export const maxPayloadBytes = { 4: 65_507, 6: 65_527 } as const;

/**
 * Addresses are numbers already. node:dgram would still ask the resolver and send in a later turn;
 * with this it sends at once.
 */
export const numericLookup: NonNullable<SocketOptions["lookup"]> = (host, options, callback) => {
  callback(null, host, options.family === 6 || options.family === "IPv6" ? 6 : 4);
};

export interface BindOptions extends Address {
  readonly family: 4 | 6;
  readonly reusePort: boolean;
  /** Datagrams are only sent: what the system gives every socket to receive into is enough. */
  readonly sendsOnly: boolean;
}

/**
 * A socket of node:dgram that is bound to `host`, a number, and `port` (0: any). `onBound` gets it, or
 * what went wrong, in a later turn or before this returns: in time for a datagram that comes at once.
 */
export function bindSocket(
  { family, host, port, reusePort, sendsOnly }: BindOptions,
  onBound: (bound: Result<Socket, NodeJS.ErrnoException>) => void,
): void {
  const socket = createSocket({
    type: family === 4 ? "udp4" : "udp6",
    reusePort,
    lookup: numericLookup,
    ...(sendsOnly ? {} : { recvBufferSize: socketBufferBytes }),
    sendBufferSize: socketBufferBytes,
  });
  const refused = (error: NodeJS.ErrnoException): void => {
    socket.close();
    onBound(err(error));
  };
  socket.once("error", refused);
  // Before bind: addresses are numbers, and it may be over before bind returns.
  socket.once("listening", () => {
    socket.off("error", refused);
    onBound(ok(socket));
  });
  socket.bind({ address: host, port, exclusive: true });
}
