import { createSocket, type Socket } from "node:dgram";
import type { DropReason } from "../common/drop-reason.ts";
import { err, ok } from "../common/result.ts";
import type { DatagramPeer } from "./datagram-socket.ts";
import type { SendingSocket, SendingSockets } from "./sending-socket.ts";
import { upstreamDropReason } from "./socket-error.ts";
import { maxQueuedBytes, numericLookup, socketBufferBytes } from "./udp-socket.ts";

/** `io: dgram`: a system call a datagram. */
export const dgramSendingSockets: SendingSockets = {
  sending: ({ family, host, port, reusePort, onLost }, onBound) => {
    const socket = createSocket({
      type: family === 4 ? "udp4" : "udp6",
      reusePort,
      lookup: numericLookup,
      recvBufferSize: socketBufferBytes,
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
      onBound(ok(new DgramSendingSocket(socket, onLost)));
    });
    socket.bind({ address: host, port, exclusive: true });
  },
};

class DgramSendingSocket implements SendingSocket {
  readonly #socket: Socket;
  /** One for all sends: what the system says of a datagram to someone never heard. */
  readonly #sent: (error: Error | null) => void;

  constructor(socket: Socket, onLost: (reason: DropReason) => void) {
    this.#socket = socket;
    this.#sent = (error) => {
      if (error !== null) onLost(upstreamDropReason(error));
    };
    socket.on("error", this.#sent);
  }

  send(
    datagram: Uint8Array,
    { address, port }: DatagramPeer,
    isHeard: boolean,
  ): DropReason | undefined {
    const socket = this.#socket;
    if (socket.getSendQueueSize() > maxQueuedBytes) return "send_queue_full";
    // libuv keeps what the kernel does not take yet; a packet slot holds the next packet by then.
    const lasting =
      datagram.buffer instanceof SharedArrayBuffer ? new Uint8Array(datagram) : datagram;
    // A callback costs time, and is how a refused send shows itself: worth it until the other end
    // is known to be there.
    if (isHeard) socket.send(lasting, port, address);
    else socket.send(lasting, port, address, this.#sent);
    return undefined;
  }

  close(): void {
    this.#socket.close();
  }
}
